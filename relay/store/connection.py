"""Opening the database file: its checks, its settings, and errors in plain words."""

import logging
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

from relay.errors import StoreBusyError, StoreError, log_level
from relay.model.clock import Clock
from relay.platform import is_of_another_user, make_private, open_private

STORE_PAUSE = 1.0  # seconds before a failed write is tried again
_log = logging.getLogger(__name__)

FileCheck = Callable[[sqlite3.Connection, Path], object]

_SETTINGS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)
_WRITER_SETTINGS = (
    "PRAGMA auto_vacuum = INCREMENTAL",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA cache_size = -4096",
    # Statement journals stay in memory: a batch of random keys would write them to a temporary file.
    "PRAGMA temp_store = MEMORY",
    # The writer checkpoints between batches, so that no sender waits for it.
    "PRAGMA wal_autocheckpoint = 0",
)


def connect(path: Path, check: FileCheck) -> sqlite3.Connection:
    """Open `path` for writing, created with mode 0600 if new; `check` is called first to validate it.

    Raises StoreError naming the path and the reason, also that of `check`. A file that is refused is left
    as it is, byte for byte: it is looked at without a right to write.
    """
    was_sound = inspect_file(path, check)
    try:
        os.close(open_private(path, os.O_RDWR))
        for suffix in ("-wal", "-shm"):
            make_private(Path(f"{path.resolve()}{suffix}"))
    except OSError as error:
        raise _open_error(path, error) from error
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if not was_sound:
            _check_pages(connection, path)
        for setting in (*_SETTINGS, *_WRITER_SETTINGS):
            connection.execute(setting)
    except sqlite3.Error as error:
        connection.close()
        raise explain_error(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def build_reader_settings() -> tuple[str, ...]:
    """Return the statements that set up a reading connection."""
    return (*_SETTINGS, "PRAGMA query_only = ON", "PRAGMA cache_size = -1024")


def explain_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Return a StoreError with a message and a hint for an error of SQLite."""
    name = read_error_name(error)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")) and (found := _find_full_disk(name, path)) is not None:
        return found
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusyError(f"{path} is in use by another program", hint="close it and try again")
    if name.startswith("SQLITE_FULL"):
        return StoreError(f"the disk that holds {path} is full", hint="free some space; senders will try again")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return _damaged_error(path, str(error))
    if name.startswith("SQLITE_READONLY"):
        return StoreError(f"{path} cannot be written", hint="give this user the right to write it")
    if name.startswith("SQLITE_IOERR"):
        return StoreError(
            f"{path} cannot be written: {error}",
            hint="look at the disk, its rights and its quota; senders will try again",
        )
    return StoreError(f"{path}: {error}", hint="senders will try again")


def inspect_file(path: Path, check: FileCheck, *, checks_pages: bool = True) -> bool:
    """Inspect a file, which may not exist, without changing anything; return whether no fault was found.

    Raises as `connect` does.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(f"{path} is not a file; it was left as it is", hint="name another data_dir in relay.toml")
        with path.open("rb"):
            pass
    except FileNotFoundError:
        return True
    except OSError as error:
        raise _open_error(path, error) from error
    if is_of_another_user(path):
        raise StoreError(
            f"{path} belongs to another user; it was left as it is", hint="name a data_dir of your own in relay.toml"
        )
    if not status.st_size:
        return True
    try:
        with closing(_open_read_only(path)) as connection:
            check(connection, path)
            if _has_content(path, "-journal"):
                return False  # half of a transaction, which SQLite undoes when it is opened for writing
            if checks_pages:
                _check_pages(connection, path)
    except sqlite3.Error as error:
        raise explain_error(error, path) from error
    return True


def _open_read_only(path: Path) -> sqlite3.Connection:
    # Plain mode=ro creates or changes the -shm file of a database in WAL mode; these modes write nothing.
    if not _has_content(path, "-wal"):
        ways = "immutable=1"
    elif _has_content(path, "-shm"):
        ways = "mode=ro&readonly_shm=1"
    else:
        ways = "mode=ro&vfs=unix-none"
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?{ways}", uri=True, isolation_level=None)
    try:
        if ways.endswith("unix-none"):
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # the index of the WAL stays in memory
        for setting in build_reader_settings():
            connection.execute(setting)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _has_content(path: Path, suffix: str) -> bool:
    try:
        # SQLite keeps them next to the real file if `path` is a link.
        return Path(f"{path.resolve()}{suffix}").stat().st_size > 0
    except OSError:
        return False


def _check_pages(connection: sqlite3.Connection, path: Path) -> None:
    # quick_check of a large file would delay the start: this limit keeps it under two seconds.
    budget = iter(range(20_000))
    connection.set_progress_handler(lambda: next(budget, None) is None, 10_000)
    try:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if read_error_name(error) != "SQLITE_INTERRUPT":
            raise
        answer = "ok"
    finally:
        connection.set_progress_handler(None, 0)
    if answer != "ok":
        raise _damaged_error(path, str(answer))


def _open_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"cannot open {path}: {error.strerror}", hint="name another data_dir, or give this user the rights to the file"
    )


def _damaged_error(path: Path, why: str) -> StoreError:
    first = next((line for line in why.splitlines() if not line.startswith("***")), "unreadable")
    return StoreError(
        f"{path} is not a usable relay database ({first}); it was left as it is",
        hint="move it away to start with an empty one, or name another data_dir",
    )


# Names of SQLite errors that affect every transaction.
_OUTAGES = (
    "SQLITE_BUSY",
    "SQLITE_CANTOPEN",
    "SQLITE_CORRUPT",
    "SQLITE_FULL",
    "SQLITE_IOERR",
    "SQLITE_LOCKED",
    "SQLITE_NOTADB",
    "SQLITE_READONLY",
)
_QUIET_SECONDS = 2.0  # seconds without a failure after which an outage is over
_MIN_FREE_BYTES = 1_000_000  # bytes: with less, a commit may fail at any moment


class StoreMovedError(StoreError):
    """The database file is no longer where it was opened: what is written to it would be lost."""


class Outages:
    """Tracks whether transactions can be committed.

    `on_change` is called with the error when an outage starts or its cause changes, and with None when it ends.
    """

    def __init__(self) -> None:
        self.now: StoreError | None = None
        self.on_change: Callable[[StoreError | None], None] = lambda _: None
        self._failed_at = 0.0

    def note(self, outage: StoreError | None, *, has_written: bool) -> None:
        """Record the end of a transaction: None if it was committed or failed for a reason of its own.

        A transaction that wrote nothing proves nothing. On a nearly full disk a small write may succeed between larger
        ones that fail, so an outage ends only after a moment without failures.
        """
        now = time.monotonic()
        if outage is not None:
            self._failed_at = now
        elif self.now is None or not has_written or now - self._failed_at < _QUIET_SECONDS:
            return
        was, self.now = self.now, outage
        if (was and was.message) != (outage and outage.message):
            self.on_change(outage)


def explain_outage(error: BaseException, path: Path) -> StoreError | None:
    """Return the error as an outage of the whole store; None if it concerns one step only."""
    if isinstance(error, StoreMovedError):
        found: StoreError = error
    elif isinstance(error, sqlite3.Error) and read_error_name(error).startswith(_OUTAGES):
        found = explain_error(error, path)
    else:
        return None
    found.is_outage = True
    return found


def is_commit_at_risk(path: Path, inode: int) -> bool:
    """Return, without writing, whether the next commit will probably fail: file moved, read-only, no space."""
    try:
        status = path.stat()
        mounted = os.statvfs(path)
    except OSError:
        return True
    is_read_only = mounted.f_flag & os.ST_RDONLY or not os.access(path, os.W_OK)
    has_space = mounted.f_bavail * mounted.f_frsize >= _MIN_FREE_BYTES
    return status.st_ino != inode or bool(is_read_only) or not has_space


def _find_full_disk(name: str, path: Path) -> StoreError | None:
    """Return an error that the disk is full or the file may not grow, if an error of that name means that."""
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return None
    if free < _MIN_FREE_BYTES:
        return StoreError(
            f"the disk that holds {path} is full ({free:,} bytes free)", hint="free some space; senders will try again"
        )
    if name.startswith("SQLITE_FULL"):
        return StoreError(
            f"{path} cannot grow: a quota or a limit on the size of files is reached",
            hint="raise it (quota, ulimit -f), or free some space; senders will try again",
        )
    return None


def read_error_name(error: sqlite3.Error) -> str:
    """Return SQLite's name of an error, such as `SQLITE_BUSY`; "" if it has none."""
    return getattr(error, "sqlite_errorname", "") or ""


async def keep_trying(
    clock: Clock, message: str, write: Callable[[], Awaitable[object]], *, only_outages: bool = False
) -> None:
    """Retry a write until it succeeds. With `only_outages`, raise a StoreError that is not an outage."""
    while True:
        try:
            await write()
        except StoreError as error:
            if only_outages and not error.is_outage:
                raise
            _log.log(log_level(error), "%s: %s", message, error)
            await clock.sleep(STORE_PAUSE)
        else:
            return
