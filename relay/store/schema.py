"""What a database is made of: its tables with their columns, its indexes and triggers."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field

_OWN = ("sqlite_", "words_")  # of SQLite, and what the full-text index keeps for itself


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
        if name.startswith(_OWN):
            continue
        if kind == "table":
            columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,))
            tables[name] = frozenset(row[0] for row in columns)
        elif kind in ("index", "trigger") and sql:
            named[name] = (kind, sql)
    counters = connection.execute("SELECT name FROM counters") if "counters" in tables else ()
    return Schema(tables, named, frozenset(row[0] for row in counters))


def statements_between(actual: Schema, expected: Schema) -> tuple[str, ...]:
    """Return the SQL that gives `actual` the indexes, triggers and counts of `expected`; tables are alike."""
    was, wanted = _comparable(actual), _comparable(expected)
    drops = [
        f"DROP {kind} {_quote(name)};"
        for name, (kind, _) in actual.named.items()
        if was[name] != wanted.get(name)
    ]
    creations = [f"{sql};" for name, (_, sql) in expected.named.items() if was.get(name) != wanted[name]]
    counts = [
        f"INSERT INTO counters VALUES ('{name}', 0);" for name in sorted(expected.counters - actual.counters)
    ]
    return (*drops, *creations, *counts)


def _comparable(schema: Schema) -> dict[str, str]:
    return {name: " ".join(sql.split()) for name, (_, sql) in schema.named.items()}


def _quote(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
