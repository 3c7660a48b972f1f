"""Opening the database file: its settings, its checks, and errors in plain words."""

import os
import sqlite3
from pathlib import Path

from relay.errors import StoreBusyError, StoreError

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
    "PRAGMA cache_size = -32768",
    # The writer checkpoints between batches, so that no sender waits for it.
    "PRAGMA wal_autocheckpoint = 0",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open `path` for writing, made 0600 if it is new, and check that it is sound.

    Raises StoreError naming the path and the reason; a damaged file is left as it is.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(
            f"cannot open {path}: {error.strerror}",
            hint="choose another data_dir, or mend its permissions",
        ) from error
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        for setting in (*_SETTINGS, *_WRITER_SETTINGS):
            connection.execute(setting)
        _check(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise explain(error, path) from error
    except StoreError:
        connection.close()
        raise
    return connection


def settings() -> tuple[str, ...]:
    """Return the statements that a reading connection starts with."""
    return (*_SETTINGS, "PRAGMA query_only = ON")


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """Turn what SQLite said into a sentence with a hint."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreBusyError(f"{path} is in use by another program", hint="close it and try again")
    if name.startswith("SQLITE_FULL"):
        return StoreError(f"the disk that holds {path} is full", hint="make room; senders will try again")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return _damaged(path, str(error))
    if name.startswith("SQLITE_READONLY"):
        return StoreError(f"{path} cannot be written", hint="mend its permissions")
    if name.startswith("SQLITE_IOERR"):
        return StoreError(
            f"{path} cannot be written: {error}", hint="look at the disk; senders will try again"
        )
    return StoreError(f"{path}: {error}", hint="senders will try again")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    # quick_check of a large file would hold up the start: 200 opcodes x 1000 keeps it under two seconds.
    budget = iter(range(20_000))
    connection.set_progress_handler(lambda: next(budget, None) is None, 10_000)
    try:
        answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") != "SQLITE_INTERRUPT":
            raise
        answer = "ok"
    finally:
        connection.set_progress_handler(None, 0)
    if answer != "ok":
        raise _damaged(path, str(answer))


def _damaged(path: Path, why: str) -> StoreError:
    first = why.splitlines()[0] if why else "unreadable"
    return StoreError(
        f"{path} is not a usable relay database ({first}); it was left as it is",
        hint="move it away to start afresh, or name another data_dir",
    )
