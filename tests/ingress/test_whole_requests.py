"""A request that comes whole is taken in without a task of its own: what is captured and answered stays the same."""

import asyncio
import contextlib
import gc
import json
import logging
import re
import sqlite3
import struct
from contextlib import AsyncExitStack, asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from types import SimpleNamespace
from typing import Any

import pytest

from relay.app import run_relay
from relay.config.build import Overrides, load
from relay.ingress import server
from relay.ingress.receive import IngressHandler
from relay.pipeline.process import Pipeline
from relay.pipeline.responses import SenderResponse

BODY = b'{"n": "\xc3\xa9 \\u0000"}'


def request(number=0, method=b"POST", more=b""):
    head = b"%s /webhooks/x?n=%d HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: \xe9\r\n%s" % (method, number, more)
    return head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@asynccontextmanager
async def connected(at):
    host, port = at.ingress.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.contextmanager
def held_store(at):
    """Keep every commit waiting for as long as the block lasts."""
    other = sqlite3.connect(at.relay.config.server.data_dir / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@pytest.fixture
def taken(monkeypatch):
    """Wait until that many requests are with the pipeline."""
    count = 0

    def count_calls(real):
        def counted(*arguments, **more):
            nonlocal count
            count += 1
            return real(*arguments, **more)

        return counted

    for name in ("receive", "receive_at_once"):
        monkeypatch.setattr(Pipeline, name, count_calls(getattr(Pipeline, name)))

    async def wait(number):
        async with asyncio.timeout(60):
            while count < number:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.005)

    return wait


async def answer(reader):
    """Read one answer and return its head, without what differs from one to the next, and its body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    body = await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
    return re.sub(rb"(Date|Content-Length): [^\r]*", rb"\1", head), json.loads(body)


async def numbers(at):
    """Return the queries of all events, the oldest first."""
    return [event["query"] for event in reversed((await at.api("/api/events?limit=200"))[1]["events"])]


async def test_every_split_of_a_request_gives_the_same_answer_and_the_same_bytes(at):
    data = request()
    cuts = [
        None,
        1,
        4,
        20,
        data.index(b"\r\n\r\n"),
        *(data.index(b"\r\n\r\n") + n for n in (1, 3, 4, 5)),
        len(data) - 1,
    ]
    heads = set()
    for number, cut in enumerate(cuts, start=1):
        async with connected(at) as (reader, writer):
            for piece in [data] if cut is None else [data[:cut], data[cut:]]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.02)
            head, body = await answer(reader)
            heads.add(head)
            assert body == {"success": True, "event": number, "outcome": "accepted"}
        event = (await at.api(f"/api/events/{number}"))[1]
        assert event["headers"] == [
            ["Host", "h"], ["X-A", "1"], ["x-a", "é"], ["Content-Length", str(len(BODY))]
        ]  # fmt: skip
        assert (await at.api(f"/api/events/{number}/body"))[1] == BODY
        assert (event["method"], event["path"], event["query"], event["remote"]) == (
            "POST", "/webhooks/x", "n=0", "127.0.0.1",
        )  # fmt: skip
    assert heads == {
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: relay\r\nContent-Length\r\nDate\r\n\r\n"
    }


async def test_a_usual_request_needs_no_task_of_its_own(at, monkeypatch):
    monkeypatch.delattr(server.IngressHandler, "receive")
    async with connected(at) as (reader, writer):
        for number in (1, 2):
            writer.write(request(number))
            assert (await answer(reader))[1]["event"] == number


async def test_requests_behind_one_another_are_answered_in_order_whichever_way_each_takes(at):
    chunked = b"POST /webhooks/x?n=9 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    kinds = [request(n) if n % 3 else request(n, b"PUT") for n in range(1, 60)]
    kinds[20] = chunked
    async with connected(at) as (reader, writer):
        writer.write(b"".join(kinds))
        events = [(await answer(reader))[1]["event"] for _ in kinds]
    assert events == list(range(1, 60))
    assert await numbers(at) == [f"n={n}" if n != 21 else "n=9" for n in range(1, 60)]


async def test_what_follows_a_request_under_way_waits_and_is_not_read_without_end(at, taken):
    async with connected(at) as (reader, writer):
        with held_store(at):
            writer.write(request(1))
            await taken(1)
            writer.write(request(2) * 50_000)
            (protocol,) = protocols()
            async with asyncio.timeout(60):
                while protocol.transport.is_reading():  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
        assert [(await answer(reader))[1]["event"] for _ in range(300)] == list(range(1, 301))


def protocols():
    # By the type alone: objects of Django's that pretend to be of another class fail when they are asked.
    found = [one for one in gc.get_objects() if type(one) is server._IngressProtocol]
    return [one for one in found if one.transport is not None]


async def test_a_sender_that_closes_its_side_is_answered(at, taken):
    all_taken = 0
    for data, count in ((request(1), 1), (request(1) * 3, 3), (request(1) + request(2, b"PUT"), 2)):
        async with connected(at) as (reader, writer):
            with held_store(at):
                writer.write(data)
                writer.write_eof()
                await taken(all_taken + 1)
                await asyncio.sleep(0.1)
            all_taken += count
            for _ in range(count):
                assert (await answer(reader))[1]["success"] is True
            assert await asyncio.wait_for(reader.read(), 60) == b""


async def test_half_a_request_behind_a_whole_one_is_refused_at_the_end(at):
    async with connected(at) as (reader, writer):
        with held_store(at):
            writer.write(request(1) + request(2)[:-3])
            writer.write_eof()
            await asyncio.sleep(0.2)
        assert (await answer(reader))[1]["success"] is True
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    assert await numbers(at) == ["n=1"]


async def test_a_sender_that_is_gone_before_the_commit_leaves_its_event(at, taken):
    async with connected(at) as (_, writer):
        with held_store(at):
            writer.write(request(7))
            await taken(1)
            writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await asyncio.sleep(0.1)
    async with connected(at) as (reader, writer):
        writer.write(request(8))
        await answer(reader)
    assert await numbers(at) == ["n=7", "n=8"]


async def test_a_connection_is_not_idle_while_its_request_waits(at, monkeypatch):
    monkeypatch.setattr(server, "KEEPALIVE_TIMEOUT", 1.0)
    async with connected(at) as (reader, writer):
        with held_store(at):
            writer.write(request(1))
            await asyncio.sleep(1.3)
        assert (await answer(reader))[1]["event"] == 1
        writer.write(request(2))
        assert (await answer(reader))[1]["event"] == 2
        assert await asyncio.wait_for(reader.read(), 60) == b""  # idle for too long


async def test_what_is_under_way_is_committed_and_answered_when_relay_stops(tmp_path, taken):
    (tmp_path / "relay.toml").write_text("")
    ports: dict[str, Any] = {"ingress": "127.0.0.1:auto", "dashboard": "127.0.0.1:auto", "no_tunnel": True}
    config = load(tmp_path / "relay.toml", Overrides(**ports), {})

    async with AsyncExitStack() as stack:
        async with run_relay(config) as relay:
            running = SimpleNamespace(ingress=relay.ingress_url, relay=relay)
            held = held_store(running)
            links = [await stack.enter_async_context(connected(running)) for _ in range(20)]
            held.__enter__()
            for number, (_, writer) in enumerate(links):
                writer.write(request(number))
            await taken(20)
            asyncio.get_running_loop().call_later(0.5, held.__exit__, None, None, None)
        answers = [await answer(reader) for reader, _ in links]
        assert sorted(body["event"] for _, body in answers) == list(range(1, 21))
        assert [await asyncio.wait_for(reader.read(), 60) for reader, _ in links] == [b""] * 20
    with contextlib.closing(sqlite3.connect(tmp_path / ".relay/relay.db")) as kept:
        assert kept.execute("SELECT count(*) FROM events").fetchone() == (20,)


@pytest.mark.parametrize(
    "answered",
    [
        SenderResponse(status=204, body=b"x"),
        SenderResponse(status=299, body=b"{}", content_type=""),
        SenderResponse(status=200, body=b"", headers=(("X-A", "1"), ("X-A", "2"), ("content-type", "a/b"))),
        SenderResponse(status=503, body=b"\xff", headers=(("Retry-After", "5"),), closes=True),
    ],
)
async def test_an_answer_is_written_alike_whichever_way_its_request_took(at, monkeypatch, answered):
    monkeypatch.setattr(Pipeline, "_respond", lambda *_: answered)
    heads, body = [], b"" if answered.status == 204 else answered.body
    for method in (b"POST", b"PUT"):
        async with connected(at) as (reader, writer):
            writer.write(request(1, method))
            head = await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(len(body)) == body
            heads.append(sorted(re.sub(rb"(?i)date: .*", b"date", line.lower()) for line in head.split(b"\r\n")))
    assert heads[0] == heads[1]


@pytest.mark.parametrize(
    ("owner", "where"), [(Pipeline, "_respond"), (Pipeline, "receive_at_once"), (IngressHandler, "_complete")]
)
async def test_a_fault_of_relay_is_answered_500_and_logged(at, monkeypatch, caplog, owner, where):
    def fail(*_, **__):
        raise LookupError("by surprise")

    monkeypatch.setattr(owner, where, fail)
    with caplog.at_level(logging.ERROR):
        async with connected(at) as (reader, writer):
            writer.write(request(1))
            head, body = await answer(reader)
            assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            assert b"Connection: close\r\n" in head
            assert body["error"]["code"] == "internal"
            assert await asyncio.wait_for(reader.read(), 5) == b""
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["by surprise"]
