"""Idempotency keys of an app with relay embedded: a small file shared by its processes."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from relay.errors import StoreBusyError, StoreError
from relay.model.admission import Claim
from relay.platform import SystemClock, make_private_folder
from relay.store.connection import connect, explain_error
from relay.store.row_mappers import to_micros

CLAIM_LEASE = 300.0
KEY_RETENTION = 30 * 86400.0  # seconds
_SECOND = 1_000_000
_PRUNE_EVERY = 200  # claims
_PRUNE_AT_ONCE = 1000  # keys
_PAUSES = (0.02, 0.1, 0.3)  # seconds before the file is opened again

_APPLICATION_ID = 0x52454C4B  # "RELK"
_TABLE = """
CREATE TABLE IF NOT EXISTS received (
  source TEXT NOT NULL, key TEXT NOT NULL, done INTEGER NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (source, key)
) STRICT, WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS received_until ON received (until)"
# A statement is a transaction: of several processes exactly one gets a row back.
_CLAIM = """
INSERT INTO received VALUES (:source, :key, 0, :until)
ON CONFLICT DO UPDATE SET done = 0, until = :until WHERE until <= :now
RETURNING 1
"""
_STATE = "SELECT done FROM received WHERE source = :source AND key = :key"
_KEEP = "INSERT INTO received VALUES (:source, :key, 1, :until) ON CONFLICT DO UPDATE SET done = 1, until = :until"
_GIVE_UP = "DELETE FROM received WHERE source = :source AND key = :key AND done = 0"
_PRUNE = """
DELETE FROM received WHERE (source, key) IN (SELECT source, key FROM received WHERE until <= :now LIMIT :most)
"""


class SqliteKeyStore:
    """Claims in a SQLite file, safe for threads, processes and forks.

    A claim that is not settled expires after `lease` seconds, which must exceed any handler's time; what
    was handled is remembered for KEY_RETENTION. Raises StoreError where the file cannot be used.
    """

    def __init__(self, path: Path, *, lease: float = CLAIM_LEASE) -> None:
        self._path = path
        self.lease = lease
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._claims = 0
        try:
            make_private_folder(path.parent)
        except OSError as error:
            raise StoreError(
                f"cannot make {path.parent}: {error.strerror}", hint="change its permissions, or name another"
            ) from error
        with self._opened():
            pass
        # Servers fork after loading an app: every process opens the file itself.
        self.close()

    def claim(self, source: str, key: str) -> Claim:
        """Claim a key, or return that it is busy or done. Raises StoreError."""
        now = self._now()
        parameters = {"source": source, "key": key, "now": now, "until": now + int(self.lease * _SECOND)}
        with self._opened() as connection:
            self._claims += 1
            if self._claims % _PRUNE_EVERY == 0:
                connection.execute(_PRUNE, {"now": now, "most": _PRUNE_AT_ONCE})
            if connection.execute(_CLAIM, parameters).fetchall():
                return Claim.MINE
            row = connection.execute(_STATE, parameters).fetchone()
        # Released between the two statements: the sender's next try finds it free.
        return Claim.DONE if row is not None and row[0] else Claim.BUSY

    def settle(self, source: str, key: str, done: bool) -> None:
        """Make a claim permanent, or release it. Raises StoreError."""
        parameters = {"source": source, "key": key, "until": self._now() + int(KEY_RETENTION * _SECOND)}
        with self._opened() as connection:
            connection.execute(_KEEP if done else _GIVE_UP, parameters)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and self._pid == os.getpid():
                connection.close()

    def __del__(self, getpid: Callable[[], int] = os.getpid) -> None:
        """Close the file: since 3.13 Python warns about a connection that was left open."""
        # At interpreter shutdown the module's globals may be gone; a parameter's default is not.
        if self._connection is not None and self._pid == getpid():
            self._connection.close()

    def _now(self) -> int:
        return to_micros(self._clock.now())

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._pid != os.getpid():
            # A fork inherits its parent's connection, which it must neither use nor close, and perhaps a lock
            # that is never released.
            self._lock, self._pid = threading.Lock(), os.getpid()
            self._inherited, self._connection = self._connection, None
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _connect(self._path)
                    self._connection.execute("PRAGMA wal_autocheckpoint = 1000")
                    _set_application_id(self._connection)
                    self._connection.execute(_TABLE)
                    self._connection.execute(_INDEX)
                yield self._connection
            except sqlite3.Error as error:
                raise explain_error(error, self._path) from error


def _connect(path: Path) -> sqlite3.Connection:
    # Processes that start together may find a file that another is just creating or closing.
    for pause in _PAUSES:
        try:
            return connect(path, _refuse_foreign)
        except StoreError as error:
            if isinstance(error, StoreBusyError) or not isinstance(error.__cause__, sqlite3.Error):
                raise
            time.sleep(pause)
    return connect(path, _refuse_foreign)


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if application not in (0, _APPLICATION_ID) or not tables <= {"received"}:
        raise StoreError(
            f"{path} is a SQLite file but not one of relay's keys; it was left as it is",
            hint="name another file for the keys, or another data_dir",
        )


def _set_application_id(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
