"""When the store can keep nothing: a full disk, a file that was moved away, a lock that another program keeps."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from relay.errors import StoreError
from relay.store.connection import explain

# What befalls every transaction alike, by the name of its SQLite error.
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
_CALM = 2.0  # seconds without a failure after which an outage is over
_LEAST_ROOM = 1_000_000  # bytes: with less, a commit may fail any moment

Listener = Callable[[StoreError | None], None]


class MovedError(StoreError):
    """The database's file is not where it was opened: what is written to it would not be found again."""


class Outages:
    """Knows whether the last transaction could be kept, and tells listeners when that changes."""

    def __init__(self) -> None:
        self.now: StoreError | None = None
        self._failed_at = 0.0
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call `listener` with what is wrong when an outage begins or has another cause, with None when it ends."""
        self._listeners.append(listener)

    def note(self, outage: StoreError | None, *, has_written: bool) -> None:
        """Take in how a transaction ended: None where it was kept, or failed for a reason of its own.

        What wrote nothing proves nothing. On a disk that is nearly full a small write may pass between larger
        ones that fail, so an outage ends only when nothing has failed for a moment.
        """
        now = time.monotonic()
        if outage is not None:
            self._failed_at = now
        elif self.now is None or not has_written or now - self._failed_at < _CALM:
            return
        was, self.now = self.now, outage
        if (was and was.sentence) != (outage and outage.sentence):
            for listener in self._listeners:
                listener(outage)


def explain_outage(error: BaseException, path: Path) -> StoreError | None:
    """Return what is wrong with the whole store, marked as an outage; None for a fault of one step alone."""
    if isinstance(error, MovedError):
        found: StoreError = error
    elif isinstance(error, sqlite3.Error) and _name(error).startswith(_OUTAGES):
        found = _with_room(explain(error, path), error, path)
    else:
        return None
    found.is_outage = True
    return found


def is_suspicious(path: Path, inode: int) -> bool:
    """Say, without writing, whether the next commit is likely to fail: moved away, read-only, no room."""
    try:
        status = path.stat()
        mounted = os.statvfs(path)
    except OSError:
        return True
    is_read_only = mounted.f_flag & os.ST_RDONLY or not os.access(path, os.W_OK)
    has_room = mounted.f_bavail * mounted.f_frsize >= _LEAST_ROOM
    return status.st_ino != inode or bool(is_read_only) or not has_room


def _with_room(found: StoreError, error: sqlite3.Error, path: Path) -> StoreError:
    """Say that the disk is full where an I/O error means that."""
    if not _name(error).startswith(("SQLITE_IOERR", "SQLITE_FULL")):
        return found
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return found
    if free < _LEAST_ROOM:
        return StoreError(
            f"the disk that holds {path} is full ({free:,} bytes free)",
            hint="make room; senders will try again",
        )
    if _name(error).startswith("SQLITE_FULL"):
        return StoreError(
            f"{path} cannot grow: a quota or a limit on the size of files is reached",
            hint="raise it (quota, ulimit -f), or make room; senders will try again",
        )
    return found


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or ""
