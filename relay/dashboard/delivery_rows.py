"""Formats deliveries and their attempts: requests, responses, and the next step."""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from aiohttp import web

from relay.dashboard.body_text import build_hex_window, build_text_window, is_binary
from relay.dashboard.event_list import build_delivery_chip
from relay.dashboard.filters import StatusChip, format_count, format_due, format_status
from relay.model.delivery import Attempt, Delivery, DeliveryReason, DeliveryState
from relay.model.event import Headers
from relay.model.parameters import parse_whole_number
from relay.model.text import decode_header_text, escape_unprintable, is_sensitive

MAX_BODY_SHOWN = 16 * 1024  # bytes shown of a sent or received body
HIDDEN_VALUE = "••••"
_MAX_BARS = 12  # failed attempts that are shown
_REASON_WORDS = {
    DeliveryReason.ROUTED: "by a route",
    DeliveryReason.REPLAY: "a replay",
    DeliveryReason.MANUAL: "by hand",
}
_FAILURE_WORDS = {"refused": "Refused", "no connection": "Timed out", "no answer": "Timed out", "hung up": "Hung up"}


def format_next_try(delivery: Delivery, now: datetime, down: Container[str] = ()) -> str:
    """Return when a delivery is tried next, or that it waits because its target is `down`; "" if it has ended."""
    if delivery.state is not DeliveryState.PENDING:
        return ""
    return "waiting" if delivery.target in down and not delivery.asked else format_due(delivery.due_at, now)


def format_target_address(url: str) -> str:
    """Return the distinctive part of a target's URL: `:3000/hooks` on this machine, else host and path."""
    rest = url.partition("://")[2] or url
    for local in ("localhost", "127.0.0.1", "[::1]"):
        if rest.startswith((f"{local}:", f"{local}/")) or rest == local:
            return escape_unprintable(rest.removeprefix(local), 80)
    return escape_unprintable(rest, 80)


def parse_delivery_filters(request: web.Request) -> dict[str, Any]:
    """Return the filters of a page: by state, target, bulk replay and event; None means any."""
    state = request.query.get("state", "")
    return {
        "state": state if state in tuple(DeliveryState) else None,
        "target": request.query.get("target", "")[:500] or None,
        "batch": parse_whole_number(request.query, "batch") or None,
        "event": parse_whole_number(request.query, "event") or None,
    }


def list_delivery_views(counts: Mapping[str, int] | None) -> list[tuple[str | None, str, int]]:
    """Return the saved views of deliveries: state, name and count, from the counts by state."""
    if counts is None:
        return []
    return [
        (None, "all", sum(counts.values())),
        ("pending", "queued", counts["pending"] + counts["running"]),
        ("failed", "failed", counts["failed"]),
        ("succeeded", "sent", counts["succeeded"]),
    ]


def build_last_chip(delivery: Delivery) -> StatusChip:
    """Return the outcome of a delivery's latest attempt."""
    if delivery.state is DeliveryState.PENDING and delivery.attempts:
        return StatusChip("err", _format_short_result(delivery), title=escape_unprintable(delivery.detail, 300))
    chip = build_delivery_chip(delivery)
    return replace(chip, text=_format_short_result(delivery)) if delivery.state is DeliveryState.FAILED else chip


def _format_short_result(delivery: Delivery) -> str:
    if delivery.status is not None:
        return str(delivery.status)
    return next((word for found, word in _FAILURE_WORDS.items() if found in delivery.detail), "Failed")


def describe_delivery_reason(delivery: Delivery) -> str:
    """Return why a delivery exists: by a route, a replay, a user action, or a lab run."""
    if delivery.lab is not None:
        return f"by lab run {delivery.lab}"
    if delivery.batch is not None:
        return f"bulk replay {delivery.batch}"
    changes, words = delivery.changes, _REASON_WORDS[delivery.reason]
    edits = (changes.method, changes.path, changes.query, changes.headers, changes.body)
    return f"{words}, changed" if any(edit is not None for edit in edits) else words


def list_attempt_bars(delivery: Delivery) -> str:
    """Return the attempts of a delivery in order, one letter each: `e` for failed, `o` for others."""
    succeeded = delivery.state is DeliveryState.SUCCEEDED
    return "e" * min(delivery.attempts - succeeded, _MAX_BARS) + "o" * succeeded


def format_attempt_title(attempt: Attempt) -> str:
    """Return the result of an attempt: the status of the response, else why there is none."""
    if attempt.response and attempt.response.status:
        return format_status(attempt.response.status)
    return escape_unprintable(attempt.detail, 120) or ("Sent" if attempt.outcome == "succeeded" else "Failed")


def mask_headers(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return escaped headers, with the values of sensitive ones hidden."""
    return tuple((escape_unprintable(name, 120), mask_value(name, value, 2000)) for name, value in headers)


def mask_value(name: str, value: str, limit: int | None = None) -> str:
    """Return the escaped value of a header, hidden if it is sensitive."""
    return HIDDEN_VALUE if is_sensitive(name) else escape_unprintable(decode_header_text(value), limit)


def format_body(body: bytes) -> str:
    """Return the start of a body as text, or in hexadecimal if it is binary."""
    if not body:
        return ""
    if is_binary(body):
        return build_hex_window(body[:512]).pieces[0][0]
    return "".join(text for text, _ in build_text_window(body[:MAX_BODY_SHOWN]).pieces)


def format_text(text: str) -> str:
    """Return lines of text with control characters made visible."""
    lines = text.rstrip("\n").split("\n")
    return "\n".join(escape_unprintable(line.removesuffix("\r").expandtabs(4)) for line in lines)


def format_cut_note(body: bytes) -> str:
    """Return a note on how much of a body is shown, "" if all of it."""
    if len(body) <= MAX_BODY_SHOWN:
        return ""
    return f"{format_count(len(body), 'byte')}; the first {MAX_BODY_SHOWN // 1024} KB are shown"


DELIVERY_FILTERS: Mapping[str, Callable[..., object]] = {
    "attempt_bars": list_attempt_bars,
    "attempt_title": format_attempt_title,
    "body_text": format_body,
    "cut_note": format_cut_note,
    "delivery_views": list_delivery_views,
    "delivery_reason": describe_delivery_reason,
    "last_chip": build_last_chip,
    "lines_text": format_text,
    "mask_headers": mask_headers,
    "next_try": format_next_try,
    "target_address": format_target_address,
}
