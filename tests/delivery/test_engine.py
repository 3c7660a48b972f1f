import asyncio
import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from relay.actions.base import Action
from relay.actions.forward import ForwardOptions
from relay.delivery import circuit_breaker
from relay.delivery import engine as engine_room
from relay.delivery.attempts import AttemptRecorder, make_attempt
from relay.errors import StoreError
from relay.model.delivery import (
    ActionResult,
    AttemptSucceeded,
    DeliveryChanges,
    DeliveryReason,
    DeliveryState,
    NewDelivery,
    RetryPolicy,
)
from relay.model.signals import DeliveryChanged, EventStored
from relay.platform import SystemClock
from relay.store.deliveries import AttemptRecord, Deliveries

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PATIENT = RetryPolicy(attempts=4, first=3600.0, factor=1.0, max=3600.0, jitter=0.0)


async def test_what_is_owed_is_delivered_written_down_and_said(world, app):
    async with world() as it, it.running():
        stored = await it.event("app", body=b'{"n": 1}')
        delivery = await it.settled(stored.deliveries[0])
        (attempt,) = await it.store.deliveries.attempts(delivery.id)
    assert (delivery.state, delivery.attempts, delivery.detail, delivery.status) == ("succeeded", 1, "200", 200)
    assert app.bodies == [b'{"n": 1}']
    assert (attempt.number, attempt.outcome, attempt.detail) == (1, "succeeded", "200")
    assert attempt.request.body == b'{"n": 1}'
    assert attempt.response.status == 200
    assert attempt.took > 0
    states = [signal.state for signal in it.signals if isinstance(signal, DeliveryChanged)]
    assert states == ["pending", "running", "succeeded"]
    assert (it.signals[0], it.signals[-1]) == (EventStored(1), DeliveryChanged(delivery.id, 1, "succeeded"))


async def test_what_may_pass_is_tried_again_until_it_passes(world, app):
    app.answers = [500, 429, 503]
    async with world() as it, it.running():
        stored = await it.event("app")
        delivery = await it.settled(stored.deliveries[0])
        attempts = await it.store.deliveries.attempts(delivery.id)
    assert delivery.state == "succeeded"
    assert [(a.number, a.outcome, a.detail) for a in attempts] == [
        (1, "retry", "500"),
        (2, "retry", "429"),
        (3, "retry", "503"),
        (4, "succeeded", "200"),
    ]


async def test_attempts_stop_when_they_are_spent(world, app):
    app.answers = [500] * 20
    async with world() as it, it.running():
        stored = await it.event("app")
        delivery = await it.settled(stored.deliveries[0])
        await asyncio.sleep(0.1)
    assert (delivery.state, delivery.attempts, len(app.got)) == ("failed", 4, 4)


@pytest.mark.parametrize("answer", [307, 400, 404, 410])
async def test_what_will_not_pass_is_not_tried_again(world, app, answer):
    app.answers = [answer]
    async with world() as it, it.running():
        stored = await it.event("app")
        delivery = await it.settled(stored.deliveries[0])
    assert (delivery.state, delivery.attempts) == ("failed", 1)


async def test_a_delivery_that_failed_can_be_tried_once_more_by_hand(world, app):
    app.answers = [404, 500]
    async with world() as it, it.running():
        stored = await it.event("app")
        await it.settled(stored.deliveries[0])
        retried = await it.replays.retry_delivery(stored.deliveries[0])
        assert retried.state == "pending"
        delivery = await it.until(retried.id, lambda one: one.attempts >= 3 and one.state == "succeeded")
    assert delivery.attempts == 3


async def test_never_more_than_the_limits_at_once(world, app, eventually):
    app.gate.clear()
    targets = {name: {} for name in ("a", "b", "c", "d", "e", "f")}
    async with world(targets) as it, it.running():
        for _ in range(8):
            await it.event(*targets)
        await eventually(lambda: app.at_once == 16)
        await asyncio.sleep(0.05)
        assert app.at_once == 16
        counts = await it.store.deliveries.counts()
        assert (counts["running"], counts["pending"]) == (16, 32)
        app.gate.set()
        await eventually(lambda: len(app.got) == 48)
    assert app.most_at_once == 16


async def test_one_target_gets_four_at_once(world, app, eventually):
    app.gate.clear()
    async with world() as it, it.running():
        for _ in range(9):
            await it.event("app")
        await eventually(lambda: app.at_once == 4)
        await asyncio.sleep(0.05)
        assert app.at_once == 4
        app.gate.set()
        await eventually(lambda: len(app.got) == 9)
    assert app.most_at_once == 4


async def test_fifo_keeps_the_order_of_each_source_over_retries(world, app):
    app.answers = [500, 500]
    async with world({"app": {"fifo": True}}) as it, it.running():
        last = [await it.event("app", body=b"%d" % n) for n in range(6)][-1]
        await it.settled(last.deliveries[0])
    assert app.bodies == [b"0", b"0", b"0", b"1", b"2", b"3", b"4", b"5"]
    assert app.most_at_once == 1


async def test_a_head_that_waits_blocks_its_own_source_alone(world, app):
    app.answers = [500]
    async with world({"app": {"fifo": True, "retry": PATIENT}, "other": {}}) as it, it.running():
        head = await it.event("app", body=b"head")
        await it.until(head.deliveries[0], lambda one: one.attempts == 1)
        behind = await it.event("app", "other", body=b"behind")
        elsewhere = await it.event("app", body=b"elsewhere", source="github")
        await it.settled(elsewhere.deliveries[0])
        await it.settled(behind.deliveries[1])
        assert (await it.store.deliveries.get(behind.deliveries[0])).attempts == 0
        await it.replays.cancel_delivery(head.deliveries[0])
        it.bus.publish(DeliveryChanged(behind.deliveries[0], behind.id, "pending"))
        await it.settled(behind.deliveries[0])


async def test_a_target_that_is_down_holds_its_queue_and_drains_when_it_is_back(world, app, eventually):
    slow = RetryPolicy(attempts=12, first=0.01, factor=1.0, max=0.01, jitter=0.0)
    port = app.port
    await app.stop()
    async with world({"app": {"retry": slow}}) as it, it.running() as engine:
        first = [(await it.event("app")).deliveries[0] for _ in range(3)]
        await eventually(lambda: "app" in engine.circuit_breaker.down)
        made = sum([(await it.store.deliveries.get(id_)).attempts for id_ in first])
        assert engine.circuit_breaker.down == {"app": "connection refused"}
        held = [(await it.event("app")).deliveries[0] for _ in range(20)]
        await asyncio.sleep(0.2)
        deliveries = [await it.store.deliveries.get(id_) for id_ in (*first, *held)]
        assert {one.state for one in deliveries} == {DeliveryState.PENDING}
        # At most what was in flight when the door shut; nothing knocks with an event.
        assert sum(one.attempts for one in deliveries) <= made + 3
        app.port = port
        await app.start()
        for id_ in (*first, *held):
            assert (await it.settled(id_)).state == "succeeded"
        assert engine.circuit_breaker.down == {}
        assert engine.circuit_breaker.health["app"].up
    assert len(app.got) == 23


async def test_new_events_for_a_target_that_is_down_lead_to_no_claim(world, app, eventually, monkeypatch):
    claims = []
    claim_due = Deliveries.claim_due

    async def count(*arguments):
        claims.append(arguments)
        return await claim_due(*arguments)

    monkeypatch.setattr(Deliveries, "claim_due", count)
    monkeypatch.setattr(circuit_breaker, "PROBE_SECONDS", 3600.0)
    await app.stop()
    async with world() as it, it.running() as engine:
        await it.event("app")
        await eventually(lambda: "app" in engine.circuit_breaker.down)
        await it.event("app")
        before = len(claims)
        for _ in range(50):
            await it.event("app")
            await asyncio.sleep(0)
        assert len(claims) <= before + 2


async def test_what_waits_for_a_retry_is_hastened_when_its_target_is_back_and_keeps_its_place(world, app, eventually):
    port = app.port
    app.answers = [0]
    async with world({"app": {"retry": PATIENT}}) as it, it.running() as engine:
        first = await it.event("app", body=b"cut off")
        hung_up = await it.until(first.deliveries[0], lambda one: one.attempts == 1)
        app.got.clear()
        await app.stop()
        waiting = [(await it.event("app", body=b"%d" % n)).deliveries[0] for n in range(10)]
        await eventually(lambda: "app" in engine.circuit_breaker.down)
        app.port = port
        await app.start()
        for id_ in waiting:
            assert (await it.settled(id_)).state == "succeeded"
    assert app.bodies == [b"cut off", *(b"%d" % n for n in range(10))]
    assert hung_up.detail == "hung up without an answer"


async def test_refusals_spend_no_attempt_over_any_number_of_starts(world, app, eventually):
    port, once = app.port, RetryPolicy(attempts=2, first=0.01, factor=1.0, max=0.01, jitter=0.0)
    await app.stop()
    async with world({"app": {"retry": once}}) as it:
        ids = [(await it.event("app", body=b"%d" % n)).deliveries[0] for n in range(30)]
        for _ in range(4):
            async with it.running() as engine:
                await eventually(lambda: "app" in engine.circuit_breaker.down)
        waiting = [await it.store.deliveries.get(id_) for id_ in ids]
        assert {one.state for one in waiting} == {DeliveryState.PENDING}
        assert [one.attempts for one in waiting] == [4] + [0] * 29
        app.port, app.answers = port, [500]
        await app.start()
        async with it.running():
            for id_ in ids:
                assert (await it.settled(id_)).state == "succeeded"
    assert len(app.got) == 31


async def test_what_waited_goes_out_in_the_order_it_came(world, app, eventually):
    port = app.port
    await app.stop()
    async with world() as it, it.running() as engine:
        for n in range(60):
            last = await it.event("app", body=b"%d" % n)
        await eventually(lambda: "app" in engine.circuit_breaker.down)
        app.port = port
        await app.start()
        await it.settled(last.deliveries[0])
        await eventually(lambda: len(app.got) == 60)
    assert app.bodies == [b"%d" % n for n in range(60)]


async def test_a_slow_target_drains_several_at_once(world, app, eventually):
    app.gate.clear()
    async with world({"app": {"concurrency": 3}}) as it:
        for _ in range(8):
            await it.event("app")
        async with it.running():
            await eventually(lambda: app.at_once == 3)
            await asyncio.sleep(0.05)
            app.gate.set()
            await eventually(lambda: len(app.got) == 8)
    assert app.most_at_once == 3


async def test_a_target_takes_as_many_at_once_as_its_concurrency(world, app, eventually):
    app.gate.clear()
    async with world({"app": {"concurrency": 7}}) as it, it.running():
        for _ in range(12):
            await it.event("app")
        await eventually(lambda: app.at_once == 7)
        app.gate.set()
        await eventually(lambda: len(app.got) == 12)
    assert app.most_at_once == 7


async def test_a_410_fails_at_once_and_marks_the_target(world, app):
    app.answers = [410]
    async with world() as it, it.running() as engine:
        delivery = await it.settled((await it.event("app")).deliveries[0])
        assert (delivery.state, delivery.attempts) == ("failed", 1)
        assert list(engine.circuit_breaker.gone) == ["app"]


async def test_dead_letters_are_retried_together_with_a_fresh_budget(world, app, eventually):
    app.answers = [404] * 5 + [500] * 3
    async with world({"app": {}, "other": {}}) as it, it.running():
        ids = [(await it.event("app")).deliveries[0] for _ in range(5)]
        for id_ in ids:
            assert (await it.settled(id_)).state == "failed"
        assert await it.replays.retry_deliveries(DeliveryState.FAILED, "other") == 0
        assert await it.replays.retry_deliveries(DeliveryState.FAILED, "app") == 5
        await eventually(lambda: len(app.got) == 13)
        for id_ in ids:
            assert (await it.settled(id_)).state == "succeeded"


async def test_all_that_waits_is_given_up_together(world, app, eventually):
    await app.stop()
    async with world({"app": {}, "other": {}}) as it, it.running() as engine:
        for _ in range(5):
            await it.event("app", "other")
        await eventually(lambda: len(engine.circuit_breaker.down) == 2)
        for one in await it.store.deliveries.page():
            await it.until(one.id, lambda delivery: delivery.state == "pending")
        assert await it.replays.cancel_deliveries("app") == 5
        assert await it.replays.cancel_deliveries(None) == 5
        assert (await it.store.deliveries.counts())["cancelled"] == 10


async def has_counted(it, state, number):
    return (await it.store.deliveries.counts())[state] == number


async def test_what_is_claimed_and_not_sent_yet_can_be_cancelled(world, app, eventually):
    async with world() as it:
        app.room = 8
        ids = [(await it.event("app")).deliveries[0] for _ in range(30)]  # before it runs: claimed together
        async with it.running():
            await eventually(lambda: not app.gate.is_set() and app.at_once == engine_room.CONCURRENCY_PER_TARGET)
            await eventually(lambda: has_counted(it, "succeeded", 8))
            await it.until(ids[20], lambda delivery: delivery.state == "running")
            assert (await it.replays.cancel_delivery(ids[20])).state == "cancelled"
            assert await it.replays.cancel_deliveries("app") == 30 - 8 - engine_room.CONCURRENCY_PER_TARGET - 1
            app.gate.set()
            for id_ in ids:
                await it.settled(id_)
            assert len(app.got) == 8 + engine_room.CONCURRENCY_PER_TARGET


async def test_a_person_may_try_a_target_that_is_down_and_so_bring_it_up(world, app, eventually):
    port = app.port
    await app.stop()
    async with world({"app": {"retry": PATIENT}}) as it, it.running() as engine:
        waiting = [(await it.event("app")).deliveries[0] for _ in range(10)]
        await eventually(lambda: "app" in engine.circuit_breaker.down)
        asked = await it.replays.replay_event(1, "app", DeliveryChanges())
        assert (await it.until(asked, lambda one: one.attempts == 1)).detail == "connection refused"
        app.port = port
        await app.start()
        await it.replays.retry_delivery(asked)
        for id_ in (asked, *waiting):
            assert (await it.settled(id_)).state == "succeeded"
        assert engine.circuit_breaker.down == {}


async def test_another_target_goes_on_while_one_is_down_or_hangs(world, app, refusing_port):
    async def hang(reader, writer):
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    hanging = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    targets = {"dead": {"url": f"http://127.0.0.1:{refusing_port}/"}, "hangs": {"url": hanging}, "app": {}}
    async with server, world(targets) as it, it.running(grace=0.01):
        stored = [await it.event("dead", "hangs", "app") for _ in range(12)]
        for one in stored:
            assert (await it.settled(one.deliveries[2])).state == "succeeded"


class Slowing(Action):
    """Answers at once, and from its attempt `slow_from` on after half a second."""

    name = "slowing"
    slow_from = 60

    def __init__(self):
        self.made = 0

    async def run(self, event, delivery, options):
        self.made += 1
        await asyncio.sleep(0.5 if self.made >= self.slow_from else 0.001)
        return ActionResult(outcome=AttemptSucceeded("done"))


async def test_a_target_that_becomes_slow_keeps_no_other_waiting_and_gives_back_what_was_claimed_ahead(
    world, app, eventually
):
    slowing = Slowing()
    targets = {"slows": {"action": "slowing", "concurrency": 2}, "app": {}}
    async with world(targets, slowing=slowing) as it:
        stored = await it.event()
        planned = [NewDelivery(target="slows", action="slowing")] * 300
        await it.store.deliveries.add(stored.id, planned, it.clock.now())
        async with it.running(grace=0.01):
            # By then one slow answer has come, and more than a hundred had been claimed ahead.
            await eventually(lambda: slowing.made >= slowing.slow_from + 2)
            late = await it.event("app")
            assert (await it.settled(late.deliveries[0], within=5)).state == "succeeded"
            await eventually(lambda: slowing.made >= slowing.slow_from + 4)
            assert (await it.store.deliveries.counts(target="slows"))["running"] <= 4


async def test_an_attempt_is_made_again_by_the_next_run_after_a_kill(world, app):
    app.answers = [500]
    async with world({"app": {"retry": PATIENT}}) as it:
        async with it.running():
            stored = await it.event("app", body=b"kept")
            await it.until(stored.deliveries[0], lambda one: one.attempts == 1)
        # As kill -9 leaves it: claimed, and nobody there to settle it.
        await it.store.deliveries.retry(stored.deliveries[0], it.clock.now())
        await it.engine()._claim()
        assert (await it.store.deliveries.get(stored.deliveries[0])).state == "running"
    async with world() as it:
        async with it.running():
            delivery = await it.settled(stored.deliveries[0])
        attempts = await it.store.deliveries.attempts(delivery.id)
    assert delivery.state == "succeeded"
    assert [attempt.detail for attempt in attempts] == ["500", "200"]
    assert app.bodies == [b"kept", b"kept"]


async def test_stopping_finishes_what_is_in_flight(world, app, eventually):
    app.gate.clear()
    async with world() as it:
        async with it.running(grace=60.0):
            stored = await it.event("app")
            await it.event("app")
            await eventually(lambda: app.at_once == 2)
            asyncio.get_running_loop().call_later(0.1, app.gate.set)  # while it stops
        delivery = await it.store.deliveries.get(stored.deliveries[0])
    assert (delivery.state, delivery.attempts) == ("succeeded", 1)
    assert len(app.got) == 2


async def test_stopping_gives_back_what_takes_too_long(world, app, eventually):
    app.gate.clear()
    async with world() as it:
        async with it.running(grace=0.05):
            stored = await it.event("app")
            await eventually(lambda: app.at_once == 1)
        delivery = await it.store.deliveries.get(stored.deliveries[0])
        assert (delivery.state, delivery.attempts) == ("pending", 0)
        app.gate.set()
        async with it.running():
            assert (await it.settled(stored.deliveries[0])).state == "succeeded"


class Clumsy(Action[ForwardOptions]):
    name = "forward"

    def __init__(self, *errors):
        self.errors = list(errors)

    async def run(self, event, delivery, options):
        if self.errors:
            raise self.errors.pop(0)
        return ActionResult(outcome=AttemptSucceeded("done"))


async def test_an_action_that_raises_is_tried_again_and_logged_without_captured_data(world, caplog):
    caplog.set_level(logging.ERROR)
    clumsy = Clumsy(ValueError("sk_live_canary"), KeyError("sk_live_canary"))
    async with world(forward=clumsy) as it, it.running():
        stored = await it.event("app")
        delivery = await it.settled(stored.deliveries[0])
        attempts = await it.store.deliveries.attempts(delivery.id)
    assert delivery.state == "succeeded"
    assert [attempt.detail for attempt in attempts] == [
        "relay failed (ValueError); its log says where",
        "relay failed (KeyError); its log says where",
        "done",
    ]
    assert "raise self.errors.pop(0)" in caplog.text
    assert "canary" not in caplog.text


async def test_a_target_that_left_the_configuration_fails_with_a_sentence(world):
    async with world() as it, it.running():
        stored = await it.event("gone")
        delivery = await it.settled(stored.deliveries[0])
        mail = await it.owe(stored.id, "welcome", "email", changes=DeliveryChanges(template="welcome"))
        asked = await it.settled(mail)
    assert (delivery.state, delivery.detail) == ("failed", "relay.toml has no target 'gone' any more")
    assert (asked.state, asked.detail) == ("failed", "relay.toml has no [emails.welcome] any more")


async def test_an_address_typed_in_gets_one_attempt(world, app):
    app.answers = [500]
    async with world() as it, it.running():
        stored = await it.event()
        id_ = await it.replays.replay_event(stored.id, f"http://localhost:{app.port}/elsewhere?a=1", DeliveryChanges())
        delivery = await it.settled(id_)
    assert (delivery.state, delivery.attempts, delivery.reason) == ("failed", 1, DeliveryReason.REPLAY)
    ((method, path, headers, _),) = app.got
    assert (method, path, headers["X-Relay-Replay"]) == ("POST", "/elsewhere?a=1", "1")


async def test_a_mail_somebody_asked_for_is_sent(world, receipt):
    async with world(emails={"receipt": receipt}) as it, it.running():
        stored = await it.event()
        event = await it.store.events.get(stored.id)
        id_ = await it.replays.email_event(event, "receipt", ("bob@example.com",))
        delivery = await it.settled(id_)
        (message,) = await it.store.messages.page()
    assert (delivery.state, delivery.detail, delivery.reason) == ("succeeded", "kept in the outbox", "manual")
    assert (message.recipient, message.delivery_id) == ("bob@example.com", id_)


class ShiftedClock(SystemClock):
    """The machine's clock, set wrong by `shift`; asked to sleep it sleeps next to nothing."""

    def __init__(self):
        self.shift = timedelta(0)

    def now(self):
        return super().now() + self.shift

    async def sleep(self, seconds):
        await asyncio.sleep(min(seconds, 0.02))


@pytest.mark.parametrize("hours", [-100_000, 2])
async def test_a_clock_that_is_set_strands_no_delivery(world, app, hours):
    app.answers = [500]
    clock = ShiftedClock()
    async with world({"app": {"retry": PATIENT}}, clock=clock) as it, it.running():
        stored = await it.event("app")
        await it.until(stored.deliveries[0], lambda one: one.attempts == 1)
        clock.shift = timedelta(hours=hours)
        assert (await it.settled(stored.deliveries[0])).state == "succeeded"


async def test_a_lost_bell_delays_a_delivery_and_does_not_lose_it(world, app):
    async with world(clock=ShiftedClock()) as it, it.running():
        await asyncio.sleep(0.05)
        stored = await it.event()
        id_ = await it.owe(stored.id, "app")
        assert (await it.settled(id_)).state == "succeeded"


async def test_what_an_earlier_run_owes_is_left_alone_by_a_passing_engine(world, app):
    async with world() as it:
        old = await it.event("app", body=b"old")
        above = await it.store.deliveries.newest()
        async with it.running(above=above):
            new = await it.event("app", body=b"new")
            await it.settled(new.deliveries[0])
        assert (await it.store.deliveries.get(old.deliveries[0])).state == "pending"
    assert app.bodies == [b"new"]


async def test_a_store_that_fails_for_a_while_stops_nothing_for_good(world, app, caplog, tmp_path, eventually):
    caplog.set_level(logging.DEBUG, "relay")  # what an outage holds up is said in detail; the outage itself aloud
    path = tmp_path / "data" / "relay.db"
    aside = path.with_suffix(".aside")
    async with world(clock=ShiftedClock()) as it, it.running():
        app.gate.clear()
        stored = await it.event("app", "app")
        await eventually(lambda: app.at_once == 2)
        path.rename(aside)
        app.gate.set()
        await eventually(
            lambda: "could not be recorded yet" in caplog.text and "deliveries wait for the store" in caplog.text
        )
        with pytest.raises(StoreError):
            await it.store.deliveries.recover()
        aside.rename(path)
        for id_ in stored.deliveries:
            delivery = await it.settled(id_)
            assert (delivery.state, delivery.attempts) == ("succeeded", 1)
    assert len(app.got) == 2


async def test_an_event_deleted_in_flight_takes_its_delivery_with_it(world, app, eventually):
    app.gate.clear()
    async with world() as it, it.running() as engine:
        stored = await it.event("app")
        await eventually(lambda: app.at_once == 1)
        await it.store.events.delete(stored.id)
        app.gate.set()
        other = await it.event("app")
        assert (await it.settled(other.deliveries[0])).state == "succeeded"
        assert not engine._scheduler.running


async def test_a_hundred_events_are_each_delivered_once(world, app):
    async with world({"app": {}, "b": {}}) as it, it.running():
        stored = await asyncio.gather(*(it.event("app", "b", body=b"%d" % n) for n in range(100)))
        for one in stored:
            for id_ in one.deliveries:
                assert (await it.settled(id_)).attempts == 1
    assert sorted(app.bodies) == sorted(b"%d" % (n // 2) for n in range(200))


@pytest.mark.parametrize(("detail", "is_known"), [("\ud800", False), ("200", True)], ids=["no text", "known"])
async def test_an_attempt_that_cannot_be_recorded_takes_no_other_with_it(world, caplog, detail, is_known):
    announced = []
    async with world() as it, asyncio.TaskGroup() as group:
        recorder = AttemptRecorder(it.store, it.clock, announced.append)
        for place, text in enumerate(("200", detail, "201")):
            stored = await it.event("app")
            delivery = await it.store.deliveries.get(stored.deliveries[0])
            result = ActionResult(outcome=AttemptSucceeded(text))
            attempt = make_attempt(delivery, it.clock.now(), 0.1, result)
            if place == 1 and is_known:
                await it.store.deliveries.settle_all([AttemptRecord(delivery, attempt, DeliveryState.PENDING, NOW)])
            record = AttemptRecord(delivery, attempt, DeliveryState.SUCCEEDED, NOW)
            recorder.add(record, group)
        await recorder.finish(60)
        states = [one.state for one in await it.store.deliveries.rows([1, 2, 3])]
    assert sorted(states) == ["pending", "succeeded", "succeeded"]
    assert [one.attempt.detail for one in announced] == ["200", "201"]
    assert "delivery 2 was left running" in caplog.text


async def test_a_listener_that_fails_takes_neither_the_other_attempts_nor_the_engine(world, caplog):
    announced = []

    def announce(made):
        announced.append(made.delivery.id)
        if made.delivery.id == 1:
            raise ZeroDivisionError

    async with world() as it, asyncio.TaskGroup() as group:
        recorder = AttemptRecorder(it.store, it.clock, announce)
        for _ in range(2):
            stored = await it.event("app")
            delivery = await it.store.deliveries.get(stored.deliveries[0])
            attempt = make_attempt(delivery, it.clock.now(), 0.1, ActionResult(outcome=AttemptSucceeded("200")))
            record = AttemptRecord(delivery, attempt, DeliveryState.SUCCEEDED, NOW)
            recorder.add(record, group)
        await recorder.finish(60)
    assert announced == [1, 2]
    assert "delivery 1 was not announced" in caplog.text


def test_an_engine_with_nothing_to_do_looks_up_now_and_then():
    assert 1 <= engine_room._POLL_SECONDS <= 60
    assert replace(PATIENT, attempts=1).wait_after(1, lambda: 0.5) is None
