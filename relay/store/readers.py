"""Reading connections: a few, each on its own thread, none of which can write or run for ever."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Self

import aiosqlite

from relay.errors import NotFoundError
from relay.model.values import dataclass
from relay.store.connection import build_reader_settings, explain_error, read_error_name
from relay.store.writer import Writer

READ_DEADLINE = 1.0  # seconds that any one read may take
_CONNECTIONS = 3


@dataclass(slots=True)
class _Reader:
    """A connection and the moment at which what it is doing is cut off."""

    connection: aiosqlite.Connection
    ends: float = inf


class Readers:
    """A small pool of reading connections; `functions` are those that SQL calls by their names."""

    def __init__(self, path: Path, functions: Iterable[Callable[..., Any]] = (), size: int = _CONNECTIONS) -> None:
        self._path = path
        self._size = size
        self._functions = tuple(functions)
        self._opened = AsyncExitStack()
        self._free: asyncio.LifoQueue[_Reader] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        # The threads of connections are no daemons: one that is left open would keep the process alive for ever.
        async with AsyncExitStack() as stack:
            for _ in range(self._size):
                connection = await stack.enter_async_context(aiosqlite.connect(self._path, isolation_level=None))
                connection.row_factory = sqlite3.Row
                for setting in build_reader_settings():
                    await connection.execute(setting)
                for function in self._functions:
                    await connection.create_function(function.__name__, -1, function, deterministic=True)
                reader = _Reader(connection)
                # Set once: setting it for each query would cost a second trip to the connection's thread.
                await connection.set_progress_handler(partial(_is_past_deadline, reader), 2000)
                self._free.put_nowait(reader)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def all(self, sql: str, parameters: Iterable[Any] = (), deadline: float = READ_DEADLINE) -> list[sqlite3.Row]:
        """Return every row of a query.

        Raises StoreError when it fails, and TimeoutError when it takes longer than `deadline` seconds.
        """
        async with self._lent() as reader:
            reader.ends = time.monotonic() + deadline
            try:
                return list(await reader.connection.execute_fetchall(sql, tuple(parameters)))
            except sqlite3.OperationalError as error:
                if read_error_name(error) == "SQLITE_INTERRUPT":
                    raise TimeoutError(f"a query took longer than {deadline} s") from error
                raise explain_error(error, self._path) from error
            except sqlite3.Error as error:
                raise explain_error(error, self._path) from error

    async def number(self, sql: str) -> int:
        """Return the one number of a query; 0 for NULL and for no row."""
        row = await self.one(sql)
        return int(row[0] or 0) if row else 0

    async def one(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        rows = await self.all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[_Reader]:
        reader = await self._free.get()
        try:
            yield reader
        finally:
            self._free.put_nowait(reader)


def limit_id(id_: int) -> int:
    """Return an id, or one that no row has for a number that SQLite cannot hold."""
    return max(-1, min(id_, 2**62))


class Repository:
    """What reads and writes rows of one kind."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def _get(self, sql: str, id_: int, noun: str, hint: str) -> sqlite3.Row:
        """Return the row of an id, the one parameter of `sql`. Raises NotFoundError."""
        row = await self._readers.one(sql, (limit_id(id_),))
        if row is None:
            raise NotFoundError(f"no {noun} {id_}", hint=hint)
        return row


def _is_past_deadline(reader: _Reader) -> bool:
    return time.monotonic() > reader.ends
