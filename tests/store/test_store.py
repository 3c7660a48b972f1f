import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_new_event
from cases import check_each
from relay.errors import NotFoundError, StoreBusyError, StoreError, UsageError
from relay.model.delivery import (
    Attempt,
    Delivery,
    DeliveryChanges,
    DeliveryReason,
    DeliveryState,
    HandlerOutput,
    NewDelivery,
    ReceivedResponse,
    SentRequest,
    SignMode,
)
from relay.model.event import Check, EventOutcome, EventRow, Verdict, Verification
from relay.model.search import format_spans, parse_query, parse_spans
from relay.store import ClaimLimits, open_store, writer
from relay.store.deliveries import AttemptRecord
from relay.store.delivery_queue import AwaitedDelivery
from relay.store.readers import Readers
from relay.store.row_mappers import DELIVERY_COLUMNS, EVENT_COLUMNS, format_headers, load_headers

NOW = datetime(2026, 11, 22, 14, 7, 31, 482_123, tzinfo=UTC)


def new_event(body=b'{"id": "evt_1"}', key=None, claims=True, **changes):
    capture = build_capture(
        changes.pop("source", "stripe"),
        method=changes.pop("method", "POST"),
        path=changes.pop("path", "/webhooks/stripe"),
        query=changes.pop("query", ""),
        headers=changes.pop("headers", (("Content-Type", "application/json"),)),
        body=body,
        received_at=changes.pop("received_at", NOW),
        url="https://x.example/webhooks/stripe",
    )
    event = build_new_event(
        capture,
        provider="stripe",
        type="invoice.paid",
        idempotency_key=key,
        claims_key=claims,
        verification=Verification(verdict=Verdict.VERIFIED, checks=(Check(name="HMAC", passed=True, detail="fits"),)),
    )
    return replace(event, **changes)


APP = NewDelivery(target="app", action="forward")


def find(text):
    return parse_query(text, NOW + timedelta(seconds=1))


async def ids(store, text, **more):
    return [row.id for row in (await store.events.page(find(text), **more)).rows]


def test_a_commit_waits_for_the_disk(tmp_path):
    # In a process of its own: the one of the tests does not wait.
    script = """
import sys
from pathlib import Path
from relay.store.connection import connect
with connect(Path(sys.argv[1]), lambda *_: None) as connection:
    print(*connection.execute("PRAGMA synchronous").fetchone(), *connection.execute("PRAGMA journal_mode").fetchone())
"""
    command = [sys.executable, "-c", script, str(tmp_path / "relay.db")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "2 wal\n"


async def test_an_event_comes_back_byte_for_byte(store):
    headers = (("X-A", "1"), ("x-a", "\xff\x9b"), ("X-A", ": 1"), ("Empty", ""))
    stored = await store.events.add(
        new_event(b"\x00\xff\r\n", headers=headers, path="/webhooks/stripe/%0a\xfc", query="a=1&a=2&b")
    )
    event = await store.events.get(stored.id)
    assert event.capture.headers == headers
    assert event.capture.body == b"\x00\xff\r\n"
    assert event.capture.path == "/webhooks/stripe/%0a\xfc"
    assert event.capture.query == "a=1&a=2&b"
    assert event.capture.received_at == NOW
    assert event.verification.checks[0].detail == "fits"


header_names = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=40)


@given(st.lists(st.tuples(header_names, header_values), max_size=8))
def test_any_headers_survive_the_table(headers):
    assert load_headers(format_headers(tuple(headers)).encode("latin-1")) == tuple(headers)


async def test_a_key_seen_before_makes_a_duplicate_that_owes_nothing(store):
    first = await store.events.add(new_event(key="evt_1"), (APP,))
    second = await store.events.add(new_event(key="evt_1"), (APP,))
    assert (second.outcome, second.duplicate_of, second.deliveries) == (EventOutcome.DUPLICATE, first.id, ())
    assert len(await store.deliveries.page()) == 1


async def test_a_further_try_waits_for_what_a_killed_relay_left_running(store):
    await store.events.add(new_event(key="evt_1"), (APP,), answerer="app")
    await store.deliveries.claim_due(NOW, ClaimLimits())
    during = await store.events.add(new_event(key="evt_1"), (APP,), answerer="app")
    assert (during.outcome, during.awaited) == (EventOutcome.DUPLICATE, AwaitedDelivery(1, 0))
    await store.deliveries.recover()
    later = await store.events.add(new_event(key="evt_1"), (APP,), answerer="app")
    assert (later.outcome, later.awaited) == (EventOutcome.DUPLICATE, AwaitedDelivery(1, 0))
    assert (await store.deliveries.get(1)).asked


async def test_an_event_that_nobody_wanted_gives_its_key_to_one_that_is_wanted(store):
    ignored = new_event(key="evt_1", outcome=EventOutcome.IGNORED)
    await store.events.add(ignored)
    assert (await store.events.add(ignored)).duplicate_of == 1
    wanted = await store.events.add(new_event(key="evt_1"), (APP,))
    assert (wanted.outcome, wanted.duplicate_of, wanted.deliveries) == (EventOutcome.ACCEPTED, None, (1,))
    assert (await store.events.add(new_event(key="evt_1"), (APP,))).duplicate_of == wanted.id


async def test_the_same_key_of_another_source_is_no_duplicate(store):
    await store.events.add(new_event(key="evt_1"))
    second = await store.events.add(new_event(key="evt_1", source="github"))
    assert second.outcome is EventOutcome.ACCEPTED


async def test_a_source_may_deliver_duplicates(store):
    first = await store.events.add(new_event(key="evt_1", deliver_duplicates=True), (APP,))
    second = await store.events.add(new_event(key="evt_1", deliver_duplicates=True), (APP,))
    assert (second.outcome, second.duplicate_of) == (EventOutcome.ACCEPTED, first.id)
    assert len(second.deliveries) == 1


async def test_a_forged_event_claims_no_key(store):
    await store.events.add(new_event(key="evt_1", claims=False, outcome=EventOutcome.REJECTED))
    real = await store.events.add(new_event(key="evt_1"))
    assert real.outcome is EventOutcome.ACCEPTED


async def test_a_deleted_event_lets_its_key_go_and_takes_its_deliveries_along(store):
    first = await store.events.add(new_event(key="evt_1"), (APP,))
    await store.events.delete(first.id)
    assert (await store.events.add(new_event(key="evt_1"))).outcome is EventOutcome.ACCEPTED
    assert await store.deliveries.page() == ()
    with pytest.raises(NotFoundError):
        await store.events.get(first.id)
    with pytest.raises(NotFoundError):
        await store.events.delete(first.id)


async def test_concurrent_writes_are_all_kept_and_one_bad_step_hurts_only_itself(store):
    def bad(connection):
        connection.execute("INSERT INTO nowhere VALUES (1)")

    writer = store.events._writer
    results = await asyncio.gather(
        *(store.events.add(new_event(key=f"k{n}")) for n in range(50)),
        writer.write(bad),
        *(store.events.add(new_event(key=f"l{n}")) for n in range(50)),
        return_exceptions=True,
    )
    failed = [result for result in results if isinstance(result, BaseException)]
    assert len(failed) == 1
    assert isinstance(failed[0], StoreError)
    assert (await store.events.counts()).events == 100


async def test_pages_follow_each_other_by_key_without_gap_or_repeat(store):
    for n in range(25):
        await store.events.add(new_event(key=str(n)))
    seen, before = [], None
    while True:
        page = await store.events.page(limit=10, before=before)
        seen += [row.id for row in page.rows]
        before = page.next_before
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 25


@pytest.fixture
async def searched(store):
    rich = b'{"data": {"object": {"amount": 4800}, "items": [{"sku": "linen", "name": "Linen shirt"}]}}'
    await store.events.add(new_event(key="a", received_at=NOW - timedelta(hours=3)), (APP,))
    await store.events.add(new_event(rich, source="github", method="PUT", headers=(("X-Tenant", "Acme"),), sample=True))
    await store.events.add(
        new_event(
            claims=False,
            outcome=EventOutcome.REJECTED,
            verification=Verification(verdict=Verdict.INVALID, reason="signature_missing"),
            reason="signature_missing",
            status=401,
        )
    )
    await store.events.add(new_event(key="a"))
    return store


@check_each(
    ("text", "found"),
    [
        ("", [4, 3, 2, 1]),
        ("source:github", [2]),
        ("-source:github", [4, 3, 1]),
        ("source:git*", [2]),
        ("type:invoice.*", [4, 3, 2, 1]),
        ("outcome:rejected", [3]),
        ("verdict:invalid", [3]),
        ("method:put", [2]),
        ("status:401", [3]),
        ("status:4xx", [3]),
        ("status:>=400", [3]),
        ("has:pending", [1]),
        ("has:failed", []),
        ("is:duplicate", [4]),
        ("is:sample", [2]),
        ("is:pinned", []),
        ("id:2..3", [3, 2]),
        ("id:2-3", [3, 2]),
        ("id:3..", [4, 3]),
        ("id:1,3-4", [4, 3, 1]),
        ("id:4,1,1", [4, 1]),
        ("-id:1,3-4", [2]),
        ("id:1,900-99999999", [1]),
        ("id:3-2", []),
        ("id:2,4 source:github", [2]),
        ("header.x-tenant:acme", [2]),
        ("header.X-Tenant:AC*", [2]),
        ("payload.data.object.amount:>1000", [2]),
        ("payload.data.object.amount:4800", [2]),
        ("payload.data.items[0].sku:linen", [2]),
        ("payload.id:evt_1", [4, 3, 1]),
        ("acme", [2]),
        ("lin", [2]),
        ("evt_1", [4, 3, 1]),
        ("-acme", [4, 3, 1]),
        ('"linen shirt"', [2]),
        ("after:1h", [4, 3, 2]),
        ("before:2026-11-22T14:00", [1]),
        ("nosuch:thing", []),
        ("acme source:stripe", []),
    ],
)
async def test_a_search_finds(searched, text, found):
    assert await ids(searched, text) == found
    if found:
        assert await ids(searched, text, limit=1) == found[:1]
        assert await searched.events.count(find(text)) == len(found)


@given(st.sets(st.integers(min_value=0, max_value=400) | st.integers(min_value=0, max_value=10**18 - 1)))
def test_numbers_are_listed_as_they_are_read(numbers):
    text = format_spans(numbers)
    assert {n for low, high in (parse_spans(text) if text else ()) for n in range(low, high + 1)} == numbers


async def test_a_list_as_long_as_a_page_is_looked_up_at_once(store):
    for _ in range(20):
        await store.events.add(new_event())
    wanted = ",".join(str(number) for number in range(1, 1000, 2))
    assert await ids(store, f"id:{wanted}") == list(range(19, 0, -2))
    spread = ",".join(f"{number}-{number + 200}" for number in range(2, 900, 2))
    assert await ids(store, f"id:{spread}", limit=3) == [20, 19, 18]


@given(st.text(max_size=80))
def test_any_text_is_a_query(text):
    parse_query(text, NOW)


async def test_hostile_queries_are_answered(store):
    await store.events.add(new_event())
    for text in (
        '"',
        "'; DROP TABLE events",
        'a" OR "b',
        "NEAR(",
        "*",
        "payload.[:1",
        "header.:x",
        "\x00",
        "-",
        "x" * 5000,
    ):
        query = find(text)
        if not query.problems:
            await store.events.page(query)
    assert (await store.events.counts()).events == 1


@pytest.mark.parametrize(
    "text",
    [
        "after:soon",
        "verdict:maybe",
        "status:abc",
        "has:luck",
        "id:x",
        "id:1,",
        "id:1-",
        "id:" + "1," * 500 + "1",
        "source:",
    ],
)
def test_a_value_that_cannot_be_read_is_a_problem_with_what_is_allowed(text):
    assert find(text).problems


async def test_claims_follow_the_limits_of_each_target(store):
    other = NewDelivery(target="other", action="forward")
    for n in range(6):
        await store.events.add(new_event(key=str(n)), (APP, other))
    claimed = await store.deliveries.claim_due(NOW, ClaimLimits(total=16, each=4, running={"other": 3}))
    targets = [one.delivery.target for one in claimed]
    assert (targets.count("app"), targets.count("other")) == (4, 1)
    assert all(
        delivery.state is DeliveryState.RUNNING for delivery in [await store.deliveries.get(claimed[0].delivery.id)]
    )
    assert await store.deliveries.claim_due(NOW, ClaimLimits(total=0)) == ()


async def test_nothing_is_claimed_before_it_is_due(store):
    stored = await store.events.add(new_event())
    await store.deliveries.add(stored.id, [APP], NOW + timedelta(seconds=5))
    assert await store.deliveries.claim_due(NOW, ClaimLimits()) == ()
    assert await store.deliveries.next_due(NOW) == NOW + timedelta(seconds=5)
    assert await store.deliveries.next_due(NOW + timedelta(seconds=5)) is None
    assert len(await store.deliveries.claim_due(NOW + timedelta(seconds=5), ClaimLimits())) == 1


async def test_fifo_gives_the_head_of_each_source_and_waits_for_it(store):
    for n, source in enumerate(("stripe", "stripe", "github")):
        await store.events.add(new_event(key=str(n), source=source), (APP,))
    limits = ClaimLimits(fifo=frozenset({"app"}))
    assert [one.event.id for one in await store.deliveries.claim_due(NOW, limits)] == [1, 3]
    assert await store.deliveries.claim_due(NOW, limits) == ()


async def test_an_attempt_is_kept_with_what_was_sent_and_what_came_back(store):
    stored = await store.events.add(new_event(), (APP,))
    [one] = await store.deliveries.claim_due(NOW, ClaimLimits())
    claimed = one.delivery
    attempt = Attempt(
        delivery_id=claimed.id,
        number=1,
        started_at=NOW,
        took=0.038,
        outcome="succeeded",
        detail="200",
        request=SentRequest(
            method="POST", url="http://localhost:3000/", headers=(("A", "b"),), body=b'{"id": "evt_1"}', notes=("n",)
        ),
        response=ReceivedResponse(status=200, headers=(("C", "d"),), body=b"ok", cut=True),
        output=HandlerOutput(text="so far ☃\n\0", cut=True, traceback="Traceback …\n"),
    )
    await store.deliveries.settle_all([AttemptRecord(claimed, attempt, DeliveryState.SUCCEEDED, NOW)])
    assert await store.deliveries.attempts(claimed.id) == (attempt,)
    settled = await store.deliveries.get(claimed.id)
    assert (settled.state, settled.attempts, settled.status, settled.detail) == (DeliveryState.SUCCEEDED, 1, 200, "200")
    assert (await store.deliveries.of_events([stored.id]))[stored.id] == (settled,)
    assert (await store.deliveries.counts())["succeeded"] == 1


async def test_changes_survive_the_table(store):
    stored = await store.events.add(new_event())
    changes = DeliveryChanges(
        url="http://localhost:1/",
        sign=SignMode.FRESH,
        method="PUT",
        path="/x",
        query="",
        headers=(("A", "b"),),
        body=b"\xff",
        template="welcome",
        to=("a@example.com",),
    )
    [id_] = await store.deliveries.add(
        stored.id, [NewDelivery(target="x", action="forward", reason=DeliveryReason.REPLAY, changes=changes)], NOW
    )
    assert (await store.deliveries.get(id_)).changes == changes


async def test_a_running_delivery_is_pending_again_after_recovery(store):
    await store.events.add(new_event(), (APP,))
    [one] = await store.deliveries.claim_due(NOW, ClaimLimits())
    claimed = one.delivery
    with pytest.raises(UsageError):
        await store.deliveries.cancel(claimed.id)
    with pytest.raises(UsageError):
        await store.deliveries.retry(claimed.id, NOW)
    assert await store.deliveries.recover() == 1
    assert (await store.deliveries.cancel(claimed.id)).state is DeliveryState.CANCELLED
    assert (await store.deliveries.retry(claimed.id, NOW)).state is DeliveryState.PENDING


async def test_a_second_relay_is_told_who_holds_the_store(tmp_path, store):
    with pytest.raises(StoreBusyError, match=f"pid {os.getpid()}"):
        async with open_store(store.path.parent):
            pass


@pytest.mark.parametrize(
    "content",
    [b"not a database at all, but long enough to look like a file" * 20, b"SQLite format 3\x00" + b"\xff" * 4096],
)
async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "relay.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"relay\.db"):
        async with open_store(tmp_path):
            pass
    assert path.read_bytes() == content


async def test_a_foreign_database_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "relay.db")) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="not relay's"):
        async with open_store(tmp_path):
            pass


async def test_a_newer_database_is_refused(tmp_path):
    async with open_store(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "relay.db")) as ours:
        ours.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer relay"):
        async with open_store(tmp_path):
            pass


async def test_a_store_that_is_only_read_writes_nothing_and_one_that_is_written_to_after_all_opens_its_writer_once(
    tmp_path, monkeypatch
):
    opened = []
    open_for_writing = writer.connect

    def connect(*file):
        opened.append(file)
        return open_for_writing(*file)

    monkeypatch.setattr(writer, "connect", connect)
    async with open_store(tmp_path) as store:
        await store.events.add(new_event())
        await store.indexer.catch_up()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    async with open_store(tmp_path, is_read=True) as store:
        assert [row.id for row in (await store.events.page(parse_query("evt_1", NOW))).rows] == [1]
        with pytest.raises(StoreBusyError, match="another relay"):
            async with open_store(tmp_path, is_read=True):
                pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(opened) == 1
    async with open_store(tmp_path, is_read=True) as store:
        added = await asyncio.gather(*(store.events.add(new_event(key=str(number))) for number in range(5)))
        assert sorted(one.id for one in added) == [2, 3, 4, 5, 6]
    assert len(opened) == 2
    assert not store.path.with_name("relay.db-wal").exists()


@pytest.mark.parametrize("also_gone", ["", "relay.db-shm"])
async def test_a_store_that_is_only_read_has_what_a_killed_relay_left_in_its_log(tmp_path, also_gone):
    async with open_store(tmp_path / "killed") as store:
        for number in range(3):
            await store.events.add(new_event(key=str(number)))
        copied = shutil.copytree(
            tmp_path / "killed", tmp_path / "data", ignore=shutil.ignore_patterns("lock", also_gone)
        )
    async with open_store(copied, is_read=True) as store:
        assert [row.id for row in (await store.events.page()).rows] == [3, 2, 1]
    async with open_store(copied) as store:
        assert (await store.events.counts()).events == 3


async def test_files_are_for_the_owner_alone(store):
    assert store.path.stat().st_mode & 0o777 == 0o600
    assert store.path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_database_deleted_under_relay_is_never_written_to_again(store):
    store.path.unlink()
    with pytest.raises(StoreError, match="was deleted or moved away"):
        await store.events.add(new_event())


async def test_no_thread_is_left_where_opening_is_cancelled(tmp_path):
    before = set(threading.enumerate())
    kept = []
    for turns in range(60):
        readers = Readers(tmp_path / "relay.db")
        kept.append(readers)  # so that what it opened is not closed by its end
        opening = asyncio.create_task(readers.__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
            await readers.__aexit__()
    left = [thread for thread in set(threading.enumerate()) - before if "_connection_worker" in thread.name]
    for thread in left:
        await asyncio.to_thread(thread.join, 5)
    assert not any(thread.is_alive() for thread in left)


async def test_a_locked_database_is_an_error_and_recovers(tmp_path):
    script = (
        "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); sys.stdin.read(1)"
    )
    async with open_store(tmp_path) as store:
        pipe = asyncio.subprocess.PIPE
        holder = await asyncio.create_subprocess_exec(sys.executable, "-c", script, store.path, stdin=pipe, stdout=pipe)
        assert await holder.stdout.readline() == b"held\n"
        store.events._writer._connection.execute("PRAGMA busy_timeout = 50")
        with pytest.raises(StoreBusyError):
            await store.events.add(new_event())
        await holder.communicate(b"x")
        assert (await store.events.add(new_event())).id == 1


@pytest.mark.parametrize(("columns", "value"), [(EVENT_COLUMNS, EventRow), (DELIVERY_COLUMNS, Delivery)])
def test_columns_are_read_in_the_order_of_the_fields(columns, value):
    assert [name.removeprefix("events.") for name in columns.split(", ")] == [field.name for field in fields(value)]
