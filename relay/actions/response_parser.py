"""Parses responses of targets leniently: a received status counts, whatever is malformed after it.

A strict parser gives nothing of an answer with a body after 204, with more bytes than its Content-Length says or with
an odd header, and the app that has acted would be called again.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from relay.model.delivery import ReceivedResponse
from relay.model.event import Headers

MAX_INTERIM = 20  # 1xx responses before the final one
MAX_HEAD = 256 * 1024  # bytes; the rest is not read
_MAX_REMEMBERED_HEAD = 2048  # bytes; an app's heads are all the same except for the Date
_MAX_HEADERS = 128
_MAX_LINE = 8190
_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/(\d(?:\.\d)?)[ \t]+([1-9]\d\d)(?=[ \t\r\n]|\Z)")
_STATUS_BEGINNING = re.compile(rb"(?:H|HT|HTT|HTTP/?|HTTP/\d(?:\.\d?)?|HTTP/\d(?:\.\d)?[ \t]+(?:[1-9]\d?)?)")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_STRICT = re.compile(
    rb"HTTP/(?:0\.9|1\.[01]|2\.0) \d{3}(?: [^\r\n\0]*)?\r?\n"
    rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*(?:\r?\n[ \t]+[^\r\n\0]*)*\r?\n)*\r?\n"
)
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_NO_BODY = frozenset({204, 304})
_SWITCHING = 101
_UNEVEN_HEAD = "its head is not valid HTTP"


class NoAnswerError(Exception):
    """No HTTP response was received; `detail` says why in a few words.

    `unreachable` if there was no connection.
    """

    def __init__(self, detail: str, *, unreachable: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.unreachable = unreachable


class ResponseHead(NamedTuple):
    """The head of a response: `length` is None if the body is chunked or ends with the connection.

    `closes`: its connection cannot be reused. `notes` lists what is malformed.
    """

    status: int
    headers: Headers
    length: int | None
    chunked: bool
    closes: bool
    notes: tuple[str, ...]


class ResponseParser:
    """Parses the response to one request and keeps at most `keep()` bytes of its body.

    `closes`: its connection cannot be reused.
    """

    def __init__(self, *, is_head: bool, keep: Callable[[], int]) -> None:
        self.is_whole = False
        self.closes = False
        self._is_head = is_head
        self._keep = keep
        self._head: ResponseHead | None = None
        self._notes: list[str] = []
        self._waiting = b""  # of an incomplete head or chunk framing
        self._interim = 0
        self._body = bytearray()
        self._received = 0  # bytes of the body, kept or not
        self._left: int | None = None  # remaining bytes of the body or chunk; None until the connection ends
        self._in_trailer = False
        self._is_cut = False

    @property
    def is_silent(self) -> bool:
        """Return whether nothing was received yet."""
        return self._head is None and not self._waiting

    def feed(self, data: bytes) -> bool:
        """Parse received bytes; return whether the response is complete. Raises NoAnswerError if it is not HTTP."""
        while data and not self.is_whole and self._head is None:
            data = self._feed_head(self._waiting + data)
        head = self._head
        if data and not self.is_whole and head is not None:
            data = self._feed_chunks(self._waiting + data) if head.chunked else self._feed_body(data)
        if data and self.is_whole and not self._is_cut:
            # It belongs to no response, and the connection cannot be reused.
            if data.strip(b"\r\n") and not self._notes:
                length = head.length if head and not head.chunked and self._left is not None else None
                end = "its end" if length is None else f"its Content-Length of {length} bytes"
                self._notes.append(f"the answer went on after {end}")
            self.closes = True
        return self.is_whole

    def end(self) -> bool:
        """Handle the end of the connection; return whether it completes the response."""
        if self._head is not None and self._left is None and not self._head.chunked:
            self.is_whole = True
        return self.is_whole

    def cut_off(self) -> bool:
        """Handle a timeout; return whether a final status was received, which is what counts."""
        if self._head is None:
            found = _STATUS.match(self._waiting)
            if found is None or found[2][:1] == b"1":
                return False
            self._begin(read_head(self._waiting))
        elif not self._notes:
            of = "" if self._left is None or self._head.chunked else f" of {self._head.length}"
            self._notes.append(f"the answer was cut short after {self._received}{of} bytes of its body")
        self.is_whole = self.closes = self._is_cut = True
        return True

    def build_response(self) -> ReceivedResponse:
        """Return the response."""
        assert self._head is not None
        keep = self._keep()
        return ReceivedResponse(
            status=self._head.status,
            headers=self._head.headers,
            body=bytes(self._body[:keep]),
            cut=self._is_cut or len(self._body) > keep,
            notes=tuple(self._notes),
        )

    def _feed_head(self, data: bytes) -> bytes:
        """Return the bytes after the head; empty lines before it are skipped."""
        data = data.lstrip(b"\r\n")
        if not data:
            return b""
        found = _HEAD_END.search(data, max(0, len(self._waiting) - 2))
        if not _STATUS.match(data) and (found or not _STATUS_BEGINNING.fullmatch(data)):
            raise NoAnswerError("not HTTP")
        if not found and len(data) < MAX_HEAD:
            self._waiting = data
            return b""
        self._waiting = b""
        end = found.end() if found else len(data)
        head = (_recall_head if end <= _MAX_REMEMBERED_HEAD else read_head)(data[:end])
        if 100 <= head.status < 200 and head.status != _SWITCHING:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise NoAnswerError(f"more than {MAX_INTERIM} interim answers (1xx) and no final one")
        else:
            self._begin(head)
            if not found:
                self.is_whole = self.closes = self._is_cut = True
        return data[end:]

    def _begin(self, head: ResponseHead) -> None:
        self._head = head
        self._notes += head.notes
        self.closes = head.closes
        if head.status in _NO_BODY or self._is_head or head.status == _SWITCHING:
            self.is_whole = True
            if head.status == _SWITCHING:
                self.closes = True
            elif head.status != 304 and not self._is_head and (head.chunked or head.length):
                self._notes.append(f"a {head.status} has no body, and this one announces one")
                self.closes = True
        elif head.length is not None:
            self._left = head.length
            self.is_whole = not head.length
        elif not head.chunked:
            self.closes = True

    def _feed_body(self, data: bytes) -> bytes:
        """Return the bytes after the body."""
        if self._left is None:
            self._add(data)
            return b""
        self._add(data[: self._left])
        rest = data[self._left :]
        self._left = max(0, self._left - len(data))
        self.is_whole = self.is_whole or not self._left
        return rest

    def _feed_chunks(self, data: bytes) -> bytes:
        """Return the bytes after the last chunk and its trailer."""
        self._waiting, at = b"", 0
        # By position: cutting off each chunk would copy the rest for each of ten thousand small chunks.
        while at < len(data) and not self.is_whole:
            if self._left:
                piece = data[at : at + self._left]
                self._add(piece)
                at, self._left = at + len(piece), self._left - len(piece)
                continue
            end = data.find(b"\n", at) + 1
            if not end and len(data) - at < _MAX_LINE:
                self._waiting = data[at:]
                break
            line = data[at : end or len(data)]
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            if self._in_trailer:
                self.is_whole = not text
            elif self._left == 0 and not text:
                self._left = None  # the line end after a chunk
            elif self._left is None and (size := _CHUNK.fullmatch(line)):
                self._left = int(size[1], 16) or None
                self._in_trailer = self._left is None
            else:
                self._notes.append("the chunks of the answer cannot be read")
                self.is_whole = self.closes = self._is_cut = True
                return b""
            at += len(line)
        return data[at:] if self.is_whole else b""

    def _add(self, data: bytes) -> None:
        self._received += len(data)
        self._body += data
        if len(self._body) > self._keep():
            self.is_whole = self.closes = self._is_cut = True


def read_head(data: bytes) -> ResponseHead:
    """Return the parsed head that starts with a status line, as far as possible; pure."""
    found = _STATUS.match(data)
    if found is None:
        raise ValueError("no status line")
    lines = _FOLD.sub(b" ", data).replace(b"\r\n", b"\n").split(b"\n")[1:]
    notes: dict[str, None] = {} if _HEAD_END.search(data) else {"the answer ended inside its head": None}
    headers: list[tuple[str, str]] = []
    for line in filter(None, lines):
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name.rstrip()):
            notes["a header that HTTP does not allow was left out"] = None
        elif len(headers) == _MAX_HEADERS or len(line) > _MAX_LINE:
            notes[f"headers beyond {_MAX_HEADERS} or longer than {_MAX_LINE} bytes were left out"] = None
        else:
            text = re.sub(rb"[\r\0]", b" ", value).strip()
            headers.append((name.rstrip().decode("ascii"), text.decode("latin-1")))
    values: dict[str, list[str]] = {"content-length": [], "transfer-encoding": [], "connection": []}
    for key, held in headers:
        values.get(key.lower(), []).append(held.lower())
    lengths, codings = values["content-length"], values["transfer-encoding"]
    if len(set(lengths)) > 1 or (lengths and codings):
        notes["the headers disagree on the length of the answer"] = None
    length = lengths[0] if len(set(lengths)) == 1 and not codings and _LENGTH.fullmatch(lengths[0]) else None
    if not notes and (not _STRICT.fullmatch(data) or len(lengths) > (length is not None)):
        notes[_UNEVEN_HEAD] = None
    options = {token.strip() for line in values["connection"] for token in line.split(",")}
    keeps_open = "close" not in options and (found[1] > b"1.0" or "keep-alive" in options)
    return ResponseHead(
        status=int(found[2]),
        headers=tuple(headers),
        length=None if length is None else int(length),
        chunked=bool(codings) and codings[-1].endswith("chunked"),
        closes=bool(notes) or not keeps_open,
        notes=tuple(notes),
    )


_recall_head = lru_cache(maxsize=64)(read_head)
