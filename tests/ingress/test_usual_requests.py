"""A usual request is read without aiohttp's parser, and only where that would read the same."""

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given
from hypothesis import strategies as st

from cases import check_each
from relay.ingress import head_parser
from relay.ingress.head_parser import MAX_HEADERS, MAX_LINE, read_usual_request

HEAD = b"POST /webhooks/x?a=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"

NAMES = b"Host host Content-Length content-length Content_Length Connection Transfer-Encoding Te Expect Upgrade".split()
VALUES = b"h 2 02 +2 -2 2,2 0x2 \xb2 0 3 chunked keep-alive close 100-continue \xc3\xa9 a:b a\x00b a\x7f a\rb a\nb"
names = st.sampled_from(
    [*NAMES, b"X-A", b"x-a", b"Content-Encoding", b"(x)", b"X\xe9", b"X A", b" X", b"X ", b"X\t", b""]
)
values = st.sampled_from(
    [
        *VALUES.split(b" "),
        b"",
        b" h",
        b"  h  ",
        b"h\t",
        b"\th",
        b"2 2",
        b" Keep-Alive",
        b"keep-alive, close",
        b"x" * MAX_LINE,
    ]
)
lines = st.builds(lambda *parts: b"".join(parts), names, st.sampled_from([b":", b": ", b"", b"::"]), values)
ends = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n "])
firsts = st.sampled_from(
    [
        *(b"POST %s HTTP/1.1" % target for target in rb'/ /x /x?y=#z x http://h/x /%zz //x /"<>\^`{|} *'.split(b" ")),
        *(b"POST /x HTTP/%s" % version for version in (b"1.0", b"1.2", b"1.1 ", b"")),
        *(
            b"%s HTTP/1.1" % start
            for start in (b"POST  /x", b"POST /a b", b"POST /\xc3\xa9", b"PUT /x", b"post /x", b"")
        ),
    ]
)
usual = st.just([b"Host: h\r\n", b"Content-Length: 2\r\n"])
heads = st.builds(
    lambda first, end, some, more: first + end + b"".join(some) + b"".join(more),
    firsts, ends, st.one_of(usual, st.just([])), st.lists(st.builds(bytes.__add__, lines, ends), max_size=4),
)  # fmt: skip


def parse(data):
    """Return what aiohttp's parser reads: method, path, header pairs, body, whether the connection stays."""

    async def feed():
        loop = asyncio.get_running_loop()
        parser = HttpRequestParser(
            BaseProtocol(loop), loop, 2**16, max_line_size=MAX_LINE, max_field_size=MAX_LINE, max_headers=MAX_HEADERS
        )
        [(message, payload)], upgraded, rest = parser.feed_data(data)
        assert payload.is_eof()
        body = payload.read_nowait()
        return message.method, message.path, message.raw_headers, body, (message.should_close, upgraded, rest)

    return asyncio.run(feed())


@given(heads, st.sampled_from([b"{}", b"{", b"", b"{}POST /", b"{}\r\n"]))
@example(HEAD, b"{}")
@example(HEAD + b"X-A: \xe9\r\nx-a:b  \r\nConnection: Keep-Alive\r\n", b"{}x")
def test_what_is_read_at_once_aiohttp_reads_the_same(head, body):
    data = head + b"\r\n" + body
    found = read_usual_request(data)
    if found is None:
        return
    target, headers, by_name, read, rest = found
    whole = data[: len(data) - len(rest)]
    raw = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers)
    try:
        parsed = parse(whole)
    except HttpProcessingError:
        pytest.fail(f"aiohttp refuses {whole!r}")
    assert parsed == ("POST", target, raw, read, (False, False, b""))
    assert by_name == {name.lower(): value for name, value in reversed(headers)}


@check_each(
    "more",
    [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 2\r\n", b"Host: h\r\n", b"Connection: close\r\n",
     b"Expect: 100-continue\r\n", b"Upgrade: x\r\n", b"Content-Encoding: gzip\r\n", b"X: a\r\n b\r\n", b"X : a\r\n",
     b"X: a\nY: b\r\n", b"X\r\n", b"Content-Length\r\n", b"X: \0\r\n", b"A: b\r\n" * MAX_HEADERS],
)  # fmt: skip
def test_an_unusual_request_is_left_to_aiohttp(more):
    assert read_usual_request(HEAD + b"\r\n{}") is not None
    assert read_usual_request(HEAD + more + b"\r\n{}") is None


@check_each("size", range(len(HEAD) + 4))
def test_a_request_that_is_not_whole_is_left_to_aiohttp(size):
    assert read_usual_request((HEAD + b"\r\n{}")[: size - 1 if size else 0]) is None


def test_what_senders_name_takes_up_no_memory_without_end():
    head_parser._lower_names.clear()
    for name in (b"X" * 5000, *(b"X-%d" % number for number in range(5000))):
        assert read_usual_request(HEAD + name + b": a\r\n\r\n{}") is not None
    assert len(head_parser._lower_names) <= 4096
    assert max(map(len, head_parser._lower_names)) <= 64
