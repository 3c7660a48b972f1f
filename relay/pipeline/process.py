"""Capture -> verify -> shake hands -> identify -> examine -> owe -> store -> say so, then answer."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from relay.bus import Bus
from relay.errors import RelayError
from relay.model.admission import Answer
from relay.model.delivery import NewDelivery, Route, Target
from relay.model.event import Capture, EventOutcome, NewEvent, Source, Verdict, Verification
from relay.model.secret import Secret
from relay.model.signals import DeliveryChanged, EventChanged, EventStored
from relay.pipeline.classify import adopt_recognised_provider, attach_status_reports, classify_event, verify
from relay.pipeline.event_log import log_arrival, steps_are_logged
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
from relay.store.new_events import StoredEvent

log = logging.getLogger(__name__)

_INLINE_BODY = 8 * 1024  # bytes of a body that are examined on the loop itself: five milliseconds at the most


class Pipeline:
    """Takes captures in. Nothing is sent from here: what matches is only owed, and perhaps waited for."""

    def __init__(
        self, store: Store, bus: Bus, routes: tuple[Route, ...], targets: Mapping[str, Target], replies: SyncResponses
    ) -> None:
        self._store = store
        self._bus = bus
        self._routes = routes
        self._targets = targets
        self._replies = replies

    async def receive(self, capture: Capture, source: Source, urls: tuple[str, ...], *, sample: bool) -> SenderResponse:
        """Judge, keep and announce one request; on return it is on disk.

        `urls` are the addresses that the sender may have signed. Raises StoreError when it could not be kept.
        """
        if capture.payload.is_heavy:
            await asyncio.to_thread(capture.payload.load)
        capture, verification = verify(source, capture, urls, capture.received_at)
        handshake = answer_challenge(source, capture, verification, capture.received_at)
        if handshake is not None:
            return await self._shake(source, capture, handshake)
        source = adopt_recognised_provider(source, capture)
        event = classify_event(source, capture, verification, sample=sample)
        if has_rules(source):
            event = await _validate_if_needed(source, event)
        event = attach_status_reports(event, source)
        owed = plan_deliveries(event, self._routes, self._targets)
        answerer = _find_response_target(owed) if source.answer.mode == "wait" else ""
        stored = await self._keep(event, owed, answerer)
        if steps_are_logged():
            log_arrival(stored.id, event, stored.outcome, self._routes, stored.duplicate_of)
        if event.problems:
            return build_validation_response(event, stored.id)
        if stored.unknown:
            return build_unknown_message_response(stored.unknown, stored.id)
        given = build_response(source.answer.to_request(capture.content_type), event.status, stored.id, stored.outcome)
        if stored.awaited is not None:
            return await self._wait(source.answer, given, stored.awaited, stored.id)
        return given

    async def _keep(self, event: NewEvent, owed: tuple[NewDelivery, ...] = (), answerer: str = "") -> StoredEvent:
        stored = await self._store.events.add(event, owed, answerer=answerer)
        self._bus.publish(EventStored(stored.id))
        for delivery in stored.deliveries:
            self._bus.publish(DeliveryChanged(delivery, stored.id, "pending"))
        for moved in stored.moved:
            self._bus.publish(moved)
        return stored

    async def _wait(self, wanted: Answer, given: SenderResponse, awaited: AwaitedDelivery, id_: int) -> SenderResponse:
        """Return the answer of the target; 202 when it gives none in time, 502 when it will never give one.

        A handler that returned nothing has done its work: the source's own answer stands.
        """
        try:
            response = await self._replies.answer(awaited, wanted.timeout)
        except NoResponseError:
            answered = replace(
                build_error_response(502, "not_delivered", "the target gave no answer", "send it again"), event_id=id_
            )
        except PartialResponseError as error:
            log.warning("event %d was answered with 502: the target's answer is %s", id_, error.reason)
            answered = replace(
                build_error_response(502, "answer_incomplete", f"the target's answer is {error.reason}"), event_id=id_
            )
        else:
            if response is None:
                answered = replace(given, status=202)
            elif response is NO_RESPONSE:
                return given
            else:
                type_, headers = select_response_headers(response.headers)
                answered = replace(
                    given, status=response.status, body=response.body, content_type=type_, headers=headers
                )
        await self._note_status(id_, answered.status)
        return answered

    async def _note_status(self, id_: int, status: int) -> None:
        try:
            await self._store.events.answered(id_, status)
        except (RelayError, TimeoutError):
            log.warning("event %d was answered with %d, which could not be written down", id_, status)
        self._bus.publish(EventChanged(id_))

    async def _shake(self, source: Source, capture: Capture, handshake: ChallengeOutcome) -> SenderResponse:
        event = build_challenge_event(source, capture, handshake)
        owed = plan_deliveries(event, self._routes, self._targets) if source.deliver_handshakes else ()
        stored = await self._keep(event, owed)
        if steps_are_logged():
            log_arrival(stored.id, event, stored.outcome, self._routes)
        reply = handshake.reply
        if reply is None:
            return build_rejection(handshake.status, stored.id)
        if reply.todo:
            log.warning("event %d for %s is a handshake: %s", stored.id, source.name, event.summary)
        offered = Secret(f"handshake {stored.id}", reply.offered) if reply.offered else None
        if reply.body is None:
            given = build_response(
                source.answer.to_request(capture.content_type), event.status, stored.id, stored.outcome
            )
            return replace(given, offered=offered)
        return replace(build_challenge_response(reply, reply.body), event_id=stored.id, offered=offered)

    async def refuse_loop(self, capture: Capture, source: Source) -> SenderResponse:
        """Keep a forward that came back, so that it can be seen, and tell its sender so."""
        verification = Verification(verdict=Verdict.UNCHECKED, reason="loop")
        event = replace(
            classify_event(source, capture, verification, sample=False),
            outcome=EventOutcome.REJECTED,
            status=508,
            reason="loop",
            claims_key=False,
        )
        await self._keep(event)
        return build_error_response(508, "loop", "this request was forwarded by relay and came back")


def _find_response_target(owed: tuple[NewDelivery, ...]) -> str:
    """Return the target whose answer goes to the sender: the first forwarded to, else the first handler."""
    targets = (new.target for action in ("forward", "handler") for new in owed if new.action == action)
    return next(targets, "")


async def _validate_if_needed(source: Source, event: NewEvent) -> NewEvent:
    if len(event.capture.body) <= _INLINE_BODY:
        return validate_event(source, event)
    return await asyncio.to_thread(validate_event, source, event)
