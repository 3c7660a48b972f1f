"""Migrates a database file: applies each migrations/NNNN_name.sql once, identified by its name.

The table `migrations` records what was applied, so that a migration may get another number. Databases
written before there was such a table only counted their migrations, and the numbers moved since: what
was applied to those is read from their tables and columns.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import field
from functools import cache
from pathlib import Path

from relay.errors import StoreError
from relay.model.values import dataclass
from relay.platform import create_private

_INTERNAL_PREFIXES = ("sqlite_", "words_")  # tables of SQLite itself and of the full-text index


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns by table; kind and SQL of indexes and triggers by name; the names of the kept counts."""

    tables: Mapping[str, frozenset[str]] = field(default_factory=dict)
    named: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()

    @property
    def columns(self) -> frozenset[tuple[str, str]]:
        """Return each column with its table."""
        return frozenset((table, column) for table, columns in self.tables.items() for column in columns)


def read_schema(connection: sqlite3.Connection) -> Schema:
    """Read the schema of a database. Raises sqlite3.Error."""
    tables: dict[str, frozenset[str]] = {}
    named: dict[str, tuple[str, str]] = {}
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall():
        if name.startswith(_INTERNAL_PREFIXES):
            continue
        if kind == "table":
            columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
            tables[name] = frozenset(row[0] for row in columns)
        elif kind in ("index", "trigger") and sql:
            named[name] = (kind, sql)
    counters = connection.execute("SELECT name FROM counters") if "counters" in tables else ()
    return Schema(tables, named, frozenset(row[0] for row in counters))


def find_repairs(actual: Schema, expected: Schema) -> tuple[str, ...]:
    """Return the SQL that gives `actual` the indexes, triggers and counts of `expected`; tables are alike."""
    was, target = _normalize_schema(actual), _normalize_schema(expected)
    drops = [
        f"DROP {kind} {_quote(name)};" for name, (kind, _) in actual.named.items() if was[name] != target.get(name)
    ]
    creations = [f"{sql};" for name, (_, sql) in expected.named.items() if was.get(name) != target[name]]
    counts = [f"INSERT INTO counters VALUES ('{name}', 0);" for name in sorted(expected.counters - actual.counters)]
    return (*drops, *creations, *counts)


def _normalize_schema(schema: Schema) -> dict[str, str]:
    return {name: " ".join(sql.split()) for name, (_, sql) in schema.named.items()}


def _quote(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


APPLICATION_ID = 0x52454C41  # "RELA": identifies relay's files among SQLite files
_MIGRATIONS = Path(__file__).parent / "migrations"
_RECORD = "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY) WITHOUT ROWID"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of migrations/: its name without the number, and its SQL."""

    name: str
    script: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationPlan:
    """The steps a database needs: `found` are applied but not recorded, `repairs` restores missing parts."""

    recorded: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    repairs: tuple[str, ...] = ()
    missing: tuple[Migration, ...] = ()
    is_new: bool = False


@cache
def load_migrations() -> tuple[Migration, ...]:
    """Return all migrations in the order of their numbers."""
    files = sorted(_MIGRATIONS.glob("[0-9]*.sql"))
    return tuple(Migration(file.stem.partition("_")[2], file.read_text(encoding="utf-8")) for file in files)


def plan_migration(connection: sqlite3.Connection, path: Path) -> MigrationPlan:
    """Return the steps a database needs, without writing to it.

    Raises StoreError for a file that is not relay's, or that another version of relay wrote.
    """
    migrations = load_migrations()
    tables = read_schema(connection).tables
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if application != APPLICATION_ID and (tables or application):
        raise StoreError(
            f"{path} is a SQLite file but not relay's; it was left as it is", hint="name another data_dir in relay.toml"
        )
    if not tables:
        return MigrationPlan(missing=migrations, is_new=True)
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise _newer_version_error(path, f"schema {version}; this one knows {len(migrations)}")
    if "migrations" not in tables:
        return _plan_unrecorded(connection, path, migrations)
    recorded = tuple(row[0] for row in connection.execute("SELECT name FROM migrations"))
    unknown = sorted(set(recorded) - {migration.name for migration in migrations})
    if unknown:
        raise _newer_version_error(path, f"it has {', '.join(unknown)}, which this one does not know")
    return MigrationPlan(recorded=recorded, missing=_exclude_migrations(migrations, recorded))


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply missing migrations, one transaction each, after a backup of a file that is not empty.

    A new file gets all of them in one transaction, because each transaction waits for the disk.
    Raises StoreError as `plan_migration` does; such a file is left untouched.
    """
    plan = plan_migration(connection, path)
    if plan.is_new:
        scripts, names = zip(*((migration.script, migration.name) for migration in plan.missing), strict=True)
        _apply_statements(connection, scripts, names, len(names))
        return
    if plan.missing or plan.repairs:
        _back_up(connection, path)
    recorded = list(plan.recorded)
    if plan.found:
        recorded += plan.found
        _apply_statements(connection, plan.repairs, plan.found, len(recorded))
    for migration in plan.missing:
        recorded.append(migration.name)
        _apply_statements(connection, (migration.script,), (migration.name,), len(recorded))


def _plan_unrecorded(connection: sqlite3.Connection, path: Path, migrations: tuple[Migration, ...]) -> MigrationPlan:
    actual = read_schema(connection)
    found = _find_applied(actual, migrations)
    try:
        expected = _build_schema(tuple(migration for migration in migrations if migration.name in found))
    except sqlite3.Error:
        expected = None
    if expected is None or expected.tables != actual.tables:
        raise StoreError(
            f"{path} was written by a development version of relay whose tables this one does not know; "
            "it was left as it is",
            hint="export its events with the version that wrote it, or name another data_dir",
        )
    return MigrationPlan(
        found=found, repairs=find_repairs(actual, expected), missing=_exclude_migrations(migrations, found)
    )


def _find_applied(actual: Schema, migrations: tuple[Migration, ...]) -> tuple[str, ...]:
    """Return the names of the migrations whose tables and columns exist.

    One that adds neither is known by its indexes, as far as they are kept by those that follow.
    """
    final = _build_schema(migrations)
    found: list[str] = []
    before = Schema()
    for count, migration in enumerate(migrations, start=1):
        after = _build_schema(migrations[:count])
        columns = (after.columns - before.columns) & final.columns
        names = (after.named.keys() - before.named.keys()) & final.named.keys()
        if columns <= actual.columns if columns else names and names <= actual.named.keys():
            found.append(migration.name)
        before = after
    return tuple(found)


@cache
def _build_schema(migrations: tuple[Migration, ...]) -> Schema:
    """Return the schema that these migrations create. Raises sqlite3.Error if one of them needs another."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as scratch:
        for migration in migrations:
            scratch.executescript(migration.script)
        return read_schema(scratch)


def _exclude_migrations(migrations: tuple[Migration, ...], names: tuple[str, ...]) -> tuple[Migration, ...]:
    return tuple(migration for migration in migrations if migration.name not in names)


def _newer_version_error(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} was written by a newer relay ({why}); it was left as it is",
        hint="upgrade relay, or name another data_dir",
    )


def _back_up(connection: sqlite3.Connection, path: Path) -> None:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    backup = path.with_suffix(f".before-{version + 1}.db")
    if backup.exists():
        return
    half = backup.with_suffix(".part")
    try:
        # SQLite fills an existing empty file, so the copy is private from its first byte.
        os.close(create_private(half))
        connection.execute("VACUUM INTO ?", (str(half),))
        half.rename(backup)
    except OSError as error:
        raise StoreError(
            f"cannot save a copy of {path} before its upgrade: {error.strerror}",
            hint="free some space, or give this user the right to write there",
        ) from error
    finally:
        half.unlink(missing_ok=True)


def _apply_statements(
    connection: sqlite3.Connection, statements: tuple[str, ...], names: tuple[str, ...], version: int
) -> None:
    # The changes and their record are one transaction, so an interrupted upgrade simply runs again.
    script = "\n".join(statements)
    records = "\n".join(f"INSERT OR IGNORE INTO migrations VALUES ('{name}');" for name in names)
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\n{_RECORD};\n{records}\n"
            f"PRAGMA application_id = {APPLICATION_ID};\nPRAGMA user_version = {version};\nCOMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
