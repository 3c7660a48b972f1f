"""New events on their way in: a whole batch with its deliveries, in a handful of statements."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from relay.model.counters import CounterLabel, CounterValue
from relay.model.delivery import NewDelivery
from relay.model.event import EventOutcome, NewEvent
from relay.model.message import MessageTracking
from relay.model.request_items import RequestItems
from relay.model.signals import MessageChanged
from relay.store import counters, row_mappers
from relay.store.deliveries import DELIVERY_COLUMNS, delivery_values
from relay.store.delivery_queue import AwaitedDelivery, resolve_earlier_tries
from relay.store.message_statuses import apply_statuses, is_message_known
from relay.store.row_mappers import to_micros

_EVENT_COLUMNS = (
    "received_at, source, provider, type, idempotency_key, verdict, reason, method, path, query, content_type, "
    "size, sha256, remote, sample, summary, recovered, sent_at, status, types, item_count, outcome, duplicate_of"
)
_BYTES_COLUMNS = "event_id, url, headers, body, checks, problems, batch"
# Sizes a batch is cut into. Few, so that every statement stays prepared: one for each size of batch
# would be parsed again each time, which costs more than running it.
_PORTIONS = (64, 16, 4, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """The outcome of a new event, its deliveries, and the messages it moved.

    `id` is the older one's where it was not kept. `unknown` is the status to answer with where it told
    of no message that is known, 0 for anything else. `awaited` is the delivery whose answer the
    sender waits for, its own or that of an earlier try.
    """

    id: int
    outcome: EventOutcome
    duplicate_of: int | None
    deliveries: tuple[int, ...]
    moved: tuple[MessageChanged, ...] = ()
    unknown: int = 0
    awaited: AwaitedDelivery | None = None


@dataclass(slots=True, kw_only=True)
class EventInsert:
    """An event as columns. Built on the caller's thread, so that the writer's is left with SQL alone.

    `claim` is source and key, None for what claims none. `answerer` is the target whose answer the sender
    waits for, "" for none.
    """

    claim: tuple[str, str] | None
    deliver_duplicates: bool
    unless_known: bool
    received_at: int
    source: str
    verdict: str
    reason: str
    columns: tuple[Any, ...]
    stored: tuple[Any, ...]
    planned: tuple[NewDelivery, ...]
    outcome: EventOutcome
    answerer: str = ""
    awaited: AwaitedDelivery | None = None
    tracked: MessageTracking | None = None
    duplicate_of: int | None = None
    moved: tuple[MessageChanged, ...] = ()
    unknown: int = 0
    id: int = 0


def prepare_insert(event: NewEvent, planned: tuple[NewDelivery, ...], answerer: str = "") -> EventInsert:
    """Return an event as the columns of its tables."""
    capture = event.capture
    received_at = to_micros(capture.received_at)
    claims = event.claims_key and event.idempotency_key is not None
    batch = RequestItems.of(event.events) if event.events else None
    return EventInsert(
        claim=(capture.source, event.idempotency_key or "") if claims else None,
        deliver_duplicates=event.deliver_duplicates,
        unless_known=event.unless_known,
        received_at=received_at,
        source=capture.source,
        verdict=event.verification.verdict.value,
        reason=event.reason,
        columns=(
            received_at,
            capture.source,
            event.provider,
            event.type,
            event.idempotency_key,
            event.verification.verdict.value,
            event.reason,
            capture.method,
            capture.path.encode("latin-1"),
            capture.query.encode("latin-1"),
            capture.header("Content-Type") or "",
            len(capture.body),
            hashlib.sha256(capture.body).digest(),
            capture.remote,
            event.sample,
            event.summary,
            event.recovered,
            None if event.sent_at is None else to_micros(event.sent_at),
            event.status,
            json.dumps(batch.types) if batch and len(batch.types) > 1 else None,
            len(batch.order) if batch else 1,
        ),
        stored=(
            capture.url.encode("latin-1", "replace"),
            row_mappers.dump_headers(capture.headers),
            capture.body,
            row_mappers.dump_checks(event.verification),
            row_mappers.dump_problems(event.problems),
            row_mappers.dump_batch(batch),
        ),
        planned=planned,
        outcome=event.outcome,
        answerer=answerer,
        tracked=event.tracked,
    )


def insert_events(connection: sqlite3.Connection, batch: list[EventInsert]) -> list[StoredEvent]:
    """Insert events with their bytes, claims and deliveries inside the writer's transaction."""
    taken = _find_key_holders(connection, [item.claim for item in batch if item.claim is not None])
    # Ids are known beforehand: there is one writer, and AUTOINCREMENT counts up by one.
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    first_id = next_id = (row[0] if row else 0) + 1
    claimed: dict[tuple[str, str], int] = {}
    kept: list[EventInsert] = []
    for item in batch:
        item.id = next_id
        if item.claim is not None:
            holder = taken.get(item.claim)
            if holder is not None and item.unless_known:
                item.id, item.duplicate_of, item.planned = holder.id, holder.id, ()
                item.outcome = EventOutcome.DUPLICATE
                continue
            if _take_key(connection, item, holder, stored_below=first_id):
                taken[item.claim] = _Holder(item.id, item.outcome is EventOutcome.IGNORED)
                claimed[item.claim] = item.id
        kept.append(item)
        next_id += 1
    events = [(*item.columns, item.outcome.value, item.duplicate_of) for item in kept]
    _insert_rows(connection, f"events ({_EVENT_COLUMNS})", events)
    _update_counters(connection, kept)
    counters.add_counts(connection, [_build_counter_value(item) for item in kept])
    _insert_rows(connection, f"event_bytes ({_BYTES_COLUMNS})", [(item.id, *item.stored) for item in kept])
    _insert_rows(connection, "keys", [(*claim, id_) for claim, id_ in claimed.items()], verb="REPLACE")
    made = _insert_deliveries(connection, kept)
    _find_awaited(kept, made)
    _apply_statuses(connection, kept)
    return [
        StoredEvent(
            id=item.id,
            outcome=item.outcome,
            duplicate_of=item.duplicate_of,
            deliveries=made.get(item.id, ()) if item.planned else (),
            moved=item.moved,
            unknown=item.unknown,
            awaited=item.awaited,
        )
        for item in batch
    ]


@dataclass(frozen=True, slots=True)
class _Holder:
    """The event that has a key. One that was `ignored` gives it up to the first that is not."""

    id: int
    ignored: bool


def _take_key(connection: sqlite3.Connection, item: EventInsert, holder: _Holder | None, *, stored_below: int) -> bool:
    """Decide the outcome of an event whose key another one may have; return whether it has the key from now on."""
    if holder is None:
        return True
    wanted = item.outcome is EventOutcome.ACCEPTED and not item.deliver_duplicates
    if wanted and holder.ignored:
        return True
    item.duplicate_of = holder.id
    if not wanted:
        return False
    if item.answerer and holder.id < stored_below:
        found = resolve_earlier_tries(connection, holder.id, item.planned, item.answerer, item.received_at)
        item.awaited, item.planned = found.awaited, found.planned
        if item.planned:
            return True
    item.outcome, item.planned = EventOutcome.DUPLICATE, ()
    return False


def _find_awaited(kept: list[EventInsert], made: dict[int, tuple[int, ...]]) -> None:
    """Say whose answer a sender waits for: its own delivery's, or that of another try in the same batch."""
    planned = {item.id: item.planned for item in kept if item.id in made}
    for item in kept:
        event = item.duplicate_of if item.outcome is EventOutcome.DUPLICATE else item.id
        if item.answerer and event in made:
            pairs = zip(planned[event], made[event], strict=True)
            found = (id_ for new, id_ in pairs if new.target == item.answerer)
            item.awaited = next((AwaitedDelivery(id_, 0) for id_ in found), None)


def _build_counter_value(item: EventInsert) -> CounterValue:
    label = CounterLabel(
        item.received_at // 60_000_000, "event", item.source, item.verdict, item.outcome.value, item.reason
    )
    return CounterValue(label, 1)


def _update_counters(connection: sqlite3.Connection, batch: list[EventInsert]) -> None:
    rejected = sum(item.outcome is EventOutcome.REJECTED for item in batch)
    sql = "UPDATE counters SET value = value + ? WHERE name = ?"
    connection.execute(sql, (len(batch), "events"))
    if rejected:
        connection.execute(sql, (rejected, "rejected"))


def _apply_statuses(connection: sqlite3.Connection, kept: list[EventInsert]) -> None:
    """Move the messages that events report about, with the events themselves: a retry would be a duplicate."""
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


def _find_key_holders(connection: sqlite3.Connection, claims: list[tuple[str, str]]) -> dict[tuple[str, str], _Holder]:
    found: dict[tuple[str, str], _Holder] = {}
    for some in _split_portions(claims):
        marks = ",".join(["(?,?)"] * len(some))
        # Walked from the list into the index; `(source, key) IN (…)` would read every key there is.
        sql = (
            f"WITH claims (source, key) AS (VALUES {marks}) SELECT keys.source, keys.key, event_id, "
            "(SELECT outcome = 'ignored' FROM events WHERE id = event_id) "
            "FROM claims CROSS JOIN keys ON keys.source = claims.source AND keys.key = claims.key"
        )
        values = [value for claim in some for value in claim]
        for source, key, id_, ignored in connection.execute(sql, values):
            found[source, key] = _Holder(id_, bool(ignored))
    return found


def _insert_deliveries(connection: sqlite3.Connection, batch: list[EventInsert]) -> dict[int, tuple[int, ...]]:
    planned = [
        (item.id, delivery_values(item.id, item.source, new, item.received_at))
        for item in batch
        for new in item.planned
    ]
    if not planned:
        return {}
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'deliveries'").fetchone()
    first = (row[0] if row else 0) + 1
    _insert_rows(connection, f"deliveries ({DELIVERY_COLUMNS})", [values for _, values in planned])
    made: dict[int, tuple[int, ...]] = {}
    for delivery, (event, _) in enumerate(planned, start=first):
        made[event] = (*made.get(event, ()), delivery)
    return made


def _insert_rows(
    connection: sqlite3.Connection, table: str, values: list[tuple[Any, ...]], *, verb: str = "INSERT"
) -> None:
    for some in _split_portions(values):
        marks = f"({','.join('?' * len(some[0]))})"
        sql = f"{verb} INTO {table} VALUES {','.join([marks] * len(some))}"
        connection.execute(sql, [value for row in some for value in row])


def _split_portions(values: list[Any]) -> Iterator[list[Any]]:
    at = 0
    for size in _PORTIONS:
        while len(values) - at >= size:
            yield values[at : at + size]
            at += size
