"""Receives webhooks: reads exact bytes within limits and hands a Capture to the pipeline."""

import asyncio
import logging

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from relay.actions.ingress_client import EVENT_HEADER, SAMPLE_HEADER
from relay.errors import StoreError
from relay.http.responses import make_closing_response, make_response
from relay.ingress.request_parser import BodyReadError
from relay.model.event import Capture, Headers, Source
from relay.model.signals import RequestRefused
from relay.model.text import decode_header_text, escape_unprintable
from relay.pipeline.event_log import log_refusal, steps_are_logged
from relay.pipeline.limits import RequestLimits, forwarded_for, is_loopback
from relay.pipeline.process import Pipeline
from relay.pipeline.responses import SenderResponse, build_error_response, build_health_response
from relay.pipeline.source_table import WEBHOOK_PREFIX
from relay.providers.sender_urls import list_sender_urls, set_sender_url
from relay.services.relay import RunningRelay

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


class IngressHandler:
    """Receives webhooks for one relay, and counts what could not be taken in."""

    def __init__(self, relay: RunningRelay, pipeline: Pipeline, *, trusts_tunnel_header: bool) -> None:
        self._relay = relay
        self._pipeline = pipeline
        self._limits = RequestLimits(relay.clock)
        # The tunnel says in X-Forwarded-For who called.
        self._trusts_tunnel_header = trusts_tunnel_header
        self._unkept = 0
        self._log_unkept_at = 0.0
        self._turned_away = 0
        self._log_turned_away_at = 0.0
        self._large = asyncio.Semaphore(MAX_LARGE_BODIES)

    def check_health(self) -> SenderResponse:
        """Return what `GET /webhooks/health` answers."""
        relay = self._relay
        return build_health_response(relay.sources.configured, relay.clock.now(), keeps=relay.state.outage is None)

    def count_unkept(self, error: StoreError) -> None:
        """Count a webhook that could not be kept; log it at most once a minute, with how many there were.

        While the store can keep nothing at all, its watch does the logging.
        """
        self._relay.state.unkept += 1
        if error.is_outage:
            return
        self._unkept += 1
        now = self._relay.clock.monotonic()
        if now >= self._log_unkept_at:
            self._log_unkept_at = now + LOG_INTERVAL
            log.error("could not keep %d webhook(s): %s", self._unkept, error.message)
            self._unkept = 0

    async def receive(self, request: web.BaseRequest) -> web.StreamResponse:
        """Capture one request and answer it as its source says. Raises StoreError."""
        began = self._relay.clock.monotonic()
        path, mark, query = _parse_target(request.raw_path).partition("?")
        source, caller = self._relay.sources.find(path), self._find_caller(request)
        if source is None:
            self._record_refusal(
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
        # Limits are for others: what relay triggers itself comes from here, and only when asked to.
        refusal = None if sample else self._limits.refuse(source, caller)
        if refusal is not None:
            self._record_refusal(source.name, refusal.status, refusal.detail, caller)
            return make_closing_response(
                build_error_response(refusal.status, refusal.code, refusal.message, refusal.hint), refusal.headers
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
            received_at=self._relay.clock.now(),
        )
        urls = list_sender_urls(source, capture, self._relay.own_addresses())
        if mark and not query:
            urls = tuple(url if "?" in url else f"{url}?" for url in urls)
        if HOP_HEADER in request.headers:
            response = await self._pipeline.refuse_loop(set_sender_url(capture, urls), source)
        else:
            response = await self._pipeline.receive(capture, source, urls, sample=sample)
            if response.offered is not None:
                self._relay.sources.learn(source.name, response.offered)
        self._relay.meter.count_response(source.name, self._relay.clock.monotonic() - began)
        # A sender learns no number of ours from the headers; relay's own trigger does.
        return make_response(response, {EVENT_HEADER: str(response.event_id)} if sample else None)

    def _find_caller(self, request: web.BaseRequest) -> str:
        """Return who called: the peer, or, where that is the tunnel's agent, whom the tunnel names."""
        peer = request.remote or ""
        names_caller = (
            self._trusts_tunnel_header
            and self._relay.state.public_url is not None
            and FORWARDED_HEADER in request.headers
        )
        if not names_caller or not is_loopback(peer):
            return peer
        return forwarded_for(request.headers.getall(FORWARDED_HEADER))

    def _headers(self, request: web.BaseRequest) -> tuple[Headers, bool]:
        pairs = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers])
        if request.headers.get(SAMPLE_HEADER) != self._relay.nonce:
            return pairs, False
        return tuple(pair for pair in pairs if pair[0] != SAMPLE_HEADER), True

    async def _read_or_refuse(self, request: web.BaseRequest, source: Source, caller: str) -> bytes | web.Response:
        limit = source.admission.max_body or self._relay.config.server.max_body
        try:
            return await self._read(request, limit)
        except RequestBodyTooLargeError:
            self._record_refusal(source.name, 413, f"larger than the limit of {limit} bytes", caller)
            return make_closing_response(
                build_error_response(413, "too_large", "the body is too large", f"at most {limit} bytes")
            )
        except TimeoutError:
            self._record_refusal(source.name, 408, f"no whole body in {BODY_SECONDS:g} s", caller)
            return make_closing_response(build_error_response(408, "timeout", "the body did not arrive in time"))
        except (BodyReadError, RequestPayloadError) as error:
            reason = error.reason if isinstance(error, BodyReadError) else "the body cannot be read"
            self._record_refusal(source.name, 400, f"{reason}: {format_request_line(request)}", caller)
            return make_closing_response(build_error_response(400, "bad_request", "the body cannot be read"))
        except ConnectionError:
            self._record_refusal(
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
        chunks, total, holds_slot = [chunk], len(chunk), False
        try:
            while chunk:
                if total > LARGE_BODY and not holds_slot:
                    await self._large.acquire()
                    holds_slot = True
                chunk = await request.content.readany()
                chunks.append(chunk)
                total += len(chunk)
                if total > limit:
                    raise RequestBodyTooLargeError
        finally:
            if holds_slot:
                self._large.release()
        return b"".join(chunks)

    def record_unread(self, status: int, reason: str, line: bytes, remote: str) -> None:
        """Show a request that was refused before its source was asked; `line` is its first line as it came."""
        target = line.split(b" ")[1] if line.count(b" ") else b""
        source = self._relay.sources.find(target.partition(b"?")[0].decode("latin-1"))
        shown = f": {escape_unprintable(line, _MAX_LINE_SHOWN)}" if line else ""
        self._record_refusal(source.name if source else "", status, f"{reason}{shown}", remote)

    def count_excess_connection(self, excess: int) -> None:
        """Count a connection above the limit, of which there are `excess` at this moment."""
        self._record_refusal("", 503, "too many connections", "")
        now = self._relay.clock.monotonic()
        self._turned_away += 1
        if now >= self._log_turned_away_at:
            self._log_turned_away_at = now + LOG_INTERVAL
            log.warning(
                "turned %d connection(s) away: too many at once (%d above the limit)", self._turned_away, excess
            )
            self._turned_away = 0

    def _record_refusal(self, source: str, status: int, detail: str, caller: str) -> None:
        if steps_are_logged():
            log_refusal(source, status, detail)
        self._relay.bus.publish(RequestRefused(source, status, detail, caller, self._relay.clock.now()))


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
        return f": a path begins with {WEBHOOK_PREFIX}, and nothing precedes it"
    return f": a path begins with {WEBHOOK_PREFIX} and a name"


def _parse_target(raw: str) -> str:
    """Return path and query as latin-1 text: a target in absolute form names a host that is not asked for."""
    text = raw.encode("utf-8", "surrogateescape").decode("latin-1")
    if text.startswith("/"):
        return text
    _, _, rest = text.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path
