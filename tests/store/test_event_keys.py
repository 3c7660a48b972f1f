"""An idempotency key has one event, wherever it is noted, and whatever became of the transaction that noted it."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import build_capture, build_new_event
from relay.errors import StoreError
from relay.model.event import EventOutcome
from relay.store import event_keys
from relay.store.database import open_store
from relay.store.new_events import insert_events, prepare_insert

KEYS = st.sampled_from("abcde")
EVENTS = st.lists(st.tuples(KEYS, st.booleans()), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), EVENTS),
        st.tuples(st.just("fail"), EVENTS),
        st.tuples(st.just("delete"), st.integers(1, 12)),
        st.tuples(st.sampled_from(("move", "reopen")), st.none()),
    ),
    max_size=14,
)


def build_keyed_event(key, *, ignored=False):
    outcome = EventOutcome.IGNORED if ignored else EventOutcome.ACCEPTED
    return build_new_event(idempotency_key=key, claims_key=True, outcome=outcome)


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr(event_keys, "_MIN_RECENT", 1)
    monkeypatch.setattr(event_keys, "_BATCH", 2)
    return lambda most: monkeypatch.setattr(event_keys, "_MAX_RECENT", most)


class Model:
    """Who has which key, as one plain dict."""

    def __init__(self):
        self.holders = {}

    def add(self, id_, key, ignored):
        """Return the outcome and of which event it is a duplicate."""
        holder = self.holders.get(key)
        if holder is None or (holder[1] and not ignored):
            self.holders[key] = (id_, ignored)
            return "ignored" if ignored else "accepted", None
        return "ignored" if ignored else "duplicate", holder[0]

    def delete(self, id_):
        self.holders = {key: holder for key, holder in self.holders.items() if holder[0] != id_}


async def take_step(store, model, name, argument):
    if name == "add":
        events = [build_keyed_event(key, ignored=ignored) for key, ignored in argument]
        stored = await asyncio.gather(*(store.events.add(event) for event in events))
        for (key, ignored), one in zip(argument, stored, strict=True):
            assert (one.outcome.value, one.duplicate_of) == model.add(one.id, key, ignored)
    elif name == "fail":
        inserts = [prepare_insert(build_keyed_event(key, ignored=ignored), ()) for key, ignored in argument]

        def fail(connection):
            insert_events(store.keys, connection, inserts)
            raise StoreError("on purpose")

        with pytest.raises(StoreError, match="on purpose"):
            await store.writer.write(fail)
    elif name == "delete" and await store.events.row(argument):
        await store.events.delete(argument)
        model.delete(argument)
    elif name == "move":
        await store.keys.sort_in()
    claimed = await store.keys.filter_claimed(build_capture().source, "abcde")
    assert claimed == set(model.holders)


@pytest.mark.parametrize("most", [2, 100])
def test_every_way_of_noting_a_key_gives_the_same_duplicates(limits, most):
    limits(most)

    async def run(steps):
        with tempfile.TemporaryDirectory() as folder:
            model, left = Model(), list(steps)
            while left:
                async with open_store(Path(folder)) as store:
                    while left and (step := left.pop(0))[0] != "reopen":
                        await take_step(store, model, *step)

    @settings(deadline=None, max_examples=40)
    @example([("add", [("a", True)]), ("move", None), ("add", [("a", False)]), ("delete", 2)])
    @given(STEPS)
    def check(steps):
        asyncio.run(run(steps))

    check()


async def test_keys_are_sorted_in_once_there_are_many(store, limits):
    limits(100)
    await asyncio.gather(*(store.events.add(build_keyed_event(f"key {number}")) for number in range(5)))
    assert [await store.keys.sort_in() for _ in range(4)] == [2, 2, 1, 0]
    for number in range(5):
        assert (await store.events.add(build_keyed_event(f"key {number}"))).duplicate_of is not None


async def test_few_keys_stay_where_they_are(store):
    await store.events.add(build_keyed_event("key"))
    assert await store.keys.sort_in() == 0


async def test_a_deletion_that_is_rolled_back_leaves_the_key(tmp_path):
    async with open_store(tmp_path) as store:
        first = await store.events.add(build_keyed_event("key"))

    def fail(connection):
        connection.execute("DELETE FROM events")
        insert_events(store.keys, connection, [prepare_insert(build_keyed_event("another"), ())])
        raise StoreError("on purpose")

    async with open_store(tmp_path) as store:  # its memory is read by that transaction
        with pytest.raises(StoreError, match="on purpose"):
            await store.writer.write(fail)
        assert (await store.events.add(build_keyed_event("key"))).duplicate_of == first.id
