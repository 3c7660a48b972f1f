import asyncio
import math
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from builders import build_capture, build_new_event
from relay.errors import StoreError
from relay.model.delivery import NewDelivery
from relay.model.event import EventOutcome
from relay.store import open_store
from relay.store.new_events import insert_events, prepare_insert
from relay.store.writer import Writer


async def test_callbacks_get_their_values_in_the_order_submitted_on_the_loops_thread(store):
    got, done = [], asyncio.Event()

    def take(stored, error):
        got.append((stored.id, error, threading.get_ident()))
        if len(got) == 100:
            done.set()

    for _ in range(100):
        store.events.add_nowait(prepare_insert(build_new_event(), ()), take)
    assert got == []
    await asyncio.wait_for(done.wait(), 10)
    assert got == [(n, None, threading.get_ident()) for n in range(1, 101)]
    assert (await store.events.counts()).events == 100


async def test_a_callback_gets_the_error_of_its_own_item_alone(store):
    def insert(connection, items):
        return [connection.execute("SELECT 1 / ?", (item,)).fetchone()[0] or item.missing for item in items]

    got = []
    for item in (1, 0.1, object(), 2):
        store.writer.submit(insert, item, lambda *outcome: got.append(outcome))
    await store.writer.write(lambda connection: None)
    assert [value for value, _ in got] == [1, 10.0, None, None]
    assert [type(error) for _, error in got] == [type(None), type(None), StoreError, AttributeError]


@pytest.mark.parametrize("bad", [0, 1, 2])
async def test_a_callback_that_fails_is_reported_and_keeps_no_other_from_its_value(store, bad):
    reported, got = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def take(place):
        if place == bad:
            raise ZeroDivisionError
        got.append(place)

    for place in range(3):
        store.writer.submit(lambda _, items: items, place, lambda _, error, place=place: take(place))
    await store.writer.write(lambda connection: None)
    assert got == [place for place in range(3) if place != bad]
    assert [type(error) for error in reported] == [ZeroDivisionError]


async def test_a_writer_that_is_cancelled_keeps_no_other_from_its_value(store):
    writes = [asyncio.ensure_future(store.events.add(build_new_event())) for _ in range(3)]
    await asyncio.sleep(0)
    writes[1].cancel()
    assert [(await write).id for write in (writes[0], writes[2])] == [1, 3]
    with pytest.raises(asyncio.CancelledError):
        await writes[1]
    assert (await store.events.counts()).events == 3


async def test_what_is_submitted_together_is_one_transaction(store):
    begun = []

    def note(connection, items):
        begun.append(len(items))
        return items

    for item in range(40):
        store.writer.submit(note, item, lambda *_: None)
    await store.writer.write(lambda connection: None)
    assert begun == [40]


@pytest.mark.parametrize("also", [False, True])
async def test_what_follows_a_faulty_event_of_the_same_key_is_no_duplicate(store, also):
    def insert():
        event = build_new_event(idempotency_key="k", claims_key=True)
        return prepare_insert(event, (NewDelivery(target="app", action="forward"),))

    got = []
    faulty = insert()
    faulty.stored = (object(), *faulty.stored[1:])
    for item in (faulty, insert(), insert()):
        store.events.add_nowait(item, lambda *outcome: got.append(outcome))
    if also:
        store.writer.submit(lambda connection, _: connection.execute("SELECT nothing"), None, lambda *_: None)
    await store.writer.write(lambda connection: None)
    assert isinstance(got[0][1], StoreError)
    first, second = got[1][0], got[2][0]
    assert (first.outcome, first.duplicate_of, len(first.deliveries)) == (EventOutcome.ACCEPTED, None, 1)
    assert (second.outcome, second.duplicate_of, second.deliveries) == (EventOutcome.DUPLICATE, first.id, ())
    assert await store.deliveries.counts() == dict.fromkeys(("running", "succeeded", "failed", "cancelled"), 0) | {
        "pending": 1
    }


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 63, 64, 65, 130])
async def test_a_batch_of_any_size_is_kept_whole(store, count):
    """Statements have few sizes: what is left of one is no row."""
    bodies = [b"%d" % n for n in range(count)]
    plan = (NewDelivery(target="a", action="forward"), NewDelivery(target="b", action="forward"))
    events = [
        build_new_event(
            build_capture(body=body, path="/w/é\xff" if n % 2 else "/w"), idempotency_key=str(n), claims_key=True
        )
        for n, body in enumerate(bodies)
    ]
    stored = await asyncio.gather(*(store.events.add(event, plan) for event in events))
    found = [await store.events.get(one.id) for one in stored]
    assert [(event.capture.body, event.capture.path) for event in found] == [
        (event.capture.body, event.capture.path) for event in events
    ]
    assert [one.deliveries for one in stored] == [(2 * n + 1, 2 * n + 2) for n in range(count)]
    deliveries = await store.deliveries.of_events([one.id for one in stored])
    assert [[(d.id, d.target, d.batch, d.lab) for d in deliveries[one.id]] for one in stored] == [
        [(2 * n + 1, "a", None, None), (2 * n + 2, "b", None, None)] for n in range(count)
    ]
    again = await asyncio.gather(*(store.events.add(event) for event in events))
    assert [one.duplicate_of for one in again] == [one.id for one in stored]
    assert (await store.events.counts()).events == 2 * count


async def test_what_is_submitted_while_the_store_closes_gets_its_value(tmp_path):
    got = []

    def count(_, items):
        return items

    async with Writer(tmp_path / "relay.db") as writer:

        def submit_another(value, _):
            got.append(value)
            if value < 8:  # so many that the next commit waits for company
                writer.submit(count, value + 8, submit_another)

        for number in range(8):
            writer.submit(count, number, submit_another)
    assert got == list(range(16))


async def test_a_closed_store_refuses_what_comes_and_keeps_what_was_submitted(tmp_path):
    got = []
    async with open_store(tmp_path / "data") as store:
        for _ in range(3):
            store.events.add_nowait(prepare_insert(build_new_event(), ()), lambda stored, _: got.append(stored.id))
    assert got == [1, 2, 3]
    with pytest.raises(StoreError, match="the store is closed"):
        await store.events.add(build_new_event())


@pytest.mark.filterwarnings("error")
async def test_a_writer_ends_while_another_program_holds_the_lock(tmp_path, monkeypatch):
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    async with Writer(tmp_path / "relay.db") as writer:
        await writer.write(lambda connection: connection.execute("PRAGMA busy_timeout = 50"))
        await writer.write(lambda connection: None)
        other = sqlite3.connect(tmp_path / "relay.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        connection = writer._connection
    other.close()
    assert failed == []
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


async def test_the_log_is_used_again_while_writers_keep_coming(tmp_path, monkeypatch):
    monkeypatch.setattr("relay.store.writer._CHECKPOINT_EVERY", 0.0)
    log, sizes = tmp_path / "relay.db-wal", [0]

    def grow(connection):
        connection.execute("INSERT INTO grown VALUES (randomblob(40000))")

    async with open_store(tmp_path) as store:
        await store.writer.write(lambda connection: connection.execute("CREATE TABLE grown (x)") and None)
        async with asyncio.timeout(60):
            while sizes[-1] != log.stat().st_size:
                sizes.append(log.stat().st_size)
                await asyncio.gather(*(store.writer.write(grow) for _ in range(3)))
    assert len(sizes) > 1


@pytest.mark.parametrize("folder", ["here", "with a space, a % and a ?"])
async def test_a_store_that_closes_waits_until_its_log_is_copied(tmp_path, monkeypatch, folder):
    monkeypatch.setattr("relay.store.writer._CHECKPOINT_EVERY", 0.0)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / folder, Path(folder)):
        async with open_store(path) as store:
            for _ in range(3):
                await store.events.add(build_new_event())
        assert not [thread for thread in threading.enumerate() if thread.name == "relay-store"]
        assert [file.name for file in path.glob("relay.db*")] == ["relay.db"]


class SlowCopyWriter(Writer):
    """Copies its log once `may_copy`, from its first commit on."""

    def __init__(self, path):
        super().__init__(path)
        self.may_copy = threading.Event()

    def _copy_pages(self):
        self.may_copy.wait(10)
        super()._copy_pages()


async def test_what_is_submitted_while_the_log_is_copied_for_the_last_time_gets_its_value(tmp_path):
    got = []
    writer = await SlowCopyWriter(tmp_path / "relay.db").__aenter__()
    writer._checkpoint_at = 0.0
    await writer.write(lambda _: None)
    ending = asyncio.create_task(writer.__aexit__())
    await asyncio.sleep(0.01)
    writer.submit(lambda _, items: items, 0, lambda *outcome: got.append(outcome))
    writer.may_copy.set()
    number = 1
    while not writer._is_closed:  # one waits behind the commit of another whenever the copy ends
        writer.submit(lambda _, items: items, number, lambda *outcome: got.append(outcome))
        number += 1
        await asyncio.sleep(0 if number < 100 else 0.01)
    await asyncio.wait_for(ending, 10)
    assert got == [(value, None) for value in range(number)]


def test_a_writer_whose_closing_is_cancelled_lets_its_program_end(tmp_path):
    """What copies the log ends by itself, and what waits for a commit hears that there will be none."""
    got = []

    async def cancel_closing():
        writer = await SlowCopyWriter(tmp_path / "relay.db").__aenter__()
        writer._checkpoint_at = 0.0
        await writer.write(lambda _: None)
        ending = asyncio.create_task(writer.__aexit__())
        await asyncio.sleep(0.01)
        for number in range(2):
            writer.submit(lambda _, items: items, number, lambda *outcome: got.append(outcome))
            await asyncio.sleep(0)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        await asyncio.to_thread(writer._thread.join, 10)
        await asyncio.sleep(0.01)
        writer.may_copy.set()

    program = threading.Thread(target=lambda: asyncio.run(cancel_closing()), daemon=True)
    program.start()
    program.join(10)
    assert not program.is_alive()
    assert len(got) == 2


async def test_an_interrupted_commit_of_the_loop_is_heard_of_and_keeps_no_store_open(tmp_path):
    got, raised, heard = [], [], asyncio.Event()

    def hear(*outcome):
        got.append(outcome)
        heard.set()

    def interrupt(connection, _):
        connection.execute("CREATE TABLE half_done (x)")
        raise Interruption

    class Interruption(BaseException):
        """Comes as KeyboardInterrupt does, which would end the tests."""

    async with asyncio.timeout(10), Writer(tmp_path / "relay.db") as writer:
        await writer.write(lambda _: None)
        await writer._copied.wait()
        writer._took = 0.0
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
        writer.submit(interrupt, None, hear, is_light=True)
        await heard.wait()
        tables = await writer.write(lambda connection: connection.execute("SELECT name FROM sqlite_schema").fetchall())
    assert [type(error) for error in raised] == [Interruption]
    assert [(value, type(error)) for value, error in got] == [(None, StoreError)]
    assert ("half_done",) not in tables


async def test_what_is_not_durable_waits_for_the_disk_only_beside_what_is(store):
    def read_level(connection):
        return connection.execute("PRAGMA synchronous").fetchone()[0]

    await store.writer.write(lambda _: None)
    store.writer._connection.execute("PRAGMA synchronous = FULL")
    assert await store.writer.write(read_level, is_durable=False) == 1
    assert await store.writer.write(read_level) == 2
    both = (store.writer.write(read_level), store.writer.write(read_level, is_durable=False))
    assert await asyncio.gather(*both) == [2, 2]
    with pytest.raises(StoreError):
        await store.writer.write(lambda connection: connection.execute("nonsense"), is_durable=False)
    assert await store.writer.write(read_level) == 2


async def test_a_file_put_in_the_place_of_the_stores_own_is_not_written_to(tmp_path, monkeypatch):
    async with open_store(tmp_path / "data") as store:
        other = tmp_path / "other.db"
        await store.writer.write(lambda connection: connection.execute("PRAGMA user_version") and None)
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("VACUUM INTO ?", (str(other),))
        await store.events.add(build_new_event())
        other.replace(store.path)
        content = store.path.read_bytes()
        monkeypatch.setattr(store.writer, "_checkpoint_at", 0.0)
        with pytest.raises(StoreError, match="was replaced"):
            await store.events.add(build_new_event())
        await store.writer._copied.wait()
    assert store.path.read_bytes() == content


async def test_small_events_are_committed_by_the_loop_while_that_is_quick_and_all_else_by_the_stores_thread(
    store, monkeypatch
):
    threads = []

    def note(connection, items):
        threads.append(threading.current_thread() is threading.main_thread())
        return insert_events(store.keys, connection, items)

    monkeypatch.setattr(store.events, "_insert", note)

    async def add(*bodies):
        stored = [asyncio.get_running_loop().create_future() for _ in bodies]
        for body, future in zip(bodies, stored, strict=True):
            insert = prepare_insert(build_new_event(build_capture(body=body)), ())
            store.events.add_nowait(insert, lambda one, error, future=future: future.set_result((one.id, error)))
        return await asyncio.gather(*stored)

    await store.writer._copied.wait()
    store.writer._checkpoint_at = math.inf
    store.writer._took = 0.0
    assert await add(b"1", b"2") == [(1, None), (2, None)]
    assert await add(b"3", b"4" * 10_000) == [(3, None), (4, None)]
    store.writer._took = 60.0
    assert await add(b"5") == [(5, None)]
    assert threads == [True, False, False]
    assert store.writer._took < 60
    assert [(await store.events.get(id_)).capture.body[:1] for id_ in range(1, 6)] == [b"1", b"2", b"3", b"4", b"5"]


async def test_another_programs_lock_holds_up_a_commit_and_not_the_loop(store):
    stored = asyncio.get_running_loop().create_future()
    with closing(sqlite3.connect(store.writer.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.writer._took = 0.0
        insert = prepare_insert(build_new_event(), ())
        store.events.add_nowait(insert, lambda one, error: stored.set_result((one, error)))
        turns = 0
        while turns < 100:
            await asyncio.sleep(0.001)
            turns += 1
        assert not stored.done()
        other.execute("COMMIT")
    one, error = await stored
    assert (one.id, error) == (1, None)
