"""One HTTP request put on the wire byte for byte, and what came back: a pool of connections over aiohttp's parser.

aiohttp's own client encodes header values as UTF-8 and keeps only the last of two names that differ in case.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM
from typing import Self

import aiohappyeyeballs
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpResponseParser
from aiohttp.streams import StreamReader

from relay.actions.egress import Address, Destination
from relay.actions.outgoing_request import encode_head
from relay.actions.response_parser import AnswerParser, RawMessage, decode_headers
from relay.model.delivery import ReceivedResponse, SentRequest

CONNECT_SECONDS = 5.0
KEPT_BODY = 64 * 1024
# Kept open for a burst only: most servers hang up on an idle connection after 2 to 5 s, and a
# POST that crosses such a hang-up on the wire would fail for nothing.
_IDLE_SECONDS = 1.0
_FALLBACK_SECONDS = 0.25  # before the next of several addresses is tried as well, RFC 8305
_LARGEST_JOINED_BODY = 64 * 1024
_READ_BUFFER = 64 * 1024
_REFUSALS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to the network",
    errno.ETIMEDOUT: "no connection in time",
}


class NoAnswerError(Exception):
    """No HTTP response came; `detail` says why in a few plain words.

    `unreachable` when not even a connection came about.
    """

    def __init__(self, detail: str, *, unreachable: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.unreachable = unreachable


_PoolKey = tuple[str, str, int, bool]


class HttpClient:
    """One pool of connections for everything that is forwarded; use it as an async context manager.

    Dials judged addresses only, follows no redirect, keeps no cookie, asks no proxy. One call is one request.
    """

    def __init__(self) -> None:
        self._idle: dict[_PoolKey, list[_Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close_idle(0.0)
        await asyncio.sleep(0)  # closed sockets are gone with the next turn of the loop

    async def send(
        self,
        request: SentRequest,
        destination: Destination,
        *,
        seconds: float,
        verify_tls: bool = True,
        keep: Callable[[], int] = lambda: KEPT_BODY,
    ) -> ReceivedResponse:
        """Send the bytes of `request` to `destination` and return what came back.

        `seconds` are for the whole exchange; at most `keep()` bytes of the body come back. What was odd about it is
        in its notes: a status that came counts. Raises NoAnswerError when nothing came that is HTTP, ValueError for
        a request that HTTP cannot carry.
        """
        head = encode_head(request)
        until = asyncio.get_running_loop().time() + seconds
        key = (destination.scheme, destination.host, destination.port, verify_tls)
        connection = self._take(key, destination.addresses) or await _connect(destination, seconds, verify_tls)
        answer = connection.begin(until, is_head=request.method == "HEAD")
        try:
            message, payload = await connection.exchange(head, request.body)
            body, cut = await _read_body(payload, keep, answer)
        except (HttpProcessingError, OSError) as error:
            connection.close()
            partial = answer.partial()
            if partial is None:
                raise NoAnswerError(answer.failure or _describe_failure(error, seconds)) from error
            return ReceivedResponse(
                status=partial.status, headers=decode_headers(partial.headers), cut=True, notes=partial.notes
            )
        except BaseException:
            connection.close()
            raise
        if cut or message.should_close or answer.is_spent or not connection.is_open:
            connection.close()
        else:
            self._keep(key, connection)
        return ReceivedResponse(
            status=message.code,
            headers=decode_headers(message.raw_headers),
            body=body,
            cut=cut,
            notes=tuple(answer.notes),
        )

    def _take(self, key: _PoolKey, judged: tuple[Address, ...]) -> "_Connection | None":
        """Return an open connection to one of the judged addresses that has been idle for a moment only."""
        connections = self._idle.get(key, [])
        while connections:
            connection = connections.pop()
            is_fresh = asyncio.get_running_loop().time() - connection.idle_since < _IDLE_SECONDS
            if connection.is_open and is_fresh and connection.address in judged:
                return connection
            connection.close()
        return None

    def _keep(self, key: _PoolKey, connection: "_Connection") -> None:
        connection.end()
        self._idle.setdefault(key, []).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._close_idle, _IDLE_SECONDS)

    def _close_idle(self, seconds: float) -> None:
        """Close what has been idle for that long."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        loop = asyncio.get_running_loop()
        for connection in (one for connections in self._idle.values() for one in connections):
            if connection.idle_since <= loop.time() - seconds:
                connection.close()
        self._idle = {key: left for key, all_ in self._idle.items() if (left := [one for one in all_ if one.is_open])}
        if self._idle:
            self._sweep = loop.call_later(_IDLE_SECONDS, self._close_idle, _IDLE_SECONDS)


class _HungUpError(ConnectionError):
    """The connection was closed before an answer; `said`: something came that is none."""

    def __init__(self, said: bool) -> None:
        super().__init__()
        self.said = said


class _Connection(BaseProtocol):
    """One connection, over which one request at a time goes out whole and one answer comes in."""

    _parser: AnswerParser | None  # type: ignore[assignment]  # it has what is called of aiohttp's parser

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.idle_since = 0.0
        self.address: Address | None = None
        self._early = b""
        self._message: asyncio.Future[RawMessage] | None = None
        self._payload: StreamReader | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def begin(self, until: float, *, is_head: bool) -> AnswerParser:
        """Get ready for the answer to the next request, which has to be there whole at a time of the loop."""
        self._timer = self._loop.call_at(until, self._expire)
        self._parser = AnswerParser(
            lambda: HttpResponseParser(
                self,
                self._loop,
                _READ_BUFFER,
                payload_exception=ClientPayloadError,
                response_with_body=not is_head,
                read_until_eof=True,
                auto_decompress=False,
            ),
            is_head=is_head,
        )
        self._message = self._loop.create_future()
        return self._parser

    async def exchange(self, head: bytes, body: bytes) -> RawMessage:
        """Write a request, and return the head of its answer with the stream of its body."""
        if self.transport is None or self._message is None:
            raise _HungUpError(said=False)
        # No waiting for the socket to drain: a target may answer before it has read everything, and
        # then hang up.
        if len(body) <= _LARGEST_JOINED_BODY:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)
        return await self._message

    def end(self) -> None:
        """Forget the answer, so that whatever still comes closes the connection."""
        self._stop_timer()
        self._parser = self._message = self._payload = None
        self.idle_since = self._loop.time()

    def close(self) -> None:
        """Close it, whatever is under way."""
        self._stop_timer()
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.address = ip_address(transport.get_extra_info("peername")[0])

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._early += data
            if self._early and (self.idle_since or len(self._early) > _READ_BUFFER):
                self.close()
            return
        try:
            messages = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self.close()
            self._fail(error)
            return
        for message, self._payload in messages:
            if self._message is not None and not self._message.done():
                self._message.set_result((message, self._payload))
        if self._parser.is_overrun:
            self.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        head: object = None
        if self._parser is not None:
            try:
                head = self._parser.feed_eof()
            except Exception as error:  # noqa: BLE001 - whatever the parser says of a body that is not whole
                if self._payload is not None:
                    self._payload.set_exception(ClientPayloadError("the body is not whole"), error)
        self._fail(exc if isinstance(exc, OSError) else _HungUpError(said=bool(head)))
        self._reading_paused = False
        super().connection_lost(exc)

    def _expire(self) -> None:
        self._fail(TimeoutError())
        if self._payload is not None:
            self._payload.set_exception(TimeoutError())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _fail(self, error: Exception) -> None:
        if self._message is not None and not self._message.done():
            self._message.set_exception(error)
            self._message.exception()  # retrieved here: its caller may be gone


async def _connect(destination: Destination, seconds: float, verify_tls: bool) -> _Connection:
    """Connect to one of the judged addresses. Raises NoAnswerError."""
    loop = asyncio.get_running_loop()
    seconds = min(seconds, CONNECT_SECONDS)
    is_tls = destination.scheme == "https"
    places = [_address_info(address, destination.port) for address in destination.addresses]
    try:
        async with asyncio.timeout(seconds):
            socket = await aiohappyeyeballs.start_connection(places, happy_eyeballs_delay=_FALLBACK_SECONDS)
            _, connection = await loop.create_connection(
                lambda: _Connection(loop),
                sock=socket,
                ssl=_get_tls_context(verify_tls) if is_tls else None,
                server_hostname=destination.host.rstrip(".") if is_tls else None,
            )
    except TimeoutError as error:
        raise NoAnswerError(f"no connection in {seconds:g} s", unreachable=True) from error
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(f"the certificate does not hold: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise NoAnswerError("no TLS there") from error
    except OSError as error:
        raise NoAnswerError(_describe_os_error(error), unreachable=True) from error
    return connection


def _address_info(address: Address, port: int) -> aiohappyeyeballs.AddrInfoType:
    if address.version == 4:
        return (AF_INET, SOCK_STREAM, IPPROTO_TCP, "", (str(address), port))
    return (AF_INET6, SOCK_STREAM, IPPROTO_TCP, "", (str(address), port, 0, 0))


@cache
def _get_tls_context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _read_body(payload: StreamReader, keep: Callable[[], int], answer: AnswerParser) -> tuple[bytes, bool]:
    """Return as much of a body as is kept, and whether there was more of it, or it is not whole."""
    body, cut = bytearray(), False
    try:
        while not cut and (chunk := await payload.read(max(1, keep() + 1 - len(body)))):
            body += chunk
            cut = len(body) > keep()
    except (ClientPayloadError, OSError, TimeoutError):
        cut = True  # the status came, and it is what counts
        answer.note_cut()
    return bytes(body[: keep()]), cut


def _describe_failure(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {seconds:g} s"
    if isinstance(error, _HungUpError):
        return "not HTTP" if error.said else "hung up without an answer"
    return _describe_os_error(error) if isinstance(error, OSError) else "not HTTP"


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if error.errno is None and f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "connection refused"  # several addresses, several errors in one
    return _REFUSALS.get(error.errno or 0, "no connection")
