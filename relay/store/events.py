"""Events in the store: stored with their deliveries in one transaction, listed by keyset, never changed."""

import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from functools import partial
from math import inf
from typing import Any

from relay.errors import NotFoundError
from relay.model.delivery import NewDelivery
from relay.model.event import CapturedEvent, EventRow, NewEvent
from relay.model.search import EVERYTHING, Query
from relay.model.values import dataclass
from relay.store import row_mappers
from relay.store.event_keys import EventKeys
from relay.store.full_text import Indexer
from relay.store.new_events import EventInsert, StoredEvent, insert_events, prepare_insert
from relay.store.readers import Readers, Repository, limit_id
from relay.store.row_mappers import EVENT_COLUMNS, to_micros
from relay.store.search import CompiledQuery, compile_query
from relay.store.writer import Callback, Writer

_WINDOW = 20_000  # events examined at a time by a filtered search
_BODIES = 2_000  # the same, if bodies have to be read
_INDEXING = 0.3  # seconds that a search waits for older events to be indexed
_AT_ONCE = 500  # events in one statement or page of a bulk operation
_MAX_ID = 2**62
_HINT = "relay events lists them"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events newest first. `next_before` is None at the end; `searched_to` is set when time ran out."""

    rows: tuple[EventRow, ...]
    next_before: int | None
    took: float
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCounts:
    """Stored counters: never a COUNT over all events."""

    events: int
    rejected: int
    failing: int
    queued: int


class Events(Repository):
    """Reads and writes events."""

    def __init__(self, writer: Writer, readers: Readers, indexer: Indexer, keys: EventKeys) -> None:
        super().__init__(writer, readers)
        self._keys = keys
        self._insert = partial(insert_events, keys)
        self._indexer = indexer

    async def add(self, event: NewEvent, planned: tuple[NewDelivery, ...] = (), *, answerer: str = "") -> StoredEvent:
        """Store an event and its deliveries in one transaction; on return it is on disk.

        A key seen before makes it a duplicate and drops its deliveries, unless its source delivers
        duplicates, or its sender waits for the target `answerer`, which has not taken it yet. Raises
        StoreError when nothing could be kept.
        """
        return await self._writer.write_together(self._insert, prepare_insert(event, planned, answerer))

    def add_nowait(self, insert: EventInsert, callback: Callback) -> None:
        """Store a prepared event as `add` does, without a task or a future: see `Writer.submit`.

        `callback(stored, None)` is called on the loop's thread when the event is on disk, `callback(None, error)`
        when nothing could be kept.
        """
        self._writer.submit(self._insert, insert, callback, is_light=insert.is_light)

    async def add_imported(self, imported: Sequence["ImportedEvent"], now: datetime) -> tuple[int | None, ...]:
        """Store exported events in one transaction; return the id of each, None for those that existed already.

        `now` is the time from which retention counts their age.
        """
        return await self._writer.write(
            lambda connection: tuple([_insert_import(self._keys, connection, one, to_micros(now)) for one in imported])
        )

    async def get(self, id_: int) -> CapturedEvent:
        """Return a complete event. Raises NotFoundError."""
        row = await self._get(f"{row_mappers.WHOLE_EVENTS} WHERE events.id = ?", id_, "event", _HINT)
        return row_mappers.read_whole_event(row)

    async def row(self, id_: int) -> EventRow | None:
        """Return the list row of an event, or None."""
        found = await self.rows((id_,))
        return found[0] if found else None

    async def rows(self, ids: Iterable[int]) -> tuple[EventRow, ...]:
        """Return the list rows of the existing ids, newest first."""
        listed = [limit_id(id_) for id_ in ids]
        marks = ",".join("?" * len(listed))
        found = await self._readers.all(
            f"SELECT {EVENT_COLUMNS} FROM events WHERE id IN ({marks}) ORDER BY id DESC", listed
        )
        return tuple(row_mappers.read_event_row(row) for row in found)

    async def page(
        self,
        query: Query = EVERYTHING,
        *,
        limit: int = 50,
        before: int | None = None,
        after: int | None = None,
        patience: float = 0.3,
    ) -> EventPage:
        """Return events that match, newest first, with ids below `before` and above `after`.

        Searches for at most `patience` seconds; then returns the matches so far with `searched_to`.
        """
        started = time.perf_counter()
        compiled = compile_query(query)
        oldest, newest = 1, _MAX_ID
        if query.has_words:
            # Events indexed differently by an older relay are found once they are indexed again. Events that arrive
            # now are left to the next search: without their words they would match where those are excluded.
            indexed = await self._indexer.catch_up(_INDEXING)
            oldest, newest = indexed.low, indexed.high
        if before is not None or compiled.everything:
            high = _MAX_ID if before is None else limit_id(before)
        else:
            high = await self._readers.number("SELECT MAX(id) FROM events") + 1
        high = min(high, newest + 1)
        low = max(after or 0, oldest - 1)
        window = _BODIES if compiled.opens_bodies else _WINDOW
        found: list[EventRow] = []
        while high > low + 1 and len(found) <= limit:
            # Without filters the statement has its own limit; with filters, one window at a time.
            floor = low if compiled.everything else max(low, high - window - 1)
            found += await self._window(compiled, limit + 1 - len(found), floor, high)
            high = floor + 1
            if time.perf_counter() - started > patience:
                break
        unindexed = oldest if low > (after or 0) else None
        return await self._page(found, limit, high if high > low + 1 else unindexed, started)

    async def iterate(
        self, query: Query = EVERYTHING, *, before: int | None = None, after: int | None = None, most: float = inf
    ) -> AsyncIterator[EventRow]:
        """Yield at most `most` matching events, newest first, with ids below `before` and above `after`."""
        while most > 0:
            page = await self.page(query, limit=int(min(most, _AT_ONCE)), before=before, after=after)
            for row in page.rows:
                yield row
            most, before = most - len(page.rows), page.next_before
            if before is None:
                break

    async def count(self, query: Query, limit: int = 10_000) -> int:
        """Return how many events match, counting up to `limit`."""
        compiled = compile_query(query)
        if compiled.everything:
            return (await self.counts()).events
        if query.has_words:
            await self._indexer.catch_up(_INDEXING)
        matching = f"SELECT 1 FROM {compiled.table} WHERE {' AND '.join(compiled.where)} LIMIT ?"
        return await self._readers.number(f"SELECT COUNT(*) FROM ({matching})", (*compiled.parameters, limit))

    async def counts(self) -> EventCounts:
        """Return the stored counters and how many events have failed or pending deliveries."""
        found = await self._readers.all(
            "SELECT name, value FROM counters WHERE name IN ('events', 'rejected') UNION ALL "
            "SELECT 'failing', COUNT(DISTINCT event_id) FROM deliveries WHERE state = 'failed' AND lab IS NULL "
            "UNION ALL SELECT 'queued', COUNT(*) FROM deliveries WHERE state IN ('pending', 'running')"
        )
        return EventCounts(**{row[0]: row[1] for row in found})

    async def annotate(self, id_: int, *, pinned: bool | None = None, note: str | None = None) -> None:
        """Pin or unpin an event, or write a note on it. Raises NotFoundError."""
        await self._change(
            "UPDATE events SET pinned = coalesce(?, pinned), note = coalesce(?, note) WHERE id = ?",
            (pinned, note, limit_id(id_)),
            id_,
        )

    async def annotate_all(self, ids: Iterable[int], *, pinned: bool) -> None:
        """Pin or unpin the existing events of these ids."""
        await self._each("UPDATE events SET pinned = ? WHERE id IN (SELECT value FROM json_each(?))", ids, pinned)

    async def delete_all(self, ids: Iterable[int]) -> None:
        """Delete the existing events of these ids, with their deliveries and attempts."""
        await self._each("DELETE FROM events WHERE id IN (SELECT value FROM json_each(?))", ids)

    async def answered(self, id_: int, status: int) -> None:
        """Record the response to the provider if it was not known before. Raises NotFoundError."""
        await self._change("UPDATE events SET status = ? WHERE id = ?", (status, limit_id(id_)), id_)

    async def delete(self, id_: int) -> None:
        """Delete an event with its deliveries and attempts. Raises NotFoundError."""
        await self._change("DELETE FROM events WHERE id = ?", (limit_id(id_),), id_)

    async def _each(self, sql: str, ids: Iterable[int], *values: Any) -> None:
        # A few at a time, so that new events need not wait for ten thousand deletions.
        listed = [limit_id(id_) for id_ in ids]
        for start in range(0, len(listed), _AT_ONCE):
            parameters = (*values, json.dumps(listed[start : start + _AT_ONCE]))
            await self._writer.execute(sql, parameters)

    async def _change(self, sql: str, parameters: tuple[Any, ...], id_: int) -> None:
        if not await self._writer.execute(sql, parameters):
            raise NotFoundError(f"no event {id_}", hint=_HINT)

    async def _window(self, compiled: CompiledQuery, limit: int, low: int, high: int) -> list[EventRow]:
        where = " AND ".join((*compiled.where, "events.id > ?", "events.id < ?"))
        order = "words.rowid" if compiled.table != "events" else "events.id"
        found = await self._readers.all(
            f"SELECT {EVENT_COLUMNS} FROM {compiled.table} WHERE {where} ORDER BY {order} DESC LIMIT ?",
            (*compiled.parameters, low, high, limit),
            deadline=5.0,
        )
        return [row_mappers.read_event_row(row) for row in found]

    async def _page(self, found: list[EventRow], limit: int, stopped: int | None, started: float) -> EventPage:
        more = len(found) > limit
        found = found[:limit]
        next_before = found[-1].id if more else stopped
        searched_to = None
        if not more and stopped is not None:
            row = await self._readers.one("SELECT received_at FROM events WHERE id >= ? LIMIT 1", (stopped,))
            searched_to = row_mappers.from_micros(row[0]) if row else None
        took = time.perf_counter() - started
        return EventPage(rows=tuple(found), next_before=next_before, took=took, searched_to=searched_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEvent:
    """An event to import, identified by `digest`; `original_id` is its id in the exporting store."""

    event: NewEvent
    digest: bytes
    original_id: int
    pinned: bool = False
    note: str = ""


def _insert_import(keys: EventKeys, connection: sqlite3.Connection, imported: ImportedEvent, now: int) -> int | None:
    values = prepare_insert(imported.event, ())
    if _is_imported(connection, imported, values.received_at):
        return None
    (stored,) = insert_events(keys, connection, [values])
    connection.execute("INSERT INTO imports (digest, event_id, at) VALUES (?, ?, ?)", (imported.digest, stored.id, now))
    if imported.pinned or imported.note:
        connection.execute(
            "UPDATE events SET pinned = ?, note = ? WHERE id = ?", (imported.pinned, imported.note, stored.id)
        )
    return stored.id


def _is_imported(connection: sqlite3.Connection, imported: ImportedEvent, received_at: int) -> bool:
    if connection.execute("SELECT 1 FROM imports WHERE digest = ?", (imported.digest,)).fetchone():
        return True
    # An export that is imported into its own store.
    row = connection.execute(
        "SELECT received_at, source FROM events WHERE id = ?", (limit_id(imported.original_id),)
    ).fetchone()
    return row is not None and tuple(row) == (received_at, imported.event.capture.source)
