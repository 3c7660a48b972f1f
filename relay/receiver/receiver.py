"""Capture -> verify -> shake hands -> identify -> examine -> claim -> handle -> settle, then answer."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from relay.admission.examine import examine, wanted
from relay.admission.gate import Gate
from relay.answering import Answered, answer, health, refusal, rejected, shaken, unfit
from relay.clock import Clock, SystemClock
from relay.handlers.event import Judgement, view
from relay.handlers.run import Handlers
from relay.handlers.secrets import FindSecret, find_in_environment, using_secrets
from relay.judgement import identify, verify
from relay.model.admission import Network
from relay.model.claim import Claim
from relay.model.delivery import Failed, Outcome, Retry, Route, Succeeded, Target
from relay.model.event import Capture, EventOutcome, NewEvent, Source
from relay.model.items import RequestItems
from relay.model.text import printable
from relay.providers.handshake import Handshake, introduce, shake
from relay.providers.sender_urls import sender_urls
from relay.receiver.incoming import BodyConsumedError, Incoming, TooLargeError
from relay.receiver.keys import KeyStore, ask
from relay.receiver.loop import OwnLoop
from relay.routing import owe
from relay.steps import log_arrival, log_handled, steps_are_logged

log = logging.getLogger(__name__)

_AGAIN = 5.0  # seconds until a sender may try again, where nothing says otherwise
_HEALTH = "/webhooks/health"


class Table(Protocol):
    """The sources, and which of them answers at a path."""

    @property
    def configured(self) -> tuple[Source, ...]:
        """Return every source."""
        ...

    def find(self, path: str) -> Source | None:
        """Return the source that answers at a raw path; None where there is no such hook."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The handlers of one target; `timeout` in seconds, for all functions an event is for together.

    `find_secret` is what `relay.secret` asks in them.
    """

    handlers: Handlers
    timeout: float = 30.0
    find_secret: FindSecret = find_in_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What relay.toml says beside sources: where events go, how large they may be, which proxies are ours.

    `runners` are by the name of their target; other targets are none of a receiver's business. `unix`: a
    proxy of ours calls over a socket of this computer.
    """

    routes: tuple[Route, ...]
    targets: Mapping[str, Target]
    runners: Mapping[str, Runner]
    max_body: int = 25_000_000
    proxies: tuple[Network, ...] = ()
    unix: bool = False


@dataclass(frozen=True, slots=True)
class _Overran:
    """A handler took too long, and may still be running."""

    name: ClassVar[str] = "overran"
    detail: str


class Receiver:
    """Answers webhooks by calling handlers, in any app. It keeps nothing but keys, and those in its store.

    Safe to share between threads, and across a fork. `close` ends what `receive_sync` started.
    """

    def __init__(self, *, table: Table, rules: Rules, keys: KeyStore, clock: Clock | None = None) -> None:
        self._table = table
        self._rules = rules
        self._keys = keys
        self._clock = clock or SystemClock()
        self._gate = Gate(self._clock)
        self._loop = OwnLoop()

    @property
    def max_body(self) -> int:
        """Return the largest body that any source takes, in bytes."""
        own = (source.admission.max_body or 0 for source in self._table.configured)
        return max(self._rules.max_body, *own, 0)

    def receive_sync(self, request: Incoming) -> Answered:
        """Do as `receive` does, from a thread without an event loop. Raises UsageError where one runs."""
        return self._loop.run(self.receive(request))

    def close(self) -> None:
        """End the thread that `receive_sync` works in; the next call starts another."""
        self._loop.close()

    async def receive(self, request: Incoming) -> Answered:
        """Return what the sender of a request is told, after its handlers ran; never raises for a request."""
        try:
            return await self._receive(request)
        except Exception:
            log.exception("a webhook could not be taken in")
            return refusal(500, "internal", "relay failed on this request", "its log says why")

    async def _receive(self, request: Incoming) -> Answered:
        if request.path == _HEALTH and request.method in ("GET", "HEAD"):
            return health(self._table.configured, self._clock.now())
        source = self._table.find(request.path)
        if source is None:
            return refusal(404, "not_found", "no such hook")
        caller = request.caller(self._rules.proxies, unix=self._rules.unix)
        turned = self._gate.refuse(source, caller)
        if turned is not None:
            log.warning("a request for %s got %d: %s", source.name, turned.status, turned.detail)
            told = refusal(turned.status, turned.code, turned.message, turned.hint)
            return replace(told, headers=tuple(turned.headers.items()))
        limit = source.admission.max_body or self._rules.max_body
        try:
            body = await request.read(limit)
        except TooLargeError:
            return refusal(413, "too_large", "the body is too large", f"at most {limit} bytes")
        except BodyConsumedError as error:
            return _consumed(request, source, error)
        except TimeoutError:
            return refusal(408, "timeout", "the body did not arrive in time")
        except OSError:
            return refusal(400, "incomplete", "the body broke off")
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
        return await self._judge(source, capture)

    async def _judge(self, source: Source, capture: Capture) -> Answered:
        if capture.payload.is_heavy:
            await asyncio.to_thread(capture.payload.load)
        urls = sender_urls(source, capture)
        capture, verification = verify(source, capture, urls, capture.received_at)
        handshake = shake(source, capture, verification, capture.received_at)
        if handshake is not None:
            return await self._shake(source, capture, handshake)
        event = identify(source, capture, verification, sample=False)
        if wanted(source):
            event = await asyncio.to_thread(examine, source, event)
        if steps_are_logged():
            log_arrival(None, event, event.outcome, self._rules.routes)
        if event.outcome is EventOutcome.REJECTED:
            # For whoever runs the app: the sender is not told.
            log.warning("%s got %d: %s", _named(event), event.status, event.reason or "rejected")
        if event.problems:
            return unfit(event)
        if event.outcome is not EventOutcome.ACCEPTED:
            return answer(
                source.answer.to_request(event.capture.content_type), event.status, None, event.outcome
            )
        return await self._accept(source, event)

    async def _accept(self, source: Source, event: NewEvent) -> Answered:
        key = event.idempotency_key if event.claims_key and not event.deliver_duplicates else None
        if key is not None:
            try:
                claim = await ask(self._keys.claim, source.name, key)
            except Exception:
                log.exception("the key of %s cannot be claimed", _named(event))
                return _later(503, "not_kept", "the event could not be kept", _AGAIN)
            if claim == Claim.DONE:
                return answer(
                    source.answer.to_request(event.capture.content_type),
                    event.status,
                    None,
                    EventOutcome.DUPLICATE,
                )
            if claim != Claim.MINE:
                return _later(503, "in_progress", "this event is being handled already", _AGAIN)
        outcome, reply = await self._handle(event)
        if key is not None and not isinstance(outcome, _Overran):
            await self._settle(source, key, done=isinstance(outcome, Succeeded))
        if isinstance(outcome, Succeeded):
            given = answer(
                source.answer.to_request(event.capture.content_type), event.status, None, event.outcome
            )
            return given if reply is None else replace(given, body=reply, content_type="application/json")
        log.error("%s was not handled: %s", _named(event), outcome.detail)
        return _failed(outcome)

    async def _settle(self, source: Source, key: str, *, done: bool) -> None:
        try:
            await ask(self._keys.settle, source.name, key, done)
        except Exception:
            # What was handled stays handled; the claim ends by itself.
            log.exception("a key of %s cannot be settled", source.name)

    async def _handle(self, event: NewEvent) -> tuple[Outcome | _Overran, bytes | None]:
        """Call the handlers of every target a route leads to; the worst outcome counts, and the first reply."""
        found: list[Outcome | _Overran] = []
        replies: list[bytes] = []
        for delivery in owe(event, self._rules.routes, self._rules.targets):
            runner = self._rules.runners.get(delivery.target)
            if runner is not None:
                outcome, reply = await _run(runner, event)
                if steps_are_logged():
                    log_handled(event, delivery.target, outcome.name)
                found.append(outcome)
                replies += [] if reply is None else [reply]
        for kind in (_Overran, Retry, Failed):
            bad = [outcome for outcome in found if isinstance(outcome, kind)]
            if bad:
                return bad[0], None
        return Succeeded(), next(iter(replies), None)

    async def _shake(self, source: Source, capture: Capture, handshake: Handshake) -> Answered:
        event = introduce(source, capture, handshake)
        reply = handshake.reply
        if reply is None:
            log.warning("a handshake of %s got %d: %s", source.name, handshake.status, event.reason)
            return rejected(handshake.status)
        log.info("%s is a handshake, answered: %s", _named(event), event.summary)
        if source.deliver_handshakes:
            outcome, _ = await self._handle(event)
            if not isinstance(outcome, Succeeded):
                log.error("%s was not handled: %s", _named(event), outcome.detail)
        if reply.body is None:
            return answer(
                source.answer.to_request(event.capture.content_type), event.status, None, event.outcome
            )
        return shaken(reply, reply.body)


async def _run(runner: Runner, event: NewEvent) -> tuple[Outcome | _Overran, bytes | None]:
    judgement = Judgement(
        type=event.type,
        verdict=event.verification.verdict,
        provider=event.provider,
        idempotency_key=event.idempotency_key,
        batch=RequestItems.of(event.split),
    )
    try:
        async with asyncio.timeout(runner.timeout) as patience:
            with using_secrets(runner.find_secret):
                ran = await runner.handlers.run(view(event.capture, judgement))
    except TimeoutError:
        if not patience.expired():
            raise
        return _Overran(f"its handlers took longer than {runner.timeout:g} s"), None
    if ran.traceback:
        log.error("a handler failed\n%s", ran.traceback)
    return ran.outcome, ran.reply


def _consumed(request: Incoming, source: Source, error: BodyConsumedError) -> Answered:
    # A fault of the app: calling the signature wrong would send its developer to look for another secret.
    in_front = ", ".join(request.in_front())
    log.error(
        "%s for source %s: something in front of relay has read the body (%s), so its signature cannot be "
        "checked. Leave this path out there.%s",
        printable(f"{request.method} {request.path}", 200),
        source.name,
        error,
        f" In front of relay: {printable(in_front, 1000)}" if in_front else "",
    )
    return refusal(
        500,
        "body_consumed",
        "the app has read the body before relay could verify it",
        "the log of the app says what runs in front of relay",
    )


def _failed(outcome: Outcome | _Overran) -> Answered:
    # What went wrong is for the log: senders are told that it did.
    if isinstance(outcome, Retry):
        wait = _AGAIN if outcome.after is None else outcome.after
        # A handler that asks for time has no error; one that raised has.
        if outcome.firm:
            return _later(503, "not_now", "the event cannot be handled now", wait)
        return _later(500, "handler_failed", "the event could not be handled", wait)
    if isinstance(outcome, _Overran):
        return _later(503, "handler_timeout", "the event was not handled in time", _AGAIN)
    return refusal(500, "handler_failed", "the event could not be handled", "the log of the app says why")


def _later(status: int, code: str, message: str, wait: float) -> Answered:
    seconds = str(max(1, math.ceil(wait)))
    return replace(refusal(status, code, message, "try again"), headers=(("Retry-After", seconds),))


def _named(event: NewEvent) -> str:
    key = f" {event.idempotency_key}" if event.idempotency_key else ""
    return printable(f"{event.type}{key} from {event.capture.source}", 300)
