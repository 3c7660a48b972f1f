"""The app the tunnel sees: webhooks, a health answer, and nothing else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import socket
from typing import Any

from aiohttp import HttpVersion, HttpVersion10, HttpVersion11, http_parser, web
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler, RequestPayloadError
from multidict import CIMultiDictProxy

from relay.config.source_rules import tunnel_names_callers
from relay.errors import PortError
from relay.http.listening import BACKLOG
from relay.http.responses import format_response, make_response
from relay.http.server import SHUTDOWN_TIMEOUT
from relay.ingress.head_parser import MAX_HEADERS, MAX_LINE, AmbiguousRequestError, UsualRequest
from relay.ingress.receive import IngressHandler
from relay.ingress.request_parser import BodyReadError, RequestParser
from relay.pipeline.process import Pipeline
from relay.pipeline.responses import SenderResponse, build_error_response
from relay.pipeline.sync_response import SyncResponses
from relay.platform import get_max_open_files
from relay.services.relay import RunningRelay

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
EXCESS_MARGIN = 16  # excess connections that stay open briefly after their 503; further ones are closed at once
KEEPALIVE_TIMEOUT = 15.0  # seconds; in aiohttp this is also the only deadline for a request head
LINGER_SECONDS = 1.0  # seconds for which a refused body is still read
_READ_BUFFER = 64 * 1024  # bytes of a body that are read ahead
# Descriptors for everything else: database, dashboard, targets, handlers, tunnel, and connections being accepted.
_OWN_DESCRIPTORS = 96
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
_BUSY_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: relay\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
)


class _IngressProtocol(RequestHandler):
    """Answers data that is not HTTP without quoting it, and without logging tracebacks."""

    def __init__(self, server: "PublicServer", handler: IngressHandler) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None switches it off, as web_server passes it on
            keepalive_timeout=KEEPALIVE_TIMEOUT,
            lingering_time=LINGER_SECONDS,
        )
        self._server = server
        self._handler = handler
        self._sender_is_done = asyncio.Event()
        self._is_excess = False
        self._is_lingering = False
        self._remote = ""
        self._requests = RequestParser(
            lambda: HttpRequestParser(
                self,
                loop,
                _READ_BUFFER,
                max_line_size=MAX_LINE,
                max_field_size=MAX_LINE,
                max_headers=MAX_HEADERS,
                payload_exception=RequestPayloadError,
                auto_decompress=False,
            ),
            self._record_refusal,
        )
        self._parser = self._requests  # type: ignore[assignment]  # it has what is called of aiohttp's parser

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection; one above the limit is refused at once."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else ""
        excess = self._server.count_excess()
        if excess > 0 and isinstance(transport, asyncio.Transport):
            self._is_excess = True
            self._handler.count_excess_connection(excess)
            body = build_error_response(503, "busy", "too many connections", "try again later").body
            transport.write(_BUSY_RESPONSE % (len(body), body))
            if excess > EXCESS_MARGIN or not _send_eof(transport):
                transport.close()
                return
            # The response may be lost if the connection is closed before the request was read.
            self._loop.call_later(LINGER_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Read the received bytes, unless none of them will be answered.

        A complete usual request is processed without a task; aiohttp handles all others. Until it is
        answered, further bytes of this connection wait in the parser.
        """
        if self._is_excess:
            return
        requests = self._requests
        while not requests.is_held and self._is_idle():
            request = requests.read_usual(data)
            if request is None or not self._take(request):
                break
            requests.keep(request.rest)
            if not request.rest:
                return
            data = b""
        super().data_received(data)
        if requests.is_held and requests.has_more:
            self._pause_transport_reading()

    def _is_idle(self) -> bool:
        """Return whether aiohttp's handler waits for a request, and the sender reads responses."""
        return self._waiter is not None and not self._waiter.done() and not self._paused

    def _take(self, request: UsualRequest) -> bool:
        """Process a request; False leaves it to aiohttp."""
        self._request_in_progress = self._requests.is_held = True  # awaited when relay stops
        try:
            taken = self._handler.receive_at_once(request, self._remote, self._answer)
        except Exception as error:  # noqa: BLE001 - the outermost guard: whatever was raised is logged there
            self._answer(self._handler.respond_to_failure(error))
            taken = True
        if taken:
            self._request_count += 1
        else:
            self._request_in_progress = self._requests.is_held = False
        return taken

    def _answer(self, response: SenderResponse) -> None:
        """Send the response, and continue with the bytes received since."""
        self._request_in_progress = self._requests.is_held = False
        transport = self.transport
        if transport is not None:
            try:
                data = format_response(response)
            except ValueError as error:
                response = self._handler.respond_to_failure(error)
                data = format_response(response)
            transport.write(data)
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if transport is None:
            return
        if response.closes or self._close:
            self._close_after_answer(transport)
            return
        self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_TIMEOUT
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(self._next_keepalive_close_time, self._process_keepalive)
        if self._requests.has_more:
            self._resume_transport_reading()
            self.data_received(b"")
        if self._sender_is_done.is_set() and not self._request_in_progress and not self.eof_received():
            transport.close()

    def _close_after_answer(self, transport: asyncio.Transport) -> None:
        self._is_lingering = True
        self.close()
        if self._sender_is_done.is_set() or not _send_eof(transport):
            transport.close()
        else:
            self._loop.call_later(LINGER_SECONDS, transport.close)

    def _process_keepalive(self) -> None:
        if self._request_in_progress:
            self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_TIMEOUT
        super()._process_keepalive()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio keeps a connection open for what is true
        """Finish the current request: a sender may close its side after sending everything."""
        self._sender_is_done.set()
        if self._requests.is_held:
            return True
        self._requests.feed_eof()
        waits = self._waiter is not None and not self._waiter.done()
        return bool(self._messages) or not (waits or self._request_count == 0 or self._is_excess or self._is_lingering)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting for a sender that has disconnected."""
        self._sender_is_done.set()
        super().connection_lost(exc)

    async def _handle_request(self, *args: Any, **named: Any) -> tuple[web.StreamResponse, bool]:
        response, is_reset = await super()._handle_request(*args, **named)
        if not is_reset and not response.keep_alive:
            await self._linger()
        if self._sender_is_done.is_set() and not self._messages:
            self._close = True
        return response, is_reset

    async def _linger(self) -> None:
        """Wait for the sender to close its side: closing ours while it sends would discard the response."""
        if self.transport is None or self._sender_is_done.is_set():
            return
        if not _send_eof(self.transport):
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._sender_is_done.wait()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the offending bytes
    ) -> web.StreamResponse:
        """Refuse data that the parser could not read; counted, never quoted."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way already")
        if not isinstance(exc, AmbiguousRequestError):
            self._record_refusal(status, f"not a request that can be read ({type(exc).__name__})", b"")
        return make_response(build_error_response(status, "bad_request", "the request cannot be read", closes=True))

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log uncaught errors, except for missing bytes of a body that was refused already."""
        if not isinstance(kw.get("exc_info"), BodyReadError):
            super().log_exception(*args, **kw)

    def _record_refusal(self, status: int, reason: str, line: bytes) -> None:
        self._handler.record_unread(status, reason, line, self._remote)


def _send_eof(transport: asyncio.Transport) -> bool:
    """Close the sending side; return False if the peer has disconnected or reads too slowly."""
    if transport.is_closing() or transport.get_write_buffer_size():
        return False
    try:
        transport.write_eof()
    except OSError:
        return False
    return True


class PublicServer(web.Server):
    """The server behind the ingress port.

    It has no routes: a catch-all route would lose paths that decode to a newline, and all requests
    are captured the same way.
    """

    def __init__(self, handler: IngressHandler) -> None:
        super().__init__(self._handle)
        self._handler = handler
        self._most = max_connections(get_max_open_files())

    def __call__(self) -> _IngressProtocol:
        """Return the protocol of a connection."""
        return _IngressProtocol(self, self._handler)

    def count_excess(self) -> int:
        """Return the number of connections above the limit; negative if below."""
        return len(self._connections) - self._most

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return make_response(await _answer_request(request, self._handler))


def max_connections(descriptors: int | None) -> int:
    """Return how many connections are accepted with that many descriptors; None means no limit."""
    if descriptors is None:
        return MAX_CONNECTIONS
    spare = min(_OWN_DESCRIPTORS, descriptors // 2)
    return max(1, min(MAX_CONNECTIONS, descriptors - spare - EXCESS_MARGIN))


async def _answer_request(request: web.BaseRequest, handler: IngressHandler) -> SenderResponse:
    refused = _find_malformation(request.method, request.raw_path, request.version, request.headers)
    if refused is not None:
        status, code, message = refused
        line = f"{request.method} {request.raw_path}".encode("utf-8", "surrogateescape")
        handler.record_unread(status, message, line, request.remote or "")
        return build_error_response(status, code, message, closes=True)
    try:
        path = request.raw_path.partition("?")[0]
        if path == "/webhooks/health" and request.method in ("GET", "HEAD"):
            return handler.check_health()
        return await handler.receive(request)
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 - the outermost guard: whatever was raised is counted or logged there
        return handler.respond_to_failure(error)


def _find_malformation(
    method: str, target: str, version: HttpVersion, headers: CIMultiDictProxy[str]
) -> tuple[int, str, str] | None:
    """Return status, code and message for a readable request that is refused."""
    if version not in (HttpVersion11, HttpVersion10):
        return 505, "http_version", "only HTTP/1.0 and HTTP/1.1 are spoken here"
    if method in _REFUSED_METHODS or target == "*":
        return 405, "method_not_allowed", "this method is not served"
    if version == HttpVersion11:
        if len(headers.getall("Host", ())) != 1:
            return 400, "bad_request", "a request has exactly one Host"
    elif "chunked" in headers.get("Transfer-Encoding", "").lower():
        return 400, "bad_request", "HTTP/1.0 has no chunks"
    if headers.get("Expect", "100-continue").lower() != "100-continue":
        return 417, "expectation_failed", "only 100-continue can be expected"
    return None


_ACCEPT_BATCH = 8


@asynccontextmanager
async def serve_ingress(listening: socket, handler: IngressHandler) -> AsyncIterator[None]:
    """Serve webhooks until the block ends."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        # Most request-smuggling flaws of aiohttp were in the pure-Python parser.
        raise PortError("aiohttp lacks its C parser", hint="install aiohttp from a wheel")
    runner = web.ServerRunner(PublicServer(handler), handle_signals=False, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    try:
        # asyncio accepts all waiting connections at a time, before any of them can be refused,
        # and may run out of descriptors. Only the second call limits how many may wait.
        await web.SockSite(runner, listening, backlog=_ACCEPT_BATCH).start()
        listening.listen(BACKLOG)
        yield
    finally:
        await runner.cleanup()


def build_ingress_handler(relay: RunningRelay) -> IngressHandler:
    """Return the handler of ingress requests."""
    sync_responses = SyncResponses(relay.store, relay.bus, relay.awaited)
    pipeline = Pipeline(relay.store, relay.bus, relay.routing, sync_responses)
    return IngressHandler(relay, pipeline, trusts_tunnel_header=tunnel_names_callers(relay.config.file.tunnel))
