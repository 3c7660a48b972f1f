"""The door for webhooks: reads exact bytes within limits, makes a Capture and hands it in."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from relay.actions.ingress_client import EVENT_HEADER, SAMPLE_HEADER
from relay.bus import Bus
from relay.clock import Clock
from relay.errors import StoreError
from relay.http.responses import make_closing_response, make_response
from relay.ingress.request_parser import BodyReadError
from relay.model.event import Capture, Headers, Source
from relay.model.signals import RequestRefused
from relay.model.text import decode_header_text, escape_unprintable
from relay.pipeline.event_log import log_refusal, steps_are_logged
from relay.pipeline.limits import RequestLimits, forwarded_for, is_loopback
from relay.pipeline.process import Pipeline
from relay.pipeline.responses import build_error_response
from relay.pipeline.source_table import WEBHOOK_PREFIX, SourceRegistry
from relay.providers.sender_urls import OwnAddresses, list_sender_urls, set_sender_url
from relay.services.meter import Meter
from relay.services.state import RuntimeState

log = logging.getLogger(__name__)

BODY_SECONDS = 30.0
LOG_INTERVAL = 60.0
_MAX_LINE_SHOWN = 200  # characters of a refused request's first line that are shown
LARGE_BODY = 1_000_000  # bytes above which a body waits its turn
MAX_LARGE_BODIES = 8  # large bodies read at the same time, so that memory stays bounded
HOP_HEADER = "X-Relay-Hop"
FORWARDED_HEADER = "X-Forwarded-For"


class RequestBodyTooLargeError(Exception):
    """The body is larger than the limit."""


@dataclass(slots=True, kw_only=True)
class IngressHandler:
    """Everything the ingress needs. `nonce` marks the requests that relay triggers itself.

    `own` gives the addresses that are relay's at this moment. `believing` says that the tunnel tells in
    X-Forwarded-For who called.
    """

    ingest: Pipeline
    gate: RequestLimits
    table: SourceRegistry
    bus: Bus
    clock: Clock
    live: RuntimeState
    meter: Meter
    max_body: int
    nonce: str
    own: Callable[[], OwnAddresses]
    trusts_tunnel_header: bool = True
    _unkept: int = 0
    _log_unkept_at: float = 0.0
    _turned_away: int = 0
    _say_at: float = 0.0
    _large: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_LARGE_BODIES))

    @property
    def sources(self) -> Iterable[Source]:
        """Return the configured sources."""
        return self.table.configured

    def count_unkept(self, error: StoreError) -> None:
        """Count a webhook that could not be kept; log it at most once a minute, with how many there were.

        While the store can keep nothing at all, its watch does the logging.
        """
        self.live.unkept += 1
        if error.is_outage:
            return
        self._unkept += 1
        now = self.clock.monotonic()
        if now >= self._log_unkept_at:
            self._log_unkept_at = now + LOG_INTERVAL
            log.error("could not keep %d webhook(s): %s", self._unkept, error.message)
            self._unkept = 0

    def now(self) -> datetime:
        """Return the time."""
        return self.clock.now()

    async def receive(self, request: web.BaseRequest) -> web.StreamResponse:
        """Capture one request and answer it as its source says. Raises StoreError."""
        began = self.clock.monotonic()
        path, mark, query = _parse_target(request.raw_path).partition("?")
        source, caller = self.table.find(path), self._find_caller(request)
        if source is None:
            self._refused(
                "",
                404,
                f"no source answers at "
                f"{escape_unprintable(decode_header_text(path), _MAX_LINE_SHOWN)}{_suggest_path(path)}",
                caller,
            )
            return make_closing_response(
                build_error_response(404, "not_found", "no such hook", "paths begin with /webhooks/ and a name")
            )
        headers, sample = self._headers(request)
        # The gate is for strangers: what relay triggers itself comes from here, and only when asked to.
        turned = None if sample else self.gate.refuse(source, caller)
        if turned is not None:
            self._refused(source.name, turned.status, turned.detail, caller)
            return make_closing_response(
                build_error_response(turned.status, turned.code, turned.message, turned.hint), turned.headers
            )
        body = await self._read_or_refuse(request, source, caller)
        if isinstance(body, web.Response):
            return body
        capture = Capture(
            source=source.name,
            method=request.method,
            path=path,
            query=query,
            headers=headers,
            body=body,
            remote=caller,
            received_at=self.clock.now(),
        )
        urls = list_sender_urls(source, capture, self.own())
        if mark and not query:
            urls = tuple(url if "?" in url else f"{url}?" for url in urls)
        if HOP_HEADER in request.headers:
            answered = await self.ingest.refuse_loop(set_sender_url(capture, urls), source)
        else:
            answered = await self.ingest.receive(capture, source, urls, sample=sample)
            if answered.offered is not None:
                self.table.learn(source.name, answered.offered)
        self.meter.answered(source.name, self.clock.monotonic() - began)
        # A sender learns no number of ours from the headers; relay's own trigger does.
        return make_response(answered, {EVENT_HEADER: str(answered.event_id)} if sample else None)

    def _find_caller(self, request: web.BaseRequest) -> str:
        """Return who called: the peer, or, where that is the tunnel's agent, whom the tunnel names."""
        peer = request.remote or ""
        told = self.trusts_tunnel_header and self.live.public_url is not None and FORWARDED_HEADER in request.headers
        if not told or not is_loopback(peer):
            return peer
        return forwarded_for(request.headers.getall(FORWARDED_HEADER))

    def _headers(self, request: web.BaseRequest) -> tuple[Headers, bool]:
        pairs = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers])
        if request.headers.get(SAMPLE_HEADER) != self.nonce:
            return pairs, False
        return tuple(pair for pair in pairs if pair[0] != SAMPLE_HEADER), True

    async def _read_or_refuse(self, request: web.BaseRequest, source: Source, caller: str) -> bytes | web.Response:
        limit = source.admission.max_body or self.max_body
        try:
            return await self._read(request, limit)
        except RequestBodyTooLargeError:
            self._refused(source.name, 413, f"larger than the limit of {limit} bytes", caller)
            return make_closing_response(
                build_error_response(413, "too_large", "the body is too large", f"at most {limit} bytes")
            )
        except TimeoutError:
            self._refused(source.name, 408, f"no whole body in {BODY_SECONDS:g} s", caller)
            return make_closing_response(build_error_response(408, "timeout", "the body did not arrive in time"))
        except (BodyReadError, RequestPayloadError) as error:
            reason = error.reason if isinstance(error, BodyReadError) else "the body cannot be read"
            self._refused(source.name, 400, f"{reason}: {format_request_line(request)}", caller)
            return make_closing_response(build_error_response(400, "bad_request", "the body cannot be read"))
        except ConnectionError:
            self._refused(
                source.name, 400, f"hung up before the body was whole: {format_request_line(request)}", caller
            )
            raise

    async def _read(self, request: web.BaseRequest, limit: int) -> bytes:
        length = request.content_length or 0
        if length > limit:
            raise RequestBodyTooLargeError
        content = request.content
        if content.is_eof():
            # Small bodies come with their head: no timer is worth its price then.
            return _check_length(content.read_nowait(), limit)
        if "Expect" in request.headers:
            # Only resource routes of aiohttp answer this by themselves.
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with asyncio.timeout(BODY_SECONDS):
            return await self._read_with_limit(request, limit)

    async def _read_with_limit(self, request: web.BaseRequest, limit: int) -> bytes:
        chunk = await request.content.readany()
        if request.content.at_eof():
            return _check_length(chunk, limit)
        chunks, total, waits = [chunk], len(chunk), False
        try:
            while chunk:
                if total > LARGE_BODY and not waits:
                    await self._large.acquire()
                    waits = True
                chunk = await request.content.readany()
                chunks.append(chunk)
                total += len(chunk)
                if total > limit:
                    raise RequestBodyTooLargeError
        finally:
            if waits:
                self._large.release()
        return b"".join(chunks)

    def record_unread(self, status: int, reason: str, line: bytes, remote: str) -> None:
        """Show a request that was refused before its source was asked; `line` is its first line as it came."""
        target = line.split(b" ")[1] if line.count(b" ") else b""
        source = self.table.find(target.partition(b"?")[0].decode("latin-1"))
        shown = f": {escape_unprintable(line, _MAX_LINE_SHOWN)}" if line else ""
        self._refused(source.name if source else "", status, f"{reason}{shown}", remote)

    def count_excess_connection(self, excess: int) -> None:
        """Count a connection above the limit, of which there are `excess` at this moment."""
        self._refused("", 503, "too many connections", "")
        now = self.clock.monotonic()
        self._turned_away += 1
        if now >= self._say_at:
            self._say_at = now + LOG_INTERVAL
            log.warning(
                "turned %d connection(s) away: too many at once (%d above the limit)", self._turned_away, excess
            )
            self._turned_away = 0

    def _refused(self, source: str, status: int, detail: str, caller: str) -> None:
        if steps_are_logged():
            log_refusal(source, status, detail)
        self.bus.publish(RequestRefused(source, status, detail, caller, self.now()))


def _check_length(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise RequestBodyTooLargeError
    return body


def format_request_line(request: web.BaseRequest) -> str:
    """Return method and target of a request, made harmless and cut to a length that can be shown."""
    return escape_unprintable(f"{request.method} {request.raw_path}", _MAX_LINE_SHOWN)


def _suggest_path(path: str) -> str:
    if path.startswith(WEBHOOK_PREFIX + "/"):
        return f": a name follows {WEBHOOK_PREFIX}, not another slash"
    if path.startswith(WEBHOOK_PREFIX):
        return ""
    if WEBHOOK_PREFIX in path:
        return f": a path begins with {WEBHOOK_PREFIX}, and nothing stands before it"
    return f": a path begins with {WEBHOOK_PREFIX} and a name"


def _parse_target(raw: str) -> str:
    """Return path and query as latin-1 text: a target in absolute form names a host that is not asked for."""
    text = raw.encode("utf-8", "surrogateescape").decode("latin-1")
    if text.startswith("/"):
        return text
    _, _, rest = text.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path
