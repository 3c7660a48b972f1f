"""Databases that earlier versions wrote, whose migrations had other numbers, other texts or another order."""

import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from relay.errors import StoreError
from relay.store import open_store
from relay.store.migrate import APPLICATION_ID, load_migrations, migrate, read_schema
from store.test_store import new_event

BASE = "events_deliveries_messages"
# What the migrations of a version were, in the order of their numbers then. A number behind a name says that
# the text was another one.
MAIN = (BASE, "queue", "batches")
SETS = (
    (f"{BASE}.1",),
    (f"{BASE}.1", "queue"),
    (f"{BASE}.2", "queue"),
    (BASE, "queue"),
    MAIN,
    (*MAIN, "imports"),
    (*MAIN, "imports", "tallies"),
    (*MAIN, "problems"),
    (*MAIN, "message_history.1"),
    (*MAIN, "message_history.2"),
    (*MAIN, "message_history"),
    (*MAIN, "recovered"),
    (*MAIN, "recovered", "imports", "tallies"),
    (*MAIN, "recovered", "sent_mails", "imports", "tallies"),
    (*MAIN, "admission_and_retention"),
    (*MAIN, "recovered", "message_history", "imports", "tallies"),
    (*MAIN, "lab", "recovered", "sent_mails", "imports", "tallies"),
    (*MAIN, "lab", "recovered", "output", "sent_mails", "imports", "tallies"),
    (*MAIN, "lab"),
    (*MAIN, "lab", "recovered", "output", "admission_and_retention", "sent_mails", "imports", "tallies"),
    (*MAIN, "vault"),
    (*MAIN, "output"),
    (
        *MAIN,
        *("lab", "recovered", "output", "admission_and_retention", "sent_mails"),
        *("message_history", "imports", "tallies"),
    ),
    (
        *MAIN,
        *("lab", "recovered", "vault", "output", "admission_and_retention", "sent_mails"),
        *("message_history", "imports", "tallies"),
    ),
)


COUNTING_TRIGGERS = """
CREATE TRIGGER events_counted AFTER INSERT ON events BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'events';
END;
CREATE TRIGGER events_rejected_counted AFTER INSERT ON events WHEN new.outcome = 'rejected' BEGIN
  UPDATE counters SET value = value + 1 WHERE name = 'rejected';
END;
"""
# The earlier texts: the one they became, and what was otherwise in it.
EARLIER = {
    f"{BASE}.2": (BASE, ("", COUNTING_TRIGGERS)),
    f"{BASE}.1": (f"{BASE}.2", ("CREATE INDEX events_pinned ON events(id) WHERE pinned = 1;", "")),
    "message_history.2": ("message_history", ("(status, channel, provider)", "(channel, provider, status)")),
    "message_history.1": (
        "message_history.2",
        ("CREATE INDEX history_unmatched ON history(id) WHERE message_id IS NULL;", ""),
    ),
    "problems": (
        "admission_and_retention",
        ("INSERT INTO counters VALUES ('removed_age', 0), ('removed_events', 0), ('removed_size', 0);", ""),
    ),
}


@cache
def script_of(name):
    if name in EARLIER:
        later, (now, then) = EARLIER[name]
        text = script_of(later)
        assert now in text
        return text.replace(now, then) if now else text + then
    return next(migration.script for migration in load_migrations() if migration.name == name)


def upgrade_by_count(connection, names):
    """Do what versions did that knew migrations by their number alone; stop where a step cannot be applied."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, name in enumerate(names[version:], start=version + 1):
        try:
            connection.executescript(
                f"BEGIN;\n{script_of(name)}\nPRAGMA application_id = {APPLICATION_ID};"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            return


def add_rows(connection):
    """An event with its bytes, a key, a delivery and a message, in the columns that every version has."""
    connection.execute(
        "INSERT INTO events (received_at, source, provider, type, idempotency_key, outcome, verdict, reason, "
        "method, path, query, content_type, size, sha256, remote, status) VALUES (5, 'stripe', 'stripe', 't', "
        "'key', 'accepted', 'verified', '', 'POST', x'2f77', x'', '', 2, x'', '', 200)"
    )
    connection.execute(
        "INSERT INTO event_bytes (event_id, url, headers, body, checks) VALUES (1, x'', x'', x'7b7d', '[]')"
    )
    connection.execute("INSERT INTO keys VALUES ('stripe', 'key', 1)")
    connection.execute(
        "INSERT INTO messages (channel, provider, external_id, recipient, subject, status, detail, created_at) "
        "VALUES ('email', 'smtp', '<a@b>', 'ada@example.com', 's', 'sent', '', 5)"
    )
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'events_counted'").fetchone():
        connection.execute("UPDATE counters SET value = 1 WHERE name = 'events'")


@cache
def write_first(names):
    """Return the file of a version that was the first to write it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade_by_count(connection, names)
        add_rows(connection)
        return connection.serialize()


@pytest.fixture
def database(tmp_path):
    """Where a database lies that an earlier version wrote; call `build` with what its migrations were."""
    file = tmp_path / "relay.db"

    class Database:
        path = file

        @staticmethod
        def build(*versions):
            file.write_bytes(write_first(versions[0]))
            with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = OFF")
                for names in versions[1:]:
                    upgrade_by_count(connection, names)

        @staticmethod
        def schema():
            with closing(sqlite3.connect(file)) as connection:
                return read_schema(connection)

    return Database


@cache
def fresh_schema():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, Path("memory"))
        return comparable(read_schema(connection))


def comparable(schema):
    named = {name: " ".join(sql.split()) for name, (_, sql) in schema.named.items()}
    return schema.tables, named, schema.counters


@pytest.mark.parametrize("names", SETS, ids=lambda names: f"{len(names)}-{names[-1]}")
async def test_what_an_earlier_version_wrote_opens_with_its_rows(database, names):
    database.build(names)
    async with open_store(database.path.parent) as store:
        event = await store.events.get(1)
        assert (event.row.source, event.row.idempotency_key, event.capture.body) == ("stripe", "key", b"{}")
        assert (event.row.types, event.row.item_count, event.batch) == (("t",), 1, None)
        assert (await store.events.counts()).events == 1
        assert (await store.messages.get(1)).recipient == "ada@example.com"
        assert (await store.events.add(new_event(key="key"))).duplicate_of == 1
        assert (await store.events.counts()).events == 2
    assert comparable(database.schema()) == fresh_schema()


@pytest.mark.parametrize("later", SETS[4:], ids=lambda names: f"{len(names)}-{names[-1]}")
def test_what_two_versions_wrote_one_after_the_other_is_brought_up_to_date(database, later):
    for earlier in SETS:
        if len(earlier) >= len(later):
            continue
        database.path.unlink(missing_ok=True)
        database.build(earlier, later)
        with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            migrate(connection, database.path)
            assert connection.execute("SELECT COUNT(*) FROM events").fetchone() == (1,)
        assert comparable(database.schema()) == fresh_schema(), earlier


def test_migrations_are_known_by_their_names_and_not_by_their_numbers(database):
    names = [migration.name for migration in load_migrations()]
    assert len(set(names)) == len(names)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        migrate(connection, database.path)
        recorded = {row[0] for row in connection.execute("SELECT name FROM migrations")}
        assert recorded == set(names)
        # As on a branch that had another migration at the place of the last two.
        connection.execute("DELETE FROM migrations WHERE name IN ('imports', 'import_time', 'tallies')")
        connection.execute("DROP TABLE imports")
        connection.execute("DROP TABLE tallies")
        migrate(connection, database.path)
    assert comparable(database.schema()) == fresh_schema()


async def test_what_a_version_with_other_migrations_wrote_is_refused_in_one_sentence(database):
    async with open_store(database.path.parent):
        pass
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        connection.execute("UPDATE migrations SET name = 'teleport' WHERE name = 'lab'")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database.path.read_bytes()
    with pytest.raises(StoreError, match=r"written by a newer relay \(it has teleport"):
        async with open_store(database.path.parent):
            pass
    assert database.path.read_bytes() == before


@pytest.mark.parametrize(
    "change", ["ALTER TABLE events ADD COLUMN mood TEXT", "CREATE TABLE moods (x)", "DROP TABLE tallies"]
)
async def test_tables_that_no_version_had_are_refused_in_one_sentence(database, change):
    database.build(SETS[-1])
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        if change.startswith("DROP"):  # half of a migration
            connection.execute("ALTER TABLE event_bytes DROP COLUMN problems")
            connection.execute("ALTER TABLE deliveries DROP COLUMN spared")
        else:
            connection.execute(change)
    before = database.path.read_bytes()
    with pytest.raises(StoreError, match="development version of relay") as caught:
        async with open_store(database.path.parent):
            pass
    assert "\n" not in caught.value.message
    assert database.path.read_bytes() == before


async def test_an_upgrade_keeps_a_private_copy_of_the_file_as_it_was(database):
    database.build(MAIN)
    async with open_store(database.path.parent):
        pass
    copy = database.path.parent / "relay.before-4.db"
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT COUNT(*) FROM events").fetchone() == (1,)
    assert not list(database.path.parent.glob("*.part"))
