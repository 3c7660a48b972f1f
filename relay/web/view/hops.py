"""The hop line: provider, what was checked, relay, what each target answered; it breaks where the event broke."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from relay.model.delivery import Delivery, DeliveryReason, DeliveryState
from relay.model.event import EventOutcome, EventRow, Verdict
from relay.model.text import printable
from relay.web.view.marks import Mark
from relay.web.view.rows import latest, result
from relay.web.view.words import due


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One stretch of the line. `kind` is ok, err, warn, off or "" (plain)."""

    kind: str
    text: str
    icon: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    """One target at the end of the line, with the part of its address that tells it apart."""

    wire: Wire
    target: str
    address: str = ""
    is_replay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """The whole line; `open` draws the switch in the middle as open: nothing passes."""

    mark: Mark
    checked: Wire
    open: bool
    outs: tuple[Out, ...]


def hops(
    event: EventRow,
    deliveries: Sequence[Delivery],
    mark: Mark,
    addresses: Mapping[str, str],
    now: datetime,
) -> Hops:
    """Return the line of an event; `addresses` says where each configured target leads."""
    newest = latest(deliveries)
    outs = tuple(
        Out(
            wire=_sent(delivery, now),
            target=printable(delivery.target, 60),
            address=addresses.get(delivery.target, ""),
            is_replay=delivery.reason is DeliveryReason.REPLAY,
        )
        for delivery in newest
    )
    return Hops(
        mark=mark,
        checked=_checked(event),
        open=event.outcome is EventOutcome.REJECTED,
        outs=outs or (_nowhere(event, addresses),),
    )


_WORDS = {
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

_CHIP = 40  # characters that a chip has room for; the rest stands in its title
_RULES = frozenset({"schema", "content_type", "idempotency_key_missing", "invalid_recipient"})


def _checked(event: EventRow) -> Wire:
    words = _WORDS.get(event.reason, "")
    if event.verdict is Verdict.INVALID:
        return Wire(kind="err", text=words or "Mismatch", icon="shield-x")
    if event.outcome is EventOutcome.REJECTED:
        # What its source's rules have against an event stands in its summary.
        said = {"schema": f"Schema: {event.summary}"}.get(event.reason, event.summary)
        told = printable(said, 300) if event.reason in _RULES else words
        return Wire(kind="err", text=printable(told, _CHIP) or "Rejected", icon="ban", title=told)
    if event.verdict is Verdict.VERIFIED:
        return Wire(kind="ok", text="Verified", icon="shield-check")
    if event.reason == "vault_locked":
        return Wire(kind="warn", text=words, icon="lock")
    if event.verdict is Verdict.UNSIGNED:
        return Wire(kind="", text="No signature expected")
    return Wire(kind="", text=words or "Not checked")


def _sent(delivery: Delivery, now: datetime) -> Wire:
    chip = result(delivery)
    text = f"{chip.text} · {chip.more}" if chip.more else chip.text
    title = printable(delivery.detail, 300)
    match delivery.state:
        case DeliveryState.SUCCEEDED:
            return Wire(kind="ok", text=text, icon="check", title=title)
        case DeliveryState.FAILED:
            return Wire(kind="err", text=text, icon="x", title=title)
        case DeliveryState.RUNNING:
            return Wire(kind="", text=text, icon="loader-circle")
        case DeliveryState.CANCELLED:
            return Wire(kind="off", text=text, title=title)
        case DeliveryState.PENDING:
            text = f"{chip.text} {due(delivery.due_at, now)}" if delivery.attempts else chip.text
            return Wire(kind="warn", text=text, icon="clock", title=title)


def _nowhere(event: EventRow, addresses: Mapping[str, str]) -> Out:
    if event.outcome is EventOutcome.DUPLICATE:
        return Out(wire=Wire(kind="off", text=f"Same as event {event.duplicate_of}"), target="Not sent again")
    if event.outcome is EventOutcome.IGNORED:
        return Out(wire=Wire(kind="off", text="Not in events"), target="Not sent")
    if event.outcome is EventOutcome.REJECTED:
        name, address = next(iter(addresses.items()), ("Your app", ""))
        return Out(wire=Wire(kind="off", text="Not sent"), target=name, address=address)
    if event.reason == "vault_locked":
        return Out(wire=Wire(kind="off", text="Waits for the vault"), target="Not sent yet")
    if event.reason == "handshake":
        return Out(wire=Wire(kind="off", text="Answered by relay"), target="Nothing to send")
    return Out(wire=Wire(kind="off", text="No target"), target="Your app")
