"""Events that wait for the vault: which those are, and that each is judged once; and what waits in the queue."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from builders import build_capture, build_new_event
from relay.model.delivery import NO_CHANGES, DeliveryChanges, NewDelivery, SignMode
from relay.model.event import EventOutcome, Verdict, Verification
from relay.store import BlockedWork, ClaimLimits
from relay.store.pending_verification import build_checked_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOCKED = Verification(verdict=Verdict.UNCHECKED, reason="vault_locked")
VERIFIED = Verification(verdict=Verdict.VERIFIED)


def event(key, source="stripe", outcome=EventOutcome.ACCEPTED):
    capture = build_capture(source, received_at=NOW, url="http://127.0.0.1/webhooks/stripe")
    return build_new_event(
        capture, provider=source, idempotency_key=key, outcome=outcome, verification=LOCKED, reason="vault_locked"
    )


def verified(new, **more):
    return replace(new, verification=VERIFIED, reason="", claims_key=True, **more)


OWED = (NewDelivery(target="app", action="forward"),)


async def test_only_what_waits_is_listed_in_the_order_it_came(store):
    for new in (event("a"), event("b", "shop"), event("c", outcome=EventOutcome.REJECTED), event("d")):
        await store.events.add(new)
    await store.events.add(replace(event("e"), reason="", verification=VERIFIED))
    assert await store.unchecked.page(0, 100, 10) == ((1, "stripe"), (2, "shop"), (4, "stripe"))
    assert await store.unchecked.page(1, 3, 10) == ((2, "shop"),)
    assert await store.unchecked.page(0, 100, 1) == ((1, "stripe"),)
    assert (await store.unchecked.count(), await store.unchecked.last()) == (3, 4)


async def test_a_verdict_is_written_once_and_owes_once(store):
    await store.events.add(event("a"))
    one = build_checked_event(1, verified(event("a")), OWED)
    [first] = await store.unchecked.settle([one], NOW)
    assert len(first.deliveries) == 1
    assert await store.unchecked.settle([one], NOW) == ()
    assert await store.deliveries.newest() == first.deliveries[0]
    row = await store.events.row(1)
    assert (row.verdict, row.reason, row.outcome) == ("verified", "", "accepted")


async def test_keys_are_claimed_in_order_also_within_a_batch_and_across_sources(store):
    for key, source in (("a", "stripe"), ("a", "stripe"), ("a", "shop"), ("b", "stripe")):
        await store.events.add(event(key, source))
    later = await store.events.add(replace(verified(event("b")), outcome=EventOutcome.ACCEPTED))
    keys = (("a", "stripe"), ("a", "stripe"), ("a", "shop"), ("b", "stripe"))
    batch = [build_checked_event(id_, verified(event(*key)), OWED) for id_, key in enumerate(keys, start=1)]
    made = await store.unchecked.settle(batch, NOW)
    assert [(one.outcome, one.duplicate_of, len(one.deliveries)) for one in made] == [
        ("accepted", None, 1),
        ("duplicate", 1, 0),
        ("accepted", None, 1),
        ("duplicate", later.id, 0),
    ]


async def test_a_rejected_one_is_counted_and_owes_nothing(store):
    await store.events.add(event("a"))
    invalid = Verification(verdict=Verdict.INVALID, reason="signature_mismatch")
    new = replace(event("a"), verification=invalid, reason="signature_mismatch", outcome=EventOutcome.REJECTED)
    await store.unchecked.settle([build_checked_event(1, new, ())], NOW)
    assert (await store.events.counts()).rejected == 1
    await store.events.delete(1)
    assert (await store.events.counts()).rejected == 0


async def test_looking_for_what_waits_reads_an_index_of_its_own(store):
    plan = await store.unchecked._readers.all(
        "EXPLAIN QUERY PLAN SELECT COUNT(*) FROM events INDEXED BY events_locked "
        "WHERE reason = 'vault_locked' AND outcome <> 'rejected'"
    )
    assert "events_locked" in plan[0]["detail"]


@pytest.fixture
def owe(store):
    async def add(target, source="stripe", action="forward", changes=NO_CHANGES):
        stored = await store.events.add(verified(event(None, source)))
        (id_,) = await store.deliveries.add(
            stored.id, [NewDelivery(target=target, action=action, changes=changes)], NOW
        )
        return id_

    return add


async def claimed(store, **limits):
    return [one.delivery.id for one in await store.deliveries.claim_due(NOW, ClaimLimits(**limits))]


@pytest.mark.parametrize("fifo", [frozenset(), frozenset({"app", "receipt"})])
async def test_what_waits_for_the_vault_is_not_claimed_and_holds_up_nobody_else(store, owe, fifo):
    mail = await owe("receipt", action="email")
    fresh = await owe("app")
    shop = await owe("app", "shop")
    waits = BlockedWork(
        targets=frozenset({"receipt"}), actions=frozenset({"email"}), signing={"app": frozenset({"stripe"})}
    )
    assert await claimed(store, fifo=fifo, waits=waits) == [shop]
    assert await claimed(store, fifo=fifo) == [mail, fresh]


@pytest.mark.parametrize("fifo", [frozenset(), frozenset({"app"})])
async def test_what_is_to_go_out_as_received_waits_for_no_vault(store, owe, fifo):
    waits = BlockedWork(signing={"app": frozenset({"stripe"})})
    as_received = await owe("app", changes=DeliveryChanges(sign=SignMode.ORIGINAL))
    await owe("app", changes=DeliveryChanges(sign=SignMode.FRESH))
    assert await claimed(store, fifo=fifo, waits=waits) == [as_received]


@pytest.mark.parametrize("fifo", [frozenset(), frozenset({"app"})])
async def test_mails_wait_beside_forwards_to_a_target_of_the_same_name(store, owe, fifo):
    mails = [await owe("app", "shop", action="email") for _ in range(30)]
    forward = await owe("app")
    assert await claimed(store, fifo=fifo, waits=BlockedWork(actions=frozenset({"email"}))) == [forward]
    assert (await claimed(store, fifo=fifo))[0] == mails[0]
