"""Retention: the oldest go, a few at a time; what is pinned or owed stays, and the numbers stay right."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_new_event
from relay.delivery import retention as retention_module
from relay.delivery.retention import BATCH, PAUSE, Retention, RetentionLimits
from relay.errors import ConfigError
from relay.model.batch import BatchCounts, BatchState, BatchStep, NewBatch
from relay.model.delivery import Attempt, DeliveryState, NewDelivery, SignMode
from relay.model.event import EventOutcome, Verdict, Verification
from relay.model.search import parse_query
from relay.model.signals import DeliveryChanged, EventChanged, EventStored
from relay.pipeline.bus import Bus
from relay.platform import SystemClock
from relay.store import ClaimLimits, open_store, prepare_data_dir
from relay.store.deliveries import AttemptRecord
from relay.store.migrate import _MIGRATIONS as MIGRATIONS
from relay.store.migrate import APPLICATION_ID

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
DAY = 86400.0
APP = NewDelivery(target="app", action="forward")
LATER = timedelta(days=1)


class Stood:
    """A clock that stands until it is moved; waiting moves it."""

    def __init__(self, at=NOW):
        self.at = at
        self.waits = []

    def now(self):
        return self.at

    def monotonic(self):
        return self.at.timestamp()

    async def sleep(self, seconds):
        self.waits.append(seconds)
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0)


def new_event(days_old=0.0, body=b"{}", key=None, rejected=False):
    return build_new_event(
        build_capture(
            "shop", headers=(("X-Word", f"word{key}"),), body=body, received_at=NOW - timedelta(days=days_old)
        ),
        provider="custom",
        type="a.b",
        idempotency_key=key,
        claims_key=True,
        outcome=EventOutcome.REJECTED if rejected else EventOutcome.ACCEPTED,
        verification=Verification(verdict=Verdict.UNSIGNED),
    )


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def clock():
    return Stood()


@pytest.fixture
def sweep(store, clock):
    """Sweep once by the limits given; what was reported stays in `sweep.said`."""
    bus = Bus()

    async def run(listening=None, **limits):
        keep = RetentionLimits(**{"max_age": 30 * DAY, "max_events": 10**6, "max_size": 10**12} | limits)
        retention = Retention(store, bus, clock, keep, lambda notice: setattr(go, "said", notice))
        go.retention = retention
        return await retention.sweep(listening)

    go: Any = run
    go.bus = bus
    return go


async def fill(store, count, **more):
    # One after another, so that numbers follow the order.
    return [(await store.events.add(new_event(key=str(n), **more))).id for n in range(count)]


async def left(store):
    return [row.id for row in (await store.events.page(limit=10_000)).rows][::-1]


async def test_the_oldest_go_when_there_are_too_many(store, sweep):
    await fill(store, 250)
    assert await sweep(max_events=30) == 220
    assert await left(store) == list(range(221, 251))
    assert (await store.events.counts()).events == 30
    assert sweep.said.title == "Kept 30 events."
    assert sweep.said.text == "The oldest are removed as new ones arrive."
    assert await sweep(max_events=30) == 0


async def test_what_is_too_old_goes_and_what_is_young_enough_stays(store, sweep):
    for days in (40, 31, 30.001, 29.999, 1):
        await store.events.add(new_event(days))
    assert await sweep() == 3
    assert await left(store) == [4, 5]
    assert sweep.said is None
    assert await store.pruning.removed() == {"age": 3, "events": 0, "size": 0}


async def test_an_old_event_that_was_imported_late_stays_among_its_neighbours(store, sweep):
    for days in (40, 1, 400):
        await store.events.add(new_event(days))
    assert await sweep() == 1
    assert await left(store) == [2, 3]


async def test_the_largest_part_goes_when_too_much_is_held(store, sweep):
    body = json.dumps({"text": "x" * 20_000}).encode()
    await fill(store, 120, body=body)
    used = (await store.pruning.usage()).used
    assert used > 2_000_000
    await sweep(max_size=1_000_000)
    assert (await store.pruning.usage()).used <= 1_000_000
    kept = await left(store)
    assert kept == list(range(kept[0], 121))
    assert 30 < len(kept) < 50
    assert sweep.said.title == "Kept 1 MB of events."


async def test_pinned_events_and_what_is_owed_stay(store, sweep, clock):
    ids = [(await store.events.add(new_event(99), (APP,) if n in (2, 3, 4) else ())).id for n in range(8)]
    await store.events.annotate(ids[1], pinned=True)
    claimed = await store.deliveries.claim_due(NOW, ClaimLimits(total=2, each=2))
    assert {claim.delivery.event_id for claim in claimed} == {3, 4}
    assert await sweep() == 4
    assert await left(store) == [2, 3, 4, 5]
    done = claimed[0].delivery
    attempt = Attempt(delivery_id=done.id, number=1, started_at=NOW, took=0.1, outcome="succeeded", detail="200")
    await store.deliveries.settle_all([AttemptRecord(done, attempt, DeliveryState.SUCCEEDED, NOW)])
    await store.events.annotate(2, pinned=False)
    assert await sweep() == 2
    assert await left(store) == [4, 5]
    assert (await store.deliveries.counts())["succeeded"] == 0


async def test_when_only_what_must_stay_is_left_it_is_said(store, sweep):
    for id_ in await fill(store, 5):
        await store.events.annotate(id_, pinned=True)
    assert await sweep(max_events=3) == 0
    assert sweep.said.title == "More is kept than [retention] allows."


async def test_what_was_owed_is_looked_at_again_later(store, clock):
    bus = Bus()
    retention = Retention(store, bus, clock, RetentionLimits(max_age=DAY), lambda _: None)
    await store.events.add(new_event(9))
    await store.events.annotate(1, pinned=True)
    await store.events.add(new_event(0))
    assert await retention.sweep() == 0
    await store.events.annotate(1, pinned=False)
    assert await retention.sweep() == 0
    clock.at += timedelta(seconds=601)
    assert await retention.sweep() == 1
    assert await left(store) == [2]


async def test_nothing_goes_while_a_bulk_replay_is_under_way(store, sweep):
    await fill(store, 5, days_old=99)
    new = NewBatch(query="", target="app", sign=SignMode.AUTO, rate=None, stop_on_failure=False)
    batch = await store.batches.add(new, (BatchStep(event_id=1, target="app"),), NOW)
    assert await sweep() == 0
    await store.batches.end(batch, BatchState.CANCELLED, NOW)
    assert await sweep() == 5


async def test_a_batch_counts_what_it_made_after_it_was_read(store):
    for _ in range(2):
        await store.events.add(new_event())
    new = NewBatch(query="", target="app", sign=SignMode.AUTO, rate=None, stop_on_failure=False)
    steps = tuple(BatchStep(event_id=id_, target="app") for id_ in (1, 2))
    read = await store.batches.get(await store.batches.add(new, steps, NOW))
    assert await store.batches.counts(read) == BatchCounts(waiting=2)
    await store.batches.advance(read.id, 1, lambda _: replace(APP, batch=read.id), NOW)
    assert await store.batches.counts(read) == BatchCounts(waiting=1, pending=1)


async def test_counters_keys_and_words_go_with_their_events(store, sweep):
    for n in range(6):
        await store.events.add(new_event(99 if n < 3 else 0, key=str(n), rejected=n % 2 == 0))
    await store.indexer.catch_up()
    assert await sweep() == 3
    counts = await store.events.counts()
    assert (counts.events, counts.rejected) == (3, 1)
    found = [[row.id for row in (await store.events.page(parse_query(f"word{n}", NOW))).rows] for n in range(6)]
    assert found == [[], [], [], [4], [5], [6]]
    assert (await store.events.add(new_event(key="1"))).outcome is EventOutcome.ACCEPTED
    assert (await store.events.add(new_event(key="4"))).outcome is EventOutcome.DUPLICATE
    await store.indexer.catch_up()
    assert [row.id for row in (await store.events.page(parse_query("word1", NOW))).rows] == [7]


async def test_the_index_is_sound_after_events_went_before_and_after_they_were_indexed(store, sweep, tmp_path):
    await fill(store, 10, days_old=99)
    await store.indexer.catch_up()
    await fill(store, 10, days_old=99)
    assert await sweep() == 20
    await fill(store, 3)
    await store.indexer.catch_up()
    row = await store.pruning._writer.write(
        lambda connection: connection.execute("SELECT COUNT(*) FROM words WHERE words MATCH 'word1'").fetchone()
    )
    assert row[0] == 1
    problems = await store.pruning._writer.write(
        lambda connection: connection.execute("PRAGMA integrity_check").fetchall()
    )
    assert problems == [("ok",)]


async def test_a_few_go_at_a_time_and_whoever_writes_meanwhile_is_served(store, sweep, clock):
    await fill(store, 350)
    with sweep.bus.subscribe(EventStored, DeliveryChanged) as listening:
        heard = []
        sweep.bus.on(heard.append)
        assert await sweep(listening, max_events=10) == 340
    assert len(heard) == 4
    assert all(isinstance(one, EventChanged) for one in heard)
    assert clock.waits == [PAUSE] * 4
    assert BATCH == 100


async def test_while_events_come_in_it_goes_slowly_unless_it_is_urgent(store, sweep, clock):
    await fill(store, 104)
    with sweep.bus.subscribe(EventStored, DeliveryChanged) as listening:
        sweep.bus.publish(EventStored(1))
        await sweep(listening, max_events=100)
        assert max(clock.waits) == 0.5
        await fill(store, 100)
        clock.waits.clear()
        sweep.bus.publish(EventStored(1))
        await sweep(listening, max_events=50)
        assert clock.waits[0] == 0.02


async def test_the_file_gives_back_what_it_does_not_need(store, clock, monkeypatch):
    monkeypatch.setattr(retention_module, "RESERVE", 500_000)
    sweeper = Retention(store, Bus(), clock, RetentionLimits(), lambda _: None)
    await fill(store, 100, days_old=99, body=b"x" * 100_000)
    before = (await store.pruning.usage()).used
    assert before > 10_000_000
    assert await sweeper.sweep() == 100
    usage = await store.pruning.usage()
    assert usage.used < 500_000
    assert usage.free <= 500_000


async def test_a_store_from_before_is_brought_up_to_date(tmp_path):
    prepare_data_dir(tmp_path / "data")
    with closing(sqlite3.connect(tmp_path / "data" / "relay.db")) as before:
        for step in sorted(MIGRATIONS.glob("000[123]_*.sql")):
            before.executescript(step.read_text())
        before.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 3;")
    async with open_store(tmp_path / "data") as store:
        await store.events.add(new_event())
        assert (await store.events.get(1)).problems == ()
        assert await store.pruning.removed() == {"age": 0, "events": 0, "size": 0}


@given(
    st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.booleans()), max_size=25),
    st.integers(1, 20),
    st.integers(1, 50),
)
def test_whatever_there_is_only_what_may_go_goes(tmp_path_factory, events, most, days):
    async def check():
        clock = Stood()
        async with open_store(tmp_path_factory.mktemp("store")) as store:
            for days_old, pinned, owed in events:
                stored = await store.events.add(new_event(days_old), (APP,) if owed else ())
                if pinned:
                    await store.events.annotate(stored.id, pinned=True)
            keep = RetentionLimits(max_age=days * DAY, max_events=most)
            await Retention(store, Bus(), clock, keep, lambda _: None).sweep()
            rows = {row.id: row for row in (await store.events.page(limit=100)).rows}
            assert (await store.events.counts()).events == len(rows)
            bound = {n for n, (_, pinned, owed) in enumerate(events, start=1) if pinned or owed}
            assert bound <= set(rows)
            loose = sorted(set(rows) - bound)
            assert not loose or len(rows) <= most
            gone = set(range(1, len(events) + 1)) - set(rows)
            assert not gone or not loose or max(gone) < min(loose)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("keep", "rule", "said"),
    [
        (RetentionLimits(), "age", "30 days"),
        (RetentionLimits(max_age=DAY), "age", "1 day"),
        (RetentionLimits(max_age=5400), "age", "1.5 hours"),
        (RetentionLimits(max_age=0.5), "age", "0.5 seconds"),
        (RetentionLimits(), "events", "1,000,000 events"),
        (RetentionLimits(), "size", "5 GB"),
        (RetentionLimits(max_size=250_000_000), "size", "250 MB"),
    ],
)
def test_limits_are_told_in_words(keep, rule, said):
    assert keep.describe_rule(rule) == said


# ---- in a running relay ----


class Hasty(SystemClock):
    """The machine's clock, for whoever does not want to wait."""

    async def sleep(self, seconds):
        await super().sleep(min(seconds, 0.05))


async def test_a_removed_event_says_so_and_the_page_tells_that_the_oldest_go(start):
    at = await start("[retention]\nmax_events = 3\n", clock=Hasty())
    for _ in range(5):
        await at.send()
    notice, told = "", {"used": {"events": 0}}
    async with asyncio.timeout(60):
        # There is one as soon as three events are kept, before the other two came, and another while there are more.
        while "Kept 3 events." not in notice or told["used"]["events"] > 3:
            told = (await at.api("/api/status"))[1]["retention"]
            notice = str(told["notice"])
    assert (told["max_events"], told["used"]["events"], told["max_age"]) == (3, 3, 30 * DAY)
    status, html = await at.api("/events/1", headers={"Accept": "text/html"})
    assert (status, "Event 1 was removed by retention (3 events)." in html.decode()) == (404, True)
    assert "Kept 3 events." in html.decode()
    assert "The oldest are removed as new ones arrive." in html.decode()
    _, html = await at.api("/doctor", headers={"Accept": "text/html"})
    assert "The oldest are removed as new ones arrive; raise a limit under [retention]" in html.decode()
    _, html = await at.api("/events/900", headers={"Accept": "text/html"})
    assert "There is no event 900 yet; the newest is 5." in html.decode()
    await at.api("/api/events/4", "DELETE")
    _, html = await at.api("/events/4", headers={"Accept": "text/html"})
    assert "Event 4 was deleted." in html.decode()


async def test_limits_that_make_no_sense_are_mistakes(start):
    for line in ('max_age = "0s"', "max_events = 0", 'max_size = "1KB"', 'max_age = "soon"'):
        with pytest.raises(ConfigError):
            await start(f"[retention]\n{line}\n")
