"""Counts of a stretch of time, made into what people ask: how many, how good, how fast, and what changed. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from relay.model.tally import Tally, quantile, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time up to now, and how many minutes of it are drawn together."""

    name: str
    title: str
    words: str
    minutes: int
    step: int


WINDOWS = {
    window.name: window
    for window in (
        Window(name="15m", title="15 min", words="the last 15 minutes", minutes=15, step=1),
        Window(name="1h", title="1 hour", words="the last hour", minutes=60, step=1),
        Window(name="24h", title="24 hours", words="the last 24 hours", minutes=1440, step=15),
        Window(name="7d", title="7 days", words="the last 7 days", minutes=10_080, step=120),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Durations in seconds; None where nothing was timed."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What happened in one step of the window. `failed` are first attempts that did not succeed."""

    at: datetime
    events: int
    rejected: int
    failed: int
    verified: int
    invalid: int
    attempts: int
    speed: Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStats:
    """How one source does: `verified` of `checked` signatures fitted; `p95` is how long its deliveries took."""

    name: str
    events: int
    verified: int
    checked: int
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStats:
    """How one target does: attempts by how they ended."""

    name: str
    attempts: int
    succeeded: int
    retried: int
    failed: int
    speed: Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A window in numbers; `before` is how many events the window before it had."""

    window: Window
    since: datetime
    until: datetime
    slots: tuple[Slot, ...]
    events: int
    before: int
    outcomes: dict[str, int]
    verdicts: dict[str, int]
    reasons: dict[str, int]
    first: int
    first_succeeded: int
    speed: Speed
    processing: Speed
    sources: tuple[SourceStats, ...]
    targets: tuple[TargetStats, ...]


def first_minute(window: Window, now: datetime) -> int:
    """Return the minute (since 1970) that a window begins with: steps are whole, the last one is under way."""
    minute = int(now.timestamp()) // 60
    return minute // window.step * window.step - window.minutes + window.step


def summarise(window: Window, now: datetime, tallies: Iterable[Tally]) -> Stats:
    """Return a window in numbers, from what was counted in it and in the one before."""
    first = first_minute(window, now)
    listed = [
        tally for tally in tallies if first - window.minutes <= tally.label.minute < first + window.minutes
    ]
    within = [tally for tally in listed if tally.label.minute >= first]
    events = [tally for tally in within if tally.label.kind == "event"]
    attempts = [tally for tally in within if tally.label.kind == "attempt"]
    begun = [tally for tally in attempts if tally.label.reason == "first"]
    unfit = [tally for tally in events if tally.label.name == "invalid" or tally.label.result == "rejected"]
    return Stats(
        window=window,
        since=_moment(first),
        until=now,
        slots=tuple(_slots(window, first, events, attempts)),
        events=_sum(events),
        before=_sum(tally for tally in listed if tally.label.kind == "event") - _sum(events),
        outcomes=_by(events, lambda tally: tally.label.result),
        verdicts=_by(events, lambda tally: tally.label.name),
        reasons=_by(unfit, lambda tally: tally.label.reason),
        first=_sum(begun),
        first_succeeded=_sum(tally for tally in begun if tally.label.result == "succeeded"),
        speed=_speed(attempts),
        processing=_speed(tally for tally in within if tally.label.kind == "took"),
        sources=_sources(events, attempts),
        targets=_targets(attempts),
    )


def _slots(window: Window, first: int, events: list[Tally], attempts: list[Tally]) -> Iterable[Slot]:
    of_events, of_attempts = _grouped(events, window.step), _grouped(attempts, window.step)
    for minute in range(first, first + window.minutes, window.step):
        came, tried = of_events.get(minute, []), of_attempts.get(minute, [])
        yield Slot(
            at=_moment(minute),
            events=_sum(came),
            rejected=_sum(tally for tally in came if tally.label.result == "rejected"),
            failed=_sum(
                tally
                for tally in tried
                if tally.label.reason == "first" and tally.label.result != "succeeded"
            ),
            verified=_sum(tally for tally in came if tally.label.name == "verified"),
            invalid=_sum(tally for tally in came if tally.label.name == "invalid"),
            attempts=_sum(tried),
            speed=_speed(tried),
        )


def _grouped(tallies: Iterable[Tally], step: int) -> dict[int, list[Tally]]:
    found: dict[int, list[Tally]] = {}
    for tally in tallies:
        found.setdefault(tally.label.minute // step * step, []).append(tally)
    return found


def _sources(events: list[Tally], attempts: list[Tally]) -> tuple[SourceStats, ...]:
    counts = _by(events, lambda tally: tally.label.source)
    return tuple(
        SourceStats(
            name=name,
            events=count,
            verified=_sum(tally for tally in events if tally.label[2:4] == (name, "verified")),
            checked=_sum(
                tally
                for tally in events
                if tally.label.source == name and tally.label.name in ("verified", "invalid")
            ),
            p95=quantile(spread(tally for tally in attempts if tally.label.source == name), 0.95),
        )
        for name, count in counts.items()
    )


def _targets(attempts: list[Tally]) -> tuple[TargetStats, ...]:
    by_name: dict[str, list[Tally]] = {}
    for tally in attempts:
        by_name.setdefault(tally.label.name, []).append(tally)
    return tuple(_target(name, made) for name, made in sorted(by_name.items()))


def _target(name: str, made: list[Tally]) -> TargetStats:
    results = _by(made, lambda tally: tally.label.result)
    return TargetStats(
        name=name,
        attempts=_sum(made),
        succeeded=results.get("succeeded", 0),
        retried=results.get("retry", 0),
        failed=results.get("failed", 0),
        speed=_speed(made),
    )


def _speed(tallies: Iterable[Tally]) -> Speed:
    buckets = spread(tallies)
    return Speed(p50=quantile(buckets, 0.5), p95=quantile(buckets, 0.95), p99=quantile(buckets, 0.99))


def _by(tallies: Iterable[Tally], key: Callable[[Tally], str]) -> dict[str, int]:
    """Return counts by a key, the most frequent first."""
    counts: Counter[str] = Counter()
    for tally in tallies:
        counts[key(tally)] += tally.number
    return dict(counts.most_common())


def _sum(tallies: Iterable[Tally]) -> int:
    return sum(tally.number for tally in tallies)


def _moment(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)
