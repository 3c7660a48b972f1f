"""The delivery lab: begin a run of experiments, look at its report, end it."""

from typing import Annotated, Generic, Literal, TypeVar

from multidict import MultiMapping
from pydantic import AliasPath, BeforeValidator, Field

from relay.api.resource import (
    Answer,
    ApiRequest,
    ApiRoute,
    Milliseconds,
    Refusal,
    Resource,
    TextOrNull,
    Timestamp,
    extend,
    make_shape,
)
from relay.delivery.lab import EXPERIMENTS
from relay.errors import UsageError
from relay.model.event_json import Json
from relay.model.lab import LabFinding, LabReport, LabRun, LabState, NewLabRun
from relay.model.parameters import parse_limit, parse_number
from relay.services.answers import find_next_before
from relay.services.relay import RunningRelay

_MAX_INTEGER = 2**62
_MAX_NUMBER = 1e12  # beyond any number that means something here
_Number = Annotated[
    float | None,
    Field(ge=-_MAX_NUMBER, le=_MAX_NUMBER),
    Refusal("{name} must be a number", "leave {name} out for the usual one"),
]
_WholeNumber = Annotated[
    int | None,
    Field(gt=-_MAX_INTEGER, lt=_MAX_INTEGER),
    Refusal("{name} must be a whole number", "leave {name} out for the usual one"),
]
_EventId = Annotated[int, Field(gt=0, lt=_MAX_INTEGER)]
ExperimentT = TypeVar("ExperimentT")


class LabRequest(ApiRequest):
    """Which experiments to make, on which events, against what; `dry_run` answers the plan alone."""

    experiments: Annotated[
        list[str],
        BeforeValidator(lambda sent: [sent] if isinstance(sent, str) else sent),
        Field(min_length=1),
        Refusal("experiments must be a list of names", 'send {"experiments": ["duplicates"]}, or ["all"]'),
    ]
    url: str | None = None
    target: str | None = None
    q: str | None = None
    events: Annotated[
        list[_EventId] | None,
        Field(min_length=1),
        Refusal("events must be a list of event numbers", 'send {"events": [42, 43]}'),
    ] = None
    times: _WholeNumber = None
    seed: _WholeNumber = None
    delay: _Number = None
    speed: _Number = None
    compare: str | None = None
    dry_run: bool = False


class LabSettingsUsed(Resource):
    """What a run goes by; null numbers are each experiment's own."""

    q: TextOrNull = Field(validation_alias="query")
    events: list[int]
    target: str
    times: int | None = Field(validation_alias=AliasPath("settings", "times"))
    seed: int = Field(validation_alias=AliasPath("settings", "seed"))
    delay: float = Field(validation_alias=AliasPath("settings", "delay"))
    speed: float | None = Field(validation_alias=AliasPath("settings", "speed"))
    compare: str = Field(validation_alias=AliasPath("settings", "compare"))


class SkippedEvent(Resource):
    """Why an experiment cannot be made on an event."""

    event: int
    reason: str


SkippedEvents = Annotated[
    list[SkippedEvent], BeforeValidator(lambda pairs: [{"event": event, "reason": why} for event, why in pairs])
]


class PlannedExperiment(Resource):
    """An experiment as planned; `sends` is the most it makes."""

    name: str = Field(validation_alias="experiment")
    events: list[int]
    sends: int
    skipped: SkippedEvents
    notes: list[str]


class LabPlan(LabSettingsUsed):
    """What a run would do."""

    sends: int
    experiments: list[PlannedExperiment] = Field(validation_alias="trials")
    notes: list[str]
    dry_run: Literal[True]


class LabSends(Resource):
    """How many sends a run has planned, and has begun."""

    planned: int
    made: int


class LabRunShape(LabSettingsUsed, Generic[ExperimentT]):
    """A run and how far it is."""

    sends: LabSends
    experiments: list[ExperimentT] = Field(validation_alias="trials")
    notes: list[str]
    id: int
    state: LabState
    detail: str
    created_at: Timestamp
    finished_at: Timestamp | None


class LabSummary(LabRunShape[Annotated[str, BeforeValidator(lambda trial: trial.experiment)]]):
    """A run as lists have it, with the names of its experiments."""


class LatencyMilliseconds(Resource):
    """How long answers took."""

    least: Milliseconds
    median: Milliseconds
    p95: Milliseconds
    most: Milliseconds


class LabOrder(Resource):
    """One order of several events; `passed` is null until it is over."""

    number: int
    events: list[int]
    failed: list[int]
    original: bool
    passed: bool | None


class LabSendDetail(Resource):
    """One send of an experiment and its answer."""

    number: int = Field(validation_alias="place")
    round: Annotated[int, BeforeValidator(lambda index: index + 1)]
    role: str
    label: str
    event: int = Field(validation_alias="event_id")
    delivery: int | None = Field(validation_alias="delivery_id")
    attempt: int
    started_at: Timestamp | None
    took_ms: Milliseconds | None = Field(validation_alias="took")
    status: int | None
    detail: str
    answer: str = Field(validation_alias="said")
    delivered: bool | None = Field(validation_alias="good")
    differs: bool
    note: str


class ExperimentResult(Resource):
    """What one experiment of a run showed; `finding` is null until it is over."""

    name: str = Field(validation_alias=AliasPath("trial", "experiment"))
    events: list[int] = Field(validation_alias=AliasPath("trial", "events"))
    sends: list[LabSendDetail]
    skipped: SkippedEvents = Field(validation_alias=AliasPath("trial", "skipped"))
    notes: list[str] = Field(validation_alias=AliasPath("trial", "notes"))
    title: str
    finds: str
    finding: LabFinding | None = Field(validation_alias=AliasPath("verdict", "finding"))
    sentence: str = Field(validation_alias=AliasPath("verdict", "sentence"))
    advice: str = Field(validation_alias=AliasPath("verdict", "advice"))
    statuses: Annotated[dict[str, int], BeforeValidator(dict)]
    latency_ms: LatencyMilliseconds | None = Field(validation_alias="latency")
    at_once: int
    orders: list[LabOrder]
    planned_sends: int = Field(validation_alias=AliasPath("trial", "sends"))


class LabDetail(LabRunShape[ExperimentResult]):
    """A run with everything it showed."""

    finding: LabFinding | None


class KnownExperiment(Resource):
    """An experiment that can be made: what it finds, and what a good app does."""

    name: str
    title: str
    finds: str
    good: str


LabList = make_shape(
    "LabList",
    "A page of runs, newest first, with the experiments there are.",
    labs=list[LabSummary],
    next_before=int | None,
    experiments=list[KnownExperiment],
)


@ApiRoute("GET", "/api/labs", {200: LabList}, query="limit before")
async def list_labs(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """List runs of the lab, newest first, with what each experiment finds."""
    limit = parse_limit(query)
    found = await relay.store.labs.page(limit=limit, before=parse_number(query, "before", None))
    labs, next_before = [_extend_run(one) for one in found], find_next_before(found, limit)
    return LabList.serialize(labs=labs, next_before=next_before, experiments=list(EXPERIMENTS.values()))


@ApiRoute("POST", "/api/labs", {200: LabPlan, 202: LabDetail}, LabRequest)
async def start_lab(relay: RunningRelay, call: LabRequest) -> Answer:
    """Begin a run of the lab; the plan alone with `dry_run`."""
    if not call.events and "q" not in call.model_fields_set:
        raise UsageError("a run needs events", hint='send {"events": [42]}, or {"q": "type:invoice.*"}')
    new = NewLabRun(
        experiments=tuple(call.experiments),
        target=call.url or call.target,
        query=call.q or "",
        events=tuple(call.events or ()),
        times=call.times,
        seed=call.seed,
        delay=call.delay,
        speed=call.speed,
        compare=call.compare,
    )
    lab = relay.lab
    if call.dry_run:
        return {"dry_run": True} | LabPlan.serialize(await lab.plan(new), dry_run=True)
    begun = await lab.start(new)
    return _serialize_report(await lab.report(begun.id)), 202


@ApiRoute("GET", "/api/labs/{id}", {200: LabDetail})
async def get_lab(relay: RunningRelay, id_: int) -> Answer:
    """Show the report of a run so far."""
    return _serialize_report(await relay.lab.report(id_))


@ApiRoute("POST", "/api/labs/{id}/cancel", {200: LabDetail})
async def cancel_lab(relay: RunningRelay, id_: int) -> Answer:
    """End a run."""
    await relay.lab.cancel(id_)
    return _serialize_report(await relay.lab.report(id_))


def _extend_run(run: LabRun, **more: object) -> object:
    return extend(run, sends={"planned": run.sends, "made": run.made}, **more)


def _serialize_report(report: LabReport) -> Json:
    results = [
        extend(
            result,
            sends=[extend(one, differs=one.place in result.differing) for one in result.sends],
            orders=[extend(order, passed=not order.failed if order.over else None) for order in result.orders],
        )
        for result in report.results
    ]
    return LabDetail.serialize(_extend_run(report.run, trials=results, finding=report.finding))
