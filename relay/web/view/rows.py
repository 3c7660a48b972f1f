"""One line of the event list: what arrived, whether it was genuine, what the targets said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo

from relay.model.charsets import media_type
from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.items import headline
from relay.model.text import printable
from relay.web.view.marks import Mark
from relay.web.view.words import Moment, moment, plural, took


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A short result; `more` may drop when space is short.

    `kind` is ok, err, retry, queued, sending, warn, no, done or dim.
    """

    kind: str
    text: str
    more: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One event as the list shows it. `shield` is ok, err, lock or none; `tags` replay, sample, recovered, pinned."""

    id: int
    mark: Mark
    type: str
    summary: str
    shield: str
    chip: Chip
    tags: tuple[str, ...]
    time: Moment


def row(event: EventRow, deliveries: Sequence[Delivery], mark: Mark, zone: tzinfo | None = None) -> Row:
    """Return the line for an event and all its deliveries."""
    return Row(
        id=event.id,
        mark=mark,
        type=printable(_headline(event), 80)
        if event.type != "unknown"
        else f"{event.method} {printable(event.path, 60)}",
        summary=_summary(event),
        shield=shield(event),
        chip=chip(event, deliveries),
        tags=tags(event, is_replayed=any(one.reason is DeliveryReason.REPLAY for one in deliveries)),
        time=moment(event.received_at, zone),
    )


def tags(event: EventRow, *, is_replayed: bool) -> tuple[str, ...]:
    """Return the marks of an event: replay, sample, recovered, pinned."""
    marks = (
        ("replay", is_replayed),
        ("sample", event.sample),
        ("recovered", event.recovered),
        ("pinned", event.pinned),
    )
    return tuple(name for name, holds in marks if holds)


def named(event: EventRow) -> str:
    """Return what an event is called: its type, or the request itself where it has none."""
    if event.type == "unknown":
        return f"{printable(event.method, 20)} {printable(event.path, 80)}"
    return printable(_headline(event), 120)


def _headline(event: EventRow) -> str:
    return headline(event.type, event.types, event.item_count)


def shield(event: EventRow) -> str:
    """Return how the signature check is shown: ok, err, lock (vault locked) or none."""
    if event.verdict is Verdict.VERIFIED:
        return "ok"
    if event.verdict is Verdict.INVALID:
        return "err"
    return "lock" if event.reason == "vault_locked" else "none"


def chip(event: EventRow, deliveries: Sequence[Delivery]) -> Chip:
    """Return the result of an event: that it was rejected, why nothing was sent, or the worst that any target said."""
    told = ", ".join(f"{printable(one.target, 60)}: {result(one).text}" for one in latest(deliveries))
    if event.outcome is EventOutcome.REJECTED:
        # Also after a replay: what a target said of it does not make it genuine.
        return Chip(kind="no", text="Rejected", title=f"Replayed. {told}" if told else "")
    if event.reason == "vault_locked" and not deliveries:
        return Chip(kind="warn", text="Unchecked")
    if not deliveries:
        return Chip(kind="dim", text=_NOTHING_SENT.get(event.outcome, "No target"))
    worst = max(latest(deliveries), key=lambda delivery: (_URGENCY[delivery.state], delivery.id))
    shown = result(worst)
    return Chip(kind=shown.kind, text=shown.text, more=shown.more, title=told)


def latest(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Return the newest delivery to each target, in the order the targets first appeared.

    What the lab sent is left out while there is anything else: it says nothing of the event.
    """
    newest: dict[str, Delivery] = {}
    own = [delivery for delivery in deliveries if delivery.lab is None] or deliveries
    for delivery in sorted(own, key=lambda one: one.id):
        newest[delivery.target] = delivery
    return list(newest.values())


def result(delivery: Delivery) -> Chip:
    """Return where one delivery stands, in the fewest words."""
    match delivery.state:
        case DeliveryState.SUCCEEDED:
            return Chip(
                kind="ok",
                text=_answered(delivery, _DONE.get(delivery.action, "Sent")),
                more=took(delivery.took),
            )
        case DeliveryState.FAILED:
            return Chip(kind="err", text=_answered(delivery, "Failed"), more=took(delivery.took))
        case DeliveryState.RUNNING:
            return Chip(kind="sending", text="Running" if delivery.action == "handler" else "Sending")
        case DeliveryState.CANCELLED:
            return Chip(kind="dim", text="Cancelled")
        case DeliveryState.PENDING:
            if delivery.attempts:
                return Chip(kind="retry", text=f"Try {delivery.attempts + 1}")
            return Chip(kind="queued", text="Queued")


_DONE = {"handler": "Done"}  # nothing was sent
_NOTHING_SENT = {EventOutcome.DUPLICATE: "Duplicate", EventOutcome.IGNORED: "Ignored"}
_URGENCY = {
    DeliveryState.CANCELLED: 0,
    DeliveryState.SUCCEEDED: 1,
    DeliveryState.RUNNING: 2,
    DeliveryState.PENDING: 3,
    DeliveryState.FAILED: 4,
}


def _answered(delivery: Delivery, otherwise: str) -> str:
    return otherwise if delivery.status is None else str(delivery.status)


def _summary(event: EventRow) -> str:
    if event.summary:
        return printable(event.summary, 120)
    kind = media_type(event.content_type).rpartition("/")[2] or plural(event.size, "byte")
    return printable(kind, 60)
