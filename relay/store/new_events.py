"""Inserts batches of new events with their deliveries, in a few statements."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from relay.model.counters import CounterLabel, CounterValue
from relay.model.delivery import NewDelivery
from relay.model.event import EventOutcome, EventRow, NewEvent
from relay.model.message import MessageTracking
from relay.model.request_items import RequestItems
from relay.model.signals import MessageChanged
from relay.model.values import dataclass
from relay.store import counters, row_mappers
from relay.store.delivery_queue import AwaitedDelivery, resolve_earlier_tries
from relay.store.event_keys import EventKeys, KeyHolder, SourceKey
from relay.store.message_statuses import apply_statuses, is_message_known
from relay.store.row_mappers import dump_delivery, insert_rows, to_micros

_LIGHT_BODY = 8 * 1024  # bytes


@dataclass(slots=True, kw_only=True)
class StoredEvent:
    """The outcome of a new event, its deliveries, and the messages it changed.

    `id` is the older one's where it was not kept. `unknown` is the status to answer with where it reports
    about no message that is known, 0 for anything else. `awaited` is the delivery whose answer the
    sender waits for, its own or that of an earlier try.
    """

    id: int = 0
    outcome: EventOutcome
    duplicate_of: int | None = None
    deliveries: tuple[int, ...] = ()
    planned: tuple[NewDelivery, ...] = ()
    moved: tuple[MessageChanged, ...] = ()
    unknown: int = 0
    awaited: AwaitedDelivery | None = None

    @property
    def build_row(self) -> Callable[[], EventRow] | None:
        """Return a function that builds its row without the store and without the bytes; None if there is no row."""
        return None


@dataclass(slots=True, kw_only=True)
class EventInsert(StoredEvent):
    """An event as columns. Built on the caller's thread, so that the writer's is left with SQL alone.

    `claim` is source and key, None for what claims none. `columns` are those of its row between id and outcome,
    `stored` those of its bytes, `queued` those of its deliveries. `answerer` is the target whose answer the sender
    waits for, "" for none.
    """

    claim: SourceKey | None
    deliver_duplicates: bool
    unless_known: bool
    received_at: int
    columns: tuple[Any, ...]
    stored: tuple[Any, ...]
    queued: tuple[tuple[Any, ...], ...]
    counted: tuple[int, str, str, str]
    prepared: tuple[EventOutcome, tuple[NewDelivery, ...], tuple[tuple[Any, ...], ...]]
    answerer: str = ""
    tracked: MessageTracking | None = None

    @property
    def build_row(self) -> Callable[[], EventRow]:
        """Return a function that builds its row; a queued signal may keep it."""
        values = (self.id, *self.columns, self.outcome, self.duplicate_of)
        return partial(row_mappers.read_inserted_event, values, self.unknown)

    @property
    def is_light(self) -> bool:
        """Return whether it takes only microseconds to write."""
        return self.tracked is None and len(self.stored[2]) <= _LIGHT_BODY


def prepare_insert(event: NewEvent, planned: tuple[NewDelivery, ...], answerer: str = "") -> EventInsert:
    """Return an event as the columns of its tables.

    SQLite takes text, whole numbers and bytearrays as they are; for bytes, None and booleans Python looks for an
    adapter first, which costs four times what the rest of binding a value does. So the statements know "" for NULL,
    and text for a blob of ASCII.
    """
    capture, verdict = event.capture, event.verification.verdict._value_
    received_at = to_micros(capture.received_at)
    claims = event.claims_key and event.idempotency_key is not None
    batch = RequestItems.of(event.events) if event.events else None
    queued = tuple([dump_delivery(capture.source, new, received_at) for new in planned])
    return EventInsert(
        claim=(capture.source, event.idempotency_key or "") if claims else None,
        deliver_duplicates=event.deliver_duplicates,
        unless_known=event.unless_known,
        received_at=received_at,
        columns=(
            received_at,
            capture.source,
            event.provider,
            event.type,
            event.idempotency_key,
            verdict,
            event.reason,
            capture.method,
            _build_blob(capture.path),
            _build_blob(capture.query),
            capture.header("Content-Type") or "",
            len(capture.body),
            hashlib.sha256(capture.body).digest(),
            capture.remote,
            int(event.sample),
            event.summary,
            int(event.recovered),
            "" if event.sent_at is None else to_micros(event.sent_at),
            event.status,
            json.dumps(batch.types) if batch and len(batch.types) > 1 else "",
            len(batch.order) if batch else 1,
        ),
        stored=(
            _build_blob(capture.url),
            _build_blob(row_mappers.format_headers(capture.headers)),
            capture.body,
            row_mappers.dump_checks(event.verification),
            row_mappers.dump_problems(event.problems),
            row_mappers.dump_batch(batch),
        ),
        planned=planned,
        queued=queued,
        counted=(received_at // 60_000_000, capture.source, verdict, event.reason),
        outcome=event.outcome,
        prepared=(event.outcome, planned, queued),
        answerer=answerer,
        tracked=event.tracked,
    )


def _build_blob(text: str) -> str | bytes:
    return text if text.isascii() else text.encode("latin-1", "replace")


def insert_events(keys: EventKeys, connection: sqlite3.Connection, batch: list[EventInsert]) -> list[StoredEvent]:
    """Insert events with their bytes, claims and deliveries inside the writer's transaction, and return them."""
    for item in batch:
        if item.id:
            _reset(item)
    taken = keys.find_holders(connection, [item.claim for item in batch if item.claim is not None])
    # Ids are known in advance: there is one writer, and AUTOINCREMENT counts up by one.
    last = dict(connection.execute("SELECT name, seq FROM sqlite_sequence WHERE name IN ('events', 'deliveries')"))
    first_id = next_id = last.get("events", 0) + 1
    claimed: dict[SourceKey, int] = {}
    kept: list[EventInsert] = []
    results: list[StoredEvent] = []
    for item in batch:
        if item.claim is not None:
            holder = taken.get(item.claim)
            if holder is not None and item.unless_known:
                results.append(StoredEvent(id=holder.id, outcome=EventOutcome.DUPLICATE, duplicate_of=holder.id))
                continue
            if holder is None or _take_key(connection, item, holder, stored_below=first_id):
                if holder is not None and holder.id < first_id:
                    keys.release(connection, item.claim, holder)
                taken[item.claim] = KeyHolder(next_id, item.outcome is EventOutcome.IGNORED)
                claimed[item.claim] = next_id
        item.id = next_id
        kept.append(item)
        results.append(item)
        next_id += 1
    # One flat list: a tuple for each row would cost more than everything else here.
    rows: list[Any] = []
    stored: list[Any] = []
    for item in kept:
        rows.append(item.id)
        rows += item.columns
        rows += (item.outcome._value_, item.duplicate_of or "")
        stored.append(item.id)
        stored += item.stored
    insert_rows(connection, "events", rows, len(kept))
    insert_rows(connection, "event_bytes", stored, len(kept))
    keys.claim(connection, claimed)
    _insert_deliveries(connection, kept, last.get("deliveries", 0) + 1)
    _count_events(connection, kept)
    _apply_statuses(connection, kept)
    return results


def _reset(item: EventInsert) -> None:
    """Reset an event to its prepared state: it was in a batch that failed, and alone may not be a duplicate."""
    item.outcome, item.planned, item.queued = item.prepared
    item.duplicate_of, item.awaited, item.deliveries, item.moved, item.unknown = None, None, (), (), 0


def _take_key(connection: sqlite3.Connection, item: EventInsert, holder: KeyHolder, *, stored_below: int) -> bool:
    """Decide the outcome of an event whose key another event has; return whether it takes over the key."""
    delivers = item.outcome is EventOutcome.ACCEPTED and not item.deliver_duplicates
    if delivers and holder.ignored:
        return True
    item.duplicate_of = holder.id
    if not delivers:
        return False
    if item.answerer and holder.id < stored_below:
        found = resolve_earlier_tries(connection, holder.id, item.planned, item.answerer, item.received_at)
        item.awaited, item.planned = found.awaited, found.planned
        item.queued = tuple([dump_delivery(item.counted[1], new, item.received_at) for new in found.planned])
        if item.planned:
            return True
    item.outcome, item.planned = EventOutcome.DUPLICATE, ()
    return False


def _insert_deliveries(connection: sqlite3.Connection, kept: list[EventInsert], next_id: int) -> None:
    rows: list[Any] = []
    count = 0
    made: dict[int, EventInsert] = {}
    for item in kept:
        if item.planned:
            item.deliveries = tuple(range(next_id + count, next_id + count + len(item.planned)))
            count += len(item.planned)
            for values in item.queued:
                rows.append(item.id)
                rows += values
            made[item.id] = item
    insert_rows(connection, "deliveries", rows, count)
    for item in kept:
        # The delivery whose response a sender waits for: its own, or that of another try in the same batch.
        first = item.duplicate_of if item.outcome is EventOutcome.DUPLICATE else item.id
        if item.answerer and first in made:
            pairs = zip(made[first].planned, made[first].deliveries, strict=True)
            found = (id_ for new, id_ in pairs if new.target == item.answerer)
            item.awaited = next((AwaitedDelivery(id_, 0) for id_ in found), None)


def _count_events(connection: sqlite3.Connection, kept: list[EventInsert]) -> None:
    rejected = sum(item.outcome is EventOutcome.REJECTED for item in kept)
    for name, count in (("events", len(kept)), ("rejected", rejected)):
        if count:
            connection.execute("UPDATE counters SET value = value + ? WHERE name = ?", (count, name))
    found = Counter([(*item.counted, item.outcome) for item in kept])
    labels = [
        (CounterLabel(minute, "event", source, verdict, outcome.value, reason), count)
        for (minute, source, verdict, reason, outcome), count in found.items()
    ]
    counters.add_counts(connection, [CounterValue(label, count) for label, count in labels])


def _apply_statuses(connection: sqlite3.Connection, kept: list[EventInsert]) -> None:
    """Update the messages that events report on, in the same transaction: a retry would be a duplicate."""
    for item in kept:
        if item.tracked is None:
            continue
        if item.outcome is EventOutcome.DUPLICATE:
            unknown = not is_message_known(connection, item.received_at, item.tracked)
        else:
            followed = apply_statuses(connection, item.id, item.received_at, item.tracked)
            item.moved, unknown = followed.moved, followed.unknown
        if unknown and item.tracked.matching.unknown != 200:
            item.unknown = item.tracked.matching.unknown
            connection.execute("UPDATE events SET status = ? WHERE id = ?", (item.unknown, item.id))
