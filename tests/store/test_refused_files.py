"""A file that is not, or not any more, a database of this relay stays what it is, byte for byte."""

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from relay.errors import StoreBusyError, StoreError
from relay.store import idempotency, open_store
from relay.store.idempotency import SqliteKeyStore

RELAY = (sys.executable, "-m", "relay")


def checkpointed(path, *statements):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def killed(path, *statements):
    """Run statements in a process that ends before SQLite can tidy up: what it wrote is in the -wal file."""
    lines = "".join(f"c.execute({statement!r});" for statement in statements)
    script = f"import sqlite3,os; c=sqlite3.connect({str(path)!r}, isolation_level=None);{lines} os._exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)


def ours(path):
    async def open_once():
        async with open_store(path.parent):
            pass

    asyncio.run(open_once())


def foreign(path):
    checkpointed(path, "CREATE TABLE theirs (x)", "INSERT INTO theirs VALUES (1)")


def foreign_in_wal(path):
    killed(path, "PRAGMA journal_mode = WAL", "CREATE TABLE theirs (x)")


def foreign_in_wal_alone(path):
    foreign_in_wal(path)
    Path(f"{path}-shm").unlink()


def foreign_id(path):
    checkpointed(path, "PRAGMA application_id = 77", "CREATE TABLE events (id INTEGER PRIMARY KEY)")


def newer(path):
    ours(path)
    checkpointed(path, "PRAGMA user_version = 99")


def newer_in_wal(path):
    ours(path)
    killed(path, "PRAGMA user_version = 99")


def damaged(path):
    ours(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def damaged_behind_the_schema(path):
    ours(path)
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


def cut_short(path):
    ours(path)
    os.truncate(path, path.stat().st_size // 2)


def no_database(path):
    path.write_bytes(b"dear diary, today I was renamed to relay.db\n" * 200)


def header_alone(path):
    path.write_bytes(b"SQLite format 3\x00")


def folder(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


KINDS = {
    "foreign": (foreign, "not relay's"),
    "foreign in its -wal": (foreign_in_wal, "not relay's"),
    "foreign in its -wal, without -shm": (foreign_in_wal_alone, "not relay's"),
    "foreign by its id": (foreign_id, "not relay's"),
    "newer": (newer, "written by a newer relay"),
    "newer in its -wal": (newer_in_wal, "written by a newer relay"),
    "damaged": (damaged, "not a usable relay database"),
    "damaged behind the schema": (damaged_behind_the_schema, r"not a usable relay database \(.*[Pp]age \d+"),
    "cut short": (cut_short, "not a usable relay database"),
    "no database": (no_database, "not a usable relay database"),
    "header alone": (header_alone, "not a usable relay database"),
    "folder": (folder, "is not a file"),
    "pipe": (pipe, "is not a file"),
}


def state_of(folder_):
    """Every file with its bytes, times and rights, but for relay's lock."""
    return {
        path.name: (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in folder_.iterdir()
        if path.name not in ("lock", "token")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_refused_stays_as_it_is(tmp_path, kind):
    make, words = KINDS[kind]
    make(tmp_path / "relay.db")
    before = state_of(tmp_path)

    async def open_it():
        async with open_store(tmp_path):
            pass

    with pytest.raises(StoreError, match=words) as caught:
        asyncio.run(open_it())
    assert str(tmp_path / "relay.db") in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert state_of(tmp_path) == before


@pytest.mark.parametrize("kind", ["foreign", "foreign in its -wal, without -shm", "no database", "folder"])
def test_a_file_for_keys_that_is_refused_stays_as_it_is(tmp_path, kind):
    make, _ = KINDS[kind]
    make(tmp_path / "received.db")
    before = state_of(tmp_path)
    with pytest.raises(StoreError, match=r"received\.db"):
        SqliteKeyStore(tmp_path / "received.db")
    assert state_of(tmp_path) == before


def test_relays_own_database_holds_no_keys_of_an_app(tmp_path):
    ours(tmp_path / "relay.db")
    before = state_of(tmp_path)
    with pytest.raises(StoreError, match="not one of relay's keys"):
        SqliteKeyStore(tmp_path / "relay.db")
    assert state_of(tmp_path) == before


def test_a_file_for_keys_that_another_process_is_making_is_opened_when_it_is_made(tmp_path, monkeypatch):
    path, pauses = tmp_path / "received.db", []
    header_alone(path)

    def pause(seconds):
        pauses.append(seconds)
        path.unlink()

    monkeypatch.setattr(time, "sleep", pause)
    keys = SqliteKeyStore(path)
    assert keys.claim("s", "k") == "mine"
    assert len(pauses) == 1
    keys.close()


def test_a_file_for_keys_that_another_program_holds_is_waited_for_once(tmp_path, monkeypatch):
    tries = []

    def connect(path, _):
        tries.append(path)
        raise StoreBusyError("in use") from sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(idempotency, "connect", connect)
    with pytest.raises(StoreBusyError):
        SqliteKeyStore(tmp_path / "received.db")
    assert len(tries) == 1


def test_keys_that_an_earlier_version_kept_are_still_known(tmp_path):
    keys = SqliteKeyStore(tmp_path / "received.db")
    keys.claim("s", "k")
    keys.settle("s", "k", True)
    keys.close()
    checkpointed(tmp_path / "received.db", "PRAGMA application_id = 0")
    assert SqliteKeyStore(tmp_path / "received.db").claim("s", "k") == "done"


@pytest.mark.parametrize("words", [("start", "--no-tunnel"), ("events",), ("catch-up", "s", "--since", "1h")])
def test_every_command_refuses_it_in_one_line(tmp_path, words):
    foreign_in_wal(tmp_path / "relay.db")
    before = state_of(tmp_path)
    config = tmp_path.parent / f"{tmp_path.name}.toml"
    config.write_text(
        '[server]\ningress = "127.0.0.1:auto"\ndashboard = "127.0.0.1:auto"\n[sources.s]\nprovider = "github"\n'
    )
    done = subprocess.run(
        [*RELAY, *words, "--config", str(config), "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "is a SQLite file but not relay's; it was left as it is" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert state_of(tmp_path) == before


def test_a_database_that_was_left_by_a_crash_is_opened(tmp_path):
    path = tmp_path / "relay.db"
    ours(path)
    killed(path, "UPDATE counters SET value = 41 WHERE name = 'events'")
    for suffix in ("-shm", None):
        if suffix:
            Path(f"{path}{suffix}").unlink()

        async def count():
            async with open_store(tmp_path) as store:
                return (await store.events.counts()).events

        assert asyncio.run(count()) == 41
