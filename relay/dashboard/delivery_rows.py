"""Deliveries and their attempts as people read them: what was sent, what came back, what happens next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from relay.dashboard.body_text import RAW_WINDOW, build_hex_window, build_text_window, is_binary
from relay.dashboard.event_rows import StatusChip, build_delivery_chip
from relay.dashboard.filters import DisplayTime, format_count, format_due, format_duration, format_moment, format_status
from relay.model.delivery import (
    NO_CHANGES,
    Attempt,
    Delivery,
    DeliveryChanges,
    DeliveryReason,
    DeliveryState,
    HandlerOutput,
    ReceivedResponse,
    SentRequest,
)
from relay.model.event import Headers
from relay.model.text import decode_header_text, escape_unprintable, is_sensitive

MAX_BODY_SHOWN = 16 * 1024  # bytes of a sent or received body in an attempt; the rest is a size
HIDDEN_VALUE = "••••"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpMessageView:
    """A request or a response as text: its first line, its headers, its body."""

    line: str
    headers: tuple[tuple[str, str], ...]
    body: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerOutputView:
    """What the user's own code printed, and where it failed; each line made harmless."""

    text: str
    note: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One attempt. `kind` is ok or err."""

    number: int
    kind: str
    title: str
    detail: str
    took: str
    time: DisplayTime
    notes: tuple[str, ...]
    request: HttpMessageView | None
    response: HttpMessageView | None
    printed: HandlerOutputView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLine:
    """One delivery. `bars` are its attempts in order, `o` or `e`; `next` says when it tries again, or that it waits."""

    id: int
    event_id: int
    target: str
    action: str
    why: str
    chip: StatusChip
    took: str
    created: DisplayTime
    last: StatusChip
    bars: tuple[str, ...]
    next: str
    detail: str
    can_retry: bool
    can_cancel: bool
    can_edit: bool
    tries: tuple[AttemptView, ...] = ()


def build_delivery_line(
    delivery: Delivery,
    now: datetime,
    attempts: Sequence[Attempt] = (),
    zone: tzinfo | None = None,
    *,
    held: bool = False,
) -> DeliveryLine:
    """Return a delivery as a line, with its attempts where they are given; `held`: its target is down."""
    waiting = delivery.state is DeliveryState.PENDING
    return DeliveryLine(
        id=delivery.id,
        event_id=delivery.event_id,
        target=escape_unprintable(delivery.target, 120),
        action=delivery.action,
        why=_describe_reason(delivery),
        chip=build_delivery_chip(delivery),
        took=format_duration(delivery.took),
        created=format_moment(delivery.created_at, zone),
        last=_build_last_chip(delivery),
        bars=_build_attempt_bars(delivery),
        next=("waiting" if held and not delivery.asked else format_due(delivery.due_at, now)) if waiting else "",
        detail=escape_unprintable(delivery.detail, 400),
        can_retry=delivery.state is not DeliveryState.RUNNING,
        can_cancel=waiting,
        can_edit=delivery.action == "forward",
        tries=tuple(_build_attempt_view(attempt, zone) for attempt in attempts),
    )


def format_target_address(url: str) -> str:
    """Return the part of a target's URL that tells it apart: `:3000/hooks` on this machine, else host and path."""
    rest = url.partition("://")[2] or url
    for local in ("localhost", "127.0.0.1", "[::1]"):
        if rest.startswith((f"{local}:", f"{local}/")) or rest == local:
            return escape_unprintable(rest.removeprefix(local), 80)
    return escape_unprintable(rest, 80)


def count_delivery_views(counts: Mapping[str, int]) -> dict[str, str]:
    """Return the views of the deliveries with how many each holds, from the counts by state."""
    named = {"all": sum(counts.values()), "queued": counts["pending"] + counts["running"]}
    named |= {"failed": counts["failed"], "sent": counts["succeeded"]}
    return {name: f"{count:,}" for name, count in named.items()}


def _build_last_chip(delivery: Delivery) -> StatusChip:
    if delivery.state is DeliveryState.PENDING and delivery.attempts:
        return StatusChip(
            kind="err", text=_format_short_result(delivery), title=escape_unprintable(delivery.detail, 300)
        )
    shown = build_delivery_chip(delivery)
    return replace(shown, text=_format_short_result(delivery)) if delivery.state is DeliveryState.FAILED else shown


def _format_short_result(delivery: Delivery) -> str:
    if delivery.status is not None:
        return str(delivery.status)
    words = (("refused", "Refused"), ("no connection", "Timed out"), ("no answer", "Timed out"), ("hung up", "Hung up"))
    return next((word for found, word in words if found in delivery.detail), "Failed")


def _describe_reason(delivery: Delivery) -> str:
    if delivery.lab is not None:
        return f"by lab run {delivery.lab}"
    if delivery.batch is not None:
        return f"bulk replay {delivery.batch}"
    words = {DeliveryReason.ROUTED: "by a route", DeliveryReason.REPLAY: "a replay", DeliveryReason.MANUAL: "by hand"}[
        delivery.reason
    ]
    return f"{words}, changed" if _has_changes(delivery.changes) else words


def _has_changes(changes: DeliveryChanges) -> bool:
    parts = (changes.method, changes.path, changes.query, changes.headers, changes.body)
    return changes != NO_CHANGES and any(part is not None for part in parts)


def _build_attempt_bars(delivery: Delivery) -> tuple[str, ...]:
    succeeded = delivery.state is DeliveryState.SUCCEEDED
    failures = delivery.attempts - succeeded
    return ("e",) * min(failures, 12) + ("o",) * succeeded


def _build_attempt_view(attempt: Attempt, zone: tzinfo | None) -> AttemptView:
    succeeded = attempt.outcome == "succeeded"
    response = attempt.response
    title = format_status(response.status) if response and response.status else escape_unprintable(attempt.detail, 120)
    request = attempt.request
    return AttemptView(
        number=attempt.number,
        kind="ok" if succeeded else "err",
        title=title or ("Sent" if succeeded else "Failed"),
        detail=escape_unprintable(attempt.detail, 400) if response and attempt.detail != str(response.status) else "",
        took=format_duration(attempt.took),
        time=format_moment(attempt.started_at, zone),
        notes=tuple(escape_unprintable(note, 300) for part in (request, response) if part for note in part.notes),
        request=_build_request_view(request) if request else None,
        response=_build_response_view(response) if response else None,
        printed=_build_output_view(attempt.output) if attempt.output else None,
    )


def _build_request_view(request: SentRequest) -> HttpMessageView:
    return HttpMessageView(
        line=escape_unprintable(f"{request.method} {request.url}", 600),
        headers=mask_headers(request.headers),
        body=format_body(request.body),
        note=_format_cut_note(len(request.body)),
    )


def _build_response_view(response: ReceivedResponse) -> HttpMessageView:
    note = "relay kept the first 64 KB" if response.cut else _format_cut_note(len(response.body))
    return HttpMessageView(
        line=f"HTTP/1.1 {format_status(response.status)}",
        headers=mask_headers(response.headers),
        body=format_body(response.body),
        note=note,
    )


def mask_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return headers made harmless, the values of sensitive ones hidden."""
    return tuple(
        (
            escape_unprintable(name, 120),
            HIDDEN_VALUE if is_sensitive(name) else escape_unprintable(decode_header_text(value), 2000),
        )
        for name, value in headers
    )


def format_body(body: bytes) -> str:
    """Return the start of a body as text, or in hexadecimal where it is none."""
    if not body:
        return ""
    if is_binary(body):
        return "".join(piece.text for piece in build_hex_window(body[:512]).pieces)
    return "".join(piece.text for piece in build_text_window(body[: min(MAX_BODY_SHOWN, RAW_WINDOW)]).pieces)


def _build_output_view(output: HandlerOutput) -> HandlerOutputView:
    return HandlerOutputView(
        text=format_text(output.text),
        note="relay kept the first 64 KB" if output.cut else "",
        traceback=format_text(output.traceback),
    )


def format_text(text: str) -> str:
    """Return lines of text as they are, every control character in them made visible."""
    lines = text.rstrip("\n").split("\n")
    return "\n".join(escape_unprintable(line.removesuffix("\r").expandtabs(4)) for line in lines)


def _format_cut_note(count: int) -> str:
    return (
        f"{format_count(count, 'byte')}; the first {MAX_BODY_SHOWN // 1024} KB are shown"
        if count > MAX_BODY_SHOWN
        else ""
    )
