"""Metrics in the Prometheus text format."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from relay.model.counters import BUCKET_BOUNDS, CounterValue
from relay.model.message import OPENED_CHANNELS
from relay.providers.catalogue import PROVIDERS
from relay.services.relay import RunningRelay
from relay.services.stats import load_queues, measure_store_size

_INBOX_LABEL = "inbox"  # all sources that are not configured: a sender must not create labels


class _LoadedMetrics(Collector):
    def __init__(self, metrics: tuple[Metric, ...]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def render_metrics(relay: RunningRelay) -> bytes:
    """Return all counters and the current gauges in the Prometheus text format."""
    await relay.meter.flush()
    totals = await relay.store.counters.totals()
    metrics = (
        InfoMetricFamily("relay_build", "The version of relay.", value={"version": relay.version}),
        *_collect_counters(relay, totals),
        *_collect_histograms(relay, totals),
        *await _load_gauges(relay),
        *await _load_messages(relay),
    )
    registry = CollectorRegistry()
    registry.register(_LoadedMetrics(metrics))
    return generate_latest(registry)


def _collect_counters(relay: RunningRelay, totals: tuple[CounterValue, ...]) -> Iterator[Metric]:
    label = partial(_label_source, relay)
    events = [tally for tally in totals if tally.label.kind == "event"]
    attempts = [tally for tally in totals if tally.label.kind == "attempt"]
    yield _build_counter(
        ("relay_events", "Requests stored as events.", ("source", "outcome")),
        (((label(tally.label.source), tally.label.result), tally.number) for tally in events),
    )
    yield _build_counter(
        ("relay_verifications", "Signatures by verdict and reason.", ("source", "verdict", "reason")),
        (((label(tally.label.source), tally.label.name, tally.label.reason), tally.number) for tally in events),
    )
    yield _build_counter(
        ("relay_attempts", "Attempts to deliver.", ("target", "result")),
        (((tally.label.name, tally.label.result), tally.number) for tally in attempts),
    )
    yield _build_counter(
        ("relay_refused", "Requests refused before they were stored.", ("source", "status")),
        (
            ((label(source) if source else "none", str(kind.latest.status)), kind.count)
            for source in relay.state.refused
            for kind in relay.state.refused.of(source)
        ),
    )
    yield CounterMetricFamily(
        "relay_not_kept", "Requests answered 503 because they could not be stored.", value=relay.state.unkept
    )


def _collect_histograms(relay: RunningRelay, totals: tuple[CounterValue, ...]) -> Iterator[Metric]:
    yield _build_histogram(
        ("relay_processing_seconds", "From a request's arrival until its sender was answered.", "source"),
        ((_label_source(relay, tally.label.source), tally) for tally in totals if tally.label.kind == "took"),
    )
    yield _build_histogram(
        ("relay_attempt_seconds", "How long attempts to deliver took.", "target"),
        ((tally.label.name, tally) for tally in totals if tally.label.kind == "attempt"),
    )


async def _load_gauges(relay: RunningRelay) -> list[Metric]:
    store, state, targets = relay.store, relay.state, relay.config.targets
    queue = (await load_queues(relay)).items()
    dead_letters = dict.fromkeys(targets, 0) | await store.counters.dead_letters()
    by_target: tuple[tuple[str, str, Iterable[tuple[str, float]]], ...] = (
        ("relay_queue_deliveries", "Deliveries that wait.", ((name, waiting) for name, (waiting, _) in queue)),
        ("relay_queue_oldest_seconds", "How long the oldest has waited.", ((name, age) for name, (_, age) in queue)),
        ("relay_dead_letters", "Deliveries that failed permanently.", dead_letters.items()),
        ("relay_target_up", "Whether a target answers.", ((name, state.state_of(name)[0] == "up") for name in targets)),
    )
    tunnel_up, writable = state.tunnel.state == "up", await store.writer.look() is None
    events = (await store.events.counts()).events
    return [
        *(
            _build_gauge((name, words, ("target",)), (((target,), value) for target, value in values))
            for name, words, values in by_target
        ),
        GaugeMetricFamily("relay_tunnel_up", "Whether the tunnel is up.", value=int(tunnel_up)),
        GaugeMetricFamily("relay_store_bytes", "The size of the store's file.", value=measure_store_size(relay)),
        GaugeMetricFamily("relay_store_writable", "Whether events can be kept.", value=int(writable)),
        GaugeMetricFamily("relay_store_events", "Events in the store.", value=events),
    ]


async def _load_messages(relay: RunningRelay) -> tuple[Metric, Metric]:
    midnight = relay.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    rates: dict[tuple[str, ...], float | None] = {}
    for channel, counts in (await relay.store.messages.counts(midnight)).items():
        rates[channel, "delivery"] = counts.delivery_rate
        if channel in OPENED_CHANNELS:
            rates |= {(channel, "open"): counts.open_rate, (channel, "click"): counts.click_rate}
    words = "Of the messages sent since midnight UTC: delivered of sent, opened and clicked of delivered."
    return (
        _build_gauge(
            ("relay_messages", "Outgoing mails and SMS by status.", ("channel", "provider", "status")),
            (((one.channel, one.provider, one.status), one.count) for one in await relay.store.messages.standing()),
        ),
        _build_gauge(
            ("relay_message_ratio", words, ("channel", "rate")),
            ((key, rate) for key, rate in rates.items() if rate is not None),
        ),
    )


def _label_source(relay: RunningRelay, source: str) -> str:
    return source if source in relay.sources.by_name or source in PROVIDERS else _INBOX_LABEL


def _build_family(
    kind: type[CounterMetricFamily | GaugeMetricFamily],
    what: tuple[str, str, tuple[str, ...]],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    """Return a metric family; the values of equal labels are summed."""
    name, words, labels = what
    summed: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for key, number in values:
        summed[key] += number
    family = kind(name, words, labels=labels)
    for key, number in sorted(summed.items()):
        family.add_metric(key, number)
    return family


_build_counter = partial(_build_family, CounterMetricFamily)
_build_gauge = partial(_build_family, GaugeMetricFamily)


def _build_histogram(what: tuple[str, str, str], tallies: Iterable[tuple[str, CounterValue]]) -> Metric:
    name, words, label = what
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BUCKET_BOUNDS) + 1))
    took: defaultdict[str, float] = defaultdict(float)
    for key, tally in tallies:
        counts[key][min(tally.label.bucket, len(BUCKET_BOUNDS))] += tally.number
        took[key] += tally.took
    family = HistogramMetricFamily(name, words, labels=[label])
    bounds = [*map(repr, BUCKET_BOUNDS), "+Inf"]
    for key, numbers in sorted(counts.items()):
        family.add_metric([key], list(zip(bounds, accumulate(numbers), strict=True)), sum_value=took[key])
    return family
