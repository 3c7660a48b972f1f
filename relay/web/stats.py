"""What relay counts, for programs: JSON of a window, and everything since ever for Prometheus."""

from datetime import datetime

from aiohttp import web

from relay.errors import UsageError
from relay.metrics.prometheus import Reading, exposition
from relay.metrics.stats import (
    WINDOWS,
    SourceStats,
    Speed,
    Stats,
    TargetStats,
    Window,
    first_minute,
    summarise,
)
from relay.model.rates import MessageCounts
from relay.providers.catalogue import PROVIDERS
from relay.web.answers import json_response
from relay.web.keys import Desk, desk
from relay.web.messages import CHANNELS, counts_shape, midnight
from relay.web.shapes import Json, moment


async def stats(request: web.Request) -> web.Response:
    """GET /api/stats?window=15m|1h|24h|7d: volume, outcomes, durations, per source and target."""
    here = desk(request)
    found = await measured(here, window_of(request))
    sent = await here.store.messages.counts(found.since)
    return json_response(
        _shape(found)
        | {
            "messages": {
                channel: counts_shape(sent.get(channel, MessageCounts()), channel) for channel in CHANNELS
            },
            "queue": await _queue(here),
            "dead_letters": await here.store.tallies.dead_letters(),
            "store": await _store(here),
        }
    )


async def metrics(request: web.Request) -> web.Response:
    """GET /metrics: the Prometheus text format."""
    here = desk(request)
    await here.meter.flush()
    counts = await here.store.events.counts()
    reading = Reading(
        version=here.setup.version,
        totals=await here.store.tallies.totals(),
        sources=frozenset({*here.setup.sources, *PROVIDERS}),
        refused=here.meter.refused,
        queue=await waiting(here),
        dead_letters=dict.fromkeys(here.setup.targets, 0) | await here.store.tallies.dead_letters(),
        up={name: here.live.state_of(name)[0] == "up" for name in here.setup.targets},
        tunnel_up=here.live.tunnel.state == "up",
        store_bytes=store_bytes(here),
        store_writable=await here.store.writer.look() is None,
        not_kept=here.live.unkept,
        store_events=counts.events,
        messages=await here.store.messages.standing(),
        today=await here.store.messages.counts(midnight(here.clock.now())),
    )
    return web.Response(
        body=exposition(reading), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def window_of(request: web.Request) -> Window:
    """Return the window that is asked for. Raises UsageError naming those there are."""
    name = request.query.get("window", "1h")
    if name not in WINDOWS:
        raise UsageError("window is none that is counted", hint=f"use {', '.join(WINDOWS)}")
    return WINDOWS[name]


async def measured(here: Desk, window: Window) -> Stats:
    """Return a window in numbers, up to this moment."""
    await here.meter.flush()
    now = here.clock.now()
    since = first_minute(window, now) - window.minutes
    return summarise(window, now, await here.store.tallies.since(since, window.step))


async def waiting(here: Desk) -> dict[str, tuple[int, float]]:
    """Return for each target how many deliveries wait, and for how many seconds the oldest has."""
    now: datetime = here.clock.now()
    oldest = await here.store.deliveries.oldest()
    counts = await here.store.deliveries.waiting()
    known = {*here.setup.targets, *(name for name in counts if "://" not in name)}
    return {
        name: (counts.get(name, 0), (now - oldest[name]).total_seconds() if name in oldest else 0.0)
        for name in known
    }


def store_bytes(here: Desk) -> int:
    """Return the size of the store on disk, its log with it."""
    path = here.store.path
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


async def _queue(here: Desk) -> Json:
    queues = await waiting(here)
    return {
        "waiting": sum(count for count, _ in queues.values()),
        "oldest_seconds": round(max((age for _, age in queues.values()), default=0.0), 3),
        "targets": {
            name: {"waiting": count, "oldest_seconds": round(age, 3)} for name, (count, age) in queues.items()
        },
    }


async def _store(here: Desk) -> Json:
    return {"events": (await here.store.events.counts()).events, "bytes": store_bytes(here)}


def _shape(found: Stats) -> Json:
    return {
        "window": found.window.name,
        "since": moment(found.since),
        "until": moment(found.until),
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
        "latency_ms": _speed(found.speed),
        "processing_ms": _speed(found.processing),
        "sources": [_source(source) for source in found.sources],
        "targets": [_target(target) for target in found.targets],
        "series": [
            {
                "at": moment(slot.at),
                "events": slot.events,
                "rejected": slot.rejected,
                "failed": slot.failed,
                "attempts": slot.attempts,
                "latency_ms": _speed(slot.speed),
            }
            for slot in found.slots
        ],
    }


def _source(source: SourceStats) -> Json:
    return {
        "name": source.name,
        "events": source.events,
        "verified": source.verified,
        "checked": source.checked,
        "p95_ms": _ms(source.p95),
    }


def _target(target: TargetStats) -> Json:
    return {
        "name": target.name,
        "attempts": target.attempts,
        "succeeded": target.succeeded,
        "retried": target.retried,
        "failed": target.failed,
        "latency_ms": _speed(target.speed),
    }


def _speed(speed: Speed) -> Json:
    return {"p50": _ms(speed.p50), "p95": _ms(speed.p95), "p99": _ms(speed.p99)}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
