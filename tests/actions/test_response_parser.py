"""The parser of answers, fed in any pieces, and compared with the one of aiohttp's client where an answer is sound."""

import asyncio
from itertools import pairwise

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from relay.actions.response_parser import NoAnswerError, ResponseParser

KEEP = 4096
_TOKENS = st.text("abcXYZ019-_.", min_size=1, max_size=8)
_VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12)
# What heads and chunks are made of, so that by chance they are nearly right.
_PARTS = (
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 -\r\n", b"HTTP/1.1 "),
    *(b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"),
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\0",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"ffffffff\r\n",
        b"X: y\r\n",
        b"abc",
        b"9",
    ),
)
_BYTES = st.lists(st.sampled_from(_PARTS) | st.binary(max_size=4), max_size=14).map(b"".join)
_CUTS = st.lists(st.integers(0, 400), max_size=8)


def cut(data, places):
    ends = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


def parse(pieces, *, is_head=False, keep=KEEP):
    """Return the answer, or why there is none, and whether its connection is of no other use."""
    parser = ResponseParser(is_head=is_head, keep=lambda: keep)
    try:
        for piece in pieces:
            parser.feed(piece)
        if not parser.end() and not parser.cut_off():
            return "no final status", True
    except NoAnswerError as error:
        return error.detail, True
    return parser.build_response(), parser.closes


@st.composite
def sound_answers(draw):
    """Return an answer as HTTP prescribes it, and whether it was asked for with HEAD."""
    headers = draw(st.dictionaries(_TOKENS.map(lambda name: f"X-{name}"), _VALUES, max_size=4))
    body = draw(st.binary(max_size=60))
    status, way = (
        draw(st.sampled_from((200, 201, 204, 304, 404, 503))),
        draw(st.sampled_from(("length", "chunks", "end"))),
    )
    if status in (204, 304):
        body, way = b"", "end"
    lines = [f"HTTP/1.{draw(st.sampled_from('01'))} {status} Why", *(f"{name}: {headers[name]}" for name in headers)]
    content = body
    if way == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif way == "chunks":
        lines.append("Transfer-Encoding: chunked")
        chunks = [chunk for chunk in cut(body, draw(_CUTS)) if chunk]
        trailer = draw(st.sampled_from((b"", b"X-Sum: 1\r\n")))
        content = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n" + trailer + b"\r\n"
    if draw(st.booleans()):
        lines.append(f"Connection: {draw(st.sampled_from(('close', 'keep-alive', 'Keep-Alive')))}")
    is_head = draw(st.booleans())
    interim = draw(
        st.sampled_from((b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nLink: </x>\r\n\r\n"))
    )
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return interim, head + (b"" if is_head else content), is_head


async def parse_by_aiohttp(data, *, is_head):
    loop = asyncio.get_running_loop()
    parser = HttpResponseParser(
        BaseProtocol(loop), loop, 2**16, read_until_eof=True, auto_decompress=False, response_with_body=not is_head
    )
    [(message, payload)] = parser.feed_data(data)[0]
    parser.feed_eof()
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in message.raw_headers)
    return message.code, headers, await payload.read(), message.should_close


@given(answer=sound_answers(), places=_CUTS)
def test_a_sound_answer_is_read_as_aiohttp_reads_it(answer, places):
    interim, data, is_head = answer
    response, closes = parse(cut(interim + data, places), is_head=is_head)
    expected = asyncio.run(parse_by_aiohttp(data, is_head=is_head))
    assert (response.status, response.headers, response.body) == expected[:3]
    assert (response.cut, response.notes) == (False, ())
    # An answer to HEAD ends with its head, whatever its connection would have been closed for.
    assert closes or is_head or not expected[3]


@given(data=_BYTES, places=_CUTS, is_head=st.booleans())
def test_whatever_comes_is_an_answer_or_none_and_the_same_in_whatever_pieces(data, places, is_head):
    assert parse(cut(data, places), is_head=is_head, keep=8) == parse([data], is_head=is_head, keep=8)


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\n\n\n", b"HTTP/1.1 100 Continue\r\n\r\n\r\n\r\n"])
def test_empty_lines_before_a_head_are_skipped(before):
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for pieces in ([before + data], [before, data], cut(before + data, range(100))):
        response, closes = parse(pieces)
        assert (response.status, response.body, response.notes, closes) == (200, b"ok", (), False)


def test_many_little_chunks_are_read_without_copying_the_rest_for_each():
    class Counting(bytes):
        copied = 0

        def __getitem__(self, place):
            piece = super().__getitem__(place)
            Counting.copied += len(piece) if isinstance(piece, bytes) else 0
            return Counting(piece) if isinstance(piece, bytes) else piece

        def partition(self, mark):
            Counting.copied += len(self)
            return tuple(map(Counting, super().partition(mark)))

    parser = ResponseParser(is_head=False, keep=lambda: 10**6)
    parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    data = b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"
    assert parser._feed_chunks(Counting(data)) == b""
    assert (parser.is_whole, parser.build_response().body) == (True, b"a" * 10_000)
    assert Counting.copied < 2 * len(data)
