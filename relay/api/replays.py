"""Replays: one event with edits, and many at once in a batch that runs by itself."""

from base64 import b64decode
from dataclasses import replace
from typing import Annotated, Any, Literal

from multidict import MultiMapping
from pydantic import AfterValidator, BeforeValidator, Field

from relay.api.resource import (
    Answer,
    ApiRequest,
    ApiRoute,
    Refusal,
    Resource,
    TextOrNull,
    Timestamp,
    default_to,
    make_shape,
)
from relay.delivery.replay import warn_of_forgery
from relay.errors import UsageError
from relay.model.batch import INCLUDABLE_OUTCOMES, BatchCounts, BatchState, NewBatch
from relay.model.body_edit import edit_body
from relay.model.delivery import DeliveryChanges, SignMode
from relay.model.event import Capture, EventOutcome, Headers
from relay.model.event_json import Json
from relay.model.parameters import parse_limit
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_INCLUDABLE = ", ".join(INCLUDABLE_OUTCOMES)

SignChoice = Annotated[
    SignMode,
    Field(strict=False),
    default_to(SignMode.AUTO),
    Refusal("sign cannot be {value}", "use auto, original or fresh"),
]


def _parse_headers(value: object) -> Headers | None:
    if value is None:
        return None
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise UsageError("headers must be a list of [name, value] pairs or an object", hint="")
    return tuple(_parse_header(pair) for pair in pairs)


def _parse_header(pair: object) -> tuple[str, str]:
    match pair:
        case [str(name), str(value)] | (str(name), str(value)):
            # On the wire a header is bytes: text beyond ASCII goes out as UTF-8.
            return name, value.encode("utf-8", "replace").decode("latin-1")
    raise UsageError("headers must be pairs of name and value, both text", hint='write ["X-Env", "dev"]')


HeaderEdits = Annotated[Headers | None, BeforeValidator(_parse_headers)]


class ReplayRequest(ApiRequest):
    """Where to send an event again, and how it differs; `set` changes fields by path. A `dry_run` sends nothing."""

    url: str | None = None
    target: str | None = None
    sign: SignChoice = SignMode.AUTO
    headers: HeaderEdits = None
    set_headers: HeaderEdits = None
    remove_headers: Annotated[
        list[str], default_to([]), Refusal("remove_headers must be a list of names", 'send ["X-Debug"]')
    ] = Field(default_factory=list)
    method: str | None = None
    path: str | None = None
    query: str | None = None
    body: str | None = None
    body_base64: str | None = None
    set: Annotated[
        dict[str, Any], default_to({}), Refusal("set must map paths to values", 'send {"data.object.amount": 500}')
    ] = Field(default_factory=dict)
    dry_run: bool | None = None


def _check_outcomes(names: list[str]) -> list[str]:
    strange = next((name for name in names if name not in INCLUDABLE_OUTCOMES), None)
    if strange is not None:
        raise UsageError(f"include cannot hold {escape_unprintable(strange, 40)!r}", hint=f"use {_INCLUDABLE}")
    return names


class StartedReplay(Resource):
    """The delivery that was made; a `warning` where its signature is one that the sender never made."""

    delivery: int
    warning: str = ""


class ReplayPlan(Resource):
    """What a replay that can be made would go to."""

    dry_run: Literal[True]
    target: str


class BulkReplayRequest(ApiRequest):
    """Which events to send again, where, and how fast (deliveries a second). With `dry_run` nothing is sent."""

    q: Annotated[str, Refusal("q is missing", 'send {"q": "has:failed"}; "" means every event')]
    sign: SignChoice = SignMode.AUTO
    target: str | None = None
    rate: Annotated[
        float | None,
        Field(ge=0.01, le=10_000),
        Refusal("rate must be a number of deliveries a second", 'send {"rate": 5}'),
    ] = None
    stop_on_failure: bool | None = None
    include: Annotated[
        list[str],
        default_to([]),
        AfterValidator(_check_outcomes),
        Refusal("include must be a list", f"send any of {_INCLUDABLE}"),
    ] = Field(default_factory=list)
    dry_run: bool | None = None


class ResumeRequest(ApiRequest):
    """Whether a batch that goes on stops at the next failure; null leaves that as it was."""

    stop_on_failure: bool | None = None


class LeftOutEvents(Resource):
    """How many events a bulk replay leaves out, and why."""

    outcome: EventOutcome
    reason: TextOrNull
    sentence: str
    words: str
    count: int


class TargetDeliveries(Resource):
    """How many deliveries a target gets."""

    name: str
    count: int


class BulkReplayPlan(Resource):
    """What a bulk replay would do."""

    dry_run: Literal[True]
    count: int
    events: int
    skipped: int
    left_out: list[LeftOutEvents]
    targets: list[TargetDeliveries]
    oldest: Timestamp | None
    newest: Timestamp | None


class BulkReplaySummary(Resource):
    """A bulk replay as lists have it."""

    id: int
    q: str = Field(validation_alias="query")
    target: str | None
    sign: SignMode
    rate: float | None
    stop_on_failure: bool
    state: BatchState
    detail: str
    created_at: Timestamp
    finished_at: Timestamp | None
    total: int


class BulkReplayDetail(BulkReplaySummary):
    """A bulk replay with how far it is."""

    counts: BatchCounts


class StartedBulkReplay(BulkReplayDetail):
    """A bulk replay that has begun."""

    left_out: list[LeftOutEvents]


BulkReplayList = make_shape("BulkReplayList", "The newest bulk replays.", replays=list[BulkReplaySummary])


@ApiRoute("POST", "/api/events/{id}/replay", {200: ReplayPlan, 202: StartedReplay}, ReplayRequest)
async def replay_event(relay: RunningRelay, id_: int, call: ReplayRequest) -> Answer:
    """Send an event again to a target or a URL, with edits."""
    to = call.url or call.target
    if call.url and call.target:
        raise UsageError("target and url cannot be combined", hint="send one of them")
    if not to:
        raise UsageError("a replay needs a target or a url", hint='send {"target": "app"}')
    event = await relay.store.events.get(id_)
    headers = _edit_headers(call, event.capture)
    edited = event.capture if headers is None else replace(event.capture, headers=headers)
    changes = DeliveryChanges(
        sign=call.sign,
        method=call.method,
        path=call.path,
        query=call.query,
        headers=headers,
        body=_edit_body(call, edited),
    )
    if call.dry_run:
        planned = await relay.replays.prepare_replay(id_, to, changes)
        return ReplayPlan.serialize(dry_run=True, target=planned.target)
    answer: Json = {"delivery": await relay.replays.replay_event(id_, to, changes)}
    if warning := warn_of_forgery(event.row, changes.sign):
        answer["warning"] = warning
    return answer, 202


def _edit_headers(call: ReplayRequest, capture: Capture) -> Headers | None:
    new, removed = call.set_headers or (), {name.lower() for name in call.remove_headers}
    if not new and not removed:
        return call.headers
    kept = [pair for pair in call.headers or capture.headers if pair[0].lower() not in removed]
    for lower in dict.fromkeys(name.lower() for name, _ in new):
        place = next((at for at, pair in enumerate(kept) if pair[0].lower() == lower), len(kept))
        kept = [pair for pair in kept if pair[0].lower() != lower]
        kept[place:place] = [pair for pair in new if pair[0].lower() == lower]
    return tuple(kept)


def _edit_body(call: ReplayRequest, capture: Capture) -> bytes | None:
    if call.body is not None and call.body_base64 is not None:
        raise UsageError("body and body_base64 cannot be combined", hint="send one of them")
    new = None if call.body is None else call.body.encode("utf-8", "surrogatepass")
    if call.body_base64 is not None:
        try:
            new = b64decode(call.body_base64, validate=True)
        except ValueError as error:
            raise UsageError("body_base64 is not base64", hint="use the standard alphabet and padding") from error
    content_type = capture.header("Content-Type") or ""
    return edit_body(capture.body if new is None else new, content_type, call.set) if call.set else new


@ApiRoute("POST", "/api/replays", {200: BulkReplayPlan, 202: StartedBulkReplay}, BulkReplayRequest)
async def start_replay(relay: RunningRelay, call: BulkReplayRequest) -> Answer:
    """Replay all events that a query matches: the plan of a dry run, or the batch begun."""
    new = NewBatch(
        query=call.q,
        target=call.target or None,
        sign=call.sign,
        rate=call.rate,
        stop_on_failure=call.stop_on_failure or False,
        include=frozenset(EventOutcome(outcome) for outcome in call.include),
    )
    bulk = relay.bulk_replays
    plan = await bulk.plan(new)
    if call.dry_run:
        return BulkReplayPlan.serialize(
            plan,
            dry_run=True,
            count=len(plan.steps),
            events=len({step.event_id for step in plan.steps}),
            targets=[{"name": name, "count": count} for name, count in plan.targets.items()],
        )
    begun, counts = await bulk.progress((await bulk.start(new, plan)).id)
    return StartedBulkReplay.serialize(begun, counts=counts, left_out=plan.left_out), 202


@ApiRoute("GET", "/api/replays", {200: BulkReplayList}, query="limit")
async def list_replays(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """List bulk replays, newest first."""
    found = await relay.store.batches.page(parse_limit(query))
    return BulkReplayList.serialize(replays=found)


@ApiRoute("GET", "/api/replays/{id}", {200: BulkReplayDetail})
async def get_replay(relay: RunningRelay, id_: int) -> Answer:
    """Show how far a bulk replay is."""
    return await _serialize_batch(relay, id_)


@ApiRoute("POST", "/api/replays/{id}/cancel", {200: BulkReplayDetail})
async def cancel_replay(relay: RunningRelay, id_: int) -> Answer:
    """Stop a bulk replay."""
    await relay.bulk_replays.cancel(id_)
    return await _serialize_batch(relay, id_)


@ApiRoute("POST", "/api/replays/{id}/resume", {202: BulkReplayDetail}, ResumeRequest)
async def resume_replay(relay: RunningRelay, id_: int, call: ResumeRequest) -> Answer:
    """Let a bulk replay go on where it was."""
    await relay.bulk_replays.resume(id_, stop_on_failure=call.stop_on_failure)
    return await _serialize_batch(relay, id_)


async def _serialize_batch(relay: RunningRelay, id_: int) -> Json:
    batch, counts = await relay.bulk_replays.progress(id_)
    return BulkReplayDetail.serialize(batch, counts=counts)
