"""Brings a database file up to date: migrations/NNNN_name.sql, once each, in order."""

import sqlite3
from pathlib import Path

from relay.errors import StoreError

APPLICATION_ID = 0x52454C41  # "RELA": tells our files from any other SQLite file
_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is missing, one transaction a step, after a backup of a file that holds anything.

    Raises StoreError for a file that is not relay's, or that a newer relay wrote; such a file is
    left untouched.
    """
    steps = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    _refuse_foreign(connection, path)
    if version > len(steps):
        raise StoreError(
            f"{path} was written by a newer relay (schema {version}; this one knows {len(steps)})",
            hint="upgrade relay, or name another data_dir",
        )
    if 0 < version < len(steps):
        _back_up(connection, path, version)
    for number, step in enumerate(steps, start=1):
        if number > version:
            _apply(connection, number, step.read_text(encoding="utf-8"))


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION_ID and tables:
        raise StoreError(
            f"{path} is a SQLite file but not relay's; it was left as it is",
            hint="name another data_dir in relay.toml",
        )


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    backup = path.with_suffix(f".before-{version + 1}.db")
    if backup.exists():
        return
    half = backup.with_suffix(".part")
    half.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(half),))
    half.chmod(0o600)
    half.rename(backup)


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    # One transaction holds the step and its version, so an interrupted upgrade simply runs again.
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{script}\n"
        f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {number};\nCOMMIT;",
    )
