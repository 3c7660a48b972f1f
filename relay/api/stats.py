"""What relay counts: JSON of a window, and everything since ever for Prometheus."""

from typing import Annotated

from aiohttp import web
from multidict import MultiMapping
from pydantic import AliasPath, BeforeValidator, Field

from relay.api.messages import MessageRates
from relay.api.resource import Answer, ApiRoute, Milliseconds, Resource, Timestamp, extend
from relay.http.params import parse_window
from relay.model.event_json import serialize_counts
from relay.model.message import CHANNELS, MessageCounts
from relay.services.prometheus import render_metrics
from relay.services.relay import RunningRelay
from relay.services.stats import load_queues, load_stats, measure_store_size

Seconds = Annotated[float, BeforeValidator(lambda seconds: round(seconds, 3))]


class QuantilesInMilliseconds(Resource):
    """How long something took; null where nothing was timed."""

    p50: Milliseconds | None
    p95: Milliseconds | None
    p99: Milliseconds | None


class EventVolume(Resource):
    """How many events came, in the window before too, and what they were."""

    total: int = Field(validation_alias="events")
    previous: int = Field(validation_alias="before")
    per_minute: Seconds
    outcomes: dict[str, int]
    verdicts: dict[str, int]
    reasons: dict[str, int]


class FirstAttempts(Resource):
    """How many deliveries were tried, and how many of them succeeded at once."""

    first_attempts: int = Field(validation_alias="first")
    first_succeeded: int


class SourceVolume(Resource):
    """One source: `verified` of `checked` signatures fitted."""

    name: str
    events: int
    verified: int
    checked: int
    p95_ms: Milliseconds | None = Field(validation_alias="p95")


class TargetVolume(Resource):
    """One target: its attempts by how they ended."""

    name: str
    attempts: int
    succeeded: int
    retried: int
    failed: int
    latency_ms: QuantilesInMilliseconds = Field(validation_alias="speed")


class StatsStep(Resource):
    """What happened in one step of the window."""

    at: Timestamp
    events: int
    rejected: int
    failed: int
    attempts: int
    latency_ms: QuantilesInMilliseconds = Field(validation_alias="speed")


class QueueLength(Resource):
    """How many deliveries wait, and for how long the oldest has."""

    waiting: int
    oldest_seconds: Seconds


class QueueLengths(QueueLength):
    """The queue, and each target's part of it."""

    targets: dict[str, QueueLength]


class StoreSize(Resource):
    """How large the store is."""

    events: int
    bytes: int


class StatsDetail(Resource):
    """A window in numbers."""

    window: str = Field(validation_alias=AliasPath("window", "name"))
    since: Timestamp
    until: Timestamp
    step_seconds: Annotated[int, BeforeValidator(lambda minutes: minutes * 60)] = Field(
        validation_alias=AliasPath("window", "step")
    )
    events: EventVolume = Field(validation_alias="volume")
    deliveries: FirstAttempts
    latency_ms: QuantilesInMilliseconds = Field(validation_alias="speed")
    processing_ms: QuantilesInMilliseconds = Field(validation_alias="processing")
    sources: list[SourceVolume]
    targets: list[TargetVolume]
    series: list[StatsStep] = Field(validation_alias="slots")
    messages: dict[str, MessageRates]
    queue: QueueLengths
    dead_letters: dict[str, int]
    store: StoreSize


@ApiRoute("GET", "/api/stats", {200: StatsDetail}, query="window")
async def get_stats(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """Count volume, outcomes and durations in a window, per source and target."""
    found = await load_stats(relay, parse_window(query))
    sent = await relay.store.messages.counts(found.since)
    return StatsDetail.serialize(
        found,
        volume=extend(found, per_minute=found.events / found.window.minutes),
        deliveries=found,
        messages={channel: serialize_counts(sent.get(channel, MessageCounts()), channel) for channel in CHANNELS},
        queue=_sum_queues(await load_queues(relay)),
        dead_letters=await relay.store.counters.dead_letters(),
        store={"events": (await relay.store.events.counts()).events, "bytes": measure_store_size(relay)},
    )


def _sum_queues(queues: dict[str, tuple[int, float]]) -> dict[str, object]:
    return {
        "waiting": sum(count for count, _ in queues.values()),
        "oldest_seconds": max((age for _, age in queues.values()), default=0.0),
        "targets": {name: {"waiting": count, "oldest_seconds": age} for name, (count, age) in queues.items()},
    }


@ApiRoute("GET", "/metrics", {200: "text/plain"})
async def get_prometheus_metrics(relay: RunningRelay) -> web.Response:
    """Count everything since ever, in the text format of Prometheus."""
    return web.Response(
        body=await render_metrics(relay), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )
