"""Statistics: counts outside of transactions, and the numbers of a time window."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from relay.errors import StoreError
from relay.model.clock import Clock
from relay.model.counters import CounterLabel, CounterValue, compute_quantile, count_buckets, find_bucket
from relay.model.values import dataclass

if TYPE_CHECKING:  # its health checks read these statistics, in `relay doctor` without a store
    from relay.services.relay import RunningRelay
    from relay.store import Store

log = logging.getLogger(__name__)

Key = TypeVar("Key", str, int)

_FLUSH_INTERVAL = 5.0  # seconds between two flushes; timings since the last one are lost by a kill -9
_KEPT_MINUTES = 8 * 1440  # minutes that are kept individually: a week for the charts, and the week before


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsWindow:
    """A time window up to now, and the minutes of each step."""

    name: str
    title: str
    words: str
    minutes: int
    step: int


WINDOWS = {
    window.name: window
    for window in (
        StatsWindow(name="15m", title="15 min", words="the last 15 minutes", minutes=15, step=1),
        StatsWindow(name="1h", title="1 hour", words="the last hour", minutes=60, step=1),
        StatsWindow(name="24h", title="24 hours", words="the last 24 hours", minutes=1440, step=15),
        StatsWindow(name="7d", title="7 days", words="the last 7 days", minutes=10_080, step=120),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationQuantiles:
    """Durations in seconds; None if nothing was timed."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSlot:
    """What happened in one step of the window. `failed` are first attempts that did not succeed."""

    at: datetime
    events: int
    rejected: int
    failed: int
    invalid: int
    attempts: int
    speed: DurationQuantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStats:
    """The numbers of a source: `verified` of `checked` signatures matched; `p95` of its deliveries' durations."""

    name: str
    events: int
    verified: int
    checked: int
    p95: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStats:
    """The numbers of a target: its attempts by outcome."""

    name: str
    attempts: int
    succeeded: int
    retried: int
    failed: int
    speed: DurationQuantiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The numbers of a window; `before` is the number of events in the window before it."""

    window: StatsWindow
    since: datetime
    until: datetime
    slots: tuple[StatsSlot, ...]
    events: int
    before: int
    outcomes: dict[str, int]
    verdicts: dict[str, int]
    reasons: dict[str, int]
    first: int
    first_succeeded: int
    speed: DurationQuantiles
    processing: DurationQuantiles
    sources: tuple[SourceStats, ...]
    targets: tuple[TargetStats, ...]


def find_first_minute(window: StatsWindow, now: datetime) -> int:
    """Return the first minute (since 1970) of a window: steps are whole, the last one is incomplete."""
    minute = int(now.timestamp()) // 60
    return minute // window.step * window.step - window.minutes + window.step


def compute_stats(window: StatsWindow, now: datetime, tallies: Iterable[CounterValue]) -> Stats:
    """Return the numbers of a window, from its counts and those of the window before."""
    first = find_first_minute(window, now)
    listed = [tally for tally in tallies if first - window.minutes <= tally.label.minute < first + window.minutes]
    within = [tally for tally in listed if tally.label.minute >= first]
    events = [tally for tally in within if tally.label.kind == "event"]
    attempts = [tally for tally in within if tally.label.kind == "attempt"]
    begun = [tally for tally in attempts if tally.label.reason == "first"]
    unfit = [tally for tally in events if tally.label.name == "invalid" or tally.label.result == "rejected"]
    return Stats(
        window=window,
        since=_minute_to_datetime(first),
        until=now,
        slots=tuple(_build_slots(window, first, events, attempts)),
        events=_sum_values(events),
        before=_sum_values(tally for tally in listed if tally.label.kind == "event") - _sum_values(events),
        outcomes=_count_by(events, lambda tally: tally.label.result),
        verdicts=_count_by(events, lambda tally: tally.label.name),
        reasons=_count_by(unfit, lambda tally: tally.label.reason),
        first=_sum_values(begun),
        first_succeeded=_sum_values(tally for tally in begun if tally.label.result == "succeeded"),
        speed=_compute_quantiles(attempts),
        processing=_compute_quantiles(tally for tally in within if tally.label.kind == "took"),
        sources=tuple(sorted(_build_source_stats(events, attempts), key=lambda one: -one.events)),
        targets=tuple(_build_target_stats(attempts)),
    )


def _build_slots(
    window: StatsWindow, first: int, events: list[CounterValue], attempts: list[CounterValue]
) -> Iterable[StatsSlot]:
    of_events, of_attempts = (
        _group_by(tallies, lambda tally: tally.label.minute // window.step * window.step)
        for tallies in (events, attempts)
    )
    for minute in range(first, first + window.minutes, window.step):
        came, tried = of_events[minute], of_attempts[minute]
        yield StatsSlot(
            at=_minute_to_datetime(minute),
            events=_sum_values(came),
            rejected=_sum_values(tally for tally in came if tally.label.result == "rejected"),
            failed=_sum_values(
                tally for tally in tried if tally.label.reason == "first" and tally.label.result != "succeeded"
            ),
            invalid=_sum_values(tally for tally in came if tally.label.name == "invalid"),
            attempts=_sum_values(tried),
            speed=_compute_quantiles(tried),
        )


def _build_source_stats(events: list[CounterValue], attempts: list[CounterValue]) -> Iterable[SourceStats]:
    tried = _group_by(attempts, lambda tally: tally.label.source)
    for name, came in _group_by(events, lambda tally: tally.label.source).items():
        verdicts = _count_by(came, lambda tally: tally.label.name)
        verified = verdicts.get("verified", 0)
        yield SourceStats(
            name=name,
            events=_sum_values(came),
            verified=verified,
            checked=verified + verdicts.get("invalid", 0),
            p95=_compute_quantiles(tried[name]).p95,
        )


def _build_target_stats(attempts: list[CounterValue]) -> Iterable[TargetStats]:
    for name, made in sorted(_group_by(attempts, lambda tally: tally.label.name).items()):
        results = _count_by(made, lambda tally: tally.label.result)
        yield TargetStats(
            name=name,
            attempts=_sum_values(made),
            succeeded=results.get("succeeded", 0),
            retried=results.get("retry", 0),
            failed=results.get("failed", 0),
            speed=_compute_quantiles(made),
        )


def _compute_quantiles(tallies: Iterable[CounterValue]) -> DurationQuantiles:
    buckets = count_buckets(tallies)
    return DurationQuantiles(
        p50=compute_quantile(buckets, 0.5), p95=compute_quantile(buckets, 0.95), p99=compute_quantile(buckets, 0.99)
    )


def _group_by(
    tallies: Iterable[CounterValue], key: Callable[[CounterValue], Key]
) -> defaultdict[Key, list[CounterValue]]:
    found: defaultdict[Key, list[CounterValue]] = defaultdict(list)
    for tally in tallies:
        found[key(tally)].append(tally)
    return found


def _count_by(tallies: Iterable[CounterValue], key: Callable[[CounterValue], str]) -> dict[str, int]:
    """Return counts by a key, the most frequent first."""
    counts: Counter[str] = Counter()
    for tally in tallies:
        counts[key(tally)] += tally.number
    return dict(counts.most_common())


def _sum_values(tallies: Iterable[CounterValue]) -> int:
    return sum(tally.number for tally in tallies)


def _minute_to_datetime(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


async def load_stats(relay: "RunningRelay", window: StatsWindow) -> Stats:
    """Return the numbers of a window up to now."""
    await relay.meter.flush()
    now = relay.clock.now()
    since = find_first_minute(window, now) - window.minutes
    return compute_stats(window, now, await relay.store.counters.since(since, window.step))


async def load_queues(relay: "RunningRelay") -> dict[str, tuple[int, float]]:
    """Return for each target the number of pending deliveries, and the age of the oldest in seconds."""
    now: datetime = relay.clock.now()
    oldest = await relay.store.deliveries.oldest()
    counts = await relay.store.deliveries.waiting()
    known = {*relay.config.targets, *(name for name in counts if "://" not in name)}
    return {
        name: (counts.get(name, 0), (now - oldest[name]).total_seconds() if name in oldest else 0.0) for name in known
    }


def measure_store_size(relay: "RunningRelay") -> int:
    """Return the size of the store on disk, including its log."""
    path = relay.store.path
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


class Meter:
    """Counts in memory and flushes with low priority. `run` is the long task."""

    def __init__(self, store: "Store", clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._timed: dict[tuple[int, str, int], tuple[int, float]] = {}

    def count_response(self, source: str, seconds: float) -> None:
        """Count a response to a sender after that many seconds."""
        minute = int(self._clock.now().timestamp()) // 60
        key = (minute, source, find_bucket(seconds))
        number, took = self._timed.get(key, (0, 0.0))
        self._timed[key] = (number + 1, took + seconds)

    async def run(self) -> None:
        """Flush timings until cancelled, and then once more."""
        try:
            while True:
                await self._clock.sleep(_FLUSH_INTERVAL)
                await self.flush()
                await self._fold()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Flush the timings so far."""
        timed, self._timed = self._timed, {}
        if timed:
            try:
                await self._store.counters.add(
                    CounterValue(CounterLabel(minute, "took", source, bucket=bucket), *sums)
                    for (minute, source, bucket), sums in timed.items()
                )
            except StoreError as error:
                log.debug("timings were not recorded: %s", error.message)

    async def _fold(self) -> None:
        try:
            await self._store.counters.fold(int(self._clock.now().timestamp()) // 60 - _KEPT_MINUTES)
        except StoreError as error:
            log.debug("old counts stay as they are: %s", error.message)
