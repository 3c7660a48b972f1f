"""Feeds aiohttp's C parser one request at a time, and gives heads that it refuses to relay's own parser.

Everything after the last byte of a request is kept from it: by itself it gives nothing of a whole request when the
bytes behind it are no HTTP, so that what was captured would depend on how packets are cut.
"""

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE, _ErrInfo
from multidict import CIMultiDict, CIMultiDictProxy

from relay.ingress.head_parser import (
    HEAD_END,
    AmbiguousRequestError,
    RequestHead,
    UsualRequest,
    check_partial_head,
    parse_head,
    read_usual_request,
)

ParsedMessage = tuple[RawRequestMessage | _ErrInfo, StreamReader]
# (status, reason, the request line as received)
RefusalCallback = Callable[[int, str, bytes], None]


class BodyReadError(Exception):
    """A body that cannot be read completely; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RequestParser:
    """Has the interface of aiohttp's request parser; one for each connection.

    `make` returns the parser behind it, without a limit on queued messages. Each refused request goes to `report`
    once, and is the last of its connection. While `is_held` is set, received bytes wait.
    """

    def __init__(self, make: Callable[[], HttpRequestParser], report: RefusalCallback) -> None:
        self._make = make
        self._report = report
        self.is_held = False
        self._inner = make()
        self._head = bytearray()  # of a request whose head is incomplete
        self._refused_head = False  # refused by the parser, but its end has not arrived
        self._payload: StreamReader | None = None
        self._left: int | None = None  # bytes of the body still to be fed; None if it is chunked
        self._length = 0
        self._chunked_end = b""  # the last bytes of a chunked body so far
        self._tail = b""
        self._queued = 0
        self._paused = False
        self._upgraded = False
        self._last = False  # nothing may follow the current request
        self._closed = False

    def feed_data(self, data: bytes) -> tuple[Sequence[ParsedMessage], bool, bytes]:
        """Return the requests that started with these bytes, whether they ask for an upgrade, and the rest."""
        if self._tail:
            data, self._tail = self._tail + data, b""
        messages: list[ParsedMessage] = []
        while not self._closed:
            if self._payload is not None:
                data = self._feed_body(data)
                if self._payload is not None:
                    break
            if self.is_held:
                self._tail = data
                break
            if not data or self._upgraded:
                break
            if self._last:
                self._refuse_rest(data)
                break
            if self._queued >= MAX_MSG_QUEUE_SIZE:
                self._tail = data
                break
            data = self._feed_head(data, messages)
        return messages, self._upgraded, data if self._upgraded else b""

    def read_usual(self, data: bytes) -> UsualRequest | None:
        """Return the next request if it is a usual one; None if it is not, or if another is in progress.

        It counts as read when `keep` is called with the bytes after it.
        """
        if self._payload is not None or self._queued or self._head or self._last or self._closed or self._upgraded:
            return None
        return read_usual_request(self._tail + data if self._tail else data)

    def keep(self, rest: bytes) -> None:
        """Keep bytes until more arrive, or until the current request is answered."""
        self._tail = rest

    @property
    def has_more(self) -> bool:
        """Return whether bytes wait to be read."""
        return bool(self._tail)

    def feed_eof(self) -> None:
        """Handle the end of the stream: an incomplete body will never be complete."""
        if self._payload is not None and not self._payload.is_eof():
            whole = f" of {self._length}" if self._left is not None else ""
            self._fail_body(f"the sender stopped after {self._payload.total_bytes}{whole} bytes of the body")

    def message_consumed(self) -> None:
        """Make space for another request in the queue."""
        self._queued = max(0, self._queued - 1)

    def pause_reading(self) -> None:
        """Stop feeding the body: its reader is behind."""
        self._paused = True
        self._inner.pause_reading()

    def set_upgraded(self, value: bool) -> None:
        """Continue with HTTP if the upgrade was declined."""
        self._upgraded = value
        self._inner.set_upgraded(value)

    def _feed_head(self, data: bytes, messages: list[ParsedMessage]) -> bytes:
        """Return the bytes after the head; b"" while it is incomplete."""
        known = len(self._head)
        if known:
            self._head += data
            end = self._head.find(HEAD_END, max(0, known - 3)) - known
        else:
            end = data.find(HEAD_END)
        whole = end >= -known
        piece, rest = (data[: end + len(HEAD_END)], data[end + len(HEAD_END) :]) if whole else (data, b"")
        if not self._refused_head:
            try:
                found, self._upgraded, _ = self._inner.feed_data(piece)
            except HttpProcessingError:
                self._refused_head = True
        if self._refused_head:
            head = bytes(self._head[: len(self._head) - len(rest)]) if known else piece
            self._read_again(head, messages, whole=whole)
        elif whole:
            self._head.clear()
            for message, payload in found:
                self._begin(message, payload)
                messages.append((message, payload))
        elif not known:
            self._head += data
        return rest

    def _read_again(self, head: bytes, messages: list[ParsedMessage], *, whole: bool) -> None:
        try:
            if not whole:
                check_partial_head(head)
                self._head = self._head or bytearray(head)
                return
            odd = parse_head(head)
        except AmbiguousRequestError as error:
            self._refuse(error, head, messages)
            return
        self._head.clear()
        self._inner, self._last = self._make(), True
        message, payload = self._inner.feed_data(odd.framing())[0][0]
        self._begin(message, payload)
        messages.append((_build_message(message, odd), payload))

    def _begin(self, message: RawRequestMessage, payload: StreamReader) -> None:
        self._queued += 1
        self._last = self._last or message.should_close
        if payload is EMPTY_PAYLOAD:
            return
        self._payload = payload
        self._left, self._chunked_end = None, b""
        if not message.chunked:
            self._left = self._length = int(message.headers.get("Content-Length", "0"))

    def _feed_body(self, data: bytes) -> bytes:
        """Return the bytes after the body; its payload is released when it is complete."""
        self._paused = False
        start = 0
        while self._payload is not None:
            end = self._body_end(data, start)
            try:
                self._inner.feed_data(data[start:end])
            except HttpProcessingError:
                self._fail_body("the chunks of the body cannot be read")
                return b""
            start = end
            if self._payload.is_eof():
                self._payload = None
            elif self._paused or self._left == 0 or start == len(data):
                self._tail = data[start:]
                return b""
        return data[start:]

    def _body_end(self, data: bytes, start: int) -> int:
        """Return how many bytes of `data` may be fed without anything after the body."""
        if self._left is not None:
            end = min(len(data), start + self._left)
            self._left -= end - start
            return end
        # A chunked body ends with an empty line; if one occurs inside it, the cut loses nothing.
        known, self._chunked_end = self._chunked_end, b""
        if known:
            split = (known + data[start : start + 3]).find(HEAD_END)
            if split >= 0:
                return start + split + len(HEAD_END) - len(known)
        found = data.find(HEAD_END, start)
        if found >= 0:
            return found + len(HEAD_END)
        self._chunked_end = (known + data[max(start, len(data) - 3) :])[-3:]
        return len(data)

    def _fail_body(self, reason: str) -> None:
        assert self._payload is not None
        self._closed = True
        self._payload.set_exception(BodyReadError(reason))
        self._payload.feed_eof()  # the rest of it is not awaited
        self._payload = None

    def _refuse(self, error: AmbiguousRequestError, head: bytes, messages: list[ParsedMessage]) -> None:
        self._closed = True
        self._report(error.status, error.reason, get_first_line(head))
        messages.append((_ErrInfo(status=error.status, exc=error, message=error.reason), EMPTY_PAYLOAD))

    def _refuse_rest(self, data: bytes) -> None:
        self._closed = True
        rest = data.lstrip(b"\r\n")  # some senders add a line break after every body
        if rest:
            count = "1 byte follows" if len(rest) == 1 else f"{len(rest)} bytes follow"
            self._report(400, f"{count} the end of the last request of a connection", get_first_line(rest))


def get_first_line(data: bytes) -> bytes:
    """Return the first line of the data, without its end."""
    return data.lstrip(b"\r\n").partition(b"\r\n")[0]


def _build_message(message: RawRequestMessage, odd: RequestHead) -> RawRequestMessage:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in odd.headers:
        headers.add(name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
    changes: dict[str, Any] = {
        "method": odd.method.decode("ascii"),
        "path": odd.target.decode("utf-8", "surrogateescape"),
        "headers": CIMultiDictProxy(headers),
        "raw_headers": odd.headers,
    }
    return message._replace(**changes)
