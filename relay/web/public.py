"""The app the tunnel sees: webhooks, a health answer, and nothing else."""

import asyncio
import logging

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.web_protocol import RequestHandler

from relay.answering import Answered, health, refusal
from relay.errors import StoreError
from relay.model.signals import Refused
from relay.web.answers import close, respond
from relay.web.receive import Door

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
KEEPALIVE = 15.0  # seconds; in aiohttp this is also the only deadline for a request head
LINGER = 1.0  # seconds that a refused body is still read
_METHODS_REFUSED = frozenset({"CONNECT", "TRACE"})


class _Protocol(RequestHandler):
    """Answers what is no HTTP without quoting it, and without a traceback for each."""

    door: Door

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it quotes the offending bytes
    ) -> web.StreamResponse:
        """Refuse what the parser could not read; counted, never quoted."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was under way already")
        name = type(exc).__name__
        detail, remote = f"not a request that can be read ({name})", request.remote or ""
        self.door.bus.publish(Refused("", status, detail, remote, self.door.now()))
        return close(refusal(status, "bad_request", "the request cannot be read"))


class PublicServer(web.Server):
    """The server behind the ingress port.

    It has no routes: a catch-all route would lose paths that decode to a newline, and every request
    is captured the same way.
    """

    def __init__(self, door: Door) -> None:
        super().__init__(self._handle)
        self._door = door

    def __call__(self) -> _Protocol:
        """Return what speaks with one connection."""
        protocol = _Protocol(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # None switches it off, as web_server passes it on
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE,
            lingering_time=LINGER,
        )
        protocol.door = self._door
        return protocol

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if len(self.connections) > MAX_CONNECTIONS:
            return close(
                refusal(503, "busy", "too many connections", "try again later"), {"Retry-After": "5"}
            )
        return await _answer(request, self._door)


async def _answer(request: web.BaseRequest, door: Door) -> web.StreamResponse:
    refused = _malformed(request)
    if refused is not None:
        return close(refused)
    try:
        path = request.raw_path.partition("?")[0]
        if path == "/webhooks/health" and request.method in ("GET", "HEAD"):
            return respond(health(door.sources, door.now()))
        return await door.receive(request)
    except StoreError as error:
        door.grumble(error)
        return close(
            refusal(503, "not_kept", "the event could not be kept", "try again"), {"Retry-After": "5"}
        )
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception:
        log.exception("a webhook could not be taken in")
        return close(refusal(500, "internal", "relay failed on this request", "its log says why"))


def _malformed(request: web.BaseRequest) -> Answered | None:
    version, headers = request.version, request.headers
    if version not in (HttpVersion11, HttpVersion10):
        return refusal(505, "http_version", "only HTTP/1.0 and HTTP/1.1 are spoken here")
    if request.method in _METHODS_REFUSED or request.raw_path == "*":
        return refusal(405, "method_not_allowed", "this method is not served")
    if version == HttpVersion11:
        if len(headers.getall("Host", ())) != 1:
            return refusal(400, "bad_request", "a request has exactly one Host")
    elif "chunked" in headers.get("Transfer-Encoding", "").lower():
        return refusal(400, "bad_request", "HTTP/1.0 has no chunks")
    if headers.get("Expect", "100-continue").lower() != "100-continue":
        return refusal(417, "expectation_failed", "only 100-continue can be expected")
    return None
