"""Runs of the lab over a real store and engine, on real apps that behave well or badly."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from builders import build_capture, build_source
from cases import check_each
from relay.actions.egress import EgressRules
from relay.actions.forward import ForwardAction
from relay.delivery.lab import EXPERIMENTS
from relay.delivery.lab.plan import Planner
from relay.delivery.lab.runner import LabRunner
from relay.delivery.signing import RequestSigner, SignatureForger
from relay.errors import NotFoundError, TargetError, UsageError
from relay.model.delivery import DeliveryState
from relay.model.lab import ENDED_STATES, LabFinding, LabState, NewLabRun
from relay.model.secret import Secret
from relay.providers.catalogue import find_provider

SECRET = "whsec_test_stripe_secret"


def source(name="stripe", secret=SECRET, **fields):
    secrets = (Secret("env:STRIPE_WEBHOOK_SECRET", secret),) if secret else ()
    provider = find_provider(name)
    made = {"title": name, "secrets": secrets, "scheme": provider.scheme if provider else None}
    return build_source(name, **made | fields)


PLAIN = build_source("plain")


@asynccontextmanager
async def laboratory(world, shop, *sources, known=None, **more):
    """Open a world with a lab at work in it; `lab.it` is the world, and every path of the shop a target."""
    known = known or {one.name: one for one in sources or (source(), PLAIN)}
    paths = [name.removeprefix("take_") for name in dir(shop) if name.startswith("take_")]
    made = {name: {"url": shop.url(name)} for name in paths} | more.pop("targets_too", {})
    async with world(made, **more) as it:
        forger = SignatureForger(known.get, it.clock)
        forward = ForwardAction(
            rules=lambda typed: EgressRules(typed=typed),
            signer=RequestSigner(known.get, it.clock),
            forger=forger,
            find_source=lambda _: None,
            clock=it.clock,
        )
        async with forward:
            it.actions["forward"] = forward
            async with it.running() as engine:
                planner = Planner(
                    store=it.store,
                    clock=it.clock,
                    targets=it.targets,
                    forger=forger,
                    rules=lambda typed: EgressRules(typed=typed),
                    seed=lambda: 4711,
                )
                lab: Any = LabRunner(
                    store=it.store, bus=it.bus, clock=it.clock, planner=planner, attempt=engine.attempt
                )
                lab.it = it
                await lab.recover()
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(lab.run())
                    try:
                        yield lab
                    finally:
                        task.cancel()


async def keep(lab, *values, name="plain"):
    """Keep an event for each value, signed as its source would have signed it an hour ago; return their ids."""
    return [await _kept(lab, value, name) for value in values]


async def _kept(lab, value, name):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    known = lab.planner.forger.source(name)
    headers = ()
    if known is not None and known.scheme is not None and known.secrets:
        capture = build_capture(name, body=body, received_at=lab.it.clock.now())
        signed = known.scheme.sign(known.secrets[0], capture, lab.it.clock.now() - timedelta(hours=1))
        headers = signed.headers
    return (await lab.it.event(body=body, source=name, headers=headers)).id


async def reported(lab, *experiments, events, to, **more):
    """Make a run and return its report once it is over."""
    run = await lab.start(NewLabRun(experiments=experiments, events=tuple(events), target=to, **more))
    return await over(lab, run.id)


async def over(lab, id_):
    async with asyncio.timeout(60):
        while (report := await lab.report(id_)).run.state not in ENDED_STATES:  # noqa: ASYNC110 - the store is what is asked
            await asyncio.sleep(0.01)
    return report


async def found(lab, experiment, **more):
    report = await reported(lab, experiment, **more)
    assert report.run.state is LabState.DONE
    (result,) = report.results
    return result


async def test_an_event_that_is_deleted_meanwhile_leaves_it_open_whether_the_app_passes(world, shop):
    loop = asyncio.get_running_loop()

    async def delete(request, body):  # on the shop's own loop
        deletion = asyncio.run_coroutine_threadsafe(lab.it.store.events.delete(1), loop)
        await asyncio.wrap_future(deletion)
        return web.Response()

    shop.take_deleting = delete
    async with laboratory(world, shop) as lab:
        assert await keep(lab, {"id": "event_1"}) == [1]
        result = await found(lab, "duplicates", events=[1], to="deleting")
        assert [send.detail for send in result.sends] == ["200"]
    assert result.verdict.finding is LabFinding.UNCLEAR
    assert result.verdict.sentence == "not all of #1 was sent: an event was deleted meanwhile"


@pytest.mark.parametrize(
    ("path", "finding", "statuses"),
    [
        ("idempotent", LabFinding.PASSED, [201, 200, 200]),
        ("trusting", LabFinding.PASSED, [200, 200, 200]),
        ("counting", LabFinding.FAILED, [200, 200, 200]),
        ("unique", LabFinding.FAILED, [200, 500, 500]),
        ("refusing", LabFinding.FAILED, [403, 403, 403]),
    ],
)
async def test_duplicates_tell_an_app_that_acts_once_from_one_that_does_not(world, shop, path, finding, statuses):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        result = await found(lab, "duplicates", events=ids, to=path)
        made = await lab.it.store.deliveries.page()
    assert ([send.status for send in result.sends], result.verdict.finding) == (statuses, finding)
    assert shop.most_at_once == 1
    assert {(one.lab, one.reason, one.target) for one in made} == {(1, "replay", path)}
    assert all(send.took > 0 for send in result.sends)


async def test_copies_that_were_answered_otherwise_are_named(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        result = await found(lab, "duplicates", events=ids, to="counting", times=4)
        assert result.differing == {2, 3, 4}
        assert "answered in 3 ways" in result.verdict.sentence
        result = await found(lab, "duplicates", events=ids, to="counting", compare="status")
        assert (result.differing, result.verdict.finding) == (frozenset(), LabFinding.PASSED)
        two = await found(lab, "duplicates", events=ids, to="counting", times=2)
        assert two.verdict.finding is LabFinding.UNCLEAR


async def test_a_burst_is_at_the_same_moment_whatever_the_target_takes_otherwise(world, shop, eventually):
    shop.hold()
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        run = await lab.start(NewLabRun(experiments=("burst",), events=tuple(ids), target="idempotent", times=40))
        await eventually(lambda: shop.at_once == 40)
        shop.release()
        (result,) = (await over(lab, run.id)).results
    assert shop.most_at_once == 40
    assert result.at_once == 40
    assert result.verdict.finding is LabFinding.PASSED
    assert result.latency.least > 0


async def test_a_burst_finds_workers_that_race_for_an_event(world, shop, eventually):
    shop.hold()
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        run = await lab.start(NewLabRun(experiments=("burst",), events=tuple(ids), target="racing"))
        await eventually(lambda: shop.at_once == 20)
        shop.release()  # all of them go on at once, however long they took to come
        (result,) = (await over(lab, run.id)).results
    assert result.verdict.finding is LabFinding.FAILED
    assert "answered in 20 ways" in result.verdict.sentence


async def test_a_shuffle_names_the_orders_that_fail(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, *({"id": f"event_{n}", "step": n} for n in (1, 2, 3)))
        result = await found(lab, "shuffle", events=ids, to="ordered", seed=1, times=5)
    original, *orders = result.orders
    assert (original.original, original.events, original.failed) == (True, (1, 2, 3), ())
    assert len({order.events for order in orders}) == 5
    assert all(order.failed for order in orders)
    assert result.verdict.finding is LabFinding.FAILED
    assert "5 of 5 orders failed" in result.verdict.sentence
    assert [order.number for order in result.orders] == [1, 2, 3, 4, 5, 6]
    assert [send.label for send in result.sends[::3]][1:] == [f"order {number} of 6" for number in range(2, 7)]
    steps = [json.loads(body)["step"] for body in shop.bodies("ordered")]
    assert steps == [step for order in result.orders for step in order.events]


async def test_the_same_seed_gives_the_same_orders_and_another_gives_others(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, *({"id": f"event_{n}"} for n in range(9)))

        async def orders(seed):
            result = await found(lab, "shuffle", events=ids, to="trusting", seed=seed)
            return [order.events for order in result.orders]

        assert await orders(7) == await orders(7)
        assert await orders(7) != await orders(8)
        run = await lab.start(NewLabRun(experiments=("shuffle",), events=tuple(ids), target="trusting"))
        assert run.settings.seed == 4711
        await over(lab, run.id)


async def test_an_order_that_fails_anyway_is_not_to_blame(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"}, {"id": "event_2"})
        result = await found(lab, "shuffle", events=ids, to="refusing")
        assert result.verdict.finding is LabFinding.UNCLEAR
        alone = await found(lab, "shuffle", events=ids[:1], to="trusting")
    assert (alone.verdict.finding, alone.sends) == (LabFinding.SKIPPED, ())
    assert "one event has no order" in alone.verdict.sentence


async def test_an_app_that_drops_duplicates_sees_new_ids_in_each_order_and_signed_ones(world, shop):
    async with laboratory(world, shop) as lab:
        event = {"id": "evt_1PqrsTUVwxyz", "object": "event"}
        ids = await keep_keyed(lab, event, event | {"id": "evt_2PqrsTUVwxyz"})
        result = await found(lab, "shuffle", events=ids, to="verifying")
    assert result.verdict.finding is LabFinding.PASSED
    sent = [json.loads(body)["id"] for body in shop.bodies("verifying")]
    assert len(set(sent)) == 4
    assert not set(sent) & {"evt_1PqrsTUVwxyz", "evt_2PqrsTUVwxyz"}
    assert all(id_.startswith("evt_") and len(id_) == 16 for id_ in sent)


async def keep_keyed(lab, *values, name="stripe"):
    """Keep events whose idempotency key is their id."""
    ids = await keep(lab, *values, name=name)
    for id_, value in zip(ids, values, strict=True):
        await lab.it.store.events._writer.write(
            lambda connection, id_=id_, key=value["id"]: (
                connection.execute("UPDATE events SET idempotency_key = ? WHERE id = ?", (key, id_)).rowcount
            )
        )
    return ids


async def test_every_experiment_sends_an_id_of_its_own_that_the_app_has_not_seen(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep_keyed(lab, {"id": "evt_1PqrsTUVwxyz", "object": "event"})
        experiments = ("duplicates", "burst", "delay", "retries", "stale", "wrong-signature")
        report = await reported(lab, *experiments, events=ids, to="verifying", delay=0.01)
    assert {result.verdict.finding for result in report.results} == {LabFinding.PASSED}
    sent = [json.loads(body)["id"] for body in shop.bodies("verifying")]
    assert "evt_1PqrsTUVwxyz" not in sent
    duplicates, burst, rest = sent[:3], sent[3:23], sent[23:]
    assert len(set(duplicates)) == len(set(burst)) == 1
    assert len({duplicates[0], burst[0], *rest}) == 2 + len(rest)


async def test_an_app_that_has_seen_the_event_still_acts_once_on_copies_of_a_new_one(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep_keyed(lab, {"id": "event_1234567"}, name="plain")
        for _ in range(2):
            result = await found(lab, "duplicates", events=ids, to="idempotent")
            assert [send.status for send in result.sends] == [201, 200, 200]


async def test_events_about_one_object_are_about_another_one_in_each_order(world, shop):
    async with laboratory(world, shop) as lab:
        about = {"object": "event", "data": {"object": {"id": "in_12345678", "customer": "cus_12345678"}}}
        ids = await keep_keyed(lab, about | {"id": "evt_1Pqrstuv"}, about | {"id": "evt_2Pqrstuv"})
        result = await found(lab, "shuffle", events=ids, to="verifying")
    assert result.verdict.finding is LabFinding.PASSED
    sent = [json.loads(body)["data"]["object"] for body in shop.bodies("verifying")]
    assert [one["customer"] for one in sent] == ["cus_12345678"] * 4
    first, second = {one["id"] for one in sent[:2]}, {one["id"] for one in sent[2:]}
    assert (len(first), len(second)) == (1, 1)
    assert len({*first, *second, "in_12345678"}) == 3


async def test_an_event_that_keeps_its_id_is_named_in_the_plan(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"n": 1})
        planned = await lab.plan(NewLabRun(experiments=("burst",), events=tuple(ids), target="trusting"))
    assert "with the id that the app has seen" in planned.trials[0].notes[0]


async def test_a_delay_waits_before_each_event(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"}, {"id": "event_2"})
        began = lab.it.clock.monotonic()
        result = await found(lab, "delay", events=ids, to="trusting", delay=0.2)
        took = lab.it.clock.monotonic() - began
    assert (result.verdict.finding, [send.label for send in result.sends]) == (LabFinding.PASSED, ["after 0.2 s"] * 2)
    assert took >= 0.4


@pytest.mark.parametrize("experiment", ["stale", "wrong-signature", "truncated"])
async def test_what_must_be_refused_is_by_an_app_with_the_sdk_and_not_by_one_without(world, shop, experiment):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "evt_1", "object": "event"}, name="stripe")
        good = await found(lab, experiment, events=ids, to="verifying")
        bad = await found(lab, experiment, events=ids, to="trusting")
        none = await found(lab, experiment, events=ids, to="refusing")
        made = await lab.it.store.deliveries.page()
    refused = 400 if experiment == "truncated" else 401
    assert [(send.role == "control", send.status) for send in good.sends] == [(True, 200), (False, refused)]
    assert good.verdict.finding is LabFinding.PASSED
    assert bad.verdict.finding is LabFinding.FAILED
    assert bad.verdict.advice
    assert none.verdict.finding is LabFinding.UNCLEAR
    states = {(one.target, one.state) for one in made}
    assert {("verifying", DeliveryState.FAILED), ("verifying", DeliveryState.SUCCEEDED)} <= states


async def test_a_stale_signature_is_a_valid_one(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "evt_1"}, name="stripe")
        result = await found(lab, "stale", events=ids, to="verifying")
        (attempt,) = await lab.it.store.deliveries.attempts(result.sends[1].delivery_id)
        sent = build_capture(
            path="/", headers=attempt.request.headers, body=attempt.request.body, received_at=lab.it.clock.now()
        )
        known = source()
        then = lab.it.clock.now() - timedelta(seconds=900)
        assert known.scheme.verify(known.secrets, sent, then).verdict == "verified"
        assert known.scheme.verify(known.secrets, sent, lab.it.clock.now()).reason == "timestamp_stale"
    assert any(note.startswith("signed for stripe as of 900 s ago") for note in attempt.request.notes)


@pytest.mark.parametrize(
    ("name", "secret", "experiment", "said"),
    [
        ("plain", "", "stale", "expects no signature"),
        ("plain", "", "wrong-signature", "expects no signature"),
        ("github", SECRET, "stale", "does not sign a time"),
        ("stripe", "", "stale", "no secret"),
        ("zoom", SECRET, "stale", "sets no limit"),
    ],
)
async def test_what_cannot_be_tried_says_why(world, shop, name, secret, experiment, said):
    async with laboratory(world, shop, source(name, secret), PLAIN) as lab:
        ids = await keep(lab, {"id": "evt_1"}, name=name)
        result = await found(lab, experiment, events=ids, to="trusting")
    assert (result.verdict.finding, result.sends) == (LabFinding.SKIPPED, ())
    assert said in result.verdict.sentence
    assert [event for event, _ in result.trial.skipped] == ids


@pytest.mark.parametrize(
    ("body", "said"), [(b"", "no body"), (b"a=1&b=2", "not JSON and not signed"), (b"1234", "is valid JSON too")]
)
async def test_a_cut_that_nobody_could_notice_is_skipped(world, shop, body, said):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, body)
        result = await found(lab, "truncated", events=ids, to="trusting")
    assert said in result.verdict.sentence
    assert shop.got == []


async def test_an_experiment_skips_some_events_and_is_made_on_the_others(world, shop):
    async with laboratory(world, shop) as lab:
        (plain,) = await keep(lab, {"id": "event_1"})
        (signed,) = await keep(lab, {"id": "evt_1"}, name="stripe")
        result = await found(lab, "wrong-signature", events=[plain, signed], to="verifying")
    assert {send.event_id for send in result.sends} == {signed}
    assert result.trial.skipped == ((plain, "plain expects no signature"),)
    assert result.verdict.finding is LabFinding.PASSED


async def test_a_wrong_signature_needs_no_secret(world, shop):
    async with laboratory(world, shop, source(secret="", missing_secrets=("env:NO",)), PLAIN) as lab:
        ids = await keep(lab, {"id": "evt_1"}, name="stripe")
        report = await reported(lab, "wrong-signature", events=ids, to="verifying")
    (result,) = report.results
    assert result.sends[1].status == 401
    (note,) = report.run.notes
    assert note.startswith("stripe has no secret to sign with (env:NO is not set): its events go out with")


async def test_retries_follow_the_provider_until_the_app_takes_the_event(world, shop):
    shop.statuses = [500, 0, 404]
    async with laboratory(world, shop, source("slack", "8f742231b10e8888"), PLAIN) as lab:
        ids = await keep(lab, {"type": "event_callback"}, name="slack")
        result = await found(lab, "retries", events=ids, to="told", speed=2000)
        (delivery,) = await lab.it.store.deliveries.page()
        attempts = await lab.it.store.deliveries.attempts(delivery.id)
    assert [send.label for send in result.sends] == [
        "first attempt",
        "retry 1, at once",
        "retry 2, after 1 min",
        "retry 3, after 5 min",
    ]
    assert [send.status for send in result.sends] == [500, None, 404, 200]
    assert (result.verdict.finding, delivery.state) == (LabFinding.PASSED, DeliveryState.SUCCEEDED)
    assert [attempt.number for attempt in attempts] == [1, 2, 3, 4]
    marks = [(one.get("X-Slack-Retry-Num"), one.get("X-Slack-Retry-Reason")) for one in shop.headers("told")]
    assert marks == [(None, None), ("1", "http_error"), ("2", "connection_failed"), ("3", "http_error")]
    gaps = [(b.started_at - a.started_at).total_seconds() for a, b in pairwise(attempts)]
    assert gaps[2] >= 300 / 2000


@pytest.mark.parametrize(
    ("name", "statuses", "made", "said"),
    [
        ("slack", [500] * 9, 4, "the provider gives it up"),
        ("slack", [418], 1, "the provider stops here"),
        ("github", [500], 1, "the provider gives it up"),
        ("postmark", [500, 403], 2, "the provider stops here"),
    ],
)
async def test_retries_end_as_the_provider_ends_them(world, shop, name, statuses, made, said):
    shop.statuses = list(statuses)
    async with laboratory(world, shop, source(name, "8f742231:b10e8888"), PLAIN) as lab:
        ids = await keep(lab, {"type": "event_callback"}, name=name)
        result = await found(lab, "retries", events=ids, to="told", speed=1_000_000)
    assert len(result.sends) == made
    assert result.verdict.finding is LabFinding.FAILED
    assert said in result.verdict.sentence


async def test_an_answer_that_comes_too_late_for_the_provider_is_none(world, shop):
    shop.slowness = 1.2
    async with laboratory(world, shop, source("sentry"), PLAIN) as lab:
        ids = await keep(lab, {"id": "event_1"}, name="sentry")
        result = await found(lab, "retries", events=ids, to="trusting")
    assert [(send.status, send.good) for send in result.sends] == [(200, False)]
    assert "too late: the provider waits 1 s" in result.verdict.sentence


async def test_an_app_that_is_not_there_fails_and_is_not_called_down(world, shop, refusing_port):
    gone = {"gone": {"url": f"http://127.0.0.1:{refusing_port}/"}}
    async with laboratory(world, shop, targets_too=gone) as lab:
        ids = await keep(lab, {"id": "event_1"})
        result = await found(lab, "duplicates", events=ids, to="gone")
        made = await lab.it.store.deliveries.page()
    assert result.statuses == (("connection refused", 3),)
    assert result.verdict.finding is LabFinding.FAILED
    assert {one.state for one in made} == {DeliveryState.FAILED}


async def test_what_the_lab_made_fail_is_neither_failing_nor_tried_again(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        await found(lab, "duplicates", events=ids, to="refusing")
        assert (await lab.it.store.events.counts()).failing == 0
        assert await lab.it.replays.retry_deliveries(DeliveryState.FAILED, None) == 0
        assert len(shop.got) == 3


async def test_every_experiment_is_made_in_turn_and_runs_wait_for_each_other(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "evt_1", "object": "event"}, {"id": "evt_2"}, name="stripe")
        new = NewLabRun(experiments=("all",), events=tuple(ids), target="verifying", delay=0.01, times=3)
        first, second = await lab.start(new), await lab.start(new)
        assert second.state is LabState.WAITING  # the first may have begun meanwhile
        one, two = await over(lab, first.id), await over(lab, second.id)
    assert [result.trial.experiment for result in one.results] == list(EXPERIMENTS)
    assert [result.verdict.finding for result in one.results] == [LabFinding.PASSED] * 8
    assert one.finding is two.finding is LabFinding.PASSED
    assert max(send.started_at for result in one.results for send in result.sends) < min(
        send.started_at for result in two.results for send in result.sends
    )
    assert [send.place for result in one.results for send in result.sends] == list(range(1, one.run.made + 1))


async def test_a_run_is_cancelled_while_it_waits_and_while_it_sends(world, shop, eventually):
    shop.hold()
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        new = NewLabRun(experiments=("burst",), events=tuple(ids), target="trusting", times=10)
        first, second = await lab.start(new), await lab.start(new)
        await eventually(lambda: shop.at_once == 10)
        await lab.cancel(second.id)
        await lab.cancel(first.id)
        for run in (first, second):
            assert (await lab.report(run.id)).run.state is LabState.CANCELLED
            with pytest.raises(UsageError, match="is over"):
                await lab.cancel(run.id)
        (result,) = (await lab.report(first.id)).results
        assert (result.verdict.finding, result.verdict.sentence) == (None, "cancelled after 0 of 10 sends")
        assert {one.state for one in await lab.it.store.deliveries.page()} == {DeliveryState.CANCELLED}
        shop.release()
        assert (await found(lab, "duplicates", events=ids, to="trusting")).verdict.finding is LabFinding.PASSED


async def test_a_run_can_be_cancelled_at_any_moment_of_its_beginning(world, shop):
    shop.hold()
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        for turns in range(60):
            run = await lab.start(NewLabRun(experiments=("burst",), events=tuple(ids), target="trusting", times=2))
            for _ in range(turns):
                await asyncio.sleep(0.0001)
            await lab.cancel(run.id)
            assert (await lab.report(run.id)).run.state is LabState.CANCELLED
        assert {one.state for one in await lab.it.store.deliveries.page()} <= {DeliveryState.CANCELLED}
        shop.release()
        assert (await found(lab, "duplicates", events=ids, to="trusting")).verdict.finding is LabFinding.PASSED


async def test_a_run_that_a_restart_cut_short_says_so_and_sends_nothing_more(world, shop, eventually):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        done = await found(lab, "truncated", events=ids, to="refusing")
        shop.hold()
        new = NewLabRun(experiments=("burst",), events=tuple(ids), target="trusting", times=10)
        run = await lab.start(new)
        await lab.start(new)
        await eventually(lambda: shop.at_once == 10)
    sent = len(shop.got)
    async with laboratory(world, shop) as lab:
        reports = [await lab.report(id_) for id_ in (1, run.id, run.id + 1)]
        await asyncio.sleep(0.1)
        assert {one.state for one in await lab.it.store.deliveries.page(limit=10)} == {DeliveryState.CANCELLED}
    assert len(shop.got) == sent
    assert [report.run.state for report in reports] == ["done", "interrupted", "interrupted"]
    assert reports[0].results[0].sends == done.sends
    assert "stopped before it was over" in reports[1].run.detail
    assert reports[1].results[0].verdict.sentence == "interrupted after 0 of 10 sends"
    assert reports[2].results[0].verdict.sentence == "interrupted before it began"


async def test_a_report_outlives_its_events(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        before = await reported(lab, "duplicates", events=ids, to="counting")
        await lab.it.store.events.delete(ids[0])
        assert (await lab.report(before.run.id)).results == before.results


async def test_an_event_that_goes_while_a_run_waits_for_it_is_passed_over(world, shop, eventually):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"}, {"id": "event_2"})
        new = NewLabRun(experiments=("delay",), events=tuple(ids), target="trusting", delay=0.4)
        run = await lab.start(new)
        await eventually(lambda: len(shop.got) == 1)
        await lab.it.store.events.delete(ids[1])
        report = await over(lab, run.id)
    assert report.run.state is LabState.DONE
    assert [send.event_id for send in report.results[0].sends] == [1]


@pytest.fixture
async def with_event(world, shop):
    """A lab with a target that cannot be tried, and the number of an event."""
    async with laboratory(world, shop, targets_too={"mail": {"action": "email", "options": object()}}) as lab:
        yield lab, await keep(lab, {"id": "event_1"})


@check_each(
    ("fields", "error", "said"),
    [
        ({"experiments": ()}, UsageError, "needs an experiment"),
        ({"experiments": ("melt",)}, UsageError, "no experiment 'melt'"),
        ({"target": None}, UsageError, "needs a target"),
        ({"target": "nowhere"}, NotFoundError, "no target 'nowhere'"),
        ({"target": "mail"}, UsageError, "mail answers nothing"),
        ({"target": "http://10.0.0.1/"}, TargetError, "neither on this computer"),
        ({"target": "http://169.254.169.254/"}, TargetError, "169.254"),
        ({"events": (99,)}, NotFoundError, "no event 99"),
        ({"events": (), "query": "type:none"}, NotFoundError, "no event matches"),
        ({"events": (), "query": "after:soon"}, UsageError, "is not a time"),
        ({"times": 1}, UsageError, "times is"),
        ({"times": 201}, UsageError, "times is"),
        ({"delay": 1e9}, UsageError, "delay is"),
        ({"speed": 0.5}, UsageError, "speed is"),
        ({"seed": -1}, UsageError, "a seed is"),
        ({"compare": "taste"}, UsageError, "compare is"),
    ],
)
async def test_what_makes_no_sense_is_said_before_anything_is_sent(with_event, shop, fields, error, said):
    lab, ids = with_event
    new = {"experiments": ("duplicates",), "events": tuple(ids), "target": "trusting"} | fields
    with pytest.raises(error, match=said):
        await lab.start(NewLabRun(**new))
    assert await lab.it.store.labs.page() == ()
    assert shop.got == []


async def test_a_run_is_bounded_in_events_and_in_sends(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, *({"id": f"event_{n}"} for n in range(101)))
        new = NewLabRun(experiments=("burst",), query="", target="trusting")
        with pytest.raises(UsageError, match="more than 100 events"):
            await lab.plan(new)
        with pytest.raises(UsageError, match="more than 100 events"):
            await lab.plan(NewLabRun(experiments=("burst",), events=tuple(ids), target="trusting"))
        with pytest.raises(UsageError, match="2,100 sends"):
            await lab.plan(NewLabRun(experiments=("burst",), events=tuple(ids[:70]), target="trusting", times=30))
        planned = await lab.plan(NewLabRun(experiments=("burst", "delay"), query="id:1..3", target="trusting"))
    assert (planned.events, planned.sends) == ((1, 2, 3), 63)


async def test_a_person_may_send_one_of_a_run_again_and_the_report_stays(world, shop):
    async with laboratory(world, shop) as lab:
        ids = await keep(lab, {"id": "event_1"})
        report = await reported(lab, "duplicates", events=ids, to="counting")
        place = report.results[0].sends[0].delivery_id
        await lab.it.replays.retry_delivery(place)
        await lab.it.until(place, lambda one: one.attempts == 2 and one.state == "succeeded")
        assert (await lab.report(report.run.id)).results == report.results
    assert len(shop.got) == 4


async def test_what_the_lab_has_under_way_holds_up_nothing_that_keeps_an_order(world, shop, eventually):
    strict = {"strict": {"url": shop.url("told"), "fifo": True}}
    async with laboratory(world, shop, source("slack", "8f742231b10e8888"), targets_too=strict) as lab:
        ids = await keep(lab, {"type": "event_callback"}, name="slack")
        # The first retry comes at once, the second after a minute: the delivery runs all the while.
        shop.statuses = [500, 500]
        run = await lab.start(NewLabRun(experiments=("retries",), events=tuple(ids), target="strict", speed=1))
        await eventually(lambda: len(shop.got) == 2)
        stored = await lab.it.event("strict", body=b'{"n": 1}', source="slack")
        (made,) = (await lab.it.store.deliveries.of_events([stored.id]))[stored.id]
        assert (await lab.it.settled(made.id)).state == "succeeded"
        await lab.cancel(run.id)


async def test_what_cannot_be_signed_any_more_when_its_turn_comes_is_not_sent(world, shop):
    known = {"stripe": source(), "plain": PLAIN}
    async with laboratory(world, shop, known=known) as lab:
        (one,) = await keep(lab, {"id": "evt_1"}, name="stripe")
        new = NewLabRun(experiments=("delay", "stale"), events=(one,), target="verifying", delay=0.3)
        run = await lab.start(new)
        known["stripe"] = source(secret="")
        report = await over(lab, run.id)
    assert report.run.state is LabState.DONE
    _, stale = report.results[1].sends
    assert (stale.delivery_id, stale.detail) == (None, "not sent: stripe has no secret to sign with")
    assert report.results[1].verdict.finding is LabFinding.UNCLEAR
    assert len(shop.got) == 2
