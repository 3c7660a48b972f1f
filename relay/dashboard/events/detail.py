"""The hop line: provider, what was checked, relay, what each target answered; it breaks where the event broke."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl

from relay.dashboard.event_list import build_delivery_chip, select_latest_deliveries
from relay.dashboard.filters import format_due
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

_REASON_WORDS = {
    "signature_missing": "No signature",
    "signature_mismatch": "Mismatch",
    "header_malformed": "Unreadable header",
    "timestamp_stale": "Too old",
    "timestamp_future": "From the future",
    "body_malformed": "Unreadable body",
    "secret_missing": "No secret",
    "secret_unusable": "Unusable secret",
    "verification_off": "Not checked",
    "vault_locked": "Not checked",
    "no_source": "Not checked",
    "no_signature_expected": "No signature expected",
    "idempotency_key_missing": "No idempotency key",
    "schema": "Does not fit the schema",
    "recovered": "Fetched, not checked",
    "content_type": "Another content type",
    "invalid_recipient": "No mail address",
    "loop": "Came back from a relay",
    "handshake": "Handshake",
}
_MAX_SEGMENT_TEXT = 40  # characters that fit into a chip; the rest is in its title
_RULE_REASONS = frozenset({"schema", "content_type", "idempotency_key_missing", "invalid_recipient"})


@dataclass(frozen=True, slots=True)
class PipelineSegment:
    """One stretch of the line. `kind` is ok, err, warn, off or "" (plain)."""

    kind: str
    text: str
    icon: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class PipelineTarget:
    """One target at the end of the line, with the part of its address that tells it apart."""

    wire: PipelineSegment
    target: str
    address: str = ""
    is_replay: bool = False


@dataclass(frozen=True, slots=True)
class PipelineBar:
    """The whole line of an event; `is_open` draws the switch in the middle as open: nothing passes."""

    checked: PipelineSegment
    is_open: bool
    outs: tuple[PipelineTarget, ...]


def build_pipeline_bar(
    event: EventRow, deliveries: Sequence[Delivery], addresses: Mapping[str, str], now: datetime
) -> PipelineBar:
    """Return the line of an event; `addresses` says where each configured target leads."""
    outs = [
        PipelineTarget(
            _build_delivery_segment(delivery, now),
            escape_unprintable(delivery.target, 60),
            addresses.get(delivery.target, ""),
            delivery.reason is DeliveryReason.REPLAY,
        )
        for delivery in select_latest_deliveries(deliveries)
    ]
    is_open = event.outcome is EventOutcome.REJECTED
    return PipelineBar(_build_check_segment(event), is_open, tuple(outs or [_build_unsent_target(event, addresses)]))


def _build_check_segment(event: EventRow) -> PipelineSegment:
    words = _REASON_WORDS.get(event.reason, "")
    if event.verdict is Verdict.INVALID:
        return PipelineSegment("err", words or "Mismatch", "shield-x")
    if event.outcome is EventOutcome.REJECTED:
        # What breaks its source's rules is in an event's summary.
        summary = f"Schema: {event.summary}" if event.reason == "schema" else event.summary
        title = escape_unprintable(summary, 300) if event.reason in _RULE_REASONS else words
        return PipelineSegment("err", escape_unprintable(title, _MAX_SEGMENT_TEXT) or "Rejected", "ban", title)
    if event.verdict is Verdict.VERIFIED:
        return PipelineSegment("ok", "Verified", "shield-check")
    if event.reason == "vault_locked":
        return PipelineSegment("warn", words, "lock")
    return PipelineSegment("", "No signature expected" if event.verdict is Verdict.UNSIGNED else words or "Not checked")


def _build_delivery_segment(delivery: Delivery, now: datetime) -> PipelineSegment:
    chip, title = build_delivery_chip(delivery), escape_unprintable(delivery.detail, 300)
    text = f"{chip.text} · {chip.more}" if chip.more else chip.text
    match delivery.state:
        case DeliveryState.SUCCEEDED:
            return PipelineSegment("ok", text, "check", title)
        case DeliveryState.FAILED:
            return PipelineSegment("err", text, "x", title)
        case DeliveryState.RUNNING:
            return PipelineSegment("", text, "loader-circle")
        case DeliveryState.CANCELLED:
            return PipelineSegment("off", text, title=title)
        case DeliveryState.PENDING:
            due = f" {format_due(delivery.due_at, now)}" if delivery.attempts else ""
            return PipelineSegment("warn", f"{chip.text}{due}", "clock", title)


def _build_unsent_target(event: EventRow, addresses: Mapping[str, str]) -> PipelineTarget:
    if event.outcome is EventOutcome.REJECTED:
        name, address = next(iter(addresses.items()), ("Your app", ""))
        return PipelineTarget(PipelineSegment("off", "Not sent"), name, address)
    text, target = "No target", "Your app"
    if event.outcome is EventOutcome.DUPLICATE:
        text, target = f"Same as event {event.duplicate_of}", "Not sent again"
    elif event.outcome is EventOutcome.IGNORED:
        text, target = "Not in events", "Not sent"
    elif event.reason == "vault_locked":
        text, target = "Waits for the vault", "Not sent yet"
    elif event.reason == "handshake":
        text, target = "Answered by relay", "Nothing to send"
    return PipelineTarget(PipelineSegment("off", text), target)


def parse_query_pairs(query: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a query as they were written; the whole of it where there are too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=500)
    except ValueError:
        return ((escape_unprintable(query, 2000), ""),)
    return tuple((escape_unprintable(name, 200), escape_unprintable(value, 2000)) for name, value in pairs)
