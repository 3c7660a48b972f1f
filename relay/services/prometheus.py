"""The same counts as Prometheus reads them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from relay.model.counters import BUCKET_BOUNDS, CounterValue
from relay.model.message import OPENED_CHANNELS, MessageCounts, StatusCount
from relay.model.values import dataclass

_INBOX_LABEL = "inbox"  # every source that is not configured: a sender must not make labels


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSnapshot:
    """What is true at this moment. `up` says of each target whether it answers; `refused` is by source and status.

    `queue` gives for each target how many deliveries wait and for how many seconds the oldest has;
    `today` the messages sent since midnight UTC by channel.
    """

    version: str
    totals: tuple[CounterValue, ...]
    sources: frozenset[str]
    refused: Mapping[tuple[str, int], int]
    queue: Mapping[str, tuple[int, float]]
    dead_letters: Mapping[str, int]
    up: Mapping[str, bool]
    tunnel_up: bool
    store_bytes: int
    store_writable: bool
    not_kept: int
    store_events: int
    messages: tuple[StatusCount, ...] = ()
    today: Mapping[str, MessageCounts] = field(default_factory=dict)


def render_metrics(reading: MetricsSnapshot) -> bytes:
    """Return a reading in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(reading))
    return generate_latest(registry)


class _SnapshotCollector(Collector):
    def __init__(self, reading: MetricsSnapshot) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        reading = self._reading
        yield InfoMetricFamily("relay_build", "The version of relay.", value={"version": reading.version})
        yield from _collect_counters(reading)
        yield from _collect_histograms(reading)
        yield from _collect_gauges(reading)
        yield from _collect_messages(reading)


def _collect_counters(reading: MetricsSnapshot) -> Iterator[Metric]:
    events = [tally for tally in reading.totals if tally.label.kind == "event"]
    attempts = [tally for tally in reading.totals if tally.label.kind == "attempt"]
    yield _build_counter(
        ("relay_events", "Requests stored as events.", ("source", "outcome")),
        (((_label_source(tally, reading), tally.label.result), tally.number) for tally in events),
    )
    yield _build_counter(
        ("relay_verifications", "Signatures by verdict and reason.", ("source", "verdict", "reason")),
        (((_label_source(tally, reading), tally.label.name, tally.label.reason), tally.number) for tally in events),
    )
    yield _build_counter(
        ("relay_attempts", "Attempts to deliver.", ("target", "result")),
        (((tally.label.name, tally.label.result), tally.number) for tally in attempts),
    )
    yield _build_counter(
        ("relay_refused", "Requests refused before they were stored.", ("source", "status")),
        (((source or "none", str(status)), count) for (source, status), count in reading.refused.items()),
    )
    yield CounterMetricFamily(
        "relay_not_kept", "Requests answered 503 for want of a store that keeps them.", value=reading.not_kept
    )


def _collect_histograms(reading: MetricsSnapshot) -> Iterator[Metric]:
    yield _build_histogram(
        ("relay_processing_seconds", "From a request's arrival until its sender was answered.", "source"),
        ((_label_source(tally, reading), tally) for tally in reading.totals if tally.label.kind == "took"),
    )
    yield _build_histogram(
        ("relay_attempt_seconds", "How long attempts to deliver took.", "target"),
        ((tally.label.name, tally) for tally in reading.totals if tally.label.kind == "attempt"),
    )


def _collect_gauges(reading: MetricsSnapshot) -> Iterator[Metric]:
    queue = sorted(reading.queue.items())
    by_target: tuple[tuple[str, str, Iterable[tuple[str, float]]], ...] = (
        ("relay_queue_deliveries", "Deliveries that wait.", ((name, waiting) for name, (waiting, _) in queue)),
        ("relay_queue_oldest_seconds", "How long the oldest has waited.", ((name, age) for name, (_, age) in queue)),
        ("relay_dead_letters", "Deliveries that failed for good and wait for a person.", reading.dead_letters.items()),
        ("relay_target_up", "Whether a target answers.", reading.up.items()),
    )
    for name, words, values in by_target:
        yield _build_gauge((name, words, ("target",)), (((target,), value) for target, value in sorted(values)))
    yield GaugeMetricFamily("relay_tunnel_up", "Whether the tunnel is up.", value=int(reading.tunnel_up))
    yield GaugeMetricFamily("relay_store_bytes", "The size of the store's file.", value=reading.store_bytes)
    yield GaugeMetricFamily("relay_store_writable", "Whether events can be kept.", value=int(reading.store_writable))
    yield GaugeMetricFamily("relay_store_events", "Events in the store.", value=reading.store_events)


def _collect_messages(reading: MetricsSnapshot) -> Iterator[Metric]:
    yield _build_gauge(
        ("relay_messages", "Outgoing mails and SMS by where they stand.", ("channel", "provider", "status")),
        (((one.channel, one.provider, one.status), one.count) for one in reading.messages),
    )
    rates: list[tuple[tuple[str, ...], float]] = []
    for channel, counts in sorted(reading.today.items()):
        named = {"delivery": counts.delivery_rate}
        if channel in OPENED_CHANNELS:
            named |= {"open": counts.open_rate, "click": counts.click_rate}
        rates += [((channel, name), rate) for name, rate in named.items() if rate is not None]
    words = "Of the messages sent since midnight UTC: delivered of sent, opened and clicked of delivered."
    yield _build_gauge(("relay_message_ratio", words, ("channel", "rate")), rates)


def _build_gauge(
    what: tuple[str, str, tuple[str, ...]], values: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    name, words, labels = what
    family = GaugeMetricFamily(name, words, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _label_source(tally: CounterValue, reading: MetricsSnapshot) -> str:
    return tally.label.source if tally.label.source in reading.sources else _INBOX_LABEL


def _build_counter(
    what: tuple[str, str, tuple[str, ...]], values: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    name, words, labels = what
    summed: dict[tuple[str, ...], int] = {}
    for key, number in values:
        summed[key] = summed.get(key, 0) + number
    family = CounterMetricFamily(name, words, labels=labels)
    for key, number in sorted(summed.items()):
        family.add_metric(key, number)
    return family


def _build_histogram(what: tuple[str, str, str], tallies: Iterable[tuple[str, CounterValue]]) -> HistogramMetricFamily:
    name, words, label = what
    places: dict[str, list[int]] = {}
    took: dict[str, float] = {}
    for key, tally in tallies:
        counts = places.setdefault(key, [0] * (len(BUCKET_BOUNDS) + 1))
        counts[min(tally.label.bucket, len(BUCKET_BOUNDS))] += tally.number
        took[key] = took.get(key, 0.0) + tally.took
    family = HistogramMetricFamily(name, words, labels=[label])
    for key, counts in sorted(places.items()):
        bounds = [*(repr(bound) for bound in BUCKET_BOUNDS), "+Inf"]
        running = [sum(counts[: place + 1]) for place in range(len(counts))]
        family.add_metric([key], list(zip(bounds, running, strict=True)), sum_value=took[key])
    return family
