from datetime import UTC, datetime, timedelta

import pytest

from builders import build_capture, build_new_event
from relay.model.batch import BatchState, BatchStep, NewBatch
from relay.model.delivery import Attempt, DeliveryReason, DeliveryState, NewDelivery
from relay.model.event import Verdict, Verification
from relay.store import ClaimLimits
from relay.store.deliveries import AttemptRecord

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIFO = ClaimLimits(fifo=frozenset({"app"}))


@pytest.fixture
def owe(store):
    """Keep an event of a source and owe a delivery of it; return the delivery's id."""

    async def add(target="app", source="stripe", reason=DeliveryReason.ROUTED, after=0.0, action="forward") -> int:
        capture = build_capture(source, received_at=NOW)
        event = build_new_event(capture, provider=source, verification=Verification(verdict=Verdict.UNSIGNED))
        stored = await store.events.add(event)
        new = NewDelivery(target=target, action=action, reason=reason, asked=reason is not DeliveryReason.ROUTED)
        (id_,) = await store.deliveries.add(stored.id, [new], NOW + timedelta(seconds=after))
        return id_

    return add


async def claimed(store, limits=None, after=0.0):
    found = await store.deliveries.claim_due(NOW + timedelta(seconds=after), limits or ClaimLimits())
    assert all(one.event.id == one.delivery.event_id for one in found)
    return [one.delivery.id for one in found]


async def fail(store, id_, state=DeliveryState.PENDING, due=60.0, delivery=None):
    delivery = delivery or await store.deliveries.get(id_)
    number = delivery.attempts + 1
    attempt = Attempt(
        delivery_id=id_, number=number, started_at=NOW, took=0.1, outcome="retry", detail="connection refused"
    )
    await store.deliveries.settle_all([AttemptRecord(delivery, attempt, state, NOW + timedelta(seconds=due))])


async def test_one_targets_long_queue_does_not_hold_up_another(store, owe):
    slow = [await owe("slow") for _ in range(40)]
    quick = await owe("quick")
    assert await claimed(store, ClaimLimits(running={"slow": 4})) == [quick]
    assert await claimed(store) == slow[:4]


async def test_what_falls_due_first_goes_first(store, owe):
    later = await owe(after=5)
    sooner = await owe(after=1)
    assert await claimed(store, ClaimLimits(each=1), after=6) == [sooner]
    assert await claimed(store, ClaimLimits(each=1), after=6) == [later]


async def test_the_total_is_never_exceeded(store, owe):
    for target in "abcdef":
        for _ in range(6):
            await owe(target)
    assert len(await claimed(store, ClaimLimits(total=16))) == 16
    assert await claimed(store, ClaimLimits(total=0)) == []


@pytest.mark.parametrize("fifo", [frozenset(), frozenset({"app"})])
async def test_a_target_that_is_down_gets_no_routed_delivery(store, owe, fifo):
    await owe()
    other = await owe("other")
    assert await claimed(store, ClaimLimits(held=frozenset({"app"}), fifo=fifo)) == [other]


async def test_what_a_person_asked_for_is_tried_once_on_a_target_that_is_down(store, owe):
    await owe()
    held = ClaimLimits(held=frozenset({"app"}))
    asked = [await owe(reason=DeliveryReason.REPLAY), await owe(reason=DeliveryReason.MANUAL)]
    assert await claimed(store, held) == asked
    for id_ in asked:
        await fail(store, id_, due=0.0)
    assert await claimed(store, held) == []
    await store.deliveries.retry(asked[1], NOW)
    assert await claimed(store, held) == asked[1:]


async def test_a_target_takes_as_many_at_once_as_it_says(store, owe):
    ids = [await owe() for _ in range(9)]
    limits = ClaimLimits(most={"app": 7}, running={"app": 1})
    assert await claimed(store, limits) == ids[:6]


async def test_where_least_runs_is_served_first(store, owe):
    for target in "abcd":
        for _ in range(6):
            await owe(target)
    last = await owe("z")
    running = dict.fromkeys("abcd", 3)
    assert last in await claimed(store, ClaimLimits(total=4, running=running))


async def test_the_head_that_waits_for_a_retry_holds_its_own_source_alone(store, owe):
    head = await owe()
    behind = await owe()
    elsewhere = await owe(source="github")
    assert await claimed(store, FIFO) == [head, elsewhere]
    await fail(store, head)
    await fail(store, elsewhere, DeliveryState.FAILED)
    next_elsewhere = await owe(source="github")
    assert await claimed(store, FIFO) == [next_elsewhere]
    assert await claimed(store, FIFO, after=60) == [head]
    await fail(store, head, DeliveryState.FAILED)
    assert await claimed(store, FIFO, after=60) == [behind]


async def test_a_retried_older_one_does_not_overtake_what_runs(store, owe):
    older = await owe()
    await fail(store, older, DeliveryState.FAILED)
    newer = await owe()
    assert await claimed(store, FIFO) == [newer]
    await store.deliveries.retry(older, NOW)
    assert await claimed(store, FIFO) == []


@pytest.mark.parametrize("fifo", [frozenset(), frozenset({"app"})])
async def test_a_clock_that_was_set_back_strands_nothing(store, owe, fifo):
    await owe(after=3600)
    far = await owe(after=10_000, source="github")
    assert await claimed(store, ClaimLimits(horizon=7200, fifo=fifo)) == [far]


@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("fifo", [frozenset(), frozenset({"app"})])
async def test_what_an_earlier_run_owes_is_left_alone_when_asked(store, owe, fifo, is_running):
    old = await owe()
    if is_running:
        assert await claimed(store) == [old]
    new = await owe()
    assert await claimed(store, ClaimLimits(above=old, fifo=fifo)) == [new]


async def test_the_next_due_is_the_next_one_ahead(store, owe):
    await owe()
    await owe(after=9)
    first_ahead = await owe(after=4)
    assert await store.deliveries.next_due(NOW) == NOW + timedelta(seconds=4)
    assert await store.deliveries.next_due(NOW, above=first_ahead) is None


async def test_at_a_target_that_is_down_only_what_was_asked_for_falls_due(store, owe):
    await owe(after=4)
    await owe("other", after=9)
    assert await store.deliveries.next_due(NOW, held={"app"}) == NOW + timedelta(seconds=9)
    await owe(reason=DeliveryReason.REPLAY, after=6)
    assert await store.deliveries.next_due(NOW, held={"app"}) == NOW + timedelta(seconds=6)


async def test_what_could_not_reach_a_target_is_hastened_when_it_is_back(store, owe):
    refused, untried, elsewhere = await owe(), await owe(after=30), await owe("other")
    await claimed(store)
    await fail(store, refused)
    await fail(store, elsewhere)
    assert await store.deliveries.make_due("app", NOW + timedelta(seconds=5)) == 1
    assert (await store.deliveries.get(refused)).due_at == NOW
    assert await claimed(store) == [refused]
    assert (await store.deliveries.get(untried)).due_at == NOW + timedelta(seconds=30)


async def test_what_a_handler_asked_to_wait_keeps_waiting_when_its_file_is_back(store, owe):
    asked = await owe(action="handler")
    await claimed(store)
    await fail(store, asked)
    assert await store.deliveries.make_due("app", NOW + timedelta(seconds=5)) == 0
    assert (await store.deliveries.get(asked)).due_at == NOW + timedelta(seconds=60)


async def test_what_was_put_off_untried_is_looked_at_after_a_restart_and_a_retry_keeps_its_time(store, owe):
    put_off, tried = await owe(), await owe()
    await claimed(store)
    await store.deliveries.postpone(put_off, NOW + timedelta(hours=1), "the hourly limit is reached")
    await fail(store, tried, due=60.0)
    await store.deliveries.recover()
    assert await claimed(store) == [put_off]
    assert (await store.deliveries.get(tried)).due_at == NOW + timedelta(seconds=60)


@pytest.fixture
async def ended_batch(store, owe):
    """Claim a delivery of a bulk replay, then cancel that; return the delivery's id."""
    event = (await store.deliveries.get(await owe(after=900))).event_id
    batch = await store.batches.add(
        NewBatch(query="", target="app"), (BatchStep(event_id=event, target="app"),), now=NOW
    )

    def build(target):
        return NewDelivery(target=target, action="forward", reason=DeliveryReason.REPLAY, batch=batch)

    ((id_, _),) = await store.batches.advance(batch, 1, build, NOW)
    assert await claimed(store) == [id_]
    assert await store.batches.end(batch, BatchState.CANCELLED, NOW) == ()
    return id_


@pytest.mark.parametrize(
    "give_back",
    [
        lambda deliveries, id_: deliveries.release([id_]),
        lambda deliveries, id_: deliveries.recover(),
        lambda deliveries, id_: deliveries.postpone(id_, NOW, "later"),
    ],
    ids=["released", "recovered", "postponed"],
)
async def test_what_is_given_back_of_a_bulk_replay_that_was_cancelled_is_not_sent(store, ended_batch, give_back):
    await give_back(store.deliveries, ended_batch)
    assert (await store.deliveries.get(ended_batch)).state is DeliveryState.CANCELLED


async def test_what_a_person_retries_of_a_cancelled_bulk_replay_keeps_its_attempts(store, ended_batch):
    await fail(store, ended_batch)
    assert (await store.deliveries.get(ended_batch)).state is DeliveryState.CANCELLED
    for number in (1, 2):
        await store.deliveries.retry_all(DeliveryState.CANCELLED, "app", NOW + timedelta(seconds=number))
        assert await claimed(store, after=number) == [ended_batch]
        await fail(store, ended_batch)
        assert (await store.deliveries.get(ended_batch)).state is DeliveryState.PENDING
        await store.deliveries.cancel(ended_batch)


@pytest.mark.parametrize("tried", [False, True])
async def test_what_a_person_retried_of_a_cancelled_bulk_replay_is_tried_on_after_a_restart_and_an_outage(
    store, ended_batch, tried
):
    await store.deliveries.release([ended_batch])
    await store.deliveries.retry(ended_batch, NOW + timedelta(seconds=1))
    if tried:
        assert await claimed(store, after=1) == [ended_batch]
        await fail(store, ended_batch)
        assert await store.deliveries.make_due("app", NOW + timedelta(seconds=2)) == 1
    await store.deliveries.recover()
    assert await claimed(store, after=2) == [ended_batch]
    await fail(store, ended_batch)
    assert (await store.deliveries.get(ended_batch)).state is DeliveryState.PENDING


async def test_an_attempt_of_a_delivery_that_is_gone_is_dropped(store, owe):
    id_ = await owe()
    delivery = await store.deliveries.get(id_)
    await store.events.delete(delivery.event_id)
    await fail(store, id_, delivery=delivery)
    assert await store.deliveries.attempts(id_) == ()
    assert not [one for one in await store.counters.totals() if one.label.kind == "attempt"]
