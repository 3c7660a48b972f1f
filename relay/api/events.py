"""Events: listed, shown whole, annotated and deleted, with how each verifies today and where it is routed."""

from typing import Annotated

from aiohttp import web
from multidict import MultiMapping
from pydantic import AliasPath, BeforeValidator, Field

from relay.actions.forward import ForwardOptions
from relay.api.resource import (
    Answer,
    ApiRequest,
    ApiRoute,
    EncodedBody,
    HeaderPairs,
    ReasonSentence,
    Resource,
    TextOrNull,
    Timestamp,
    extend,
    make_shape,
)
from relay.delivery.signing import describe_signing
from relay.model.event import CapturedEvent, EventOutcome, Verdict
from relay.model.event_json import Json, serialize_problem
from relay.model.signals import EventChanged
from relay.model.text import escape_unprintable
from relay.pipeline.diagnosis import find_rule_problems
from relay.pipeline.routing import RouteMatch, find_failed_routes
from relay.providers.doctor import TriedVariant
from relay.providers.doctor.case import SignatureFinding
from relay.services import answers
from relay.services.answers import needs_diagnosis
from relay.services.relay import RunningRelay
from relay.transfer.records import VerificationStep


class DeliveriesByState(Resource):
    """How many deliveries of an event stand where."""

    pending: int
    running: int
    succeeded: int
    failed: int


class EventSummary(Resource):
    """An event as lists and the stream have it."""

    id: int
    received_at: Timestamp
    source: str
    provider: str
    type: str
    types: list[str]
    item_count: int
    idempotency_key: str | None
    outcome: EventOutcome
    verdict: Verdict
    reason: str | None
    reason_sentence: str | None
    method: str
    path: str
    query: str
    content_type: str
    size: int
    sha256: str
    remote: str
    status: int | None
    duplicate_of: int | None
    pinned: bool
    note: str
    sample: bool
    summary: str
    recovered: bool
    sent_at: Timestamp | None
    deliveries: DeliveriesByState


class EventListing(Resource):
    """A page of events, newest first. `searched_to` says how far back a search came that ran out of time."""

    events: list[EventSummary]
    next_before: int | None
    searched_to: Timestamp = ""


# What a source's rules have against a request: `field`, `message`, `code`, and `pointer` to a field of the body.
RuleProblems = list[Annotated[dict[str, str], BeforeValidator(serialize_problem)]]


class EventHint(Resource):
    """Why a signature failed or a route was not taken; `line` is what to copy, "" for none."""

    cause: str
    title: str
    sentence: str
    fix: str
    line: str


class DecodedBody(Resource):
    """A body that came packed or in another charset. `text` is null for bytes, `problem` says what stopped it."""

    encodings: list[str]
    problem: str
    text: str | None


class WholeEvent(EventSummary):
    """An event whole."""

    url: str
    target: str
    headers: HeaderPairs
    body: EncodedBody
    checks: list[VerificationStep]
    fields: RuleProblems
    hints: list[EventHint]
    delivery_ids: list[int]
    decoded: DecodedBody | None


DeletedEvent = make_shape("DeletedEvent", "What was deleted.", deleted=int)


class EventAnnotation(ApiRequest):
    """A change of the pin and the note; what is null stays."""

    pinned: bool | None = None
    note: Annotated[str | None, Field(max_length=10_000)] = None


@ApiRoute("GET", "/api/events", {200: EventListing}, query="q limit before after")
async def list_events(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """List events, newest first."""
    return await answers.list_events(relay.store, query, relay.clock.now())


@ApiRoute("GET", "/api/events/{id}", {200: WholeEvent})
async def get_event(relay: RunningRelay, id_: int) -> Answer:
    """Show one event with headers, body, checks, hints and deliveries."""

    async def find_hints(event: CapturedEvent) -> list[Json]:
        found = (await relay.signature_doctor.diagnose(event)).findings if needs_diagnosis(event) else ()
        failed = find_failed_routes(event, relay.config.routes)
        return [*map(serialize_finding, found), *map(_make_condition_hint, failed)]

    return await answers.load_event(relay.store, id_, find_hints)


def serialize_finding(finding: SignatureFinding) -> Json:
    """Return why a signature failed, as a hint."""
    return {
        "cause": finding.cause,
        "title": escape_unprintable(finding.title),
        "sentence": escape_unprintable(finding.sentence),
        "fix": escape_unprintable(finding.fix),
        "line": finding.line,
    }


def _make_condition_hint(match: RouteMatch) -> Json:
    """Return, in the form of a hint, that a route's condition raised."""
    return {
        "cause": "condition_failed",
        "title": "A route's condition failed",
        "sentence": f"The route to {', '.join(match.route.targets)} was not taken: its condition "
        f"{match.route.when} raised {match.problem}.",
        "fix": "Guard what may be missing: payload.data is defined and …, or give the route a narrower type.",
        "line": "",
    }


@ApiRoute("GET", "/api/events/{id}/body", {200: "application/octet-stream"})
async def get_body(event: CapturedEvent) -> web.Response:
    """Return the exact bytes of an event's body, never as something a browser would run."""
    return web.Response(
        body=event.capture.body,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="event-{event.id}.bin"',
        },
    )


@ApiRoute("DELETE", "/api/events/{id}", {200: DeletedEvent})
async def delete_event(relay: RunningRelay, id_: int) -> Answer:
    """Delete an event."""
    await relay.store.events.delete(id_)
    relay.bus.publish(EventChanged(id_))
    return {"deleted": id_}


@ApiRoute("PATCH", "/api/events/{id}", {200: WholeEvent}, EventAnnotation)
async def annotate_event(relay: RunningRelay, id_: int, call: EventAnnotation) -> Answer:
    """Pin an event or write a note to it."""
    note = None if call.note is None else call.note.encode("utf-8", "replace").decode()
    await relay.store.events.annotate(id_, pinned=call.pinned, note=note)
    relay.bus.publish(EventChanged(id_))
    return await get_event(relay, id_)


class SecretComparison(Resource):
    """The signature that one secret gives, null where only the provider could make it; `ends` is the secret's end."""

    secret: str
    signature: str | None = Field(validation_alias="expected")
    matches: bool
    ends: str = Field(validation_alias="tail")


class EventVerification(Resource):
    """How an event verifies today, with the signatures: for the person who asks, never for an export."""

    id: int
    verdict: Verdict = Field(validation_alias=AliasPath("verification", "verdict"))
    reason: TextOrNull = Field(validation_alias=AliasPath("verification", "reason"))
    reason_sentence: ReasonSentence = Field(validation_alias=AliasPath("verification", "reason"))
    checks: list[VerificationStep] = Field(validation_alias=AliasPath("verification", "checks"))
    hints: list[EventHint]
    received: list[str]
    expected: list[SecretComparison] = Field(validation_alias="compared")
    tried: list[TriedVariant]
    complete: bool
    fields: RuleProblems


class RouteExplanation(Resource):
    """Whether a route takes an event, and why; `signing` says which signature each forward target gets."""

    source: list[str]
    events: list[str] = Field(validation_alias=AliasPath("route", "events"))
    when: str = Field(validation_alias=AliasPath("route", "when"))
    to: list[str] = Field(validation_alias=AliasPath("route", "targets"))
    matched: bool
    why: str
    problem: str
    signing: dict[str, str]


EventRoutes = make_shape("EventRoutes", "Every route, in the order of relay.toml.", routes=list[RouteExplanation])


@ApiRoute("POST", "/api/events/{id}/verify", {200: EventVerification})
async def verify_event(relay: RunningRelay, event: CapturedEvent) -> Answer:
    """Verify the signature again, with today's sources and secrets.

    Beside verdict, checks and hints the answer holds what was tried, the signature that each secret gives, and what
    the source's rules of today have against the request.
    """
    problems = await find_rule_problems(event, relay.sources.by_name.get(event.row.source))
    found = await relay.signature_doctor.diagnose(event)
    return EventVerification.serialize(
        found, id=event.id, hints=list(map(serialize_finding, found.findings)), complete=not found.cut, fields=problems
    )


@ApiRoute("GET", "/api/events/{id}/routes", {200: EventRoutes})
async def explain_routes(relay: RunningRelay, event: CapturedEvent) -> Answer:
    """Describe which route takes an event, which does not, and why."""
    routes = [
        extend(
            match,
            source=match.route.sources or ("*",),
            signing=_describe_signing(relay, event, match) if match.matched else {},
        )
        for match in relay.explain_routes(event)
    ]
    return EventRoutes.serialize(routes=routes)


def _describe_signing(relay: RunningRelay, event: CapturedEvent, match: RouteMatch) -> dict[str, str]:
    """Return in words which signature each forward target of a route gets."""
    found = ((name, relay.config.targets[name].options) for name in match.route.targets)
    source = relay.sources.named(event.row.source)
    described = (
        (name, describe_signing(event, source, options.sign))
        for name, options in found
        if isinstance(options, ForwardOptions)
    )
    return {name: text for name, text in described if text}
