"""Capture -> verify -> shake hands -> identify -> owe -> store -> say so: what happens before a sender is answered."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from relay.bus import Bus
from relay.clock import Clock
from relay.errors import RelayError
from relay.model.delivery import NewDelivery, Route, Target, listed
from relay.model.event import (
    Answer,
    Capture,
    EventOutcome,
    Headers,
    NewEvent,
    SignatureScheme,
    Source,
    Verdict,
    Verification,
    VerifyMode,
)
from relay.model.payload import Payload
from relay.model.secret import Secret
from relay.model.signals import DeliveryChanged, EventChanged, EventStored
from relay.model.text import printable
from relay.providers.catalogue import recognise
from relay.providers.handshake import Handshake, introduce, shake
from relay.replies import Replies, passed_on
from relay.routing import owe
from relay.store import Store
from relay.store.incoming import Stored

log = logging.getLogger(__name__)

_JSON = "application/json"
_TYPE_LENGTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the sender gets: status, body, content type and further headers.

    `offered` is a secret that the sender gave relay in a handshake.
    """

    status: int
    body: bytes
    content_type: str = _JSON
    event_id: int | None = None
    headers: Headers = ()
    offered: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    outcome: EventOutcome
    status: int
    reason: str


class Ingest:
    """Takes captures in. Nothing is sent from here: what matches is only owed, and perhaps waited for."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        clock: Clock,
        routes: tuple[Route, ...],
        targets: Mapping[str, Target],
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._routes = routes
        self._targets = targets
        self._replies = Replies(store, bus)

    async def receive(
        self, capture: Capture, source: Source, others: tuple[str, ...], *, sample: bool
    ) -> Answered:
        """Judge, keep and announce one request; on return it is on disk.

        `others` are addresses besides `capture.url` that the sender may believe it called. Raises
        StoreError when it could not be kept.
        """
        capture, verification = verify(source, capture, others, capture.received_at)
        handshake = shake(source, capture, verification, capture.received_at)
        if handshake is not None:
            return await self._shake(source, capture, handshake)
        event = identify(recognised(source, capture), capture, verification, sample=sample)
        owed = owe(event, self._routes, self._targets)
        stored = await self._keep(event, owed)
        given = answer(source.answer, event.status, stored.id, stored.outcome)
        if source.answer.mode == "wait" and stored.deliveries:
            return await self._wait(source.answer, given, owed, stored)
        return given

    async def _keep(self, event: NewEvent, owed: tuple[NewDelivery, ...] = ()) -> Stored:
        stored = await self._store.events.add(event, owed)
        self._bus.publish(EventStored(stored.id))
        for delivery in stored.deliveries:
            self._bus.publish(DeliveryChanged(delivery, stored.id, "pending"))
        return stored

    async def _wait(
        self, wanted: Answer, given: Answered, owed: tuple[NewDelivery, ...], stored: Stored
    ) -> Answered:
        """Return the answer of the first target that is forwarded to; 202 when it gives none in time."""
        pairs = zip(owed, stored.deliveries, strict=True)
        forward = next((id_ for new, id_ in pairs if new.action == "forward"), None)
        if forward is None:
            return given
        response = await self._replies.first(forward, wanted.timeout)
        if response is None:
            answered = replace(given, status=202)
        else:
            type_, headers = passed_on(response.headers)
            answered = replace(
                given, status=response.status, body=response.body, content_type=type_, headers=headers
            )
        await self._note_status(stored.id, answered.status)
        return answered

    async def _note_status(self, id_: int, status: int) -> None:
        try:
            await self._store.events.answered(id_, status)
        except (RelayError, TimeoutError):
            log.warning("event %d was answered with %d, which could not be written down", id_, status)
        self._bus.publish(EventChanged(id_))

    async def _shake(self, source: Source, capture: Capture, handshake: Handshake) -> Answered:
        event = introduce(source, capture, handshake)
        owed = owe(event, self._routes, self._targets) if source.deliver_handshakes else ()
        stored = await self._keep(event, owed)
        reply = handshake.reply
        if reply is None:
            return _rejected(handshake.status, stored.id)
        if reply.todo:
            log.warning("event %d for %s is a handshake: %s", stored.id, source.name, event.summary)
        offered = Secret(f"handshake {stored.id}", reply.offered) if reply.offered else None
        if reply.body is None:
            given = answer(source.answer, event.status, stored.id, stored.outcome)
            return replace(given, offered=offered)
        return Answered(
            status=reply.status,
            body=reply.body,
            content_type=reply.content_type,
            event_id=stored.id,
            # What is sent back is text of the caller's choice: no browser may take it for a page.
            headers=(("X-Content-Type-Options", "nosniff"), *reply.headers),
            offered=offered,
        )

    async def refuse_loop(self, capture: Capture, source: Source) -> Answered:
        """Keep a forward that came back, so that it can be seen, and tell its sender so."""
        verification = Verification(verdict=Verdict.UNCHECKED, reason="loop")
        event = replace(
            identify(source, capture, verification, sample=False),
            outcome=EventOutcome.REJECTED,
            status=508,
            reason="loop",
            claims_key=False,
        )
        await self._keep(event)
        return refusal(508, "loop", "this request was forwarded by relay and came back")


def verify(
    source: Source,
    capture: Capture,
    others: tuple[str, ...],
    now: datetime,
) -> tuple[Capture, Verification]:
    """Judge the signature against every address the sender may have called; pure."""
    if source.verify is VerifyMode.OFF:
        return capture, Verification(verdict=Verdict.UNCHECKED, reason="verification_off")
    if source.scheme is None:
        if source.configured:
            return capture, Verification(verdict=Verdict.UNSIGNED, reason="no_signature_expected")
        return capture, Verification(verdict=Verdict.UNCHECKED, reason="no_source")
    judged = capture, Verification(verdict=Verdict.UNCHECKED, reason="secret_missing")
    if source.secrets:
        judged = _judged(source.scheme, source.secrets, capture, others, now)
    if source.local is None or judged[1].verdict is Verdict.VERIFIED:
        return judged
    # What relay did not sign is told of as if relay had no key: the provider's is what counts then.
    own = _judged(source.local.scheme, (source.local.secret,), capture, others, now)
    return own if own[1].verdict is Verdict.VERIFIED else judged


def _judged(
    scheme: SignatureScheme,
    secrets: tuple[Secret, ...],
    capture: Capture,
    others: tuple[str, ...],
    now: datetime,
) -> tuple[Capture, Verification]:
    first = scheme.verify(secrets, capture, now)
    if first.verdict is Verdict.INVALID:
        for url in others:
            elsewhere = replace(capture, url=url)
            verification = scheme.verify(secrets, elsewhere, now)
            if verification.verdict is Verdict.VERIFIED:
                return elsewhere, verification
    return capture, first


def recognised(source: Source, capture: Capture) -> Source:
    """Return a source that nobody configured with the picks of the provider its headers tell of; pure.

    What it sends is named like that provider's events and stays unchecked.
    """
    provider = None if source.configured or source.scheme is not None else recognise(capture)
    if provider is None:
        return source
    return replace(
        source,
        provider=provider.name,
        event_type=provider.event_type,
        idempotency_key=provider.idempotency_key,
        summary=provider.summary,
    )


def identify(source: Source, capture: Capture, verification: Verification, *, sample: bool) -> NewEvent:
    """Name what arrived and decide what becomes of it; pure."""
    payload = Payload(capture.body, capture.content_type)
    type_ = source.event_type(capture, payload) if source.event_type else None
    key = source.idempotency_key(capture, payload) if source.idempotency_key else None
    summary = source.summary(capture, payload) if source.summary else None
    type_ = printable(type_ or "unknown", _TYPE_LENGTH)
    judgement = _judge(source, verification, type_, key)
    return NewEvent(
        capture=capture,
        provider=source.provider,
        type=type_,
        idempotency_key=printable(key, _TYPE_LENGTH) if key else None,
        claims_key=verification.trusted and judgement.outcome is not EventOutcome.REJECTED,
        deliver_duplicates=source.deliver_duplicates,
        outcome=judgement.outcome,
        verification=verification,
        reason=judgement.reason,
        status=judgement.status,
        sample=sample,
        summary=printable(summary or "", _TYPE_LENGTH),
    )


def _judge(source: Source, verification: Verification, type_: str, key: str | None) -> _Judgement:
    if not verification.trusted and source.verify is VerifyMode.ENFORCE:
        return _Judgement(outcome=EventOutcome.REJECTED, status=401, reason=verification.reason)
    if source.require_idempotency_key and key is None:
        return _Judgement(outcome=EventOutcome.REJECTED, status=400, reason="idempotency_key_missing")
    if not listed(type_, source.events):
        return _Judgement(
            outcome=EventOutcome.IGNORED, status=source.answer.status, reason="event_not_listed"
        )
    return _Judgement(outcome=EventOutcome.ACCEPTED, status=source.answer.status, reason=verification.reason)


def answer(configured: Answer, status: int, id_: int, outcome: EventOutcome) -> Answered:
    """Return what a stored event's sender gets."""
    if outcome is EventOutcome.REJECTED:
        return _rejected(status, id_)
    if configured.body is not None:
        return Answered(
            status=status, body=configured.body.encode(), content_type=configured.content_type, event_id=id_
        )
    # Written by hand: this is the hot path and json.dumps costs ten times as much.
    body = b'{"success": true, "event": %d, "outcome": "%s"}' % (id_, outcome.value.encode())
    return Answered(status=status, body=body, event_id=id_)


def _rejected(status: int, id_: int) -> Answered:
    # A refused sender learns nothing that would help a forger; the reason is for the dashboard.
    if status == 401:
        refused = refusal(
            401, "signature_not_valid", "signature not valid", "the dashboard of relay says why"
        )
    else:
        refused = refusal(
            status, "not_acceptable", "the request was not accepted", "the dashboard of relay says why"
        )
    return replace(refused, event_id=id_)


def refusal(status: int, code: str, message: str, hint: str = "") -> Answered:
    """Return an error in the form both ports use."""
    body = json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode()
    return Answered(status=status, body=body)
