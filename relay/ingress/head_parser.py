"""Parses request heads that aiohttp's parser need not see or refuses; accepted only if their framing is unambiguous.

A usual request is read here, in a third of the time. Of what the parser refuses, a repeated Content-Type or raw UTF-8
in a query says nothing about where a request ends, so two readers cannot disagree about it. Whatever could be read in
two ways (RFC 9112, sections 5.2, 6.1, 6.3 and 11.2) is an error here.
"""

import re
from typing import NamedTuple

from relay.model.event import Headers
from relay.model.values import dataclass

MAX_HEAD = 64 * 1024  # bytes of a head that is parsed a second time
MAX_LINE = 8190  # bytes of a line, and the number of headers below: the limits of aiohttp's own parser
MAX_HEADERS = 128

HEAD_END = b"\r\n\r\n"
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_FIRST_BYTES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}( .*)?\r?", re.DOTALL)
_REQUEST_TARGET = re.compile(rb"/.*|[A-Za-z][A-Za-z0-9+.-]*://[^/ ].*", re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSIONS = frozenset({b"HTTP/1.0", b"HTTP/1.1"})
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NON_LETTER = re.compile(rb"[^a-z]")
# Headers that decide where a request ends, its host, or whether the connection stays open.
_FRAMING = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_FRAMING_LETTERS = frozenset(_NON_LETTER.sub(b"", name) for name in _FRAMING)

# A request with one of these headers, or with a framing header twice, is left to aiohttp's parser.
_UNUSUAL = (_FRAMING - {b"host", b"content-length", b"connection"}) | {b"content-encoding"}
_UNUSUAL_NAMES = frozenset(name.decode() for name in _UNUSUAL)
_FRAMING_NAMES = frozenset(name.decode() for name in _FRAMING)
_NO_CONTROLS = bytes([*range(0x20, 0x7F), *range(0x80, 0x100)])
_MAX_KNOWN_NAMES, _MAX_KNOWN_NAME = 4096, 64  # cached names, and the length of one: memory must stay bounded
_lower_names: dict[str, str] = {}


class UsualRequest(NamedTuple):
    """A complete POST; `by_name` has the first value of each header by lower-case name.

    Text is latin-1 as in Capture. `rest` are the bytes after the request.
    """

    target: str
    headers: Headers
    by_name: dict[str, str]
    body: bytes
    rest: bytes


def read_usual_request(data: bytes) -> UsualRequest | None:
    """Return the request at the start of `data`; None if it is incomplete or not a plain POST.

    Only requests that no two parsers read differently are accepted: HTTP/1.1, no control characters, CRLF lines, one
    Host, one Content-Length, no Transfer-Encoding. A test compares it with aiohttp's parser.
    """
    end = data.find(HEAD_END)
    if not 0 < end <= MAX_LINE:
        return None
    head = data[:end]
    lines = head.decode("latin-1").split("\r\n")
    if head.translate(None, _NO_CONTROLS) != b"\r\n" * (len(lines) - 1) or len(lines) > MAX_HEADERS:
        return None
    method, _, line = lines[0].partition(" ")
    target, _, version = line.partition(" ")
    if method != "POST" or version != "HTTP/1.1" or target[:1] != "/" or not target.isascii():
        return None
    headers: list[tuple[str, str]] = []
    by_name: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        lower = _lower_names.get(name) or _learn_name(name)
        if not lower or not colon:
            return None
        value = value.strip(" ")
        headers.append((name, value))
        if lower not in by_name:
            by_name[lower] = value
        elif lower in _FRAMING_NAMES:
            return None
    length = by_name.get("content-length", "")
    if (
        "host" not in by_name
        or not length.isdecimal()
        or len(length) > 8
        or not _UNUSUAL_NAMES.isdisjoint(by_name)
        or by_name.get("connection", "keep-alive").lower() != "keep-alive"
    ):
        return None
    start = end + len(HEAD_END)
    stop = start + int(length)
    if stop > len(data):
        return None
    return UsualRequest(target, tuple(headers), by_name, data[start:stop], data[stop:])


def _learn_name(name: str) -> str:
    """Return the lower-case name of a header that is not cached yet; "" if it is not a valid name."""
    if not _TOKEN.fullmatch(name.encode("latin-1")):
        return ""
    lower = name.lower()
    if len(_lower_names) < _MAX_KNOWN_NAMES and len(name) <= _MAX_KNOWN_NAME:
        _lower_names[name] = lower
    return lower


class AmbiguousRequestError(Exception):
    """A request that is ambiguous or not HTTP; `reason` says why in a few words."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """The head of a request: `length` in bytes is None if there is no Content-Length."""

    method: bytes
    target: bytes
    version: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    length: int | None
    chunked: bool

    def framing(self) -> bytes:
        """Return a plain head with the same framing, for a strict parser to read the body by."""
        lines = [b"POST / " + self.version, b"Host: localhost", b"Connection: close"]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length is not None:
            lines.append(b"Content-Length: %d" % self.length)
        return b"\r\n".join(lines) + b"\r\n\r\n"


def check_partial_head(data: bytes) -> None:
    """Raise AmbiguousRequestError for an incomplete head that cannot become a request, without waiting for its end."""
    if len(data) > MAX_HEAD:
        raise AmbiguousRequestError("the head is too large")
    line, ended, _ = data.partition(b"\r\n")
    if ended:
        _parse_request_line(line)
    elif not _FIRST_BYTES.fullmatch(line):
        raise AmbiguousRequestError("not an HTTP request")
    if _BARE_LINE_END.search(data.removesuffix(b"\r")):
        raise AmbiguousRequestError("a line ends in a bare CR or LF")


def parse_head(data: bytes) -> RequestHead:
    """Return the head in `data` (up to its empty line). Raises AmbiguousRequestError."""
    data = data.lstrip(b"\r\n")
    if len(data) > MAX_HEAD:
        raise AmbiguousRequestError("the head is too large")
    first, _, rest = data.partition(b"\r\n")
    method, target, version = _parse_request_line(first)
    if _BARE_LINE_END.search(data):
        raise AmbiguousRequestError("a line ends in a bare CR or LF")
    if b"\0" in data:
        raise AmbiguousRequestError("the head holds a NUL byte")
    headers = _parse_headers(rest.removesuffix(b"\r\n\r\n").split(b"\r\n") if rest.strip(b"\r\n") else [])
    length, chunked = _parse_framing(headers, version)
    return RequestHead(method=method, target=target, version=version, headers=headers, length=length, chunked=chunked)


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    method, _, rest = line.partition(b" ")
    # SMS gateways send targets with raw spaces: the target ends where the version starts.
    target, _, version = rest.rpartition(b" ")
    if not _METHOD.fullmatch(method) or not target or not version.startswith(b"HTTP/"):
        raise AmbiguousRequestError("not an HTTP request")
    if version not in _VERSIONS:
        raise AmbiguousRequestError("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if len(line) > MAX_LINE:
        raise AmbiguousRequestError(f"the request line is longer than {MAX_LINE} bytes")
    if not _REQUEST_TARGET.fullmatch(target):
        raise AmbiguousRequestError("the request's target is not a path")
    return method, target, version


def _parse_headers(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    for line in lines:
        if len(line) > MAX_LINE:
            raise AmbiguousRequestError(f"a header is longer than {MAX_LINE} bytes")
        if line[:1] in (b" ", b"\t"):
            found[-1:] = [_append_folded_line(found, line)]
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise AmbiguousRequestError("a header has no colon")
        _check_name(name)
        found.append((name, value.strip(b" \t")))
        if len(found) > MAX_HEADERS:
            raise AmbiguousRequestError(f"more than {MAX_HEADERS} headers")
    for name, value in found:
        if name.lower() in _FRAMING and _CONTROL.search(value):
            raise AmbiguousRequestError(f"{_decode_name(name)} holds a control character")
    return tuple(found)


def _append_folded_line(found: list[tuple[bytes, bytes]], line: bytes) -> tuple[bytes, bytes]:
    if not found:
        raise AmbiguousRequestError("the first header begins with white space")
    name, value = found[-1]
    if name.lower() in _FRAMING:
        raise AmbiguousRequestError(f"{_decode_name(name)} is folded over two lines")
    # RFC 9112, 5.2: a fold that is accepted is replaced with a space.
    value = value + b" " + line.strip(b" \t")
    if len(value) > MAX_LINE:
        raise AmbiguousRequestError(f"a header is longer than {MAX_LINE} bytes")
    return name, value


def _check_name(name: bytes) -> None:
    if _TOKEN.fullmatch(name):
        return
    if not name or name[-1:] in (b" ", b"\t") or _CONTROL.search(name) or b"\t" in name:
        raise AmbiguousRequestError("white space or a control character is next to a header's name")
    if _NON_LETTER.sub(b"", name.lower()) in _FRAMING_LETTERS:
        raise AmbiguousRequestError("a header's name is nearly one that frames the request")


def _parse_framing(headers: tuple[tuple[bytes, bytes], ...], version: bytes) -> tuple[int | None, bool]:
    def values(lower_name: bytes) -> list[bytes]:
        return [value for name, value in headers if name.lower() == lower_name]

    hosts, lengths, codings = values(b"host"), values(b"content-length"), values(b"transfer-encoding")
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise AmbiguousRequestError("a request has exactly one Host")
    if lengths and codings:
        raise AmbiguousRequestError("Content-Length and Transfer-Encoding contradict each other")
    if len(lengths) > 1:
        raise AmbiguousRequestError("Content-Length is there more than once")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise AmbiguousRequestError("Content-Length is not a plain number")
    if codings and version == b"HTTP/1.0":
        raise AmbiguousRequestError("HTTP/1.0 has no chunks")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise AmbiguousRequestError("the Transfer-Encoding is not chunked alone")
    return (int(lengths[0]) if lengths else None), bool(codings)


def _decode_name(name: bytes) -> str:
    return name.decode("ascii", "replace")
