"""What was recovered is kept unless its key is known, inside the transaction that would keep it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from builders import build_capture, build_new_event
from relay.model.delivery import NewDelivery
from relay.model.event import EventOutcome
from relay.model.search import parse_query

NOW = datetime(2026, 11, 22, 14, 7, 31, 482_123, tzinfo=UTC)
APP = NewDelivery(target="app", action="forward")


def live(key):
    capture = build_capture(received_at=NOW)
    return build_new_event(capture, provider="stripe", type="invoice.paid", idempotency_key=key, claims_key=True)


def recovered(key):
    sent_at = NOW - timedelta(hours=2)
    return replace(live(key), recovered=True, sent_at=sent_at, unless_known=True, status=0)


async def test_what_is_known_is_not_kept_and_owes_nothing(store):
    first = await store.events.add(live("evt_1"), (APP,))
    again = await store.events.add(recovered("evt_1"), (APP,))
    assert (again.id, again.outcome, again.duplicate_of) == (first.id, EventOutcome.DUPLICATE, first.id)
    assert again.deliveries == ()
    assert len((await store.events.page()).rows) == (await store.events.counts()).events == 1
    assert len(await store.deliveries.page()) == 1


async def test_what_is_new_is_kept_with_the_time_it_was_sent(store):
    stored = await store.events.add(recovered("evt_1"), (APP,))
    row = (await store.events.get(stored.id)).row
    assert (row.recovered, row.sent_at, row.received_at) == (True, NOW - timedelta(hours=2), NOW)
    assert len(stored.deliveries) == 1
    later = await store.events.add(live("evt_1"), (APP,))
    assert (later.outcome, later.duplicate_of) == (EventOutcome.DUPLICATE, stored.id)
    assert (await store.events.get(later.id)).row.recovered is False
    found = await store.events.page(parse_query("is:recovered", NOW))
    assert [one.id for one in found.rows] == [stored.id]
    assert [one.id for one in (await store.events.page(parse_query("-is:recovered", NOW))).rows] == [later.id]


async def test_in_one_batch_with_what_comes_live_each_key_is_kept_once(store):
    # All of it waits together, so the writer takes it in one transaction.
    keys = [f"evt_{number % 7}" for number in range(60)]
    made = [recovered(key) if number % 2 else live(key) for number, key in enumerate(keys)]
    stored = await asyncio.gather(*(store.events.add(event, (APP,)) for event in made))
    rows = {row.id: row for row in (await store.events.page(limit=100)).rows}
    accepted = [row for row in rows.values() if row.outcome is EventOutcome.ACCEPTED]
    assert sorted(row.idempotency_key for row in accepted) == sorted(set(keys))
    assert len(rows) == (await store.events.counts()).events
    for event, kept in zip(made, stored, strict=True):
        assert rows[kept.id].idempotency_key == event.idempotency_key
        assert len(kept.deliveries) == (kept.outcome is EventOutcome.ACCEPTED)
    assert len(await store.deliveries.page()) == len(accepted)


async def test_the_keys_that_are_claimed_are_told(store):
    await store.events.add(live("evt_1"))
    await store.events.add(replace(live("evt_2"), claims_key=False))
    await store.events.add(replace(live("evt_3"), capture=replace(live("x").capture, source="other")))
    asked = {f"evt_{number}" for number in range(1200)}
    assert await store.keys.filter_claimed("stripe", asked) == {"evt_1"}
    assert await store.keys.filter_claimed("other", asked) == {"evt_3"}
    assert await store.keys.filter_claimed("stripe", ()) == frozenset()
