"""Removes old events: the oldest that may be removed, the current usage, and the removal of all their rows."""

import asyncio
import sqlite3
from datetime import datetime
from typing import Any

from relay.model.values import dataclass
from relay.store import row_mappers
from relay.store.full_text import TEXT_COLUMNS, build_searchable_text
from relay.store.readers import Repository

# Neither pinned events nor those with pending deliveries.
_PRUNABLE = (
    "pinned = 0 AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.event_id = events.id "
    "AND deliveries.state IN ('pending', 'running'))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunableEvent:
    """An event that may be removed; `size` of its body in bytes. An imported event is as old as its import."""

    id: int
    kept_since: datetime
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUsage:
    """The number of events, the bytes of the database, and the free bytes of its file."""

    events: int
    used: int
    free: int


class Pruning(Repository):
    """Finds the events that may be removed, and removes them."""

    async def usage(self) -> StoreUsage:
        """Return the usage; free pages of the file do not count."""
        row = await self._readers.one(
            "SELECT value, page_count * page_size, freelist_count * page_size FROM counters, pragma_page_count, "
            "pragma_page_size, pragma_freelist_count WHERE name = 'events'"
        )
        events, whole, free = row or (0, 0, 0)
        return StoreUsage(events=events, used=whole - free, free=free)

    async def oldest(self, after: int, limit: int) -> tuple[PrunableEvent, ...]:
        """Return the oldest events with ids above `after` that may be removed. Raises TimeoutError."""
        found = await self._readers.all(
            "SELECT id, max(received_at, coalesce((SELECT at FROM imports WHERE event_id = events.id), 0)) AS since, "
            f"size FROM events WHERE id > ? AND {_PRUNABLE} ORDER BY id LIMIT ?",
            (after, limit),
        )
        return tuple(
            PrunableEvent(id=id_, kept_since=row_mappers.from_micros(since), size=size) for id_, since, size in found
        )

    async def remove(self, ids: tuple[int, ...], rule: str) -> tuple[int, ...]:
        """Remove the events that may still be removed, with all their rows, and return them."""
        found = await self._readers.all(
            f"SELECT id, {TEXT_COLUMNS} FROM events JOIN event_bytes ON event_id = id WHERE id IN "
            f"({_build_marks(ids)})",
            ids,
        )
        texts = await asyncio.to_thread(lambda: {row["id"]: build_searchable_text(*row[1:]) for row in found})
        return await self._writer.write(lambda connection: _remove(connection, texts, rule))

    async def free_pages(self, pages: int) -> None:
        """Cut that many free pages off the file, if it was created with auto_vacuum."""
        # A pragma's argument cannot be bound; it is an integer.
        sql = f"PRAGMA incremental_vacuum({int(pages)})"
        await self._writer.write(lambda connection: len(connection.execute(sql).fetchall()))

    async def removed(self) -> dict[str, int]:
        """Return, for each of RULES, the highest event id that it removed; 0 if none."""
        found = await self._readers.all("SELECT name, value FROM counters WHERE name LIKE 'removed\\_%' ESCAPE '\\'")
        return {row[0].removeprefix("removed_"): row[1] for row in found}

    async def newest(self) -> int:
        """Return the highest id that any event ever had; 0 if there was none."""
        return await self._readers.number("SELECT seq FROM sqlite_sequence WHERE name = 'events'")

    async def is_replay_running(self) -> bool:
        """Return whether a bulk replay is running, which may still need any event."""
        return await self._readers.one("SELECT 1 FROM batches WHERE state = 'running' LIMIT 1") is not None


def _remove(connection: sqlite3.Connection, texts: dict[int, str], rule: str) -> tuple[int, ...]:
    listed = tuple(texts)
    # Checked again inside the transaction: an event may have been pinned or replayed since.
    found = connection.execute(
        f"SELECT id FROM events WHERE id IN ({_build_marks(listed)}) AND {_PRUNABLE} ORDER BY id", listed
    )
    going = tuple([row[0] for row in found])
    if not going:
        return ()
    low, high = (
        connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0]
        for name in ("indexed_from", "indexed_to")
    )
    # The index stores no text: removing an event's words needs the original text.
    words: list[tuple[Any, ...]] = [(id_, texts[id_]) for id_ in going if low <= id_ <= high]
    connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", words)
    connection.execute(f"DELETE FROM events WHERE id IN ({_build_marks(going)})", going)
    connection.execute("UPDATE counters SET value = max(value, ?) WHERE name = ?", (going[-1], f"removed_{rule}"))
    return going


def _build_marks(ids: tuple[int, ...]) -> str:
    return ",".join("?" * len(ids))
