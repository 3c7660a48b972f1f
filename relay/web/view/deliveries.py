"""Deliveries and their attempts as people read them: what was sent, what came back, what happens next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from relay.model.delivery import (
    NO_CHANGES,
    Attempt,
    Changes,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Output,
    ReceivedResponse,
    SentRequest,
)
from relay.model.event import Headers
from relay.model.text import header_text, is_sensitive, printable
from relay.web.view.rows import Chip, result
from relay.web.view.text import RAW_WINDOW, hexadecimal, is_binary, raw
from relay.web.view.words import Moment, due, moment, plural, status_phrase, took

SHOWN = 16 * 1024  # bytes of a sent or received body in an attempt; the rest is a size
HIDDEN = "••••"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A request or a response as text: its first line, its headers, its body."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What the user's own code printed, and where it failed; each line made harmless."""

    text: str
    note: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt. `kind` is ok or err."""

    number: int
    kind: str
    title: str
    detail: str
    took: str
    time: Moment
    notes: tuple[str, ...]
    request: Message | None
    response: Message | None
    printed: Printed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One delivery. `bars` are its attempts in order, `o` or `e`; `next` says when it tries again, or that it waits."""

    id: int
    event_id: int
    target: str
    action: str
    why: str
    chip: Chip
    took: str
    created: Moment
    last: Chip
    bars: tuple[str, ...]
    next: str
    detail: str
    can_retry: bool
    can_cancel: bool
    can_edit: bool
    tries: tuple[Try, ...] = ()


def line(
    delivery: Delivery,
    now: datetime,
    attempts: Sequence[Attempt] = (),
    zone: tzinfo | None = None,
    *,
    held: bool = False,
) -> Line:
    """Return a delivery as a line, with its attempts where they are given; `held`: its target is down."""
    waiting = delivery.state is DeliveryState.PENDING
    return Line(
        id=delivery.id,
        event_id=delivery.event_id,
        target=printable(delivery.target, 120),
        action=delivery.action,
        why=_why(delivery),
        chip=result(delivery),
        took=took(delivery.took),
        created=moment(delivery.created_at, zone),
        last=_last(delivery),
        bars=_bars(delivery),
        next=("waiting" if held and not delivery.asked else due(delivery.due_at, now)) if waiting else "",
        detail=printable(delivery.detail, 400),
        can_retry=delivery.state is not DeliveryState.RUNNING,
        can_cancel=waiting,
        can_edit=delivery.action == "forward",
        tries=tuple(_try(attempt, zone) for attempt in attempts),
    )


def address(url: str) -> str:
    """Return the part of a target's URL that tells it apart: `:3000/hooks` on this machine, else host and path."""
    rest = url.partition("://")[2] or url
    for local in ("localhost", "127.0.0.1", "[::1]"):
        if rest.startswith((f"{local}:", f"{local}/")) or rest == local:
            return printable(rest.removeprefix(local), 80)
    return printable(rest, 80)


def held(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the views of the deliveries with how many each holds, from the counts by state."""
    named = {"all": sum(counts.values()), "queued": counts["pending"] + counts["running"]}
    named |= {"failed": counts["failed"], "sent": counts["succeeded"]}
    return {name: f"{count:,}" for name, count in named.items()}


def _last(delivery: Delivery) -> Chip:
    if delivery.state is DeliveryState.PENDING and delivery.attempts:
        return Chip(kind="err", text=_short(delivery), title=printable(delivery.detail, 300))
    shown = result(delivery)
    return replace(shown, text=_short(delivery)) if delivery.state is DeliveryState.FAILED else shown


def _short(delivery: Delivery) -> str:
    if delivery.status is not None:
        return str(delivery.status)
    words = (
        ("refused", "Refused"),
        ("no connection", "Timed out"),
        ("no answer", "Timed out"),
        ("hung up", "Hung up"),
    )
    return next((word for found, word in words if found in delivery.detail), "Failed")


def _why(delivery: Delivery) -> str:
    if delivery.lab is not None:
        return f"by lab run {delivery.lab}"
    if delivery.batch is not None:
        return f"bulk replay {delivery.batch}"
    words = {
        DeliveryReason.ROUTED: "by a route",
        DeliveryReason.REPLAY: "a replay",
        DeliveryReason.MANUAL: "by hand",
    }[delivery.reason]
    return f"{words}, changed" if _changed(delivery.changes) else words


def _changed(changes: Changes) -> bool:
    parts = (changes.method, changes.path, changes.query, changes.headers, changes.body)
    return changes != NO_CHANGES and any(part is not None for part in parts)


def _bars(delivery: Delivery) -> tuple[str, ...]:
    succeeded = delivery.state is DeliveryState.SUCCEEDED
    failures = delivery.attempts - succeeded
    return ("e",) * min(failures, 12) + ("o",) * succeeded


def _try(attempt: Attempt, zone: tzinfo | None) -> Try:
    succeeded = attempt.outcome == "succeeded"
    response = attempt.response
    title = status_phrase(response.status) if response and response.status else printable(attempt.detail, 120)
    request = attempt.request
    return Try(
        number=attempt.number,
        kind="ok" if succeeded else "err",
        title=title or ("Sent" if succeeded else "Failed"),
        detail=printable(attempt.detail, 400) if response and attempt.detail != str(response.status) else "",
        took=took(attempt.took),
        time=moment(attempt.started_at, zone),
        notes=tuple(printable(note, 300) for part in (request, response) if part for note in part.notes),
        request=_request(request) if request else None,
        response=_response(response) if response else None,
        printed=_printed(attempt.output) if attempt.output else None,
    )


def _request(request: SentRequest) -> Message:
    return Message(
        line=printable(f"{request.method} {request.url}", 600),
        headers=shown_headers(request.headers),
        body=shown_body(request.body),
        note=_cut(len(request.body)),
    )


def _response(response: ReceivedResponse) -> Message:
    note = "relay kept the first 64 KB" if response.cut else _cut(len(response.body))
    return Message(
        line=f"HTTP/1.1 {status_phrase(response.status)}",
        headers=shown_headers(response.headers),
        body=shown_body(response.body),
        note=note,
    )


def shown_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return headers made harmless, the values of sensitive ones hidden."""
    return tuple(
        (printable(name, 120), HIDDEN if is_sensitive(name) else printable(header_text(value), 2000))
        for name, value in headers
    )


def shown_body(body: bytes) -> str:
    """Return the start of a body as text, or in hexadecimal where it is none."""
    if not body:
        return ""
    if is_binary(body):
        return "".join(piece.text for piece in hexadecimal(body[:512]).pieces)
    return "".join(piece.text for piece in raw(body[: min(SHOWN, RAW_WINDOW)]).pieces)


def _printed(output: Output) -> Printed:
    return Printed(
        text=shown_text(output.text),
        note="relay kept the first 64 KB" if output.cut else "",
        traceback=shown_text(output.traceback),
    )


def shown_text(text: str) -> str:
    """Return lines of text as they are, every control character in them made visible."""
    lines = text.rstrip("\n").split("\n")
    return "\n".join(printable(line.removesuffix("\r").expandtabs(4)) for line in lines)


def _cut(count: int) -> str:
    return f"{plural(count, 'byte')}; the first {SHOWN // 1024} KB are shown" if count > SHOWN else ""
