"""An HTTP client that sends requests byte for byte, over a pool of connections.

aiohttp's client encodes header values as UTF-8 and keeps only the last of two names that differ in case.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from functools import cache
from ipaddress import ip_address
from itertools import chain
from typing import Self, cast

import aiohappyeyeballs

from relay.actions.base import KEPT_BODY
from relay.actions.egress import Address, Destination
from relay.actions.outgoing_request import encode_head
from relay.actions.response_parser import NoAnswerError, ResponseParser
from relay.model.delivery import ReceivedResponse, SentRequest

CONNECT_SECONDS = 5.0
# Kept open for a burst only: most servers close an idle connection after 2 to 5 s, and a
# POST that is sent at that moment would fail needlessly.
_IDLE_SECONDS = 1.0
_FALLBACK_SECONDS = 0.25  # before the next of several addresses is tried as well, RFC 8305
_LARGEST_JOINED_BODY = 64 * 1024
_MAX_EARLY = 64 * 1024  # bytes that may arrive before a request was sent
_REFUSALS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to the network",
    errno.ETIMEDOUT: "no connection in time",
}


_PoolKey = tuple[str, str, int, bool]


class HttpClient:
    """A connection pool for all forwarded requests; use it as an async context manager.

    Connects to allowed addresses only, follows no redirects, keeps no cookies, uses no proxy. One call is one request.
    """

    def __init__(self) -> None:
        self._idle: dict[_PoolKey, list[_Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close_idle(0.0)
        await asyncio.sleep(0)  # sockets are closed in the next iteration of the loop

    async def send(
        self,
        request: SentRequest,
        destination: Destination,
        *,
        seconds: float,
        verify_tls: bool = True,
        keep: Callable[[], int] = lambda: KEPT_BODY,
    ) -> ReceivedResponse:
        """Send the bytes of `request` to `destination` and return the response.

        `seconds` is for the whole exchange; at most `keep()` bytes of the body are returned. Oddities are
        in its notes: a received status counts. Raises NoAnswerError if no HTTP was received, ValueError for
        a request that is invalid in HTTP.
        """
        head = encode_head(request)
        until = asyncio.get_running_loop().time() + seconds
        key = (destination.scheme, destination.host, destination.port, verify_tls)
        connection = self._take(key, destination.addresses) or await _connect(destination, seconds, verify_tls)
        parser = ResponseParser(is_head=request.method == "HEAD", keep=keep)
        try:
            await connection.exchange(head, request.body, parser, until)
        except (NoAnswerError, OSError) as error:
            connection.close()
            if not parser.cut_off():
                if isinstance(error, NoAnswerError):
                    raise
                is_late = isinstance(error, TimeoutError)
                raise NoAnswerError(f"no answer in {seconds:g} s" if is_late else _describe_os_error(error)) from error
        except BaseException:
            connection.close()
            raise
        if parser.closes or not connection.is_open:
            connection.close()
        else:
            self._keep(key, connection)
        return parser.build_response()

    def _take(self, key: _PoolKey, allowed: tuple[Address, ...]) -> "_Connection | None":
        """Return an open connection to one of the allowed addresses that was idle only briefly."""
        connections = self._idle.get(key, [])
        while connections:
            connection = connections.pop()
            is_fresh = asyncio.get_running_loop().time() - connection.idle_since < _IDLE_SECONDS
            if connection.is_open and is_fresh and connection.address in allowed:
                return connection
            connection.close()
        return None

    def _keep(self, key: _PoolKey, connection: "_Connection") -> None:
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.setdefault(key, []).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._close_idle, _IDLE_SECONDS)

    def _close_idle(self, seconds: float) -> None:
        """Close connections that have been idle for that long."""
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


class _Connection(asyncio.Protocol):
    """A connection that sends one complete request at a time and reads one response."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.idle_since = 0.0
        self.address: Address | None = None
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._early = b""
        self._parser: ResponseParser | None = None
        self._answered: asyncio.Future[None] | None = None
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, head: bytes, body: bytes, parser: ResponseParser, until: float) -> None:
        """Write a request and wait for its complete response.

        Raises TimeoutError when the loop's time reaches `until`, OSError and NoAnswerError for other failures.
        """
        if self._transport is None:
            raise NoAnswerError("hung up without an answer")
        self._parser, self._answered, self._until = parser, self._loop.create_future(), until
        if self._timer is None or self._timer.when() > until:
            self._set_timer()  # a timer that fires earlier is set again then: most responses arrive long before
        # Not waiting for the socket to drain: a target may answer before it has read everything, and
        # then close the connection.
        if len(body) <= _LARGEST_JOINED_BODY:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        if self._early:
            early, self._early = self._early, b""
            self.data_received(early)
        try:
            await self._answered
        finally:
            self._parser = self._answered = None

    def close(self) -> None:
        """Close it, even during an exchange."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")  # None if it has been reset already
        self.address = ip_address(peer[0]) if peer else None

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._early += data
            if self.idle_since or len(self._early) > _MAX_EARLY:
                self.close()
            return
        try:
            if self._parser.feed(data):
                self._finish()
        except NoAnswerError as error:
            self._finish(error)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._transport = None
        self._stop_timer()
        if self._parser is None or self._parser.end():
            self._finish()
        else:
            reason = "hung up without an answer" if self._parser.is_silent else "not HTTP"
            self._finish(exc if isinstance(exc, OSError) else NoAnswerError(reason))

    def _set_timer(self) -> None:
        self._stop_timer()
        self._timer = self._loop.call_at(self._until, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        if self._answered is not None and self._loop.time() < self._until:
            self._set_timer()
        else:
            self._finish(TimeoutError())

    def _finish(self, error: Exception | None = None) -> None:
        if self._answered is None or self._answered.done():
            return
        if error is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(error)
            self._answered.exception()  # retrieved here: its caller may have been cancelled


async def _connect(destination: Destination, seconds: float, verify_tls: bool) -> _Connection:
    """Connect to one of the allowed addresses. Raises NoAnswerError."""
    loop = asyncio.get_running_loop()
    seconds = min(seconds, CONNECT_SECONDS)
    is_tls = destination.scheme == "https"
    found = (aiohappyeyeballs.addr_to_addr_infos((str(one), destination.port)) or () for one in destination.addresses)
    places = list(chain.from_iterable(found))
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
        raise NoAnswerError(f"its certificate is not trusted: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise NoAnswerError("it does not speak TLS") from error
    except OSError as error:
        raise NoAnswerError(_describe_os_error(error), unreachable=True) from error
    return connection


@cache
def _get_tls_context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if error.errno is None and f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "connection refused"  # several addresses, several errors in one
    return _REFUSALS.get(error.errno or 0, "no connection")
