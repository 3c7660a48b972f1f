"""A minimal HTTP client on asyncio's streams, because commands must start quickly."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TypeVar
from urllib.parse import SplitResult, quote, unquote, urlsplit

from relay.errors import RelayError
from relay.model.values import dataclass

T = TypeVar("T")
Headers = Mapping[str, str]
Body = bytes | AsyncIterator[bytes]

_CONNECT_TIMEOUT = 5.0
_LONGEST_LENGTH = 20  # maximum digits of a Content-Length
_PIECE_SIZE = 64 * 1024
_URL_SIGNS = "!#$%&'()*+,/:;=?@[]~"  # characters that a request line may contain besides letters and digits


class ConnectionLostError(RelayError):
    """The program that a command was connected to has exited, or does not speak HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response with lower-case header names; its body may be read once, within the block of the request.

    `idle` is the timeout in seconds between bytes. Reading raises ConnectionLostError, also for a cut body.
    """

    status: int
    headers: Headers
    reader: asyncio.StreamReader
    idle: float

    async def read(self) -> bytes:
        """Return the whole body."""
        return b"".join([piece async for piece in self.iter_pieces()])

    async def iter_pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body in pieces; each chunk of a chunked body is a piece."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while piece := await _await_peer(_read_chunk(self.reader), self.idle):
                yield piece
            return
        length = self.headers.get("content-length", "") if self.status not in (204, 304) else "0"
        # None: until the connection is closed.
        left = int(length) if length.isdecimal() and len(length) < _LONGEST_LENGTH else None
        while left != 0:
            piece = await _await_peer(self.reader.read(min(left or _PIECE_SIZE, _PIECE_SIZE)), self.idle)
            if not piece:
                break
            yield piece
            left = left - len(piece) if left else left
        if left:
            raise _build_lost_error(EOFError("the body ends too early"))


@asynccontextmanager
async def open_request(
    url: str, method: str = "GET", headers: Headers | None = None, body: Body = b"", *, idle: float = 60.0
) -> AsyncIterator[Response]:
    """Send a request and yield its response; follows no redirects and uses no proxy.

    Raises ConnectionLostError, and the errors of an iterable `body`.
    """
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError("the URL names no host and port")  # noqa: TRY301 - as urlsplit does for what it cannot read
        head = _build_head(parts, method, headers or {}, body)
        secure = True if parts.scheme == "https" else None
        opening = asyncio.open_connection(parts.hostname, parts.port or (443 if secure else 80), ssl=secure)
    except ValueError as error:
        raise _build_lost_error(error) from error
    reader, writer = await _await_peer(opening, min(idle, _CONNECT_TIMEOUT))
    try:
        status, received = await _exchange_heads(reader, _send(writer, head, body, idle))
        yield Response(status=status, headers=received, reader=reader, idle=idle)
    finally:
        writer.transport.abort()


def _build_head(parts: SplitResult, method: str, headers: Headers, body: Body) -> bytes:
    user, at, host = parts.netloc.rpartition("@")
    fields = {"Host": host.encode("idna").decode(), "Connection": "close", **headers}
    if at:
        fields["Authorization"] = f"Basic {base64.b64encode(unquote(user).encode()).decode()}"
    if not isinstance(body, bytes):
        fields["Transfer-Encoding"] = "chunked"
    elif method != "GET":
        fields["Content-Length"] = str(len(body))
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_URL_SIGNS)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")


async def _exchange_heads(reader: asyncio.StreamReader, send: Coroutine[None, None, None]) -> tuple[int, Headers]:
    """Send a request and return status and headers of the response, which may arrive before the body's end."""
    try:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send)
            found = await _read_head(reader)
            sending.cancel()
    except BaseExceptionGroup as several:
        error = several.exceptions[0]
        raise (_build_lost_error(error) if isinstance(error, _PEER_ERRORS) else error) from error
    return found


async def _send(writer: asyncio.StreamWriter, head: bytes, body: Body, idle: float) -> None:
    """Send a request; its response has to start within `idle` seconds. Raises TimeoutError."""
    with suppress(ConnectionError):  # there may still be a response
        writer.write(head)
        if isinstance(body, bytes):
            writer.write(body)
        else:
            async for piece in body:
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    async with asyncio.timeout(idle):
                        await writer.drain()
            writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(idle):
            await writer.drain()
    await asyncio.sleep(idle)
    raise TimeoutError


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, Headers]:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        protocol, _, rest = head.partition(" ")
        status = int(rest[:3])
        if not protocol.startswith("HTTP/1."):
            raise ValueError(f"no HTTP response: {protocol[:20]!r}")
        if status >= 200:  # a 1xx status is followed by another head
            fields = (line.partition(":") for line in head.split("\r\n")[1:-2])
            return status, {name.lower(): value.strip() for name, _, value in fields}


async def _read_chunk(reader: asyncio.StreamReader) -> bytes:
    """Return the next chunk of a body; b"" after the last."""
    size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
    return (await reader.readexactly(size + 2))[:-2] if size else b""


_PEER_ERRORS = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


async def _await_peer(reading: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await reading
    except _PEER_ERRORS as error:
        raise _build_lost_error(error) from error


def _build_lost_error(cause: Exception) -> ConnectionLostError:
    error = ConnectionLostError("the running relay does not answer any more", hint="is it still there?")
    error.__cause__ = cause
    return error
