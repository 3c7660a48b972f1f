"""Group commit: waiting writes are committed together, by the loop if that is quick, else by a thread."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Self, TypeVar

from relay.errors import RelayError, StoreError
from relay.store.connection import Outages, StoreMovedError, connect, explain_error, explain_outage, is_commit_at_risk
from relay.store.migrate import migrate, plan_migration

T = TypeVar("T")
Item = TypeVar("Item")
Step = Callable[[sqlite3.Connection], T]
Together = Callable[[sqlite3.Connection, list[Item]], list[T]]
# Called on the loop's thread with the value when it is committed, or with None and the error.
Callback = Callable[[Any, BaseException | None], None]
_Outcome = tuple[Any, BaseException | None]
_Work = tuple[Together[Any, Any], Any, bool, bool]  # what writes, what is written, is_durable, is_light

_CHECKPOINT_EVERY = 2.0  # seconds
# A commit waits briefly for as many items as the last one had and as waited behind it: measured with 16 senders,
# this takes two thirds of the CPU per event of commits of half the size. With fewer items it does not wait.
_FEW = 2
_GATHER_SECONDS = 0.0007
# While commits take no longer than this on average, the loop itself commits light items: it would otherwise
# only hand the interpreter over and back, which took a fifth of a request's time.
_QUICK_SECONDS = 0.005
# How long a commit waits for another program's lock, in milliseconds: after one timeout, senders
# are not delayed any longer. The loop does not wait.
_WAIT = 5000
_WAIT_IN_OUTAGE = 200
_NORMAL = 1  # of PRAGMA synchronous: a commit is passed to the system without waiting for the disk
_PROBE = "UPDATE counters SET value = value WHERE name = 'events'"


class Writer:
    """The one connection that writes.

    `write(step)` returns once the step's transaction is on disk. Steps that arrive while a
    commit is under way share the next one: measured on two cores with `synchronous=FULL`, 64
    writers make 2 800 commits a second one by one and 20 000 together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outages = Outages()
        self.rollbacks = 0  # rolled-back transactions
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._waiting: list[_Work] = []
        self._callbacks: list[Callback] = []
        self._busy = False
        self._is_closed = False
        self._expected = 0
        self._checkpoint_at = 0.0
        self._copied = asyncio.Event()
        self._copied.set()
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._is_out = False
        self._patience = _WAIT  # of PRAGMA busy_timeout
        self._took = 0.0  # average seconds of the last ten or so transactions
        self._has_written = False
        self._level: int | None = None  # of PRAGMA synchronous, while commits do not wait for the disk

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._open)
        self._checkpoint_at = self._loop.time() + _CHECKPOINT_EVERY
        # A daemon, so that a relay that could not close its store still exits.
        self._thread = Thread(target=self._serve, name="relay-store", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            while self._busy or self._waiting or not self._copied.is_set():
                with suppress(StoreError):
                    await self.write(lambda _: None)  # after all submitted items, also those of callbacks
                await self._copied.wait()  # more may have been submitted
        finally:
            self._is_closed = True
            self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    async def write(self, step: Step[T], *, is_durable: bool = True) -> T:
        """Run `step` in a transaction and return its value once it is committed.

        Raises StoreError when the commit fails, or the RelayError that the step raised; either way
        nothing of this step was kept. A caller that is cancelled does not undo the write. One that is not durable
        waits for no disk where nothing else is written with it: a power cut may undo it, a crash of relay does not.
        """
        return await self.write_together(lambda connection, _: [step(connection)], None, is_durable=is_durable)

    async def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> int:
        """Run a statement in a transaction and return how many rows it changed. Raises as `write` does."""
        return await self.write(lambda connection: connection.execute(sql, parameters).rowcount)

    async def write_together(self, together: Together[Item, T], item: Item, *, is_durable: bool = True) -> T:
        """Write `item` with all others waiting for `together`, and return its value. Raises as `write` does."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def resolve(value: T, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.submit(together, item, resolve, is_durable=is_durable)
        return await future

    def submit(
        self,
        together: Together[Item, T],
        item: Item,
        callback: Callback,
        *,
        is_durable: bool = True,
        is_light: bool = False,
    ) -> None:
        """Write `item` with all others waiting for `together`; call from the loop's thread.

        `together(connection, items)` returns a value for each item. It exists because every statement hands the
        interpreter over and back: measured with 64 senders, a statement for each event cost three times what one
        for the whole batch does. `callback(value, error)` is called on the loop's thread, in the order submitted,
        once the value is on disk (`error` is None), or when nothing of it was kept (`value` is None). The loop commits
        by itself what `is_light`, which takes some microseconds to write, where nothing else is written with it.
        """
        if self._is_closed:
            self._loop.call_soon(callback, None, StoreError("the store is closed"))
            return
        self._waiting.append((together, item, is_durable, is_light))
        self._callbacks.append(callback)
        if not self._busy and (len(self._waiting) == 1 or len(self._waiting) == self._expected):
            self._plan()

    async def probe(self) -> StoreError | None:
        """Rewrite a row unchanged and return the outage of the store; None if there is none."""
        try:
            await self.execute(_PROBE)
        except StoreError as error:
            return error
        return self.outages.now

    async def look(self) -> StoreError | None:
        """Return as `probe` does, but write only if there is an outage or a sign of one."""
        if self.outages.now is not None or is_commit_at_risk(self.path, self._inode):
            return await self.probe()
        return None

    def _plan(self) -> None:
        """Schedule a commit: in the next iteration of the loop, or a moment later if more items are expected."""
        if self._expected <= _FEW or len(self._waiting) >= self._expected:
            self._loop.call_soon(self._send)
        else:
            self._loop.call_later(_GATHER_SECONDS, self._send)

    def _send(self) -> None:
        if self._busy or not self._waiting:
            return
        works, callbacks, self._waiting, self._callbacks, self._busy = self._waiting, self._callbacks, [], [], True
        if self._is_closed:  # its closing was cancelled, and the other thread may be closing the connection
            self._settle(callbacks, [(None, StoreError("the store is closed"))] * len(works))
            return
        is_resting = self._copied.is_set()
        try:
            values = self._commit_here(works) if is_resting else None
        except BaseException:  # Ctrl-C: waiting items have to be told, or the store would never close
            error = StoreError(f"{self.path}: a commit was interrupted", hint="senders will try again")
            self._settle(callbacks, [(None, error)] * len(works))
            raise
        if values is None:
            self._jobs.put(lambda: self._run(works, callbacks))
        else:
            self._settle(callbacks, list(zip(values, repeat(None))))
        if is_resting and self._loop.time() > self._checkpoint_at:
            # After the commit, not in it; by time, because the log file never shrinks.
            self._checkpoint_at = self._loop.time() + _CHECKPOINT_EVERY
            self._loop.run_in_executor(None, self._copy_pages)
            self._copied.clear()

    def _commit_here(self, works: list[_Work]) -> list[Any] | None:
        """Commit on the loop's thread while the other thread is idle; None leaves it to that, rolled back."""
        if self._took > _QUICK_SECONDS or self.outages.now is not None or not all(is_light for *_, is_light in works):
            return None
        try:
            self._set_patience(0)
            return self._transact(works)
        except Exception:  # noqa: BLE001 - tried again by the thread, which can wait, and finds out whose fault it is
            return None

    def _settle(self, callbacks: list[Callback], found: list[_Outcome]) -> None:
        self._busy = False
        # Senders that were just answered may write again at once, as may those already waiting.
        self._expected = len(callbacks) + len(self._waiting)
        if self._waiting:
            self._plan()
        last = found[-1][1]
        outage = last if isinstance(last, StoreError) and last.is_outage else None
        # With less than a million free bytes a small write may succeed although an event would not.
        proves = self._has_written and not (self.outages.now and is_commit_at_risk(self.path, self._inode))
        self.outages.note(outage, has_written=proves)
        for callback, (value, error) in zip(callbacks, found, strict=True):
            try:
                callback(value, error)
            except Exception as fault:  # noqa: BLE001 - a fault of one callback must not keep the others from theirs
                context = {"message": "a callback of the store's writer failed", "exception": fault}
                self._loop.call_exception_handler(context)

    # The rest runs on other threads: opening the file, copying pages from its log, and the store's own.

    def _copy_pages(self) -> None:
        """Copy what the log holds into the file while commits go on, then have the writer copy the rest.

        Copying on the store's own thread alone held all senders up for 60 ms in 2 s at 6 000 events a second; without
        the writer's part the log would grow for as long as they keep coming.
        """
        try:
            # Never into a file that replaced it: the log is found by name and would overwrite that file.
            if self._find_inode() == self._inode:
                address = f"{self.path.absolute().as_uri()}?mode=rw"  # never creates a file if it is missing
                with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as connection:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            self._jobs.put(self._checkpoint)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        if self._connection is not None:
            with suppress(sqlite3.Error):  # another program may hold the lock
                self._connection.execute("PRAGMA optimize")
            self._connection.close()
            self._connection = None

    def _run(self, works: list[_Work], callbacks: list[Callback]) -> None:
        try:
            outcomes = self._commit(works)
        except BaseException as error:  # noqa: BLE001 - a fault of the writer itself: what waits has to hear of it
            outcomes = [(None, error)] * len(works)
        with suppress(RuntimeError):  # the loop is closed: no callback can run
            self._loop.call_soon_threadsafe(self._settle, callbacks, outcomes)

    def _open(self) -> None:
        connection = connect(self.path, plan_migration)
        try:
            migrate(connection, self.path)
        except (sqlite3.Error, RelayError) as error:
            connection.close()
            if isinstance(error, RelayError):
                raise
            raise explain_error(error, self.path) from error
        self._connection = connection
        self._inode = self.path.stat().st_ino

    def _commit(self, works: list[_Work]) -> list[_Outcome]:
        try:
            self._set_patience(_WAIT_IN_OUTAGE if self._is_out else _WAIT)
            values = self._transact(works)
        except Exception as error:  # noqa: BLE001 - whatever a step raised belongs to its own caller
            outage = explain_outage(error, self.path)
            if outage is not None:
                # The steps are not at fault: tried one at a time, each would wait and fail.
                self._is_out = True
                return [(None, outage) for _ in works]
            if len(works) == 1:
                return [(None, explain_error(error, self.path) if isinstance(error, sqlite3.Error) else error)]
        else:
            self._is_out = False
            return list(zip(values, repeat(None)))
        # One bad step must not fail the others: each is tried again alone.
        return [outcome for work in works for outcome in self._commit([work])]

    def _set_patience(self, milliseconds: int) -> None:
        if self._connection is not None and milliseconds != self._patience:
            self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
            self._patience = milliseconds

    def _transact(self, works: list[_Work]) -> list[Any]:
        connection, began = self._sound(), time.perf_counter()
        self._set_synchronous(connection, is_durable=any(is_durable for _, _, is_durable, _ in works))
        changes = connection.total_changes
        groups: dict[Together[Any, Any], list[int]] = {}  # the positions of each function's items
        for place, (together, *_) in enumerate(works):
            groups.setdefault(together, []).append(place)
        try:
            connection.execute("BEGIN IMMEDIATE")
            values: list[Any] = [None] * len(works)
            for together, places in groups.items():
                made = together(connection, [works[place][1] for place in places])
                for place, value in zip(places, made, strict=True):
                    values[place] = value
            connection.execute("COMMIT")
            self._has_written = connection.total_changes > changes
            self._took += (time.perf_counter() - began - self._took) / 10
        except BaseException:
            self.rollbacks += 1
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return values

    def _set_synchronous(self, connection: sqlite3.Connection, *, is_durable: bool) -> None:
        """Set whether the next commit waits for the disk; called before it, so that a durable one always waits."""
        if is_durable and self._level is not None:
            connection.execute(f"PRAGMA synchronous = {self._level}")
            self._level = None
        elif not is_durable and self._level is None:
            level = connection.execute("PRAGMA synchronous").fetchone()[0]
            connection.execute(f"PRAGMA synchronous = {min(level, _NORMAL)}")
            self._level = level

    def _sound(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("the store is closed")
        if (inode := self._find_inode()) != self._inode:
            # Never acknowledge a write to a file that cannot be found again.
            why = "was deleted or moved away" if inode == 0 else "was replaced"
            raise StoreMovedError(f"{self.path} {why} while relay runs", hint="put it back, or restart relay")
        return self._connection

    def _find_inode(self) -> int:
        """Return the inode at the path; 0 if there is no file."""
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _checkpoint(self) -> None:
        try:
            if self._connection is not None:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            return  # the next one will succeed; the commits themselves are safe
        finally:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._copied.set)
