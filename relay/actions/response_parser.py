"""What targets answer, read so that a status that came counts, whatever is odd about the rest.

aiohttp's parser gives nothing of an answer with a body after 204, with more bytes than its Content-Length says or with
an odd header, and the app that has acted would be called again. It is fed one answer up to its end, and a head that it
refuses is read once more, leniently.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.http_parser import HttpResponseParser, RawResponseMessage
from aiohttp.http_writer import HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from multidict import CIMultiDict, CIMultiDictProxy

from relay.model.event import Headers

MAX_INTERIM = 20  # 1xx answers before the final one
MAX_HEAD = 256 * 1024  # bytes; what lies beyond is not read
_MAX_HEADERS = 128
_MAX_LINE = 8190
_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"[\r\n]*HTTP/\d(?:\.\d)?[ \t]+([1-9]\d\d)(?=[ \t\r\n]|\Z)")
_STATUS_BEGINNING = re.compile(rb"[\r\n]*(?:H|HT|HTT|HTTP/?|HTTP/\d(?:\.\d?)?|HTTP/\d(?:\.\d)?[ \t]+(?:[1-9]\d?)?)")
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_NO_BODY = frozenset({204, 304})
_SWITCHING = 101

RawMessage = tuple[RawResponseMessage, StreamReader]


@dataclass(frozen=True, slots=True, kw_only=True)
class LenientHead:
    """The head of an answer: `length` is None where the body ends with the connection or comes in chunks."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    length: int | None = None
    chunked: bool = False
    notes: tuple[str, ...] = ()

    def framing(self) -> bytes:
        """Return a plain head with the same framing, for a strict parser to read the body by."""
        lines = [b"HTTP/1.1 %d -" % self.status, b"Connection: close"]
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        elif self.length is not None:
            lines.append(b"Content-Length: %d" % self.length)
        return b"\r\n".join(lines) + b"\r\n\r\n"


class AnswerParser:
    """Reads the answer to one request; `make` returns the parser of aiohttp that is behind it.

    `notes` says what was odd about the answer, `failure` why there is none. `is_spent`: no further request may go
    over its connection; `is_overrun`: more came than the answer, so the connection is to be closed now.
    """

    def __init__(self, make: Callable[[], HttpResponseParser], *, is_head: bool) -> None:
        self.notes: list[str] = []
        self.failure = ""
        self.is_spent = self.is_overrun = False
        self._make = make
        self._is_head = is_head
        self._inner = make()
        self._head = bytearray()
        self._refused_head = False
        self._interim = 0
        self._payload: StreamReader | None = None
        self._left: int | None = None
        self._length = 0
        self._done = False

    def feed_data(self, data: bytes) -> Sequence[RawMessage]:
        """Return the answer once its head is there.

        Raises HttpProcessingError for what is no HTTP answer.
        """
        messages: list[RawMessage] = []
        while data and self._payload is None and not self._done:
            data = self._feed_head(data, messages)
        if self._payload is not None and not self._payload.is_eof():
            data = self._feed_body(data)
        if data and self._done:
            self._drop(data)
        return messages

    def feed_eof(self) -> object:
        """Take the end of the connection; what there is of a head is given back."""
        if self._payload is not None and not self._payload.is_eof():
            self._inner.feed_eof()  # raises where the body is not whole
        return bytes(self._head) or None

    def pause_reading(self) -> None:
        """Stop feeding the body: its reader is behind."""
        self._inner.pause_reading()

    def partial(self) -> LenientHead | None:
        """Return the outcome of an answer whose head never ended; None where no final status came."""
        if self._done or self._payload is not None or not _is_final(bytes(self._head)):
            return None
        return read_head(bytes(self._head))

    def note_cut(self) -> None:
        """Note that the body ended early, unless it was said why."""
        if self.notes or self._payload is None:
            return
        of = f" of {self._length}" if self._left is not None else ""
        self.notes.append(f"the answer was cut short after {self._payload.total_bytes}{of} bytes of its body")

    def _feed_head(self, data: bytes, messages: list[RawMessage]) -> bytes:
        """Return what follows the head; b"" while it is not whole."""
        known = len(self._head)
        self._head += data
        found = _HEAD_END.search(self._head, max(0, known - 2))
        end = found.end() if found else len(self._head)
        piece, rest = bytes(self._head[known:end]), bytes(self._head[end:])
        messages_here: Sequence[RawMessage] = ()
        if not self._refused_head:
            try:
                messages_here = self._inner.feed_data(piece)[0]
            except HttpProcessingError:
                self._refused_head = True
        if self._refused_head:
            head = bytes(self._head[:end])
            if not _STATUS.match(head):
                if not found and _STATUS_BEGINNING.fullmatch(head):
                    return b""  # the rest of the status is in the next packet
                raise BadHttpMessage("no HTTP answer")
            if not found and len(head) < MAX_HEAD:
                return b""
            messages_here = (self._read_again(head),)
        for message, payload in messages_here:
            self._begin(message, payload, messages)
        if messages_here or found:
            self._head.clear()
            self._refused_head = False
        return rest

    def _read_again(self, head: bytes) -> RawMessage:
        lenient = read_head(head)
        self.notes += lenient.notes or ("its head is not what HTTP prescribes",)
        self.is_spent = True
        self._inner = self._make()
        payload = self._inner.feed_data(lenient.framing())[0][0][1]
        if not _HEAD_END.search(head):
            self._finish(payload)
        return _raw_message(lenient), payload

    def _begin(self, message: RawResponseMessage, payload: StreamReader, messages: list[RawMessage]) -> None:
        status = message.code
        if 100 <= status < 200 and status != _SWITCHING:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self.failure = f"more than {MAX_INTERIM} interim answers (1xx) and no final one"
                raise BadHttpMessage(self.failure)
            self._inner = self._make()
            return
        announced = message.headers.get("Content-Length", "")
        if status in _NO_BODY or self._is_head or status == _SWITCHING:
            self._done = True
            if status != 304 and not self._is_head and (message.chunked or announced.strip("0")):
                self.notes.append(f"a {status} has no body, and this one announces one")
                self.is_spent = True
            if status == _SWITCHING:
                self.is_spent = True
            messages.append((message, EMPTY_PAYLOAD))
            return
        messages.append((message, payload))
        self._payload = payload
        if not message.chunked and announced.isascii() and announced.isdigit():
            self._left = self._length = int(announced)
        self._done = self._done or payload is EMPTY_PAYLOAD

    def _feed_body(self, data: bytes) -> bytes:
        """Return what follows the body."""
        assert self._payload is not None
        piece, rest = data, b""
        if self._left is not None:
            piece, rest = data[: self._left], data[self._left :]
            self._left -= len(piece)
        try:
            another = bool(self._inner.feed_data(piece)[0])
        except HttpProcessingError:
            another = self._payload.is_eof()
            if not another:
                self.notes.append("the chunks of the answer cannot be read")
                self._finish(self._payload)
                return b""
        self._done = self._payload.is_eof() or self._left == 0
        if another:
            self._drop(piece)
        return rest

    def _finish(self, payload: StreamReader) -> None:
        """End a body whose end will not come."""
        self._done = True
        self.is_spent = True
        payload.set_exception(ClientPayloadError("the body is not whole"))

    def _drop(self, data: bytes) -> None:
        """Leave out what comes after the answer: it belongs to no answer, and the connection has no other use."""
        if data.strip(b"\r\n") and not self.notes:
            said = f"its Content-Length of {self._length} bytes" if self._left is not None else "its end"
            self.notes.append(f"the answer went on after {said}")
        self.is_spent = self.is_overrun = True


def read_head(data: bytes) -> LenientHead:
    """Return what can be made of a head that begins with a status line; pure."""
    found = _STATUS.match(data)
    if found is None:
        raise ValueError("no status line")
    ended = _HEAD_END.search(data)
    lines = _FOLD.sub(b" ", data).replace(b"\r\n", b"\n").split(b"\n")[1:]
    notes: dict[str, None] = {} if ended else {"the answer ended inside its head": None}
    headers: list[tuple[bytes, bytes]] = []
    for line in filter(None, lines):
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name.rstrip()):
            notes["a header that HTTP does not allow was left out"] = None
        elif len(headers) == _MAX_HEADERS or len(line) > _MAX_LINE:
            notes[f"headers beyond {_MAX_HEADERS} or longer than {_MAX_LINE} bytes were left out"] = None
        else:
            headers.append((name.rstrip(), re.sub(rb"[\r\0]", b" ", value).strip()))
    if not ended:
        return LenientHead(status=int(found[1]), headers=tuple(headers), notes=tuple(notes))
    lengths = {value for name, value in headers if name.lower() == b"content-length"}
    codings = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
    chunked = bool(codings) and codings[-1].endswith(b"chunked")
    if len(lengths) > 1 or (lengths and codings):
        notes["the headers disagree on the length of the answer"] = None
    length = lengths.pop() if len(lengths) == 1 and not codings else b""
    return LenientHead(
        status=int(found[1]),
        headers=tuple(headers),
        length=int(length) if re.fullmatch(rb"[0-9]{1,18}", length) else None,
        chunked=chunked,
        notes=tuple(notes),
    )


def decode_headers(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return headers as latin-1 text, one character a byte."""
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers[:_MAX_HEADERS])


def _is_final(head: bytes) -> bool:
    found = _STATUS.match(head)
    return found is not None and found[1][:1] != b"1"


def _raw_message(lenient: LenientHead) -> RawResponseMessage:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in lenient.headers:
        headers.add(name.decode("ascii"), value.decode("utf-8", "surrogateescape"))
    return RawResponseMessage(
        HttpVersion11,
        lenient.status,
        "",
        CIMultiDictProxy(headers),
        lenient.headers,
        True,
        None,
        False,
        lenient.chunked,
    )
