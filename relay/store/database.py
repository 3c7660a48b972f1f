"""The store as a whole: one file, one lock, one writer, a few readers."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from relay.errors import StoreBusyError, StoreError
from relay.model.values import dataclass
from relay.platform import NO_FOLLOW, lock_file, make_private_folder, open_private
from relay.store.batches import Batches
from relay.store.counters import Counters
from relay.store.deliveries import Deliveries
from relay.store.events import Events, Imports
from relay.store.full_text import Indexer
from relay.store.labs import Labs
from relay.store.messages import Messages, SentMails
from relay.store.pending_verification import PendingVerification
from relay.store.pruning import Pruning
from relay.store.readers import Readers
from relay.store.search import SQL_FUNCTIONS
from relay.store.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Everything that can be asked of relay's database."""

    path: Path
    events: Events
    deliveries: Deliveries
    batches: Batches
    labs: Labs
    messages: Messages
    imports: Imports
    counters: Counters
    mails: SentMails
    unchecked: PendingVerification
    indexer: Indexer
    pruning: Pruning
    writer: Writer


@asynccontextmanager
async def open_store(data_dir: Path) -> AsyncIterator[Store]:
    """Open `data_dir`/relay.db, made if it is not there, and hold it until the block ends.

    Raises StoreBusyError while another relay holds it, and StoreError for a file that cannot be
    used; such a file is left as it is.
    """
    path = data_dir / "relay.db"
    with _hold_data_dir(data_dir):
        async with Writer(path) as writer:
            readers = Readers(path)
            for function in SQL_FUNCTIONS:
                readers.add_function(function.__name__, -1, function)
            async with readers:
                indexer = Indexer(writer, readers)
                await indexer.prepare()
                yield Store(
                    path=path,
                    events=Events(writer, readers, indexer),
                    deliveries=Deliveries(writer, readers),
                    batches=Batches(writer, readers),
                    labs=Labs(writer, readers),
                    messages=Messages(writer, readers),
                    imports=Imports(writer, readers),
                    counters=Counters(writer, readers),
                    mails=SentMails(writer, readers),
                    unchecked=PendingVerification(writer, readers),
                    indexer=indexer,
                    pruning=Pruning(writer, readers),
                    writer=writer,
                )


def prepare_data_dir(data_dir: Path) -> None:
    """Make the data folder, 0700; one that is there already keeps its rights and its owner.

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
    """Return the error that another relay holds the store of `data_dir`, with the number of its process."""
    try:
        holder = (data_dir / "lock").read_text(encoding="ascii", errors="replace")[:20].strip() or "unknown"
    except OSError:
        holder = "unknown"
    return StoreBusyError(f"another relay (pid {holder}) uses {data_dir}", hint="stop it, or name another data_dir")


@contextmanager
def _hold_data_dir(data_dir: Path) -> Iterator[None]:
    # flock dies with its process, so no lock is ever stale; the pid inside is for the message only.
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
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)
