"""What relay counts, for programs: JSON of a window, and everything since ever for Prometheus."""

from aiohttp import web

from relay.api.messages import serialize_counts
from relay.api.serializers import Json, format_time
from relay.http.context import get_relay
from relay.http.params import parse_window
from relay.http.responses import json_response
from relay.model.message import CHANNELS, MessageCounts
from relay.providers.catalogue import PROVIDERS
from relay.services.prometheus import MetricsSnapshot, render_metrics
from relay.services.relay import RunningRelay
from relay.services.stats import (
    DurationQuantiles,
    SourceStats,
    Stats,
    TargetStats,
    load_queues,
    load_stats,
    measure_store_size,
    start_of_day,
)


async def get_stats(request: web.Request) -> web.Response:
    """GET /api/stats?window=15m|1h|24h|7d: volume, outcomes, durations, per source and target."""
    relay = get_relay(request)
    found = await load_stats(relay, parse_window(request))
    sent = await relay.store.messages.counts(found.since)
    return json_response(
        _serialize_stats(found)
        | {
            "messages": {
                channel: serialize_counts(sent.get(channel, MessageCounts()), channel) for channel in CHANNELS
            },
            "queue": await _serialize_queue(relay),
            "dead_letters": await relay.store.counters.dead_letters(),
            "store": await _serialize_store(relay),
        }
    )


async def get_prometheus_metrics(request: web.Request) -> web.Response:
    """GET /metrics: the Prometheus text format."""
    relay = get_relay(request)
    await relay.meter.flush()
    counts = await relay.store.events.counts()
    reading = MetricsSnapshot(
        version=relay.version,
        totals=await relay.store.counters.totals(),
        sources=frozenset({*relay.sources.by_name, *PROVIDERS}),
        refused=relay.meter.refused,
        queue=await load_queues(relay),
        dead_letters=dict.fromkeys(relay.config.targets, 0) | await relay.store.counters.dead_letters(),
        up={name: relay.state.state_of(name)[0] == "up" for name in relay.config.targets},
        tunnel_up=relay.state.tunnel.state == "up",
        store_bytes=measure_store_size(relay),
        store_writable=await relay.store.writer.look() is None,
        not_kept=relay.state.unkept,
        store_events=counts.events,
        messages=await relay.store.messages.standing(),
        today=await relay.store.messages.counts(start_of_day(relay.clock.now())),
    )
    return web.Response(
        body=render_metrics(reading), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def _serialize_queue(relay: RunningRelay) -> Json:
    queues = await load_queues(relay)
    return {
        "waiting": sum(count for count, _ in queues.values()),
        "oldest_seconds": round(max((age for _, age in queues.values()), default=0.0), 3),
        "targets": {name: {"waiting": count, "oldest_seconds": round(age, 3)} for name, (count, age) in queues.items()},
    }


async def _serialize_store(relay: RunningRelay) -> Json:
    return {"events": (await relay.store.events.counts()).events, "bytes": measure_store_size(relay)}


def _serialize_stats(found: Stats) -> Json:
    return {
        "window": found.window.name,
        "since": format_time(found.since),
        "until": format_time(found.until),
        "step_seconds": found.window.step * 60,
        "events": {
            "total": found.events,
            "previous": found.before,
            "per_minute": round(found.events / found.window.minutes, 3),
            "outcomes": found.outcomes,
            "verdicts": found.verdicts,
            "reasons": found.reasons,
        },
        "deliveries": {"first_attempts": found.first, "first_succeeded": found.first_succeeded},
        "latency_ms": _serialize_speed(found.speed),
        "processing_ms": _serialize_speed(found.processing),
        "sources": [_serialize_source_stats(source) for source in found.sources],
        "targets": [_serialize_target_stats(target) for target in found.targets],
        "series": [
            {
                "at": format_time(slot.at),
                "events": slot.events,
                "rejected": slot.rejected,
                "failed": slot.failed,
                "attempts": slot.attempts,
                "latency_ms": _serialize_speed(slot.speed),
            }
            for slot in found.slots
        ],
    }


def _serialize_source_stats(source: SourceStats) -> Json:
    return {
        "name": source.name,
        "events": source.events,
        "verified": source.verified,
        "checked": source.checked,
        "p95_ms": _to_milliseconds(source.p95),
    }


def _serialize_target_stats(target: TargetStats) -> Json:
    return {
        "name": target.name,
        "attempts": target.attempts,
        "succeeded": target.succeeded,
        "retried": target.retried,
        "failed": target.failed,
        "latency_ms": _serialize_speed(target.speed),
    }


def _serialize_speed(speed: DurationQuantiles) -> Json:
    return {"p50": _to_milliseconds(speed.p50), "p95": _to_milliseconds(speed.p95), "p99": _to_milliseconds(speed.p99)}


def _to_milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
