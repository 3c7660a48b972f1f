"""The single path from a captured request to an event and its deliveries, and the extra steps of a live request.

Verify, answer a setup challenge, classify, validate, read status reports, plan deliveries: the same for live,
embedded, recovered and re-verified requests. Nothing is sent from here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from relay.errors import RelayError
from relay.model.admission import Answer
from relay.model.delivery import NewDelivery, Route, Target
from relay.model.event import Capture, CapturedEvent, EventOutcome, NewEvent, Source, Verdict, Verification
from relay.model.payload import LIGHT
from relay.model.secret import Secret
from relay.model.signals import DeliveryChanged, EventChanged, EventStored
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.pipeline.classify import (
    adopt_recognised_provider,
    attach_status_reports,
    classify_again,
    classify_event,
    verify,
)
from relay.pipeline.event_log import log_arrival, steps_are_logged
from relay.pipeline.large_bodies import LargeBodyTurns
from relay.pipeline.responses import (
    SenderResponse,
    build_challenge_response,
    build_error_response,
    build_rejection,
    build_response,
    build_unknown_message_response,
    build_validation_response,
)
from relay.pipeline.routing import plan_deliveries
from relay.pipeline.sync_response import (
    NO_RESPONSE,
    NoResponseError,
    PartialResponseError,
    SyncResponses,
    select_response_headers,
)
from relay.pipeline.validate import has_rules, validate_event
from relay.providers.challenge_answers import ChallengeOutcome, answer_challenge, build_challenge_event
from relay.store import Store
from relay.store.delivery_queue import AwaitedDelivery
from relay.store.new_events import StoredEvent, prepare_insert

log = logging.getLogger(__name__)

ResponseCallback = Callable[[SenderResponse | BaseException], None]

_MAX_INLINE_BODY = 8 * 1024  # bytes of a body that is validated on the event loop: takes at most 5 ms


@dataclass(frozen=True, slots=True)
class Routing:
    """The routes in order, and the targets by name."""

    routes: tuple[Route, ...]
    targets: Mapping[str, Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredFacts:
    """What a provider's API states about an event it sent before: its key, its time, how far it is verified."""

    key: str
    sent_at: datetime
    verification: Verification


@dataclass(slots=True)
class ProcessedRequest:
    """The result of processing a request; `source` has the answer of the recognised provider, if any."""

    source: Source
    event: NewEvent
    deliveries: tuple[NewDelivery, ...] = ()
    challenge: ChallengeOutcome | None = None


async def process_request(
    source: Source,
    capture: Capture,
    urls: tuple[str, ...],
    routing: Routing,
    *,
    sample: bool = False,
    stored: CapturedEvent | None = None,
    recovered: RecoveredFacts | None = None,
) -> ProcessedRequest:
    """Return the event of a request and its deliveries; nothing is stored or sent.

    `urls` are the addresses that the sender may have signed. `stored` is the event a request became when it could
    not be verified: its names, its status and its validation stay. Slow steps run in a thread, and the
    body is parsed at most once.
    """
    validates = stored is None and has_rules(source)
    if capture.payload.is_heavy:
        await asyncio.to_thread(capture.payload.load, strict=validates and source.admission.schema is not None)
    processed = _classify(source, capture, urls, sample=sample, stored=stored, recovered=recovered)
    if validates and len(capture.body) > _MAX_INLINE_BODY:
        await asyncio.to_thread(_validate, processed)
    elif validates:
        _validate(processed)
    return _finish(processed, routing, stored, recovered)


def takes_long(source: Source, body: int) -> bool:
    """Return whether processing a plain body of that many bytes may take longer than a few milliseconds."""
    return body > (_MAX_INLINE_BODY if has_rules(source) else LIGHT)


def process_at_once(
    source: Source, capture: Capture, urls: tuple[str, ...], routing: Routing, *, sample: bool
) -> ProcessedRequest:
    """Return the result of `process_request` for a live request that does not take long."""
    processed = _classify(source, capture, urls, sample=sample)
    _validate(processed)
    return _finish(processed, routing)


def _classify(
    source: Source,
    capture: Capture,
    urls: tuple[str, ...],
    *,
    sample: bool,
    stored: CapturedEvent | None = None,
    recovered: RecoveredFacts | None = None,
) -> ProcessedRequest:
    if stored is None and source.admission.schema is not None:
        capture.payload.load(strict=True)
    if recovered is None:
        capture, verification = verify(source, capture, urls, capture.received_at)
        challenge = answer_challenge(source, capture, verification, capture.received_at)
        if challenge is not None:
            event = build_challenge_event(source, capture, challenge)
            event = event if stored is None else replace(event, status=stored.row.status)
            return ProcessedRequest(source, event, challenge=challenge)
    else:
        verification = recovered.verification
    if stored is not None:
        return ProcessedRequest(source, classify_again(source, replace(stored, capture=capture), verification))
    source = adopt_recognised_provider(source, capture)
    return ProcessedRequest(source, classify_event(source, capture, verification, sample=sample))


def _validate(processed: ProcessedRequest) -> None:
    if processed.challenge is None and has_rules(processed.source):
        processed.event = validate_event(processed.source, processed.event)


def _finish(
    processed: ProcessedRequest,
    routing: Routing,
    stored: CapturedEvent | None = None,
    recovered: RecoveredFacts | None = None,
) -> ProcessedRequest:
    source = processed.source
    if processed.challenge is None:
        event = processed.event if recovered is None else _mark_recovered(processed.event, recovered)
        processed.event = attach_status_reports(event, source)
    elif not source.deliver_handshakes:
        return processed
    processed.deliveries = _plan(processed.event, routing, source, stored)
    return processed


def _mark_recovered(event: NewEvent, facts: RecoveredFacts) -> NewEvent:
    return replace(
        event,
        # The provider's own id prevents a second run from storing it twice.
        idempotency_key=event.idempotency_key or facts.key,
        claims_key=True,
        status=0,
        recovered=True,
        sent_at=facts.sent_at,
        unless_known=True,
    )


def _plan(event: NewEvent, routing: Routing, source: Source, stored: CapturedEvent | None) -> tuple[NewDelivery, ...]:
    if stored is not None:
        # A stored event is forwarded only once it verifies, or if its source accepts unverified events.
        if event.verification.verdict not in (Verdict.VERIFIED, Verdict.INVALID):
            return ()
        if event.type == "handshake" and not source.deliver_handshakes:
            return ()
    return plan_deliveries(event, routing.routes, routing.targets)


def publish_stored(bus: Bus, stored: StoredEvent) -> None:
    """Announce a new event, its deliveries, and the messages whose status it changed."""
    bus.publish(EventStored(stored.id, stored.deliveries, stored.awaited is not None, stored.build_row))
    for delivery, new in zip(stored.deliveries, stored.planned, strict=True):
        bus.publish(DeliveryChanged(delivery, stored.id, "pending", target=new.target))
    for moved in stored.moved:
        bus.publish(moved)


class Pipeline:
    """Receives live requests: processes, stores and announces them, and builds the responses to their senders."""

    def __init__(self, store: Store, bus: Bus, routing: Routing, sync_responses: SyncResponses) -> None:
        self._store, self._bus, self._routing = store, bus, routing
        self._sync_responses = sync_responses
        self._large_bodies = LargeBodyTurns()

    async def receive(self, capture: Capture, source: Source, urls: tuple[str, ...], *, sample: bool) -> SenderResponse:
        """Process, store and announce one request; on return it is on disk.

        `urls` are the addresses that the sender may have signed. Raises StoreError if it could not be stored.
        """
        async with self._large_bodies.take_turn(len(capture.body)):
            processed = await process_request(source, capture, urls, self._routing, sample=sample)
            awaited = _find_response_target(processed) if processed.source.answer.mode == "wait" else ""
            stored = await self._store_event(processed.event, processed.deliveries, awaited)
        response = self._respond(processed, stored)
        if stored.awaited is None or processed.challenge or processed.event.problems or stored.unknown:
            return response
        return await self._wait(processed.source.answer, response, stored.awaited, stored.id)

    def receive_at_once(
        self, capture: Capture, source: Source, urls: tuple[str, ...], answer: ResponseCallback, *, sample: bool
    ) -> None:
        """Do what `receive` does for a request that neither takes long nor waits for a target's answer.

        `answer` is called when the event is on disk, or with the error.
        """
        processed = process_at_once(source, capture, urls, self._routing, sample=sample)

        def on_stored(stored: StoredEvent | None, error: BaseException | None) -> None:
            if stored is None:
                answer(error or RuntimeError("the store gave no event"))
                return
            try:
                publish_stored(self._bus, stored)
                response = self._respond(processed, stored)
            except Exception as failure:  # noqa: BLE001 - whatever was raised is answered and logged
                answer(failure)
            else:
                answer(response)

        self._store.events.add_nowait(prepare_insert(processed.event, processed.deliveries), on_stored)

    def _respond(self, processed: ProcessedRequest, stored: StoredEvent) -> SenderResponse:
        source, event = processed.source, processed.event
        if steps_are_logged():
            log_arrival(stored.id, event, stored.outcome, self._routing.routes, stored.duplicate_of)
        if event.problems:
            return build_validation_response(event, stored.id)
        if stored.unknown:
            return build_unknown_message_response(stored.unknown, stored.id)
        answer = (
            source.answer.to_request(event.capture.content_type)
            if source.answer.form_body is not None
            else source.answer
        )
        response = build_response(answer, event.status, stored.id, stored.outcome)
        if processed.challenge is not None:
            return _answer_challenge(processed, processed.challenge, stored.id, response)
        return response

    async def _store_event(
        self, event: NewEvent, deliveries: tuple[NewDelivery, ...] = (), answerer: str = ""
    ) -> StoredEvent:
        stored = await self._store.events.add(event, deliveries, answerer=answerer)
        publish_stored(self._bus, stored)
        return stored

    async def _wait(
        self, answer: Answer, default: SenderResponse, awaited: AwaitedDelivery, id_: int
    ) -> SenderResponse:
        """Return the target's response; 202 if there is none in time, 502 if there will never be one.

        A handler that returned nothing has succeeded: the source's own response is used.
        """
        try:
            response = await self._sync_responses.answer(awaited, answer.timeout)
        except NoResponseError as error:
            hint = "the dashboard of relay says why" if error.final else "send it again"
            answered = replace(
                build_error_response(502, "not_delivered", "the target gave no answer", hint), event_id=id_
            )
        except PartialResponseError as error:
            log.warning("event %d was answered with 502: the target's answer is %s", id_, error.reason)
            answered = replace(
                build_error_response(502, "answer_incomplete", f"the target's answer is {error.reason}"), event_id=id_
            )
        else:
            if response is None:
                answered = replace(default, status=202)
            elif response is NO_RESPONSE:
                return default
            else:
                type_, headers = select_response_headers(response.headers)
                answered = replace(
                    default, status=response.status, body=response.body, content_type=type_, headers=headers
                )
        await self._note_status(id_, answered.status)
        return answered

    async def _note_status(self, id_: int, status: int) -> None:
        try:
            await self._store.events.answered(id_, status)
        except (RelayError, TimeoutError):
            log.warning("event %d was answered with %d, which could not be written down", id_, status)
        self._bus.publish(EventChanged(id_))

    async def refuse_loop(self, capture: Capture, source: Source) -> SenderResponse:
        """Store a forward that came back, so that it is visible, and answer 508."""
        verification = Verification(verdict=Verdict.UNCHECKED, reason="loop")
        event = replace(
            classify_event(source, capture, verification, sample=False),
            outcome=EventOutcome.REJECTED,
            status=508,
            reason="loop",
            claims_key=False,
        )
        await self._store_event(event)
        return build_error_response(508, "loop", "this request was forwarded by relay and came back")


def _find_response_target(processed: ProcessedRequest) -> str:
    """Return the target whose response goes to the sender: the first forward target, else the first handler."""
    if processed.challenge is not None:
        return ""
    targets = (new.target for action in ("forward", "handler") for new in processed.deliveries if new.action == action)
    return next(targets, "")


def _answer_challenge(
    processed: ProcessedRequest, challenge: ChallengeOutcome, id_: int, default: SenderResponse
) -> SenderResponse:
    reply = challenge.reply
    if reply is None:
        return build_rejection(challenge.status, id_)
    if reply.todo:
        log.warning("event %d for %s is a handshake: %s", id_, processed.source.name, processed.event.summary)
    offered = Secret(f"handshake {id_}", reply.offered) if reply.offered else None
    if reply.body is None:
        return replace(default, offered=offered)
    return replace(build_challenge_response(reply, reply.body), event_id=id_, offered=offered)
