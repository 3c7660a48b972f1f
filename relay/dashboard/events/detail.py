"""The hop line: provider, what was checked, relay, what each target answered; it breaks where the event broke."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

from relay.dashboard.event_list import build_delivery_chip, select_latest_deliveries
from relay.dashboard.filters import Avatar, format_due, format_moment, format_status
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import CapturedEvent, EventOutcome, EventRow, Verdict
from relay.model.text import decode_header_text, escape_unprintable
from relay.providers.sender_urls import request_target


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSegment:
    """One stretch of the line. `kind` is ok, err, warn, off or "" (plain)."""

    kind: str
    text: str
    icon: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineTarget:
    """One target at the end of the line, with the part of its address that tells it apart."""

    wire: PipelineSegment
    target: str
    address: str = ""
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineBar:
    """The whole line; `open` draws the switch in the middle as open: nothing passes."""

    mark: Avatar
    checked: PipelineSegment
    open: bool
    outs: tuple[PipelineTarget, ...]


def build_pipeline_bar(
    event: EventRow, deliveries: Sequence[Delivery], mark: Avatar, addresses: Mapping[str, str], now: datetime
) -> PipelineBar:
    """Return the line of an event; `addresses` says where each configured target leads."""
    newest = select_latest_deliveries(deliveries)
    outs = tuple(
        PipelineTarget(
            wire=_build_delivery_segment(delivery, now),
            target=escape_unprintable(delivery.target, 60),
            address=addresses.get(delivery.target, ""),
            is_replay=delivery.reason is DeliveryReason.REPLAY,
        )
        for delivery in newest
    )
    return PipelineBar(
        mark=mark,
        checked=_build_check_segment(event),
        open=event.outcome is EventOutcome.REJECTED,
        outs=outs or (_build_unsent_target(event, addresses),),
    )


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


def _build_check_segment(event: EventRow) -> PipelineSegment:
    words = _REASON_WORDS.get(event.reason, "")
    if event.verdict is Verdict.INVALID:
        return PipelineSegment(kind="err", text=words or "Mismatch", icon="shield-x")
    if event.outcome is EventOutcome.REJECTED:
        # What breaks its source's rules is in an event's summary.
        summary = f"Schema: {event.summary}" if event.reason == "schema" else event.summary
        title = escape_unprintable(summary, 300) if event.reason in _RULE_REASONS else words
        return PipelineSegment(
            kind="err", text=escape_unprintable(title, _MAX_SEGMENT_TEXT) or "Rejected", icon="ban", title=title
        )
    if event.verdict is Verdict.VERIFIED:
        return PipelineSegment(kind="ok", text="Verified", icon="shield-check")
    if event.reason == "vault_locked":
        return PipelineSegment(kind="warn", text=words, icon="lock")
    if event.verdict is Verdict.UNSIGNED:
        return PipelineSegment(kind="", text="No signature expected")
    return PipelineSegment(kind="", text=words or "Not checked")


def _build_delivery_segment(delivery: Delivery, now: datetime) -> PipelineSegment:
    chip = build_delivery_chip(delivery)
    text = f"{chip.text} · {chip.more}" if chip.more else chip.text
    title = escape_unprintable(delivery.detail, 300)
    match delivery.state:
        case DeliveryState.SUCCEEDED:
            return PipelineSegment(kind="ok", text=text, icon="check", title=title)
        case DeliveryState.FAILED:
            return PipelineSegment(kind="err", text=text, icon="x", title=title)
        case DeliveryState.RUNNING:
            return PipelineSegment(kind="", text=text, icon="loader-circle")
        case DeliveryState.CANCELLED:
            return PipelineSegment(kind="off", text=text, title=title)
        case DeliveryState.PENDING:
            text = f"{chip.text} {format_due(delivery.due_at, now)}" if delivery.attempts else chip.text
            return PipelineSegment(kind="warn", text=text, icon="clock", title=title)


def _build_unsent_target(event: EventRow, addresses: Mapping[str, str]) -> PipelineTarget:
    if event.outcome is EventOutcome.DUPLICATE:
        return PipelineTarget(
            wire=PipelineSegment(kind="off", text=f"Same as event {event.duplicate_of}"), target="Not sent again"
        )
    if event.outcome is EventOutcome.IGNORED:
        return PipelineTarget(wire=PipelineSegment(kind="off", text="Not in events"), target="Not sent")
    if event.outcome is EventOutcome.REJECTED:
        name, address = next(iter(addresses.items()), ("Your app", ""))
        return PipelineTarget(wire=PipelineSegment(kind="off", text="Not sent"), target=name, address=address)
    if event.reason == "vault_locked":
        return PipelineTarget(wire=PipelineSegment(kind="off", text="Waits for the vault"), target="Not sent yet")
    if event.reason == "handshake":
        return PipelineTarget(wire=PipelineSegment(kind="off", text="Answered by relay"), target="Nothing to send")
    return PipelineTarget(wire=PipelineSegment(kind="off", text="No target"), target="Your app")


def list_request_facts(event: CapturedEvent) -> list[tuple[str, str]]:
    """Return what is known of the request besides its headers and its body."""
    row = event.row
    facts = [
        ("Request", f"{row.method} {escape_unprintable(decode_header_text(request_target(event.capture)), 2000)}"),
        ("From", "rebuilt by relay" if row.recovered else escape_unprintable(row.remote, 80)),
        ("Answered", "no one: fetched afterwards" if row.recovered else format_status(row.status)),
        ("Outcome", row.outcome.value),
        ("Idempotency key", escape_unprintable(row.idempotency_key or "none", 200)),
        ("SHA-256", row.sha256),
    ]
    if row.sent_at is not None:
        facts.append(("Sent", format_moment(row.sent_at).full))
    if row.duplicate_of is not None:
        facts.append(("Duplicate of", f"event {row.duplicate_of}"))
    return facts


def parse_query_pairs(query: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a query as they were written; the whole of it where there are too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=500)
    except ValueError:
        return ((escape_unprintable(query, 2000), ""),)
    return tuple((escape_unprintable(name, 200), escape_unprintable(value, 2000)) for name, value in pairs)
