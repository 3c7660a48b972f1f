import asyncio
from contextlib import asynccontextmanager

import pytest

from builders import build_source
from relay.actions.egress import EgressRules
from relay.delivery.bulk import BulkReplays
from relay.delivery.engine import CONCURRENCY_PER_TARGET
from relay.errors import NotFoundError, TargetError, UsageError
from relay.model.batch import BatchCounts, BatchState, NewBatch
from relay.model.delivery import RetryPolicy, Route, SignMode
from relay.model.event import EventOutcome, Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import find_provider

EVERYTHING = (Route(targets=("app",)),)


@asynccontextmanager
async def feeding(it, engine, routes=EVERYTHING, above=0):
    """Run the batches of a world next to its engine."""
    bulk = BulkReplays(
        store=it.store,
        bus=it.bus,
        clock=it.clock,
        targets=it.targets,
        routes=routes,
        rules=lambda typed: EgressRules(typed=typed),
        in_order=engine.in_order,
        give_up=engine.give_up,
        above=above,
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bulk.run())
        try:
            yield bulk
        finally:
            task.cancel()


@pytest.fixture
def ended(eventually):
    """Wait until a batch is over; return it with its counts."""

    async def wait(bulk, id_):
        async def over():
            return (await bulk.progress(id_))[0].state is not BatchState.RUNNING

        await eventually(over)
        return await bulk.progress(id_)

    return wait


async def keep(it, count, **more):
    for n in range(count):
        await it.event(body=b"%d" % n, **more)


async def test_a_plan_counts_what_would_go_where_and_sends_nothing(world, app):
    routes = (Route(targets=("app", "receipt"), sources=("stripe",)), Route(targets=("other",)))
    targets = {"app": {}, "other": {}, "receipt": {"action": "email", "options": object()}}
    async with world(targets) as it, it.running() as engine, feeding(it, engine, routes) as bulk:
        await keep(it, 3)
        await keep(it, 2, source="github")
        plan = await bulk.plan(NewBatch(query=""))
        assert plan.targets == {"app": 3, "other": 5}
        assert plan.oldest < plan.newest
        assert [step.event_id for step in plan.steps] == [1, 1, 2, 2, 3, 3, 4, 5]
        assert (await bulk.plan(NewBatch(query="source:github", target="app"))).targets == {"app": 2}
        empty = await bulk.plan(NewBatch(query="type:none"))
        assert (empty.steps, empty.oldest) == ((), None)
        assert await it.store.batches.page() == ()
    assert app.got == []


async def test_a_condition_is_judged_for_each_event(world):
    routes = (Route(targets=("app",), when="payload == 1"),)
    targets = {"app": {}, "other": {}}
    async with world(targets) as it, it.running() as engine, feeding(it, engine, routes) as bulk:
        await keep(it, 3)
        plan = await bulk.plan(NewBatch(query=""))
        assert ([step.event_id for step in plan.steps], plan.skipped) == ([2], 2)


async def test_a_batch_sends_every_event_once_and_oldest_first(world, app, ended):
    async with world() as it:
        await keep(it, 40)
        async with it.running() as engine, feeding(it, engine) as bulk:
            batch = await bulk.start(NewBatch(query="", sign=SignMode.ORIGINAL))
            done, counts = await ended(bulk, batch.id)
        (delivery,) = await it.store.deliveries.page(batch=batch.id, limit=1)
    assert (done.state, done.total, counts) == (BatchState.DONE, 40, BatchCounts(succeeded=40))
    assert app.bodies == [b"%d" % n for n in range(40)]
    assert (delivery.reason, delivery.changes.sign, delivery.batch) == ("replay", "original", batch.id)


async def test_a_batch_is_cancelled_and_resumed_and_its_counts_agree(world, app, eventually, ended):
    async with world() as it:
        await keep(it, 120)
        async with it.running() as engine, feeding(it, engine) as bulk:
            app.room = 50
            batch = await bulk.start(NewBatch(query=""))
            await eventually(lambda: not app.gate.is_set())
            await bulk.cancel(batch.id)
            app.gate.set()
            async with asyncio.timeout(60):
                while (await bulk.progress(batch.id))[1].running:  # noqa: ASYNC110 - the store is what is asked
                    await asyncio.sleep(0.02)
            halted, counts = await bulk.progress(batch.id)
            sent = len(app.got)
            assert (halted.state, counts.succeeded, counts.running) == (BatchState.CANCELLED, sent, 0)
            assert counts.succeeded + counts.cancelled + counts.waiting == 120
            assert sent <= 50 + CONCURRENCY_PER_TARGET  # what was in flight, and none of what was only claimed
            with pytest.raises(UsageError, match="not running"):
                await bulk.cancel(batch.id)
            await bulk.resume(batch.id)
            done, counts = await ended(bulk, batch.id)
            with pytest.raises(UsageError, match="cannot be resumed"):
                await bulk.resume(batch.id)
    assert (done.state, counts) == (BatchState.DONE, BatchCounts(succeeded=120))
    assert sorted(app.bodies) == sorted(b"%d" % n for n in range(120))


async def test_a_batch_goes_on_after_a_restart(world, app, eventually, ended):
    async with world() as it:
        await keep(it, 60)
        async with it.running() as engine, feeding(it, engine) as bulk:
            batch = await bulk.start(NewBatch(query=""))
            await eventually(lambda: len(app.got) >= 20)
    async with world() as it, it.running() as engine:
        async with feeding(it, engine, above=batch.id) as passing:
            await asyncio.sleep(0.05)
            assert (await passing.progress(batch.id))[0].state is BatchState.RUNNING
        async with feeding(it, engine) as bulk:
            done, counts = await ended(bulk, batch.id)
    assert (done.state, counts) == (BatchState.DONE, BatchCounts(succeeded=60))
    assert app.bodies == [b"%d" % n for n in range(60)]


async def test_a_rate_is_kept(world, app, ended):
    async with world() as it:
        await keep(it, 12)
        async with it.running() as engine, feeding(it, engine) as bulk:
            began = it.clock.monotonic()
            batch = await bulk.start(NewBatch(query="", rate=20.0))
            await ended(bulk, batch.id)
            took = it.clock.monotonic() - began
    assert took >= 11 / 20
    assert len(app.got) == 12


async def test_the_first_failure_stops_a_batch_that_wants_that(world, app, ended):
    app.answers = [200, 200, 404]
    patient = RetryPolicy(attempts=9, first=60.0)
    async with world({"app": {"retry": patient}}) as it:
        await keep(it, 10)
        async with it.running() as engine, feeding(it, engine) as bulk:
            batch = await bulk.start(NewBatch(query="", stop_on_failure=True))
            stopped, counts = await ended(bulk, batch.id)
            assert (stopped.state, stopped.detail) == (BatchState.STOPPED, "#3 to app failed: 404")
            assert counts == BatchCounts(succeeded=2, failed=1, waiting=7)
            app.answers = [500]
            await bulk.resume(batch.id)
            stopped, counts = await ended(bulk, batch.id)
            assert (stopped.detail, counts.failed) == ("#3 to app failed: 500", 1)
            await bulk.resume(batch.id, stop_on_failure=False)
            done, counts = await ended(bulk, batch.id)
    assert (done.state, counts) == (BatchState.DONE, BatchCounts(succeeded=9, failed=1))
    assert len(app.got) == 11


async def test_a_batch_waits_for_a_target_that_is_down(world, app, eventually, ended):
    port = app.port
    await app.stop()
    async with world() as it:
        await keep(it, 20)
        async with it.running() as engine, feeding(it, engine) as bulk:
            batch = await bulk.start(NewBatch(query=""))
            await eventually(lambda: "app" in engine.circuit_breaker.down)
            assert (await bulk.progress(batch.id))[1].failed == 0
            app.port = port
            await app.start()
            _, counts = await ended(bulk, batch.id)
    assert counts == BatchCounts(succeeded=20)


async def test_events_deleted_meanwhile_are_passed_over(world, app, ended):
    async with world() as it:
        await keep(it, 6)
        async with it.running() as engine:
            async with feeding(it, engine, above=10) as idle:
                batch = await idle.start(NewBatch(query=""))
                for id_ in (1, 4, 6):
                    await it.store.events.delete(id_)
            async with feeding(it, engine) as bulk:
                done, counts = await ended(bulk, batch.id)
    assert (done.state, counts) == (BatchState.DONE, BatchCounts(succeeded=3, gone=3))
    assert app.bodies == [b"1", b"2", b"4"]


async def test_a_batch_may_go_to_an_address(world, app, ended):
    async with world({}) as it:
        await keep(it, 3)
        async with it.running() as engine, feeding(it, engine, ()) as bulk:
            batch = await bulk.start(NewBatch(query="", target=f"{app.url}/typed"))
            _, counts = await ended(bulk, batch.id)
    assert counts == BatchCounts(succeeded=3)
    assert {path for _, path, *_ in app.got} == {"/hooks/typed"}


@pytest.mark.parametrize(
    ("new", "error"),
    [
        (NewBatch(query="type:none"), NotFoundError),
        (NewBatch(query="after:soon"), UsageError),
        (NewBatch(query="", target="nosuch"), NotFoundError),
        (NewBatch(query="", target="http://169.254.169.254/"), TargetError),
    ],
)
async def test_a_batch_that_cannot_begin_says_why(world, new, error):
    async with world() as it:
        await keep(it, 1)
        async with it.running() as engine, feeding(it, engine) as bulk:
            with pytest.raises(error):
                await bulk.start(new)


STRIPE = "whsec_of_these_tests"
FORGED = (("Stripe-Signature", "t=1,v1=" + "ab" * 32),)


async def keep_every_kind(it):
    """Keep a genuine event, three forged ones, a duplicate and an ignored one."""
    await it.event(body=b"good")
    for body in (b"bad 1", b"bad 2"):
        await it.event(body=body, headers=FORGED, verdict=Verdict.INVALID, outcome=EventOutcome.REJECTED)
    await it.event(body=b"let in", headers=FORGED, verdict=Verdict.INVALID)
    await it.event(body=b"again", outcome=EventOutcome.DUPLICATE)
    await it.event(body=b"unlisted", outcome=EventOutcome.IGNORED)


@pytest.mark.parametrize("target", ["app", None])
async def test_what_was_forged_repeated_or_ignored_is_left_out_and_counted(world, app, ended, target):
    async with world() as it:
        await keep_every_kind(it)
        async with it.running() as engine, feeding(it, engine) as bulk:
            plan = await bulk.plan(NewBatch(query="", target=target))
            batch = await bulk.start(NewBatch(query="", target=target))
            await ended(bulk, batch.id)
    assert app.bodies == [b"good"]
    assert {one.words for one in plan.left_out} == {"3 failed verification", "1 duplicate", "1 ignored"}


@pytest.mark.parametrize(
    ("include", "bodies"),
    [
        ({EventOutcome.REJECTED}, {b"good", b"bad 1", b"bad 2", b"let in"}),
        ({EventOutcome.DUPLICATE}, {b"good", b"again"}),
        ({EventOutcome.IGNORED}, {b"good", b"unlisted"}),
        (set(EventOutcome), {b"good", b"bad 1", b"bad 2", b"let in", b"again", b"unlisted"}),
    ],
)
@pytest.mark.parametrize("target", ["app", None])
async def test_what_is_included_goes_out_too_and_no_forgery_is_signed(world, app, ended, include, bodies, target):
    source = build_source(scheme=find_provider("stripe").scheme, secrets=(Secret("env:STRIPE", STRIPE),))
    async with world(source=source) as it:
        await keep_every_kind(it)
        async with it.running() as engine, feeding(it, engine) as bulk:
            batch = await bulk.start(NewBatch(query="", target=target, include=frozenset(include)))
            await ended(bulk, batch.id)
    assert set(app.bodies) == bodies
    for _, _, headers, body in app.got:
        if body in (b"bad 1", b"bad 2", b"let in"):
            assert headers["Stripe-Signature"] == FORGED[0][1]


async def test_a_batch_of_nothing_but_forgeries_says_what_was_left_out(world):
    async with world() as it, it.running() as engine, feeding(it, engine) as bulk:
        await it.event(verdict=Verdict.INVALID, outcome=EventOutcome.REJECTED)
        with pytest.raises(NotFoundError, match="left out: 1 failed verification") as raised:
            await bulk.start(NewBatch(query="", target="app"))
    assert raised.value.hint == "include rejected to send them too"
