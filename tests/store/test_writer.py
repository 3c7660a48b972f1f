import asyncio
import threading

import pytest

from builders import build_new_event
from relay.errors import StoreError
from relay.store.new_events import prepare_insert


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
