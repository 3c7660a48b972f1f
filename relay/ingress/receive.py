"""Receives webhooks: reads exact bytes within limits and hands a Capture to the pipeline."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from relay.actions.ingress_client import EVENT_HEADER, SAMPLE_HEADER
from relay.errors import StoreError
from relay.ingress.head_parser import UsualRequest
from relay.ingress.request_parser import BodyReadError
from relay.model.event import Capture, Headers, Source
from relay.model.signals import RequestRefused
from relay.model.text import decode_header_text, escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.event_log import log_refusal, steps_are_logged
from relay.pipeline.limits import RequestLimits, forwarded_for, is_loopback
from relay.pipeline.process import Pipeline, takes_long
from relay.pipeline.responses import SenderResponse, build_error_response, build_health_response
from relay.pipeline.source_table import WEBHOOK_PREFIX
from relay.providers.sender_urls import list_sender_urls, set_sender_url
from relay.services.relay import RunningRelay

log = logging.getLogger(__name__)

BODY_SECONDS = 30.0
LOG_INTERVAL = 60.0
_MAX_LINE_SHOWN = 200  # characters of a refused request line that are shown
LARGE_BODY = 1_000_000  # bytes above which a body waits its turn
MAX_LARGE_BODIES = 8  # large bodies read concurrently, so that memory stays bounded
HOP_HEADER = "X-Relay-Hop"
FORWARDED_HEADER = "X-Forwarded-For"
_HOP_NAME, _FORWARDED_NAME, _SAMPLE_NAME = HOP_HEADER.lower(), FORWARDED_HEADER.lower(), SAMPLE_HEADER.lower()


class RequestBodyTooLargeError(Exception):
    """The body is larger than the limit."""


_NO_SOURCE = Source(name="", provider="", path="")


@dataclass(slots=True)
class _Arrival:
    """A request whose head was read; `source` is _NO_SOURCE if no source has its path."""

    began: float
    method: str
    path: str
    query: str
    has_bare_mark: bool
    source: Source
    caller: str
    is_sample: bool


class IngressHandler:
    """Receives webhooks for a relay, and counts those that could not be stored."""

    def __init__(self, relay: RunningRelay, pipeline: Pipeline, *, trusts_tunnel_header: bool) -> None:
        self._relay = relay
        self._pipeline = pipeline
        self._limits = RequestLimits(relay.clock)
        # The tunnel names the caller in X-Forwarded-For.
        self._trusts_tunnel_header = trusts_tunnel_header
        self._unkept = 0
        self._log_unkept_at = 0.0
        self._turned_away = 0
        self._log_turned_away_at = 0.0
        self._large = asyncio.Semaphore(MAX_LARGE_BODIES)

    def check_health(self) -> SenderResponse:
        """Return the response of `GET /webhooks/health`."""
        relay = self._relay
        return build_health_response(relay.sources.configured, relay.clock.now(), keeps=relay.state.outage is None)

    def count_unkept(self, error: StoreError) -> None:
        """Count a webhook that could not be stored; log it at most once a minute, with the number of them.

        During an outage of the store, its watch does the logging.
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

    def respond_to_failure(self, error: BaseException) -> SenderResponse:
        """Return the response to a webhook that could not be received, and count or log the reason."""
        if isinstance(error, StoreError):
            self.count_unkept(error)
            again = (("Retry-After", "5"),)
            return build_error_response(
                503, "not_kept", "the event could not be kept", "try again", headers=again, closes=True
            )
        log.error("a webhook could not be received", exc_info=error)
        return build_error_response(500, "internal", "relay failed on this request", "its log says why", closes=True)

    async def receive(self, request: web.BaseRequest) -> SenderResponse:
        """Capture a request and return the response of its source. Raises StoreError."""
        headers = request.headers
        is_sample = headers.get(SAMPLE_HEADER) == self._relay.nonce
        caller = self._find_caller(headers.getall(FORWARDED_HEADER, ()), request.remote or "")
        arrival = self._begin(request.method, _parse_target(request.raw_path), caller, is_sample=is_sample)
        refusal = self._refuse(arrival)
        if refusal is not None:
            return refusal
        body = await self._read_or_refuse(request, arrival)
        if isinstance(body, SenderResponse):
            return body
        pairs = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.raw_headers])
        capture, urls = self._capture(arrival, pairs, body)
        if HOP_HEADER in request.headers:
            response = await self._pipeline.refuse_loop(set_sender_url(capture, urls), arrival.source)
        else:
            response = await self._pipeline.receive(capture, arrival.source, urls, sample=arrival.is_sample)
        return self._complete(arrival, response)

    def receive_at_once(self, request: UsualRequest, peer: str, answer: Callable[[SenderResponse], None]) -> bool:
        """Do what `receive` does, without a task; False leaves it to `receive`.

        `answer` is called when its event is on disk, or when it is refused.
        """
        by_name, body = request.by_name, request.body
        is_sample = by_name.get(_SAMPLE_NAME) == self._relay.nonce
        named: tuple[str, ...] = ()
        if _FORWARDED_NAME in by_name:
            named = tuple([value for name, value in request.headers if name.lower() == _FORWARDED_NAME])
        arrival = self._begin("POST", request.target, self._find_caller(named, peer), is_sample=is_sample)
        source = arrival.source
        if source.answer.mode == "wait" or takes_long(source, len(body)) or _HOP_NAME in by_name:
            return False
        refusal = self._refuse(arrival)
        if refusal is None and len(body) > self._limit(source):
            refusal = self._refuse_length(arrival)
        if refusal is not None:
            answer(refusal)
            return True

        def on_response(response: SenderResponse | BaseException) -> None:
            if not isinstance(response, BaseException):
                try:
                    response = self._complete(arrival, response)
                except Exception as error:  # noqa: BLE001 - whatever was raised, the sender gets an answer
                    response = error
            answer(self.respond_to_failure(response) if isinstance(response, BaseException) else response)

        capture, urls = self._capture(arrival, request.headers, body, None if is_sample else by_name)
        self._pipeline.receive_at_once(capture, source, urls, on_response, sample=is_sample)
        return True

    def _begin(self, method: str, target: str, caller: str, *, is_sample: bool) -> _Arrival:
        path, mark, query = target.partition("?")
        return _Arrival(
            began=self._relay.clock.monotonic(),
            method=method,
            path=path,
            query=query,
            has_bare_mark=bool(mark) and not query,
            source=self._relay.sources.find(path) or _NO_SOURCE,
            caller=caller,
            is_sample=is_sample,
        )

    def _refuse(self, arrival: _Arrival) -> SenderResponse | None:
        """Return the refusal of a request before its body is read; None if it is allowed."""
        source, path = arrival.source, arrival.path
        if source is _NO_SOURCE:
            shown = escape_unprintable(decode_header_text(path), _MAX_LINE_SHOWN)
            self._record_refusal("", 404, f"no source answers at {shown}{_suggest_path(path)}", arrival.caller)
            hint = "paths begin with /webhooks/ and a name"
            return build_error_response(404, "not_found", "no such hook", hint, closes=True)
        # Limits are for other senders: relay's own samples come from this computer, on request.
        refusal = None if arrival.is_sample else self._limits.refuse(source, arrival.caller)
        if refusal is None:
            return None
        self._record_refusal(source.name, refusal.status, refusal.detail, arrival.caller)
        return build_error_response(
            refusal.status, refusal.code, refusal.message, refusal.hint, headers=refusal.headers, closes=True
        )

    def _capture(
        self, arrival: _Arrival, headers: Headers, body: bytes, by_name: dict[str, str] | None = None
    ) -> tuple[Capture, tuple[str, ...]]:
        """Return the captured request, and the addresses that its sender may have signed."""
        if arrival.is_sample:
            headers = tuple(pair for pair in headers if pair[0] != SAMPLE_HEADER)
        capture = Capture(
            source=arrival.source.name,
            method=arrival.method,
            path=arrival.path,
            query=arrival.query,
            headers=headers,
            body=body,
            remote=arrival.caller,
            received_at=self._relay.clock.now(),
        )
        capture.by_name = by_name
        urls = list_sender_urls(arrival.source, capture, self._relay.own_addresses())
        if arrival.has_bare_mark:
            urls = tuple(url if "?" in url else f"{url}?" for url in urls)
        return capture, urls

    def _complete(self, arrival: _Arrival, response: SenderResponse) -> SenderResponse:
        if response.offered is not None:
            self._relay.sources.learn(arrival.source.name, response.offered)
        self._relay.meter.count_response(arrival.source.name, self._relay.clock.monotonic() - arrival.began)
        if not arrival.is_sample:
            return response
        # The event's id is only in the headers of relay's own trigger.
        return replace(response, headers=(*response.headers, (EVENT_HEADER, str(response.event_id))))

    def _find_caller(self, named: Sequence[str], peer: str) -> str:
        """Return the caller's address: the peer, or the address that the tunnel's agent names."""
        if not named or not self._trusts_tunnel_header or self._relay.state.public_url is None or not is_loopback(peer):
            return peer
        return forwarded_for(named)

    def _limit(self, source: Source) -> int:
        return source.admission.max_body or self._relay.config.server.max_body

    def _refuse_length(self, arrival: _Arrival) -> SenderResponse:
        limit = self._limit(arrival.source)
        self._record_refusal(arrival.source.name, 413, f"larger than the limit of {limit} bytes", arrival.caller)
        hint = f"at most {limit} bytes"
        return build_error_response(413, "too_large", "the body is too large", hint, closes=True)

    async def _read_or_refuse(self, request: web.BaseRequest, arrival: _Arrival) -> bytes | SenderResponse:
        source, caller = arrival.source, arrival.caller
        try:
            return await self._read(request, self._limit(source))
        except RequestBodyTooLargeError:
            return self._refuse_length(arrival)
        except TimeoutError:
            self._record_refusal(source.name, 408, f"no whole body in {BODY_SECONDS:g} s", caller)
            return build_error_response(408, "timeout", "the body did not arrive in time", closes=True)
        except (BodyReadError, RequestPayloadError) as error:
            reason = error.reason if isinstance(error, BodyReadError) else "the body cannot be read"
            self._record_refusal(source.name, 400, f"{reason}: {format_request_line(request)}", caller)
            return build_error_response(400, "bad_request", "the body cannot be read", closes=True)
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
            # Small bodies arrive with their head: a timer would not be worth its cost.
            return _check_length(content.read_nowait(), limit)
        if "Expect" in request.headers:
            # aiohttp answers this only for routes of resources.
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
        """Record a request that was refused before its source was known; `line` is its request line as received."""
        target = line.split(b" ")[1] if line.count(b" ") else b""
        source = self._relay.sources.find(target.partition(b"?")[0].decode("latin-1"))
        shown = f": {escape_unprintable(line, _MAX_LINE_SHOWN)}" if line else ""
        self._record_refusal(source.name if source else "", status, f"{reason}{shown}", remote)

    def count_excess_connection(self, excess: int) -> None:
        """Count a connection above the limit; `excess` is their current number."""
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
    """Return method and target of a request, escaped and cut to a length that can be shown."""
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
    """Return path and query as latin-1 text; the host of a target in absolute form is dropped."""
    text = raw if raw.isascii() else raw.encode("utf-8", "surrogateescape").decode("latin-1")
    if text.startswith("/"):
        return text
    _, _, rest = text.partition("://")
    _, slash, path = rest.partition("/")
    return slash + path
