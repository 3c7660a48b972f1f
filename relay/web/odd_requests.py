"""Heads of requests that aiohttp's parser refuses, read once more: captured only if their framing is beyond doubt.

A repeated Content-Type or raw UTF-8 in a query says nothing about where a request ends, so two readers cannot
disagree about it. Whatever could be read in two ways (RFC 9112, sections 5.2, 6.1, 6.3 and 11.2) is an error here.
"""

import re
from dataclasses import dataclass

MAX_HEAD = 64 * 1024  # bytes of a head that is read a second time
MAX_LINE = 8190  # bytes of a line, and the number of headers below: the limits of aiohttp's own parser
MAX_HEADERS = 128

_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}")
_FIRST_BYTES = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}( .*)?\r?", re.DOTALL)
_TARGET = re.compile(rb"/.*|[A-Za-z][A-Za-z0-9+.-]*://[^/ ].*", re.DOTALL)
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VERSIONS = frozenset({b"HTTP/1.0", b"HTTP/1.1"})
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NO_LETTER = re.compile(rb"[^a-z]")
# What decides where a request ends, whom it is for, or whether the connection stays.
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
_FRAMING_LETTERS = frozenset(_NO_LETTER.sub(b"", name) for name in _FRAMING)


class AmbiguousError(Exception):
    """A request could be read in more than one way, or is none; `reason` says why in a few words."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class OddHead:
    """The head of a request: `length` in bytes is None where there is no Content-Length."""

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


def check_beginning(data: bytes) -> None:
    """Raise AmbiguousError for an unfinished head that can become no request: there is no need to wait for its end."""
    if len(data) > MAX_HEAD:
        raise AmbiguousError("the head is too large")
    line, ended, _ = data.partition(b"\r\n")
    if ended:
        _request_line(line)
    elif not _FIRST_BYTES.fullmatch(line):
        raise AmbiguousError("not an HTTP request")
    if _BARE.search(data.removesuffix(b"\r")):
        raise AmbiguousError("a line ends in a bare CR or LF")


def read_head(data: bytes) -> OddHead:
    """Return the head that `data` (up to its empty line) holds. Raises AmbiguousError."""
    data = data.lstrip(b"\r\n")
    if len(data) > MAX_HEAD:
        raise AmbiguousError("the head is too large")
    first, _, rest = data.partition(b"\r\n")
    method, target, version = _request_line(first)
    if _BARE.search(data):
        raise AmbiguousError("a line ends in a bare CR or LF")
    if b"\0" in data:
        raise AmbiguousError("the head holds a NUL byte")
    headers = _headers(rest.removesuffix(b"\r\n\r\n").split(b"\r\n") if rest.strip(b"\r\n") else [])
    length, chunked = _body_framing(headers, version)
    return OddHead(
        method=method, target=target, version=version, headers=headers, length=length, chunked=chunked
    )


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    method, _, rest = line.partition(b" ")
    # A target with raw spaces is what SMS gateways make of a text: it ends where the version begins.
    target, _, version = rest.rpartition(b" ")
    if not _METHOD.fullmatch(method) or not target or not version.startswith(b"HTTP/"):
        raise AmbiguousError("not an HTTP request")
    if version not in _VERSIONS:
        raise AmbiguousError("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if len(line) > MAX_LINE:
        raise AmbiguousError(f"the request line is longer than {MAX_LINE} bytes")
    if not _TARGET.fullmatch(target):
        raise AmbiguousError("the request's target is no path")
    return method, target, version


def _headers(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    for line in lines:
        if len(line) > MAX_LINE:
            raise AmbiguousError(f"a header is longer than {MAX_LINE} bytes")
        if line[:1] in (b" ", b"\t"):
            found[-1:] = [_unfold(found, line)]
            continue
        name, colon, value = line.partition(b":")
        if not colon:
            raise AmbiguousError("a header has no colon")
        _check_name(name)
        found.append((name, value.strip(b" \t")))
        if len(found) > MAX_HEADERS:
            raise AmbiguousError(f"more than {MAX_HEADERS} headers")
    for name, value in found:
        if name.lower() in _FRAMING and _CONTROL.search(value):
            raise AmbiguousError(f"{_text(name)} holds a control character")
    return tuple(found)


def _unfold(found: list[tuple[bytes, bytes]], line: bytes) -> tuple[bytes, bytes]:
    if not found:
        raise AmbiguousError("the first header begins with white space")
    name, value = found[-1]
    if name.lower() in _FRAMING:
        raise AmbiguousError(f"{_text(name)} is folded over two lines")
    # RFC 9112, 5.2: a fold that is accepted is replaced with a space.
    value = value + b" " + line.strip(b" \t")
    if len(value) > MAX_LINE:
        raise AmbiguousError(f"a header is longer than {MAX_LINE} bytes")
    return name, value


def _check_name(name: bytes) -> None:
    if _TOKEN.fullmatch(name):
        return
    if not name or name[-1:] in (b" ", b"\t") or _CONTROL.search(name) or b"\t" in name:
        raise AmbiguousError("white space or a control character stands beside a header's name")
    if _NO_LETTER.sub(b"", name.lower()) in _FRAMING_LETTERS:
        raise AmbiguousError("a header's name is nearly one that frames the request")


def _body_framing(headers: tuple[tuple[bytes, bytes], ...], version: bytes) -> tuple[int | None, bool]:
    def values(wanted: bytes) -> list[bytes]:
        return [value for name, value in headers if name.lower() == wanted]

    hosts, lengths, codings = values(b"host"), values(b"content-length"), values(b"transfer-encoding")
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        raise AmbiguousError("a request has exactly one Host")
    if lengths and codings:
        raise AmbiguousError("Content-Length and Transfer-Encoding contradict each other")
    if len(lengths) > 1:
        raise AmbiguousError("Content-Length is there more than once")
    if lengths and not _LENGTH.fullmatch(lengths[0]):
        raise AmbiguousError("Content-Length is not a plain number")
    if codings and version == b"HTTP/1.0":
        raise AmbiguousError("HTTP/1.0 has no chunks")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise AmbiguousError("the Transfer-Encoding is not chunked alone")
    return (int(lengths[0]) if lengths else None), bool(codings)


def _text(name: bytes) -> str:
    return name.decode("ascii", "replace")
