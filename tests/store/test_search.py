"""A search finds what a person sees of an event, whatever way it was sent, and nothing that is not there."""

import asyncio
import gzip
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from builders import build_capture, build_new_event
from relay.model.delivery import NewDelivery
from relay.model.event import Verdict, Verification
from relay.model.search import parse_query
from relay.store.database import open_store

NOW = datetime(2026, 11, 22, 16, 0, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


def new_event(body=b"{}", content_type="application/json", *, path="/webhooks/shop", query="", **headers):
    capture = build_capture(
        "shop",
        path=path,
        query=query,
        headers=(("Content-Type", content_type), *((name.replace("_", "-"), value) for name, value in headers.items())),
        body=body,
        received_at=NOW,
    )
    return build_new_event(
        capture, provider="custom", type="order.paid", verification=Verification(verdict=Verdict.UNSIGNED)
    )


@pytest.fixture
def holding(store):
    """Return what stores events and gives the numbers that a search finds."""

    async def holding(*events, owed=()):
        for event in events:
            await store.events.add(event, owed)

        async def found(text):
            query = parse_query(text, NOW + timedelta(seconds=1))
            assert not query.problems
            rows = (await store.events.page(query)).rows
            assert await store.events.count(query) == len(rows)
            return [row.id for row in rows]

        return found

    return holding


SENT = {
    "escaped": new_event(json.dumps({"name": "José Müller", "mood": "🎉", "path": "a/b"}).encode()),
    "slashed": new_event(b'{"name": "Jos\\u00E9 M\\u00fcller", "mood": "\\ud83c\\udf89", "path": "a\\/b"}'),
    "nested": new_event(json.dumps({"text": json.dumps({"name": "José Müller 🎉 a/b"})}).encode()),
    "form": new_event(b"name=Jos%C3%A9+M%C3%BCller&mood=%F0%9F%8E%89&path=a%2Fb", FORM),
    "slack": new_event(b"payload=%7B%22name%22%3A%22Jos%5Cu00e9+M%5Cu00fcller+%F0%9F%8E%89+a%2Fb%22%7D", FORM),
    "query": new_event(b"", query="name=Jos%C3%A9+M%C3%BCller&mood=%F0%9F%8E%89&path=a/b"),
    "gzip": new_event(gzip.compress('{"a": "José Müller 🎉 a/b"}'.encode()), Content_Encoding="gzip"),
    "latin-1": new_event('{"a": "José Müller a/b"}'.encode("latin-1"), "application/json; charset=iso-8859-1"),
    "lines": new_event('{"a": 1}\n{"name": "José Müller 🎉 a/b"}\n'.encode(), "application/x-ndjson"),
    "multipart": new_event(
        '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nJosé Müller 🎉 a/b\r\n--B--'.encode(),
        "multipart/form-data; boundary=B",
    ),
    "header": new_event(X_Name="José Müller 🎉 a/b".encode().decode("latin-1")),
    "cut": new_event(b'{"name": "Jos\\u00e9 M\\u00fcller \\ud83c\\udf89 a\\/b", "more": "' + b"x" * 300_000 + b'"}'),
}


@pytest.mark.parametrize("kind", SENT)
async def test_words_are_found_as_a_person_reads_them(holding, kind):
    found = await holding(new_event(b'{"plain": true}'), SENT[kind])
    for text in ("José", "jose", "müller", '"josé müller"', '"a/b"', *(() if kind == "latin-1" else ("🎉",))):
        assert await found(text) == [2], text
    assert await found("-müller") == [1]


async def test_a_number_of_a_form_is_found_with_its_plus(holding):
    found = await holding(new_event(b"to=%2B4915112345&x=1", FORM), new_event(b"to=%2B4916&x=1", FORM))
    assert await found("+4915") == [1]
    assert await found("4915112345") == [1]


async def test_a_phrase_is_these_words_one_after_the_other(holding):
    found = await holding(
        new_event(b'{"why": "the payment failed"}'),
        new_event(b'{"why": "failed: payment"}'),
        new_event(b'{"why": "payment has failed"}'),
        new_event(b'{"why": "Payment  Failed."}'),
        new_event(b'{"payment": "failed_badly"}'),
    )
    assert await found("payment failed") == [5, 4, 3, 2, 1]
    assert await found('"payment failed"') == [5, 4, 1]
    assert await found('"payment fail"') == []
    assert await found('"payment fail') == [5, 4, 1]
    assert await found('-"payment failed"') == [3, 2]
    assert await found('"payment failed" OR "has failed"') == [5, 4, 3, 1]
    assert await found('"why: payment has"') == [3]
    assert await found('"failed:payment"') == await found('"failed: payment"') == [2]
    assert await found('"payment/failed"') == []
    assert await found('"failed."') == [4]


async def test_a_search_of_signs_finds_them_letter_for_letter(holding):
    found = await holding(
        new_event(b'{"a": "100 %"}'), new_event(b'{"a": "a +++ b"}'), new_event('{"a": "東京都"}'.encode())
    )
    assert await found("%") == [1]
    assert await found("+++") == [2]
    assert await found("++++") == []
    assert await found("-+++") == [3, 1]
    assert await found("京") == [3]
    assert await found("😀") == []
    assert await found("+++ OR %") == [2, 1]


async def test_numbers_compare_exactly(holding):
    bodies = ("9007199254740992", "9007199254740993", "9007199254740993.5", "0.1", "0.10000000000000001", '"12"', "1e3")
    found = await holding(*(new_event(b'{"n": %s}' % body.encode()) for body in bodies))
    assert await found("payload.n:>9007199254740992") == [3, 2]
    assert await found("payload.n:>=9007199254740993.5") == [3]
    assert await found("payload.n:<=0.1") == [4]
    assert await found("payload.n:0.1") == [4]
    assert await found("payload.n:>11 payload.n:<13") == [6]
    assert await found("payload.n:1000") == [7]
    assert await found("payload.n:1E+3") == [7]


async def test_numbers_past_what_compares_are_in_no_one_s_way(holding):
    bodies = ("1e99999999999999999999", "-1e-99999999999999999999", "1e999999", "9" * 5000, "7")
    found = await holding(*(new_event(b'{"n": %s, "w": "x"}' % body.encode()) for body in bodies))
    assert await found("payload.n:>1") == [5]
    assert await found("payload.n:1e99999999999999999999") == [1]
    assert await found("payload.w:x") == [5, 3, 2, 1]


async def test_null_is_asked_for_where_it_stands(holding):
    found = await holding(new_event(b'{"x": null}'), new_event(b"{}"), new_event(b'{"x": 0}'), new_event(b"[]"))
    assert await found("payload.x:null") == [1]
    assert await found("-payload.x:null") == [4, 3, 2]


async def test_values_of_forms_queries_and_lists_are_filtered_like_json(holding):
    found = await holding(
        new_event(b"user%5Bemail%5D=ann&tag=a&tag=b&n=7", FORM),
        new_event(b"", query="n=7&tag=b"),
        new_event(b'{"n": 8}\n{"n": 9}\n', "application/x-ndjson"),
        new_event(b'{"n": 7}', query="n=9&%C3%A9=1"),
    )
    assert await found("payload.user.email:ann") == [1]
    assert await found("payload.user[email]:ann") == [1]
    assert await found("payload.tag:a OR payload.tag:b") == [2, 1]
    assert await found("payload.n:7") == [4, 2, 1]
    assert await found("payload.1.n:>8") == [3]
    assert await found("payload[1].n:>8") == [3]
    assert await found("payload[7].n:>8 OR -payload[1].n:>8") == [4, 2, 1]
    assert await found("query.n:>7") == [4]
    assert await found("query.n:7") == [2]
    assert await found("query.N:7") == []
    assert await found('payload.n:">7"') == []


async def test_path_size_and_target_are_filters(holding, store):
    found = await holding(
        new_event(b"x" * 10_000, "text/plain", path="/webhooks/shop"),
        new_event(b"x" * 10_001, "text/plain", path="/webhooks/shop/a%20b"),
        owed=(NewDelivery(target="app", action="forward"),),
    )
    await store.events.add(new_event(b"", path="/webhooks/[x]"))
    assert await found("size:>10kB") == [2]
    assert await found("size:10KB") == [1]
    assert await found("size:<=0.01MB size:>0") == [1]
    assert await found("path:/webhooks/shop") == [1]
    assert await found('path:"/webhooks/shop/a b"') == [2]
    assert await found("path:/webhooks/shop*") == [2, 1]
    assert await found("path:/webhooks/[x]") == [3]
    assert await found("target:app") == [2, 1]
    assert await found("target:a*") == [2, 1]
    assert await found("-target:app") == [3]


async def test_or_takes_either_and_everything_else_still_holds(holding):
    found = await holding(new_event(b'{"a": "linen"}'), new_event(b'{"a": "cotton"}'), new_event(b'{"a": "silk"}'))
    assert await found("linen OR cotton") == [2, 1]
    assert await found("linen OR id:3 source:shop") == [3, 1]
    assert await found("linen OR -cotton") == [3, 1]
    assert await found("linen OR cotton silk") == []
    assert await found("linen cot OR silk") == []


async def test_a_query_that_was_not_understood_selects_nothing(store):
    await store.events.add(new_event())
    for text in ("sorce:x", "-sorce:x", '""', "OR", "verdict:maybe", "-verdict:maybe", "a OR sorce:x"):
        assert (await store.events.page(parse_query(text, NOW))).rows == ()


async def test_events_that_an_older_relay_indexed_are_indexed_anew_newest_first(tmp_path):
    async with open_store(tmp_path) as store:
        for number in range(450):
            await store.events.add(new_event(b'{"name": "Jos\\u00e9", "n": %d}' % number))
        await store.indexer.catch_up()
    with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as connection:
        connection.execute("UPDATE counters SET value = 0 WHERE name = 'indexed_as'")
        connection.execute("UPDATE counters SET value = 450 WHERE name = 'indexed_to'")
    async with open_store(tmp_path) as store:
        query = parse_query("josé", NOW)
        await store.events.add(new_event(b'{"name": "Jos\\u00e9"}'))
        assert await store.indexer.step() == 1
        assert await store.indexer.step() == 200
        reached = await store.indexer.catch_up(patience=0.0)
        assert reached.low <= 251
        assert len([row async for row in store.events.iterate(query)]) == 451
        assert await store.indexer.step() == 0
        assert await store.events.count(query) == 451
        # What is forgotten leaves the index by the text it came with.
        await store.pruning.remove(tuple(range(1, 301)), "age")
        assert len([row async for row in store.events.iterate(query)]) == 151
    with closing(sqlite3.connect(tmp_path / "relay.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")


async def test_a_search_ends_while_events_keep_coming_in(store):
    async def keep_adding():
        while True:
            await asyncio.gather(*(store.events.add(new_event(b'{"a": "flood"}')) for _ in range(20)))

    await store.events.add(new_event(b'{"a": "needle"}'))
    flood = asyncio.create_task(keep_adding())
    try:
        async with asyncio.timeout(5):
            while await store.events.count(parse_query("flood", NOW)) < 100:
                pass
            found = await store.events.page(parse_query("needle", NOW))
            others = await store.events.page(parse_query("-flood", NOW))
    finally:
        flood.cancel()
    assert [row.id for row in found.rows] == [row.id for row in others.rows] == [1]


async def test_a_search_walks_no_further_than_what_is_indexed_and_says_so(store):
    for _ in range(3):
        await store.events.add(new_event(b'{"a": "linen"}'))
    await store.indexer.catch_up()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        connection.execute("UPDATE counters SET value = 3 WHERE name = 'indexed_from'")
    page = await store.events.page(parse_query("-linen", NOW), after=1)
    assert page.rows == ()
