"""Events received while the vault was locked: listing them, and recording the result of their check.

The one place where a stored event's verdict changes, and it changes once.
"""

import sqlite3
from dataclasses import replace
from datetime import datetime

from relay.model.delivery import NewDelivery
from relay.model.event import EventOutcome, NewEvent
from relay.model.signals import MessageChanged
from relay.model.values import dataclass
from relay.store import row_mappers
from relay.store.event_keys import EventKeys
from relay.store.message_statuses import apply_statuses
from relay.store.new_events import StoredEvent
from relay.store.readers import Readers, Repository
from relay.store.row_mappers import insert_delivery, to_micros
from relay.store.writer import Writer

# Exactly as in the index, or SQLite would not use it.
_PENDING = "reason = 'vault_locked' AND outcome <> 'rejected'"
_FROM_PENDING = f"FROM events INDEXED BY events_locked WHERE {_PENDING}"


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    """An event after its check, with the deliveries that it causes."""

    id: int
    event: NewEvent
    planned: tuple[NewDelivery, ...]


def build_checked_event(id_: int, event: NewEvent, planned: tuple[NewDelivery, ...]) -> CheckedEvent:
    """Return the data to store for an event, without its body, so that many of them may wait for one commit."""
    return CheckedEvent(id_, replace(event, capture=replace(event.capture, body=b""), events=None), planned)


class PendingVerification(Repository):
    """Reads and writes events that wait for the vault."""

    def __init__(self, writer: Writer, readers: Readers, keys: EventKeys) -> None:
        super().__init__(writer, readers)
        self._keys = keys

    async def page(self, after: int, last: int, limit: int) -> tuple[tuple[int, str], ...]:
        """Return ids and sources of waiting events above `after` and up to `last`, in the order received."""
        sql = f"SELECT id, source {_FROM_PENDING} AND id > ? AND id <= ? ORDER BY id LIMIT ?"
        return tuple((row[0], row[1]) for row in await self._readers.all(sql, (after, last, limit)))

    async def last(self) -> int:
        """Return the id of the newest waiting event; 0 if there is none."""
        return await self._readers.number(f"SELECT MAX(id) {_FROM_PENDING}")

    async def count(self) -> int:
        """Return how many events wait."""
        return await self._readers.number(f"SELECT COUNT(*) {_FROM_PENDING}")

    async def settle(self, batch: list[CheckedEvent], now: datetime) -> tuple[StoredEvent, ...]:
        """Store verdicts, the keys they claim and their deliveries in one transaction.

        A key that another event has makes the event its duplicate. An event that is gone, or does not
        wait any more, is passed over; the others come back as they stand now, in order.
        """
        made = await self._writer.write(
            lambda connection: [_record_verdict(self._keys, connection, one, to_micros(now)) for one in batch]
        )
        return tuple(one for one in made if one is not None)


def _record_verdict(keys: EventKeys, connection: sqlite3.Connection, one: CheckedEvent, now: int) -> StoredEvent | None:
    waits = connection.execute(f"SELECT 1 FROM events WHERE id = ? AND {_PENDING}", (one.id,)).fetchone()
    if waits is None:
        return None
    event, planned, outcome = one.event, one.planned, one.event.outcome
    duplicate_of = _claim_key(keys, connection, one.id, event) if event.claims_key else None
    if duplicate_of is not None and not event.deliver_duplicates and outcome is EventOutcome.ACCEPTED:
        outcome, planned = EventOutcome.DUPLICATE, ()
    connection.execute(
        "UPDATE events SET verdict = ?, reason = ?, outcome = ?, duplicate_of = ? WHERE id = ?",
        (event.verification.verdict.value, event.reason, outcome.value, duplicate_of, one.id),
    )
    url, checks = event.capture.url.encode("latin-1", "replace"), row_mappers.dump_checks(event.verification)
    connection.execute("UPDATE event_bytes SET url = ?, checks = ? WHERE event_id = ?", (url, checks, one.id))
    if outcome is EventOutcome.REJECTED:
        connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'rejected'")
    made = tuple(insert_delivery(connection, one.id, event.capture.source, new, now) for new in planned)
    moved: tuple[MessageChanged, ...] = ()
    if event.tracked is not None and outcome is EventOutcome.ACCEPTED:
        moved = apply_statuses(connection, one.id, to_micros(event.capture.received_at), event.tracked).moved
    return StoredEvent(id=one.id, outcome=outcome, duplicate_of=duplicate_of, deliveries=made, moved=moved)


def _claim_key(keys: EventKeys, connection: sqlite3.Connection, id_: int, event: NewEvent) -> int | None:
    """Claim the key of an event; return the event that has it already, if any."""
    if event.idempotency_key is None:
        return None
    claim = (event.capture.source, event.idempotency_key)
    holder = keys.find_holders(connection, [claim]).get(claim)
    if holder is not None:
        if not (holder.ignored and event.outcome is EventOutcome.ACCEPTED):
            return holder.id
        keys.release(connection, claim, holder)
    keys.claim(connection, {claim: id_})
    return None
