"""The pipeline bar of an event, which shows where it failed, and the verification panel."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import parse_qsl

from relay.dashboard.event_list import build_delivery_chip, select_latest_deliveries
from relay.dashboard.filters import capitalize_first, format_count, format_due
from relay.model import admission
from relay.model.admission import Problem
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import CapturedEvent, EventOutcome, EventRow, Verdict
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.doctor import Diagnosis

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
_SEGMENT_STYLES = {  # kind and icon
    DeliveryState.SUCCEEDED: ("ok", "check"),
    DeliveryState.FAILED: ("err", "x"),
    DeliveryState.RUNNING: ("", "loader-circle"),
    DeliveryState.CANCELLED: ("off", ""),
    DeliveryState.PENDING: ("warn", "clock"),
}
_MAX_SEGMENT_TEXT = 40  # characters that fit into a chip; the full text is its title
_RULE_REASONS = frozenset({"schema", "content_type", "idempotency_key_missing", "invalid_recipient"})


@dataclass(frozen=True, slots=True)
class PipelineSegment:
    """A segment of the bar. `kind` is ok, err, warn, off or "" (plain)."""

    kind: str
    text: str
    icon: str = ""
    title: str = ""


# A target at the end of the bar: its segment, its name, its short address, whether it got a replay.
PipelineTarget = tuple[PipelineSegment, str, str, bool]


def build_pipeline_bar(
    event: EventRow, deliveries: Sequence[Delivery], addresses: Mapping[str, str], routed: Sequence[str], now: datetime
) -> tuple[PipelineSegment, list[PipelineTarget]]:
    """Return the bar of an event: the check, and its targets.

    `addresses` are those of the configured targets, `routed` the names of the targets of its routes.
    """
    targets = [
        (
            _build_delivery_segment(delivery, now),
            escape_unprintable(delivery.target, 60),
            addresses.get(delivery.target, ""),
            delivery.reason is DeliveryReason.REPLAY,
        )
        for delivery in select_latest_deliveries(deliveries)
    ]
    return _build_check_segment(event), targets or [_build_unsent_target(event, addresses, routed)]


def _build_check_segment(event: EventRow) -> PipelineSegment:
    words = _REASON_WORDS.get(event.reason, "")
    if event.verdict is Verdict.INVALID:
        return PipelineSegment("err", words or "Mismatch", "shield-x")
    if event.outcome is EventOutcome.REJECTED:
        # The violated rules of its source are in the event's summary.
        summary = f"Schema: {event.summary}" if event.reason == "schema" else event.summary
        title = escape_unprintable(summary, 300) if event.reason in _RULE_REASONS else words
        return PipelineSegment("err", escape_unprintable(title, _MAX_SEGMENT_TEXT) or "Rejected", "ban", title)
    if event.verdict is Verdict.VERIFIED:
        return PipelineSegment("ok", "Verified", "shield-check")
    if event.reason == "vault_locked":
        return PipelineSegment("warn", words, "lock")
    return PipelineSegment("", "No signature expected" if event.verdict is Verdict.UNSIGNED else words or "Not checked")


def _build_delivery_segment(delivery: Delivery, now: datetime) -> PipelineSegment:
    chip, state = build_delivery_chip(delivery), delivery.state
    text = f"{chip.text} · {chip.more}" if chip.more else chip.text
    if state is DeliveryState.PENDING and delivery.attempts:
        text += f" {format_due(delivery.due_at, now)}"
    kind, icon = _SEGMENT_STYLES[state]
    title = "" if state is DeliveryState.RUNNING else escape_unprintable(delivery.detail, 300)
    return PipelineSegment(kind, text, icon, title)


def _build_unsent_target(event: EventRow, addresses: Mapping[str, str], routed: Sequence[str]) -> PipelineTarget:
    if event.outcome is EventOutcome.REJECTED:
        name = next(iter(routed), "Your app")
        return PipelineSegment("off", "Not sent"), name, addresses.get(name, ""), False
    text, target = "No target", "Your app"
    if event.outcome is EventOutcome.DUPLICATE:
        # An imported duplicate does not name its original.
        text = f"Same as event {event.duplicate_of}" if event.duplicate_of else "Duplicate"
        target = "Not sent again"
    elif event.outcome is EventOutcome.IGNORED:
        text, target = "Not in events", "Not sent"
    elif event.reason == "vault_locked":
        text, target = "Waits for the vault", "Not sent yet"
    elif event.reason == "handshake":
        text, target = "Answered by relay", "Nothing to send"
    return PipelineSegment("off", text), target, "", False


def parse_query_pairs(query: str) -> tuple[tuple[str, str], ...]:
    """Return the raw parameters of a query; the whole query if there are too many."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="replace", max_num_fields=500)
    except ValueError:
        return ((escape_unprintable(query, 2000), ""),)
    return tuple((escape_unprintable(name, 200), escape_unprintable(value, 2000)) for name, value in pairs)


VerdictWords = tuple[str, str, str]  # a panel: its kind (ok, err, warn or quiet), title and text

_TITLES = {
    "verification_off": "Verification is off for this source",
    "no_signature_expected": "No signature expected",
    "no_source": "Not checked: no source is configured for this path",
    "vault_locked": "Not checked: the vault is locked",
    "idempotency_key_missing": "Refused: no idempotency key",
    "schema": "Refused: the body does not fit the schema",
    "recovered": "Recovered, not checked",
    "content_type": "Refused: another content type than the source takes",
    "invalid_recipient": "Refused: no mail address where mail would go",
    "loop": "Refused: relay's own forward came back",
    "handshake": "A setup handshake, answered",
}


def describe_verification(
    event: CapturedEvent, provider: str, found: Diagnosis | None, still: tuple[Problem, ...] | None = None
) -> VerdictWords:
    """Return the verification panel.

    `provider` is its title, `found` the doctor's finding, if any, `still` the problems by the
    source's current rules of an event that was refused by its rules then.
    """
    return _describe_rule_refusal(event, still) if event.problems else _describe_verdict(event, provider, found)


def _describe_rule_refusal(event: CapturedEvent, still: tuple[Problem, ...] | None) -> VerdictWords:
    if still == ():
        text = "It did not when it came. Replay it, or ask the sender to send it again."
        return "ok", "With today's rules the request would come in", text
    reason = admission.describe_reason(event.row.reason)
    more = f"; {format_count(len(event.problems) - 1, 'more problem')} below" if len(event.problems) > 1 else ""
    problem = capitalize_first(escape_unprintable(event.problems[0].sentence, 400))
    return "err", _TITLES.get(event.row.reason, "Refused"), f"{reason} {problem}{more}."


def _describe_verdict(event: CapturedEvent, provider: str, found: Diagnosis | None) -> VerdictWords:
    row = event.row
    kind = _get_panel_kind(event)
    if found and found.verification.verdict is Verdict.VERIFIED and row.verdict is not Verdict.VERIFIED:
        text = "It did not when it came. Replay it, or ask the sender to send it again."
        return "ok", "With today's secrets the signature verifies", text
    if found and found.findings:
        first = found.findings[0]
        return kind, escape_unprintable(first.title, 160), escape_unprintable(first.sentence, 600)
    if row.verdict is Verdict.VERIFIED and row.outcome is not EventOutcome.REJECTED:
        return kind, "Signature verified", _describe_verified(event, provider)
    title = _TITLES.get(row.reason, "Signature check failed" if row.verdict is Verdict.INVALID else "Not checked")
    return kind, title, escape_unprintable(admission.describe_reason(row.reason), 400)


def _describe_verified(event: CapturedEvent, provider: str) -> str:
    """Return the panel of a verified event, which does not credit the provider if relay itself signed."""
    if event.row.sample:
        return f"relay made this sample and signed it as {provider} does. {provider} did not send it."
    if any(check.name == "Imported" for check in event.verification.checks):
        return "This event was imported. The relay that exported it found its signature right."
    if event.row.recovered:
        return f"relay fetched this from {provider} afterwards, and the signature of {provider} fits it."
    return f"{provider} sent this, and nothing was changed on the way."


def _get_panel_kind(event: CapturedEvent) -> str:
    row = event.row
    if row.outcome is EventOutcome.REJECTED or row.verdict is Verdict.INVALID:
        return "err"
    if row.verdict is Verdict.VERIFIED:
        return "ok"
    return "warn" if row.reason in ("vault_locked", "secret_missing", "secret_unusable") else "quiet"
