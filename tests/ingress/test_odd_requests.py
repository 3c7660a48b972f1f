"""Requests that aiohttp's parser refuses: captured where their framing is beyond doubt, else refused and shown."""

import asyncio
import html

import pytest

from cases import check_each
from relay.ingress import server
from relay.ingress.server import max_connections

HEAD = b"Host: h\r\nConnection: close\r\n"
LENGTH = b"Content-Length: 2\r\n"


async def exchange(at, *packets, end=False):
    """Send packets, apart, and return everything that comes back; `end` closes the sending side after them."""
    host, port = at.ingress.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            if len(packets) > 1:
                await asyncio.sleep(0.002)
        if end:
            writer.write_eof()
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def cut(data, way):
    """Return the packets that a request comes in."""
    size = {"whole": len(data), "halves": (len(data) + 1) // 2, "bytes": 1}[way]
    return [data[start : start + size] for start in range(0, len(data), size)]


async def events(at):
    return (await at.api("/api/events"))[1]["events"]


async def refused(at):
    """Return what is shown as refused: status and sentence of each, the latest first."""
    told = (await at.api("/api/status"))[1]["refused"]
    return [
        (int(status), one["detail"])
        for kinds in told.values()
        for status, kind in kinds["by_status"].items()
        for one in kind["recent"]
    ]


ODD = {
    "content type twice": b"POST /webhooks/x HTTP/1.1\r\n"
    + HEAD
    + LENGTH
    + b"Content-Type: a/b\r\nContent-Type: a/b\r\n",
    "user agent twice": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"User-Agent: a\r\nuser-agent: b\r\n",
    "etag twice": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"ETag: a\r\nETag: b\r\n",
    "utf-8 in the query": "POST /webhooks/x?text=Grüße HTTP/1.1\r\n".encode() + HEAD + LENGTH,
    "utf-8 in the path": "POST /webhooks/x/é HTTP/1.1\r\n".encode() + HEAD + LENGTH,
    "latin-1 in the query": b"POST /webhooks/x?text=\xe9 HTTP/1.1\r\n" + HEAD + LENGTH,
    "spaces in the query": b"POST /webhooks/x?text=two words HTTP/1.1\r\n" + HEAD + LENGTH,
    "a tab in the query": b"POST /webhooks/x?text=a\tb HTTP/1.1\r\n" + HEAD + LENGTH,
    "escape in the path": b"POST /webhooks/x/\x1b[31m HTTP/1.1\r\n" + HEAD + LENGTH,
    "a control character in a value": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"X-A: a\x01\x1bb\r\n",
    "a folded header": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"X-A: a\r\n  b\r\n",
    "a space in a name": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"X Custom: 1\r\n",
    "utf-8 in a name": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + "X-Größe: 1\r\n".encode(),
    "brackets in a name": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"X[0]: 1\r\n",
    "a method of its own": b"NOTIFYME /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH,
    "a method in small letters": b"post /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH,
    "an old websocket key": b"POST /webhooks/x HTTP/1.1\r\n" + HEAD + LENGTH + b"Sec-WebSocket-Key1: 1\r\n",
}


@check_each("way", ["whole", "halves", "bytes"])
@check_each("name", ODD)
async def test_what_is_odd_but_clear_is_captured_however_it_is_cut(at, name, way):
    earlier = await events(at)
    answer = await exchange(at, *cut(ODD[name] + b"\r\n{}", way))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    event = (await events(at))[0]
    assert event["id"] == (earlier[0]["id"] if earlier else 0) + 1
    assert (await at.api(f"/api/events/{event['id']}/body"))[1] == b"{}"
    assert event["path"].startswith("/webhooks/x")
    assert await refused(at) == []


async def test_an_odd_request_keeps_its_target_headers_and_chunks(at):
    head = (
        b"NOTIFYME /webhooks/x/\xc3\xa9?a=\xff b HTTP/1.1\r\nhost: h\r\nX-A: 1\r\nContent-Type: a/b\r\n"
        b"x-a: \xe9\x01\r\nContent-Type: c/d\r\nTransfer-Encoding: chunked\r\nX-Empty:\r\n\r\n"
    )
    assert (await exchange(at, head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200")
    event = (await at.api("/api/events/1"))[1]
    assert event["headers"] == [
        ["host", "h"],
        ["X-A", "1"],
        ["Content-Type", "a/b"],
        ["x-a", "é\x01"],
        ["Content-Type", "c/d"],
        ["Transfer-Encoding", "chunked"],
        ["X-Empty", ""],
    ]
    assert (event["method"], event["path"]) == ("NOTIFYME", "/webhooks/x/é")
    assert (await at.api("/api/events/1/body"))[1] == b"abcde"


async def test_nothing_is_read_after_an_odd_request(at):
    odd = b"POST /webhooks/x?a=\xe9 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    answer = await exchange(at, odd + b"POST /webhooks/y HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer
    assert [event["source"] for event in await events(at)] == ["x"]


AMBIGUOUS = {
    "two lengths": (HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n", "Content-Length is there more than once"),
    "a length twice": (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n", "Content-Length is there more than once"),
    "length and chunks": (HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n", "contradict each other"),
    "a signed length": (HEAD + b"Content-Length: +2\r\n", "Content-Length is not a plain number"),
    "a hexadecimal length": (HEAD + b"Content-Length: 0x2\r\n", "Content-Length is not a plain number"),
    "a list of lengths": (HEAD + b"Content-Length: 2, 2\r\n", "Content-Length is not a plain number"),
    "an endless length": (HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n", "Content-Length is not a plain number"),
    "two hosts": (b"Host: a\r\nHost: b\r\n" + LENGTH, "exactly one Host"),
    "no host": (LENGTH, "exactly one Host"),
    "an odd coding": (HEAD + b"Transfer-Encoding: xchunked\r\n", "not chunked alone"),
    "a folded length": (HEAD + b"Content-Length:\r\n 2\r\n", "Content-Length is folded"),
    "a folded coding": (HEAD + b"Transfer-Encoding:\r\n chunked\r\n", "Transfer-Encoding is folded"),
    "a fold at the start": (b" Host: h\r\n" + LENGTH, "begins with white space"),
    "white space before a colon": (HEAD + b"Content-Length : 2\r\n", "white space"),
    "a name that is nearly one": (HEAD + b"Content Length: 2\r\n", "nearly one that frames"),
    "a bare CR": (HEAD + LENGTH + b"X-A: a\rContent-Length: 3\r\n", "bare CR or LF"),
    "a bare LF": (HEAD + LENGTH + b"X-A: a\nX-B: b\r\n", "bare CR or LF"),
    "a NUL byte": (HEAD + LENGTH + b"X-A: a\0b\r\n", "NUL"),
    "a header without a colon": (HEAD + LENGTH + b"nonsense\r\n", "no colon"),
    "a long header": (HEAD + LENGTH + b"X-A: " + b"a" * 9000 + b"\r\n", "longer than 8190"),
    "many headers": (HEAD + LENGTH + b"X-A: 1\r\n" * 130, "more than 128 headers"),
}


@check_each("name", AMBIGUOUS)
async def test_what_is_ambiguous_is_400_never_an_event_and_shown(at, name):
    headers, reason = AMBIGUOUS[name]
    number = list(AMBIGUOUS).index(name)
    answer = await exchange(at, b"POST /webhooks/x?%d=\xe9 HTTP/1.1\r\n" % number + headers + b"\r\n{}")
    assert answer.split(b" ")[1] == b"400", answer
    assert await events(at) == []
    line = f"POST /webhooks/x?{number}=é HTTP/1.1"
    ((status, told),) = [found for found in await refused(at) if line in found[1]]
    assert status == 400
    assert reason in told
    page = html.unescape((await at.api("/sources"))[1].decode())
    assert reason in page
    assert line in page


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        (b"POST /webhooks/x HTTP/2.0", 505, "only HTTP/1.0 and HTTP/1.1"),
        (b"PRI * HTTP/2.0", 505, "only HTTP/1.0 and HTTP/1.1"),
        (b"TRACE /webhooks/x HTTP/1.1", 405, "not served"),
        (b"hello", 400, "not an HTTP request"),
        (b"POST webhooks/x HTTP/1.1", 400, "not a path"),
        (b"POST /webhooks/" + b"x" * 9000 + b" HTTP/1.1", 400, "longer than 8190"),
        (b"POST //webhooks/x HTTP/1.1", 404, "no source answers at //webhooks/x: "),
        (b"POST /webhooks//x HTTP/1.1", 404, "no source answers at /webhooks//x: a name follows /webhooks/"),
        (b"POST /api/webhooks/x HTTP/1.1", 404, "no source answers at /api/webhooks/x: "),
        (b"POST /hooks\x1b[31m HTTP/1.1", 404, "no source answers at /hooks\\x1b[31m: "),
    ],
)
async def test_a_refused_first_line_is_shown_harmless_and_bounded(at, line, status, reason):
    answer = await exchange(at, line + b"\r\n" + HEAD + b"Content-Length: 0\r\n\r\n")
    assert int(answer.split(b" ", 2)[1]) == status
    ((shown, told),) = await refused(at)
    assert (shown, reason in told) == (status, True), told
    assert len(told) < 400
    assert told.isprintable()
    assert await events(at) == []


async def test_what_is_refused_for_a_source_is_shown_with_it(start):
    at = await start("[sources.github]\n")
    await exchange(at, b"POST /webhooks/github HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    told = (await at.api("/api/status"))[1]["refused"]["github"]["by_status"]["400"]
    assert "HTTP/1.0 has no chunks: POST /webhooks/github" in told["latest"]
    assert b"HTTP/1.0 has no chunks: POST /webhooks/github" in (await at.api("/sources/github"))[1]


CHARACTERS = '{"text": "héllo 😀"}'.encode()


@pytest.mark.parametrize("way", ["whole", "halves", "bytes"])
@pytest.mark.parametrize("keep", [b"", b"Connection: close\r\n"])
async def test_a_length_in_characters_is_captured_as_framed(at, way, keep):
    length = len(CHARACTERS.decode())
    head = b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\n%sContent-Length: %d\r\n\r\n" % (keep, length)
    answer = await exchange(at, *cut(head + CHARACTERS, way), end=True)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert (await at.api("/api/events/1/body"))[1] == CHARACTERS[:length]
    assert len(await events(at)) == 1


async def test_the_bytes_behind_a_request_are_refused_on_their_own(at):
    chunked = b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    answer = await exchange(at, chunked + b'\xf0\x9f"}')
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b" 400 Bad Request") == 1
    ((status, told),) = await refused(at)
    assert (status, "not an HTTP request" in told) == (400, True)


@pytest.mark.parametrize("way", ["whole", "halves", "bytes"])
async def test_requests_in_a_row_are_all_captured_however_they_are_cut(at, way):
    plain = b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n\r\n\r\n"
    chunked = (
        b"POST /webhooks/b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"6\r\n1\r\n\r\n2\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    empty = b"\r\nGET /webhooks/c HTTP/1.1\r\nHost: h\r\n\r\n"
    last = b"POST /webhooks/d?\xe9 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n4"
    answer = await exchange(at, *cut(plain + chunked + empty + last, way))
    assert answer.count(b"HTTP/1.1 200") == 4, answer
    assert [event["source"] for event in await events(at)] == ["d", "c", "b", "a"]
    bodies = [(await at.api(f"/api/events/{id_}/body"))[1] for id_ in (1, 2, 3, 4)]
    assert bodies == [b"\r\n\r\n", b"1\r\n\r\n2", b"", b"4"]


async def test_a_hundred_requests_in_one_packet_are_all_answered(at):
    one = b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    answer = await exchange(at, one * 100, end=True)
    assert answer.count(b"HTTP/1.1 200") == 100
    assert len(await events(at)) == 50  # the first page


@pytest.mark.parametrize("way", ["whole", "halves"])
async def test_a_large_body_is_read_at_the_pace_of_its_reader(at, way):
    body = b"\r\n\r\n0123456789" * 150_000
    head = b"POST /webhooks/a?\xe9 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert (await exchange(at, *cut(head + body, way))).startswith(b"HTTP/1.1 200")
    assert (await at.api("/api/events/1/body"))[1] == body
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:700_000], body[700_000:]))
    head = b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await exchange(at, *cut(head + chunks + b"0\r\n\r\n", way))).startswith(b"HTTP/1.1 200")
    assert (await at.api("/api/events/2/body"))[1] == body


@pytest.mark.parametrize("chunks", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n"])
@pytest.mark.parametrize("way", ["whole", "bytes"])
async def test_chunks_that_cannot_be_read_are_400_at_once_and_shown(at, chunks, way):
    head = b"POST /webhooks/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchange(at, *cut(head + chunks, way))
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert await events(at) == []
    ((status, told),) = await refused(at)
    assert (status, told) == (400, "the chunks of the body cannot be read: POST /webhooks/x")


@pytest.mark.parametrize("way", ["whole", "bytes"])
async def test_a_sender_that_closes_its_side_gets_its_answers(start, aiohttp_server, way):
    at = await start()
    one = b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
    answer = await exchange(at, *cut(one + one, way), end=True)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert len(await events(at)) == 2


async def test_a_body_that_stops_is_refused_and_shown(at):
    head = b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n"
    assert (await exchange(at, head + b"0123456789", end=True)).startswith(b"HTTP/1.1 400")
    assert await refused(at) == [(400, "the sender stopped after 10 of 20 bytes of the body: POST /webhooks/a")]
    assert await events(at) == []


async def test_a_sender_of_too_much_that_stops_after_the_answer_is_no_failure(start, caplog, monkeypatch):
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.3)
    at = await start("[server]\nmax_body = '1MB'")
    head = b"POST /webhooks/a HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n"
    # More than is read ahead: the end of it is only seen while the rest is read and thrown away.
    answer = await exchange(at, head + bytes(1_000_000), end=True)
    assert answer.startswith(b"HTTP/1.1 413")
    await asyncio.wait([task for task in asyncio.all_tasks() if "RequestHandler.start" in repr(task)])
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize(("descriptors", "most"), [(None, 512), (65536, 512), (256, 144), (128, 48), (16, 1)])
def test_the_limit_on_connections_follows_that_on_descriptors(descriptors, most):
    assert max_connections(descriptors) == most
