"""Receives webhooks inside an app: the pipeline up to the event, then its idempotency key and its handlers."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import ClassVar

from relay.frameworks.request import BodyConsumedError, BodyTooLargeError, Incoming
from relay.frameworks.threads import BackgroundLoop, KeyStore, call_store
from relay.handlers.environment import FindSecret, find_in_environment, using_secrets
from relay.handlers.event import EventMetadata, build_event
from relay.handlers.file import Handlers
from relay.model.admission import Claim, Network
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded, Outcome
from relay.model.event import Capture, EventOutcome, NewEvent, Source
from relay.model.payload import Payload
from relay.model.request_items import RequestItems
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.event_log import log_arrival, log_handled, steps_are_logged
from relay.pipeline.limits import RequestLimits
from relay.pipeline.process import ProcessedRequest, Routing, process_request
from relay.pipeline.responses import (
    SenderResponse,
    build_challenge_response,
    build_error_response,
    build_health_response,
    build_rejection,
    build_response,
    build_validation_response,
)
from relay.pipeline.source_table import SourceRegistry
from relay.platform import SystemClock
from relay.providers.challenge_answers import ChallengeOutcome
from relay.providers.sender_urls import list_sender_urls

log = logging.getLogger("relay.receiver.receive")  # the logger name for apps' logging configuration

_RETRY_SECONDS = 5.0  # default seconds until a sender may retry
_HEALTH = "/webhooks/health"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRunner:
    """The handlers of one target; `timeout` in seconds, for all functions an event is for together.

    `find_secret` is what `relay.secret` asks in them.
    """

    handlers: Handlers
    timeout: float = 30.0
    find_secret: FindSecret = find_in_environment


@dataclass(frozen=True, slots=True)
class _HandlerTimeout:
    """A handler took too long, and may still be running."""

    name: ClassVar[str] = "overran"
    detail: str


class Receiver:
    """Answers webhooks by calling handlers, in any app. It stores only keys, in its key store.

    Safe to share between threads, and across a fork. `close` ends what `receive_sync` started.

    `runners` are by the name of their target; other targets are none of a receiver's business. `max_body` is for
    sources that have no limit of their own, `proxies` are ours, and `unix`: one of them calls over a socket of this
    computer.
    """

    def __init__(
        self,
        *,
        table: SourceRegistry,
        routing: Routing,
        runners: Mapping[str, HandlerRunner],
        keys: KeyStore,
        max_body: int = 25_000_000,
        proxies: tuple[Network, ...] = (),
        unix: bool = False,
    ) -> None:
        self._table = table
        self._routing = routing
        self._runners = runners
        self._keys = keys
        self._max_body = max_body
        self._find_caller = partial(Incoming.caller, proxies=proxies, unix=unix)
        self._clock = SystemClock()
        self._gate = RequestLimits(self._clock)
        self._loop = BackgroundLoop()

    @property
    def max_body(self) -> int:
        """Return the largest body that any source accepts, in bytes."""
        own = (source.admission.max_body or 0 for source in self._table.configured)
        return max(self._max_body, *own, 0)

    def receive_sync(self, request: Incoming) -> SenderResponse:
        """Do as `receive` does, from a thread without an event loop. Raises UsageError where one runs."""
        return self._loop.run(self.receive(request))

    def close(self) -> None:
        """End the thread of `receive_sync`; the next call starts another."""
        self._loop.close()

    async def receive(self, request: Incoming) -> SenderResponse:
        """Return the response to a request after its handlers ran; never raises for a request."""
        try:
            return await self._receive(request)
        except (Exception, SystemExit):
            log.exception("a webhook could not be received")
            return build_error_response(500, "internal", "relay failed on this request", "its log says why")

    async def _receive(self, request: Incoming) -> SenderResponse:
        if request.path == _HEALTH and request.method in ("GET", "HEAD"):
            return build_health_response(self._table.configured, self._clock.now())
        source = self._table.find(request.path)
        if source is None:
            return build_error_response(404, "not_found", "no such hook")
        caller = self._find_caller(request)
        refusal = self._gate.refuse(source, caller)
        if refusal is not None:
            log.warning("a request for %s got %d: %s", source.name, refusal.status, refusal.detail)
            return build_error_response(
                refusal.status, refusal.code, refusal.message, refusal.hint, headers=refusal.headers
            )
        limit = source.admission.max_body or self._max_body
        try:
            body = await request.read(limit)
        except BodyTooLargeError:
            return build_error_response(413, "too_large", "the body is too large", f"at most {limit} bytes")
        except BodyConsumedError as error:
            return _consumed_response(request, source, error)
        except TimeoutError:
            return build_error_response(408, "timeout", "the body did not arrive in time")
        except OSError:
            return build_error_response(400, "incomplete", "the body broke off")
        capture = Capture(
            source=source.name,
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=body,
            remote=caller,
            received_at=self._clock.now(),
            url=request.url,
        )
        return await self._process(source, capture)

    async def _process(self, source: Source, capture: Capture) -> SenderResponse:
        processed = await process_request(source, capture, list_sender_urls(source, capture), self._routing)
        event = processed.event
        if processed.challenge is not None:
            return await self._answer_challenge(processed, processed.challenge)
        if steps_are_logged():
            log_arrival(None, event, event.outcome, self._routing.routes)
        if event.outcome is EventOutcome.REJECTED:
            # For the app's operator, not for the sender.
            log.warning("%s got %d: %s", _event_name(event), event.status, event.reason or "rejected")
        if event.problems:
            return build_validation_response(event)
        if event.outcome is not EventOutcome.ACCEPTED:
            return _respond(processed, event.outcome)
        return await self._accept(processed)

    async def _accept(self, processed: ProcessedRequest) -> SenderResponse:
        source, event = processed.source, processed.event
        key = event.idempotency_key if event.claims_key and not event.deliver_duplicates else None
        if key is not None:
            try:
                claim = Claim(await call_store(self._keys.claim, source.name, key))
            except Exception:
                log.exception("the key of %s cannot be claimed", _event_name(event))
                return _retry_response(503, "not_kept", "the event could not be kept", _RETRY_SECONDS)
            if claim is Claim.DONE:
                return _respond(processed, EventOutcome.DUPLICATE)
            if claim is not Claim.MINE:
                return _retry_response(503, "in_progress", "this event is being handled already", _RETRY_SECONDS)
        outcome, reply = await self._handle(processed)
        if key is not None and not isinstance(outcome, _HandlerTimeout):
            await self._settle(source, key, done=isinstance(outcome, AttemptSucceeded))
        if isinstance(outcome, AttemptSucceeded):
            response = _respond(processed, event.outcome)
            return response if reply is None else replace(response, body=reply, content_type="application/json")
        log.error("%s was not handled: %s", _event_name(event), outcome.detail)
        return _failure_response(outcome)

    async def _settle(self, source: Source, key: str, *, done: bool) -> None:
        try:
            await call_store(self._keys.settle, source.name, key, done)
        except Exception:
            # The event was handled; the claim expires by itself.
            log.exception("a key of %s cannot be settled", source.name)

    async def _handle(self, processed: ProcessedRequest) -> tuple[Outcome | _HandlerTimeout, bytes | None]:
        """Call the handlers of all routed targets; the worst outcome counts, and the first reply."""
        event, payload = processed.event, processed.event.capture.payload
        found: list[Outcome | _HandlerTimeout] = []
        first_reply: bytes | None = None
        for target in (new.target for new in processed.deliveries if new.target in self._runners):
            # Handlers may change the payload: the first gets the parsed one, each further one its own.
            outcome, reply = await _run_handlers(self._runners[target], event, None if found else payload)
            if steps_are_logged():
                log_handled(event, target, outcome.name)
            found.append(outcome)
            first_reply = reply if first_reply is None else first_reply
        for kind in (_HandlerTimeout, AttemptRetry, AttemptFailed):
            if bad := next((outcome for outcome in found if isinstance(outcome, kind)), None):
                return bad, None
        return AttemptSucceeded(), first_reply

    async def _answer_challenge(self, processed: ProcessedRequest, challenge: ChallengeOutcome) -> SenderResponse:
        source, event, reply = processed.source, processed.event, challenge.reply
        if reply is None:
            log.warning("a handshake of %s got %d: %s", source.name, challenge.status, event.reason)
            return build_rejection(challenge.status)
        log.info("%s is a handshake, answered: %s", _event_name(event), event.summary)
        if source.deliver_handshakes:
            outcome, _ = await self._handle(processed)
            if not isinstance(outcome, AttemptSucceeded):
                log.error("%s was not handled: %s", _event_name(event), outcome.detail)
        if reply.body is None:
            return _respond(processed, event.outcome)
        return build_challenge_response(reply, reply.body)


def _respond(processed: ProcessedRequest, outcome: EventOutcome) -> SenderResponse:
    answer = processed.source.answer.to_request(processed.event.capture.content_type)
    return build_response(answer, processed.event.status, None, outcome)


async def _run_handlers(
    runner: HandlerRunner, event: NewEvent, payload: Payload | None
) -> tuple[Outcome | _HandlerTimeout, bytes | None]:
    metadata = EventMetadata(
        type=event.type,
        verdict=event.verification.verdict,
        provider=event.provider,
        idempotency_key=event.idempotency_key,
        batch=RequestItems.of(event.split),
    )
    try:
        async with asyncio.timeout(runner.timeout) as patience:
            with using_secrets(runner.find_secret):
                ran = await runner.handlers.run(build_event(event.capture, metadata, payload))
    except TimeoutError:
        if not patience.expired():
            raise
        return _HandlerTimeout(f"its handlers took longer than {runner.timeout:g} s"), None
    if ran.traceback:
        log.error("a handler failed\n%s", ran.traceback)
    return ran.outcome, ran.reply


def _consumed_response(request: Incoming, source: Source, error: BodyConsumedError) -> SenderResponse:
    # A fault of the app: reporting a wrong signature would make its developer look for another secret.
    in_front = ", ".join(request.in_front())
    log.error(
        "%s for source %s: something in front of relay has read the body (%s), so its signature cannot be "
        "checked. Leave this path out there.%s",
        escape_unprintable(f"{request.method} {request.path}", 200),
        source.name,
        error,
        f" In front of relay: {escape_unprintable(in_front, 1000)}" if in_front else "",
    )
    return build_error_response(
        500,
        "body_consumed",
        "the app has read the body before relay could verify it",
        "the log of the app says what runs in front of relay",
    )


def _failure_response(outcome: Outcome | _HandlerTimeout) -> SenderResponse:
    # The error is for the log only: senders are just told that there was one.
    if isinstance(outcome, AttemptRetry):
        wait = _RETRY_SECONDS if outcome.after is None else outcome.after
        # A handler that returns Retry has no error; one that raised has.
        if outcome.firm:
            return _retry_response(503, "not_now", "the event cannot be handled now", wait)
        return _retry_response(500, "handler_failed", "the event could not be handled", wait)
    if isinstance(outcome, _HandlerTimeout):
        return _retry_response(503, "handler_timeout", "the event was not handled in time", _RETRY_SECONDS)
    return build_error_response(500, "handler_failed", "the event could not be handled", "the log of the app says why")


def _retry_response(status: int, code: str, message: str, wait: float) -> SenderResponse:
    seconds = str(max(1, math.ceil(wait)))
    return build_error_response(status, code, message, "try again", headers=(("Retry-After", seconds),))


def _event_name(event: NewEvent) -> str:
    key = f" {event.idempotency_key}" if event.idempotency_key else ""
    return escape_unprintable(f"{event.type}{key} from {event.capture.source}", 300)
