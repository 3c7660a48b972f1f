"""The store as a whole: one file, one lock, one writer, a few readers."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Self

from relay.errors import StoreBusyError, StoreError
from relay.platform import NO_FOLLOW, lock_file, make_private_folder, open_private
from relay.store.batches import Batches
from relay.store.connection import inspect_file
from relay.store.counters import Counters
from relay.store.deliveries import Deliveries
from relay.store.event_keys import EventKeys
from relay.store.events import Events
from relay.store.full_text import INDEX_BATCH, Indexer
from relay.store.labs import Labs
from relay.store.messages import Messages, SentMails
from relay.store.migrate import MigrationPlan, plan_migration
from relay.store.pending_verification import PendingVerification
from relay.store.pruning import Pruning
from relay.store.readers import Readers
from relay.store.search import SQL_FUNCTIONS
from relay.store.writer import Item, T, Together, Writer


class Store:
    """relay's database: a repository for each kind of row."""

    def __init__(self, path: Path, writer: Writer, readers: Readers) -> None:
        self.path = path
        self.writer = writer
        self.indexer = Indexer(writer, readers)
        self.keys = EventKeys(writer, readers)
        self.events = Events(writer, readers, self.indexer, self.keys)
        self.deliveries = Deliveries(writer, readers)
        self.batches = Batches(writer, readers)
        self.labs = Labs(writer, readers)
        self.messages = Messages(writer, readers)
        self.counters = Counters(writer, readers)
        self.mails = SentMails(writer, readers)
        self.unchecked = PendingVerification(writer, readers, self.keys)
        self.pruning = Pruning(writer, readers)

    async def work_behind_commits(self) -> int:
        """Index a batch of events, and sort in keys unless events wait; return how much was done."""
        indexed = await self.indexer.step()
        return indexed if indexed == INDEX_BATCH else indexed + await self.keys.sort_in()


@asynccontextmanager
async def open_store(data_dir: Path, *, is_read: bool = False) -> AsyncIterator[Store]:
    """Open `data_dir`/relay.db, created if missing, and lock it until the block ends.

    One that `is_read` only is opened for writing at the first write: nothing of what it holds changes without one. The
    log of a relay that was killed is still copied into the file, and a file of an older version is brought up to date.

    Raises StoreBusyError while another relay holds it, and StoreError for a file that cannot be
    used; such a file is left as it is.
    """
    path = data_dir / "relay.db"
    with _hold_data_dir(data_dir):
        is_late = is_read and _is_up_to_date(path)
        readers = Readers(path, SQL_FUNCTIONS, size=1) if is_late else Readers(path, SQL_FUNCTIONS)
        async with _LateWriter(path) if is_late else Writer(path) as writer, readers:
            store = Store(path, writer, readers)
            await store.indexer.prepare()
            yield store


class _LateWriter(Writer):
    """Opens its connection at the first write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._opening = asyncio.Lock()
        self._is_open = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        if self._is_open:
            await super().__aexit__(*details)

    async def write_together(self, together: Together[Item, T], item: Item, *, is_durable: bool = True) -> T:
        """Write as any writer does. Raises StoreError also if the file cannot be opened for writing."""
        async with self._opening:
            if not self._is_open:
                await super().__aenter__()
                self._is_open = True
        return await super().write_together(together, item, is_durable=is_durable)


def _is_up_to_date(path: Path) -> bool:
    """Return whether a file can be read unchanged. Raises StoreError if it cannot be used at all."""
    plans: list[MigrationPlan] = []
    is_sound = inspect_file(path, lambda *file: plans.append(plan_migration(*file)), checks_pages=False)
    return is_sound and any(plan == MigrationPlan(recorded=plan.recorded) for plan in plans)


def prepare_data_dir(data_dir: Path) -> None:
    """Create the data folder with mode 0700; an existing one keeps its mode and owner.

    Raises StoreError naming the path and the reason.
    """
    try:
        make_private_folder(data_dir)
    except FileExistsError as error:
        raise StoreError(f"{data_dir} is a file, not a folder", hint="name another data_dir in relay.toml") from error
    except OSError as error:
        raise StoreError(
            f"cannot create {data_dir}: {error.strerror}", hint="name another data_dir in relay.toml"
        ) from error


def build_busy_error(data_dir: Path) -> StoreBusyError:
    """Return the error that another relay uses the store of `data_dir`, with its process id."""
    try:
        holder = (data_dir / "lock").read_text(encoding="ascii", errors="replace")[:20].strip() or "unknown"
    except OSError:
        holder = "unknown"
    return StoreBusyError(f"another relay (pid {holder}) uses {data_dir}", hint="stop it, or name another data_dir")


@contextmanager
def _hold_data_dir(data_dir: Path) -> Iterator[None]:
    # flock ends with its process, so no lock is ever stale; the pid inside is only for the message.
    prepare_data_dir(data_dir)
    try:
        handle = open_private(data_dir / "lock", os.O_RDWR | NO_FOLLOW)
    except OSError as error:
        raise StoreError(
            f"cannot write in {data_dir}: {error.strerror}",
            hint="give this user the right to write there, or name another data_dir",
        ) from error
    try:
        try:
            lock_file(handle)
        except OSError as error:
            raise build_busy_error(data_dir) from error
        with suppress(OSError):  # a full disk, which the database reports itself
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)
