"""The full-text index, filled behind the commits: what is new at once, what an older relay indexed bit by bit."""

import asyncio
import sqlite3
import time
from dataclasses import dataclass

from relay.model.unpacking import installed_decoders
from relay.store.reader import Readers
from relay.store.searchable import COLUMNS, searchable_text
from relay.store.writer import Writer

BATCH = 200  # events indexed in one commit: about 10 ms of the writer's time
# Of the text that is indexed. The index keeps none of it, and an event's words leave it by that very text,
# so another way to make it needs another number here: everything is indexed again then.
_FORM = 2
_EMPTY = (
    "DROP TABLE words",
    "CREATE VIRTUAL TABLE words USING fts5(text, content = '', tokenize = 'unicode61', detail = none)",
)


@dataclass(frozen=True, slots=True)
class Indexed:
    """Which events are in the index: all from `low` to `high`; `low` is 1 where nothing older is left."""

    low: int
    high: int


class Indexer:
    """Fills the index behind the commits: inside them it would cost a third of the throughput.

    New events come first, then those before `low`, newest first.
    """

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers
        self._turn = asyncio.Lock()

    async def prepare(self) -> None:
        """Empty an index whose text was made in another way than now; call once before anything is indexed."""
        form = _FORM * 4 + 2 * ("br" in installed_decoders()) + ("zstd" in installed_decoders())
        row = await self._readers.one("SELECT value FROM counters WHERE name = 'indexed_as'")
        if row is None or row[0] != form:
            await self._writer.write(lambda connection: _start_anew(connection, form))

    async def catch_up(self, patience: float | None = None) -> Indexed:
        """Index what is new, and what is older for at most `patience` seconds; return what is indexed then."""
        ends = None if patience is None else time.monotonic() + patience
        while True:
            async with self._turn:
                reached = await self._reached()
                found = await self._new(reached)
                late = not found and ends is not None and time.monotonic() > ends
                if late or not await self._index(reached, found):
                    return await self._reached()

    async def step(self) -> int:
        """Index one batch and return how many events it held; 0 means there is nothing left."""
        async with self._turn:
            reached = await self._reached()
            return await self._index(reached, await self._new(reached))

    async def _reached(self) -> Indexed:
        rows = await self._readers.all("SELECT name, value FROM counters WHERE name LIKE 'indexed_%'")
        values = {row[0]: row[1] for row in rows}
        return Indexed(values["indexed_from"], values["indexed_to"])

    async def _new(self, reached: Indexed) -> list[sqlite3.Row]:
        return await self._read("id > ? ORDER BY id", reached.high)

    async def _index(self, reached: Indexed, found: list[sqlite3.Row]) -> int:
        found = found or await self._read("id < ? ORDER BY id DESC", reached.low)
        if not found and reached.low > 1:
            await self._writer.write(lambda connection: _set(connection, "indexed_from", 1))
        if found:
            # Thousands of escapes to undo take a while, and the event loop has other work.
            texts = await asyncio.to_thread(lambda: [(row["id"], searchable_text(*row[1:])) for row in found])
            await self._writer.write(lambda connection: _add(connection, texts))
        return len(found)

    async def _read(self, where: str, number: int) -> list[sqlite3.Row]:
        return await self._readers.all(
            f"SELECT id, {COLUMNS} FROM events JOIN event_bytes ON event_id = id WHERE {where} LIMIT ?",
            (number, BATCH),
            deadline=5.0,
        )


def _start_anew(connection: sqlite3.Connection, form: int) -> None:
    for statement in _EMPTY:
        connection.execute(statement)
    last = connection.execute("SELECT coalesce(MAX(id), 0) FROM events").fetchone()[0]
    for name, value in (("indexed_to", last), ("indexed_from", last + 1), ("indexed_as", form)):
        _set(connection, name, value)


def _add(connection: sqlite3.Connection, texts: list[tuple[int, str]]) -> None:
    low, high = (
        connection.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()[0]
        for name in ("indexed_from", "indexed_to")
    )
    fresh = sorted(pair for pair in texts if not low <= pair[0] <= high)
    if fresh:
        connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", fresh)
        _set(connection, "indexed_from", min(low, fresh[0][0]))
        _set(connection, "indexed_to", max(high, fresh[-1][0]))


def _set(connection: sqlite3.Connection, name: str, value: int) -> None:
    connection.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (name, value))
