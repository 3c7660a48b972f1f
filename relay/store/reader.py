"""Reading connections: a few, each on its own thread, none of which can write or run for ever."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiosqlite

from relay.store.connection import explain, settings

DEADLINE = 1.0  # seconds that any one read may take


class Readers:
    """A small pool of reading connections."""

    def __init__(self, path: Path, size: int = 3) -> None:
        self._path = path
        self._size = size
        self._open: list[aiosqlite.Connection] = []
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._functions: list[tuple[str, int, Callable[..., Any]]] = []

    def add_function(self, name: str, arguments: int, function: Callable[..., Any]) -> None:
        """Make a Python function callable from SQL; call before the pool is entered."""
        self._functions.append((name, arguments, function))

    async def __aenter__(self) -> Self:
        for _ in range(self._size):
            connection = await aiosqlite.connect(self._path, isolation_level=None)
            self._open.append(connection)
            connection.row_factory = sqlite3.Row
            for setting in settings():
                await connection.execute(setting)
            for name, arguments, function in self._functions:
                await connection.create_function(name, arguments, function, deterministic=True)
            self._free.put_nowait(connection)
        return self

    async def __aexit__(self, *_: object) -> None:
        # Its worker threads are no daemons: an open connection would keep the process alive for ever.
        for connection in self._open:
            await connection.close()

    async def all(
        self, sql: str, parameters: Iterable[Any] = (), deadline: float = DEADLINE
    ) -> list[sqlite3.Row]:
        """Return every row of a query.

        Raises StoreError when it fails, and TimeoutError when it takes longer than `deadline` seconds.
        """
        async with self._lent() as connection:
            ends = time.monotonic() + deadline
            await connection.set_progress_handler(lambda: time.monotonic() > ends, 2000)
            try:
                return list(await connection.execute_fetchall(sql, tuple(parameters)))
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
                    raise TimeoutError(f"a query took longer than {deadline} s") from error
                raise explain(error, self._path) from error
            except sqlite3.Error as error:
                raise explain(error, self._path) from error

    async def one(self, sql: str, parameters: Iterable[Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        rows = await self.all(sql, parameters)
        return rows[0] if rows else None

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[aiosqlite.Connection]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)
