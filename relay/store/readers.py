"""Reading connections: a few, each on its own thread, without the right to write and with a time limit."""

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
from relay.store.connection import build_reader_settings, explain_error, read_error_name
from relay.store.writer import Writer

READ_DEADLINE = 1.0  # seconds that a read may take
_CONNECTIONS = 3


class _Reader(aiosqlite.Connection):
    """A connection with the deadline of its current query."""

    def __init__(self, path: Path, functions: Iterable[Callable[..., Any]]) -> None:
        super().__init__(partial(self._open, path, functions), iter_chunk_size=64)
        self.ends = inf
        self.stopped: asyncio.Future[Any] | None = None
        self._made: sqlite3.Connection | None = None

    def stop(self) -> asyncio.Future[Any] | None:
        """End the thread; `stopped` is done when it makes no more calls to the loop."""
        self._tx.put_nowait((None, self._close_made))
        self.stopped = super().stop()
        return self.stopped

    def _open(self, path: Path, functions: Iterable[Callable[..., Any]]) -> sqlite3.Connection:
        # All in one call on the connection's thread: separate calls would each switch threads.
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            for setting in build_reader_settings():
                connection.execute(setting)
            for function in functions:
                connection.create_function(function.__name__, -1, function, deterministic=True)
            connection.set_progress_handler(lambda: time.monotonic() > self.ends, 2000)
        except BaseException:
            connection.close()
            raise
        self._made = connection
        return connection

    def _close_made(self) -> None:
        # aiosqlite loses a connection if its opening is cancelled while its thread creates it.
        if self._made is not None:
            self._made.close()


class Readers:
    """A small pool of reading connections; `functions` can be called from SQL by their names."""

    def __init__(self, path: Path, functions: Iterable[Callable[..., Any]] = (), size: int = _CONNECTIONS) -> None:
        self._path = path
        self._size = size
        self._functions = tuple(functions)
        self._opened = AsyncExitStack()
        self._free: asyncio.LifoQueue[_Reader] = asyncio.LifoQueue()

    async def __aenter__(self) -> Self:
        """Open the connections. Raises StoreError."""
        # The threads are not daemons: an open connection would keep the process alive forever.
        async with AsyncExitStack() as stack:
            for _ in range(self._size):
                reader = _Reader(self._path, self._functions)
                try:
                    await stack.enter_async_context(reader)
                except sqlite3.Error as error:
                    if reader.stopped is not None:
                        await reader.stopped
                    raise explain_error(error, self._path) from error
                self._free.put_nowait(reader)
            self._opened = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def all(self, sql: str, parameters: Iterable[Any] = (), deadline: float = READ_DEADLINE) -> list[sqlite3.Row]:
        """Return all rows of a query.

        Raises StoreError if it fails, and TimeoutError if it takes longer than `deadline` seconds.
        """
        async with self._lent() as reader:
            reader.ends = time.monotonic() + deadline
            try:
                return list(await reader.execute_fetchall(sql, tuple(parameters)))
            except sqlite3.OperationalError as error:
                if read_error_name(error) == "SQLITE_INTERRUPT":
                    raise TimeoutError(f"a query took longer than {deadline} s") from error
                raise explain_error(error, self._path) from error
            except sqlite3.Error as error:
                raise explain_error(error, self._path) from error

    async def number(self, sql: str, parameters: Iterable[Any] = ()) -> int:
        """Return the number that a query selects; 0 for NULL and for no row."""
        row = await self.one(sql, parameters)
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
    """Return an id, or one that no row has if SQLite cannot store the number."""
    return max(-1, min(id_, 2**62))


class Repository:
    """Reads and writes rows of one kind."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def _get(self, sql: str, id_: int, noun: str, hint: str) -> sqlite3.Row:
        """Return the row of an id, which is the only parameter of `sql`. Raises NotFoundError."""
        row = await self._readers.one(sql, (limit_id(id_),))
        if row is None:
            raise NotFoundError(f"no {noun} {id_}", hint=hint)
        return row
