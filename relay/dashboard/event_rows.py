"""One line of the event list: what arrived, whether it was genuine, what the targets said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from relay.dashboard.filters import Avatar, DisplayTime, format_count, format_duration, format_moment
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.request_items import format_headline
from relay.model.text import escape_unprintable, parse_media_type


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChip:
    """A short result; `more` may drop when space is short.

    `kind` is ok, err, retry, queued, sending, warn, no, done or dim.
    """

    kind: str
    text: str
    more: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventListRow:
    """One event as the list shows it. `shield` is ok, err, lock or none; `tags` replay, sample, recovered, pinned."""

    id: int
    mark: Avatar
    type: str
    summary: str
    shield: str
    chip: StatusChip
    tags: tuple[str, ...]
    time: DisplayTime


def build_event_row(
    event: EventRow, deliveries: Sequence[Delivery], mark: Avatar, zone: tzinfo | None = None
) -> EventListRow:
    """Return the line for an event and all its deliveries."""
    return EventListRow(
        id=event.id,
        mark=mark,
        type=escape_unprintable(_format_types(event), 80)
        if event.type != "unknown"
        else f"{event.method} {escape_unprintable(event.path, 60)}",
        summary=_format_summary(event),
        shield=get_shield_kind(event),
        chip=summarize_deliveries(event, deliveries),
        tags=list_event_tags(event, is_replayed=any(one.reason is DeliveryReason.REPLAY for one in deliveries)),
        time=format_moment(event.received_at, zone),
    )


def list_event_tags(event: EventRow, *, is_replayed: bool) -> tuple[str, ...]:
    """Return the marks of an event: replay, sample, recovered, pinned."""
    marks = (
        ("replay", is_replayed),
        ("sample", event.sample),
        ("recovered", event.recovered),
        ("pinned", event.pinned),
    )
    return tuple(name for name, holds in marks if holds)


def format_event_title(event: EventRow) -> str:
    """Return what an event is called: its type, or the request itself where it has none."""
    if event.type == "unknown":
        return f"{escape_unprintable(event.method, 20)} {escape_unprintable(event.path, 80)}"
    return escape_unprintable(_format_types(event), 120)


def _format_types(event: EventRow) -> str:
    return format_headline(event.type, event.types, event.item_count)


def get_shield_kind(event: EventRow) -> str:
    """Return how the signature check is shown: ok, err, lock (vault locked) or none."""
    if event.verdict is Verdict.VERIFIED:
        return "ok"
    if event.verdict is Verdict.INVALID:
        return "err"
    return "lock" if event.reason == "vault_locked" else "none"


def summarize_deliveries(event: EventRow, deliveries: Sequence[Delivery]) -> StatusChip:
    """Return the result of an event: that it was rejected, why nothing was sent, or the worst that any target said."""
    told = ", ".join(
        f"{escape_unprintable(one.target, 60)}: {build_delivery_chip(one).text}"
        for one in select_latest_deliveries(deliveries)
    )
    if event.outcome is EventOutcome.REJECTED:
        # Also after a replay: what a target said of it does not make it genuine.
        return StatusChip(kind="no", text="Rejected", title=f"Replayed. {told}" if told else "")
    if event.reason == "vault_locked" and not deliveries:
        return StatusChip(kind="warn", text="Unchecked")
    if not deliveries:
        return StatusChip(kind="dim", text=_NOTHING_SENT.get(event.outcome, "No target"))
    worst = max(select_latest_deliveries(deliveries), key=lambda delivery: (_URGENCY[delivery.state], delivery.id))
    shown = build_delivery_chip(worst)
    return StatusChip(kind=shown.kind, text=shown.text, more=shown.more, title=told)


def select_latest_deliveries(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the newest delivery to each target, in the order the targets first appeared.

    What the lab sent is left out while there is anything else: it says nothing of the event.
    """
    newest: dict[str, Delivery] = {}
    own = [delivery for delivery in deliveries if delivery.lab is None] or deliveries
    for delivery in sorted(own, key=lambda one: one.id):
        newest[delivery.target] = delivery
    return list(newest.values())


def build_delivery_chip(delivery: Delivery) -> StatusChip:
    """Return where one delivery stands, in the fewest words."""
    match delivery.state:
        case DeliveryState.SUCCEEDED:
            return StatusChip(
                kind="ok",
                text=_format_result(delivery, _SUCCESS_WORDS.get(delivery.action, "Sent")),
                more=format_duration(delivery.took),
            )
        case DeliveryState.FAILED:
            return StatusChip(kind="err", text=_format_result(delivery, "Failed"), more=format_duration(delivery.took))
        case DeliveryState.RUNNING:
            return StatusChip(kind="sending", text="Running" if delivery.action == "handler" else "Sending")
        case DeliveryState.CANCELLED:
            return StatusChip(kind="dim", text="Cancelled")
        case DeliveryState.PENDING:
            if delivery.attempts:
                return StatusChip(kind="retry", text=f"Try {delivery.attempts + 1}")
            return StatusChip(kind="queued", text="Queued")


_SUCCESS_WORDS = {"handler": "Done"}  # nothing was sent
_NOTHING_SENT = {EventOutcome.DUPLICATE: "Duplicate", EventOutcome.IGNORED: "Ignored"}
_URGENCY = {
    DeliveryState.CANCELLED: 0,
    DeliveryState.SUCCEEDED: 1,
    DeliveryState.RUNNING: 2,
    DeliveryState.PENDING: 3,
    DeliveryState.FAILED: 4,
}


def _format_result(delivery: Delivery, otherwise: str) -> str:
    return otherwise if delivery.status is None else str(delivery.status)


def _format_summary(event: EventRow) -> str:
    if event.summary:
        return escape_unprintable(event.summary, 120)
    kind = parse_media_type(event.content_type).rpartition("/")[2] or format_count(event.size, "byte")
    return escape_unprintable(kind, 60)


EVENT_FILTERS: dict[str, Callable[..., object]] = {
    "delivery_chip": build_delivery_chip,
    "event_title": format_event_title,
    "shield_kind": get_shield_kind,
}
