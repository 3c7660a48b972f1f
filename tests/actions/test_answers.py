"""Answers that are not what HTTP prescribes: the status counts, and a note says what was odd."""

import asyncio

import pytest

from relay.actions.outgoing_request import ForwardOptions
from relay.actions.response_parser import MAX_INTERIM
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded


@pytest.fixture
def answered(forwarding, raw_server, make_event, make_delivery):
    """Forward one event to a server that answers with the packets given, apart; return what came of it."""

    async def go(*packets, end=True, method="POST", seconds=10.0):
        async def say(writer):
            for packet in packets:
                writer.write(packet)
                await writer.drain()
                await asyncio.sleep(0.01 if len(packets) > 1 else 0)
            if not end:
                await asyncio.sleep(60)

        async with raw_server(say) as server, forwarding() as forward:
            options = ForwardOptions(url=server.url + "/h", timeout=seconds)
            result = await forward.run(make_event(method=method), make_delivery(), options)
        assert len(server.received) == 1
        return result

    return go


STATUS = b"HTTP/1.1 200 OK\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
CASES = {
    "longer": (STATUS + b"Content-Length: 3\r\n\r\nn\xc3\xa9!", 200, b"n\xc3\xa9", "went on after its Content-Length"),
    "a 204 with a body": (NO_CONTENT + TWO, 204, b"", "204 has no body"),
    "a 204 with chunks": (NO_CONTENT + CHUNKS + b"0\r\n\r\n", 204, b"", "204 has no body"),
    "a 204 with more": (b"HTTP/1.1 204 No Content\r\n\r\nok", 204, b"", "went on after its end"),
    "a 304 with a body": (b"HTTP/1.1 304 -\r\n" + TWO, 304, b"", "went on after its end"),
    "cut short": (STATUS + b"Content-Length: 20\r\n\r\nhalf", 200, b"half", "cut short after 4 of 20 bytes"),
    "chunks cut short": (STATUS + CHUNKS + b"4\r\nhalf\r\n", 200, b"half", "cut short after 4 bytes"),
    "broken chunks": (STATUS + CHUNKS + b"zz\r\nhalf\r\n", 200, b"", "chunks of the answer"),
    "chunks and more": (STATUS + CHUNKS + b"2\r\nok\r\n0\r\n\r\nmore", 200, b"ok", "went on after its end"),
    "another version": (b"HTTP/2 200\r\n" + TWO, 200, b"ok", "is not valid HTTP"),
    "a version there is none of": (b"HTTP/3.7 201 Made\r\n" + TWO, 201, b"ok", "is not valid HTTP"),
    "two answers": (STATUS + TWO + STATUS + b"\r\n", 200, b"ok", "went on after"),
    "cut in its head": (STATUS + b"Content-Ty", 200, b"", "ended inside its head"),
    "a status alone": (b"HTTP/1.1 200", 200, b"", "ended inside its head"),
    "length and chunks": (
        STATUS + b"Content-Length: 9\r\n" + CHUNKS + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok", "disagree on the length"
    ),
    "two lengths": (STATUS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", 200, b"ok", "disagree on the length"),
    "a header without a colon": (STATUS + b"nonsense\r\n" + TWO, 200, b"ok", "HTTP does not allow"),
    "a space in a name": (STATUS + b"X A: 1\r\n" + TWO, 200, b"ok", "HTTP does not allow"),
    "a NUL byte": (STATUS + b"X-A: a\0b\r\n" + TWO, 200, b"ok", "is not valid HTTP"),
    "a huge header": (STATUS + b"X-A: " + b"a" * 90_000 + b"\r\n" + TWO, 200, b"ok", "longer than 8190"),
    "many headers": (STATUS + b"Content-Length: 2\r\n" + b"X-A: 1\r\n" * 200 + b"\r\nok", 200, b"ok", "beyond 128"),
    "a length in words": (STATUS + b"Content-Length: two\r\n\r\nok", 200, b"ok", "is not valid HTTP"),
}  # fmt: skip


@pytest.mark.parametrize("way", ["whole", "bytes"])
@pytest.mark.parametrize("name", CASES)
async def test_a_status_that_came_counts_and_a_note_says_what_was_odd(answered, name, way):
    data, status, body, note = CASES[name]
    if way == "bytes" and len(data) > 300:
        pytest.skip("too many bytes to send one by one")
    result = await answered(*([data] if way == "whole" else [bytes([one]) for one in data]))
    wanted = AttemptSucceeded(f"{status}") if status < 300 else AttemptFailed(f"{status} (not followed)")
    assert result.outcome == wanted
    assert result.response.status == status
    assert result.response.body == body
    if way == "whole":
        assert any(note in said for said in result.response.notes), result.response.notes


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\n\r\nok",
        b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 \xff\xfe\r\nX-A: \xe9\x01\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + STATUS + TWO,
    ],
)  # fmt: skip
async def test_what_many_servers_do_is_nothing_odd(answered, data):
    result = await answered(data)
    assert (result.outcome, result.response.body, result.response.notes) == (AttemptSucceeded("200"), b"ok", ())


async def test_a_gzip_that_cannot_be_unpacked_is_kept_as_it_came(answered):
    result = await answered(STATUS + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")
    assert (result.outcome, result.response.body) == (AttemptSucceeded("200"), b"\x1f\x8b\x08\x00")


async def test_the_answer_to_head_has_a_length_and_no_body(answered):
    result = await answered(STATUS + b"Content-Length: 200\r\n\r\n", method="HEAD")
    assert (result.outcome, result.response.body, result.response.notes) == (AttemptSucceeded("200"), b"", ())


async def test_a_status_whose_head_never_ends_counts_when_the_time_is_up(answered):
    result = await answered(STATUS + b"X-A: 1\r\n", end=False, seconds=0.3)
    assert (result.outcome, result.response.status) == (AttemptSucceeded("200"), 200)
    assert result.response.headers == (("X-A", "1"),)


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-x\r\n", b"HTTP/1.1 99 No\r\n\r\n", b"HTTP/1.1 2", b"{}", b"HTTP/1.1 100 C\r\n"]
)
async def test_what_has_no_final_status_is_no_answer(answered, data):
    result = await answered(data)
    assert result.response is None
    assert isinstance(result.outcome, AttemptRetry)


async def test_a_flood_of_interim_answers_ends_the_attempt(answered):
    result = await answered(b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, end=False)
    assert result.outcome == AttemptRetry(f"more than {MAX_INTERIM} interim answers (1xx) and no final one")


async def test_an_odd_answer_leaves_no_connection_for_the_next_request(
    forwarding, raw_server, make_event, make_delivery
):
    connections = []

    async def say(writer):
        connections.append(writer)
        writer.write(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"ok")
        await asyncio.sleep(1)

    async with raw_server(say) as server, forwarding() as forward:
        options = ForwardOptions(url=server.url)
        for _ in range(3):
            assert (await forward.run(make_event(), make_delivery(), options)).outcome == AttemptSucceeded("204")
    assert len(set(connections)) == 3
