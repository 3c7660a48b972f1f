"""Why an event is as it is: how its signature verifies today, and which route takes it."""

from aiohttp import web
from pydantic import AliasPath, Field

from relay.actions.forward import ForwardOptions
from relay.api.events import EventHint, RuleProblems
from relay.api.resource import ApiRoute, ReasonSentence, Resource, TextOrNull, extend, make_shape
from relay.http import params
from relay.http.responses import get_relay, json_response
from relay.model.event import CapturedEvent, Verdict
from relay.pipeline.diagnosis import find_rule_problems
from relay.pipeline.routing import RouteMatch
from relay.providers.doctor import TriedVariant
from relay.services.relay import RunningRelay
from relay.transfer.records import VerificationStep


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
    hints: list[EventHint] = Field(validation_alias="findings")
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
async def verify_event(request: web.Request) -> web.Response:
    """Verify the signature again, with today's sources and secrets.

    Beside verdict, checks and hints the answer holds what was tried, the signature that each secret gives, and what
    the source's rules of today have against the request.
    """
    relay = get_relay(request)
    whole = await relay.store.events.get(params.parse_id(request))
    problems = await find_rule_problems(whole, relay.sources.by_name.get(whole.row.source))
    found = await relay.signature_doctor.diagnose(whole)
    return json_response(EventVerification.serialize(found, id=whole.id, complete=not found.cut, fields=problems))


@ApiRoute("GET", "/api/events/{id}/routes", {200: EventRoutes})
async def explain_routes(request: web.Request) -> web.Response:
    """Say which route takes an event, which does not, and why."""
    relay = get_relay(request)
    whole = await relay.store.events.get(params.parse_id(request))
    routes = [
        extend(
            match,
            source=match.route.sources or ("*",),
            signing=_describe_signing(relay, whole, match) if match.matched else {},
        )
        for match in relay.explain_routes(whole)
    ]
    return json_response(EventRoutes.serialize(routes=routes))


def _describe_signing(relay: RunningRelay, event: CapturedEvent, match: RouteMatch) -> dict[str, str]:
    """Return in words which signature each forward target of a route gets."""
    found = ((name, relay.config.targets[name].options) for name in match.route.targets)
    described = (
        (name, relay.describe_signing(event, options.sign))
        for name, options in found
        if isinstance(options, ForwardOptions)
    )
    return {name: text for name, text in described if text}
