"""The page Messages: the list, one message with its history and its mail, and the rates; live while it is open."""

from datetime import date, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from relay.actions.mail.addresses import is_permitted
from relay.dashboard.filters import escape_html, find_provider, format_count
from relay.dashboard.render import RENDERER, html_response, make_partial, sandboxed_response
from relay.dashboard.responses import render_page
from relay.dashboard.widgets import BAD_STATUSES, Figure, NavLink, build_message_chip
from relay.http.params import parse_id, parse_message_filter, parse_number
from relay.http.responses import get_relay
from relay.model.message import (
    LOST,
    DayCounts,
    Message,
    MessageCounts,
    MessageFilter,
    MessageStatus,
    StatusCount,
    add_up_counts,
    group_by_day,
    parse_addresses,
)
from relay.model.text import decode_text, escape_unprintable
from relay.providers.message_status import explain_code
from relay.services.relay import RunningRelay
from relay.services.stats import MESSAGE_RATE_DAYS, find_first_day, load_day_counts

_PAGE_SIZE = 50
_MAX_STEPS = 200
_FILTER_NAMES = ("channel", "provider", "status", "recipient", "since")
_REFUSED_TEXT = "is not among the allowed recipients"
_FAILED_STATUSES = (*(status for status in MessageStatus if status in LOST), MessageStatus.COMPLAINED)
_VIEWS = (
    ("All", "", None, ()),
    ("Mail", "channel=email", "email", ()),
    ("SMS", "channel=sms", "sms", ()),
    ("Failed", f"status={','.join(_FAILED_STATUSES)}", None, _FAILED_STATUSES),
)


_STATUS_ICONS = {
    MessageStatus.OUTBOX: "inbox",
    MessageStatus.QUEUED: "clock",
    MessageStatus.SENT: "send",
    MessageStatus.DELAYED: "clock",
    MessageStatus.DELIVERED: "circle-check",
    MessageStatus.OPENED: "eye",
    MessageStatus.CLICKED: "external-link",
    MessageStatus.COMPLAINED: "ban",
}
_CHART_HEIGHT = 100.0
_DAY_GAP = 0.2  # of a bar's width that stays empty


async def show_messages(request: web.Request) -> web.Response:
    """GET /messages?channel=&status=…, /messages/rates, /messages/{id}: the list, and beside it rates or a message."""
    relay = get_relay(request)
    filters = parse_message_filter(request)
    before = parse_number(request, "before", None)
    found = await relay.store.messages.page(filters, before=before, limit=_PAGE_SIZE)
    chosen = parse_id(request, "message") if "id" in request.match_info else None
    kept = _keep_filters(request)
    return await render_page(
        request,
        "messages/page.html",
        "Messages",
        "messages",
        views=await _build_view_links(relay, filters),
        messages=found,
        now=relay.clock.now(),
        suffix=f"?{kept}" if kept else "",
        chosen=await _build_detail(relay, await relay.store.messages.get(chosen)) if chosen else None,
        rates=None if chosen else await _load_rates(relay),
        unmatched=await _count_unmatched(relay),
        detail_shown=request.path != "/messages",
        live=_live_path(chosen, kept) if before is None else "",
        older=_build_path({"before": found[-1].id}, kept) if len(found) == _PAGE_SIZE else "",
        smtp=escape_unprintable(relay.smtp_address, 120),
        empty="No message is like that." if kept else "",
    )


async def show_message_updates(request: web.Request) -> web.Response:
    """GET /messages/live?id=: what has changed, each for its own place on the page that asks."""
    relay, renderer = get_relay(request), request.app[RENDERER]
    found = await relay.store.messages.page(parse_message_filter(request), limit=_PAGE_SIZE)
    kept, now = _keep_filters(request), relay.clock.now()
    chosen = parse_number(request, "id", None)
    message = await relay.store.messages.get(chosen) if chosen else None
    pieces = [
        (
            "#mlist",
            "innerMorph",
            renderer.part(
                "messages/list.html", messages=found, now=now, suffix=f"?{kept}" if kept else "", current=chosen
            ),
        )
    ]
    if message is not None:
        detail = await _build_detail(relay, message)
        pieces += [
            ("#mchip", "innerHTML", renderer.render_macro("chip", build_message_chip(message))),
            ("#mwhy", "innerMorph", renderer.part("messages/why.html", chosen=detail)),
            ("#msteps", "innerMorph", renderer.part("messages/steps.html", chosen=detail)),
        ]
    else:
        drawn = await _load_rates(relay)
        pieces += [
            ("#mplot", "innerMorph", renderer.part("messages/plot.html", rates=drawn)),
            ("#munmatched", "textContent", escape_html(await _count_unmatched(relay))),
            ("#mnumbers", "innerHTML", renderer.part("messages/numbers.html", rates=drawn)),
        ]
    return html_response("".join(make_partial(*piece) for piece in pieces))


async def preview_message(request: web.Request) -> web.Response:
    """GET /messages/{id}/preview: the mail as it looks, in a sandbox of its own."""
    source = await get_relay(request).store.messages.source(parse_id(request, "message"))
    mail = message_from_bytes(source, policy=policy.default)
    part = mail.get_body(("html", "plain")) if isinstance(mail, EmailMessage) else None
    if part is None:
        return sandboxed_response("")
    text = part.get_payload(decode=True)
    body = decode_text(text) if isinstance(text, bytes) else ""
    return sandboxed_response(body if part.get_content_type() == "text/html" else f"<pre>{escape_html(body)}</pre>")


async def _build_detail(relay: RunningRelay, message: Message) -> dict[str, Any]:
    """Return a message in full; `rule` is what refused a recipient, `hidden` counts the oldest steps left out."""
    history = await relay.store.messages.history(message.id, limit=_MAX_STEPS + 1)
    # In the order in which it happened, which need not be the order in which providers reported it.
    ordered = sorted(history, key=lambda entry: (entry.at or entry.received_at, entry.status.rank))
    provider = find_provider(message.provider)
    facts = (
        ("To", escape_unprintable(message.recipient, 500)),
        ("By", provider.title if provider else escape_unprintable(message.provider, 64)),
        ("External id", escape_unprintable(message.external_id, 200)),
        ("Embedded id", escape_unprintable(message.embedded_id, 200)),
    )
    return {
        "message": message,
        "facts": [fact for fact in facts if fact[1]],
        "steps": [
            (entry, *_get_step_style(entry.status), explain_code(message.provider, entry.code))
            for entry in ordered[-_MAX_STEPS:]
        ],
        "hidden": max(0, len(ordered) - _MAX_STEPS),
        "meaning": explain_code(message.provider, message.code),
        "rule": _find_refusing_rule(relay, message),
        "previewable": bool(await relay.store.messages.source(message.id)),
    }


def _get_step_style(status: MessageStatus) -> tuple[str, str]:
    """Return the class and the icon of a status in a history."""
    is_good = status.arrived and status is not MessageStatus.COMPLAINED
    kind = "err" if status in BAD_STATUSES else "ok" if is_good else "skip-step"
    return kind, _STATUS_ICONS.get(status, "circle-x")


def _find_refusing_rule(relay: RunningRelay, message: Message) -> str:
    """Return the rule that refuses a recipient, as relay.toml has it now; "" for a message that was not refused."""
    if message.delivery_id is None or not message.detail.endswith(_REFUSED_TEXT):
        return ""
    allowed = relay.allowed_recipients
    refused = [one for one in parse_addresses(message.recipient) if not is_permitted(one, allowed)]
    if not refused:
        return "allow_recipients under [smtp] allows it by now: try the delivery again."
    if allowed:
        listed = ", ".join(f'"{pattern}"' for pattern in allowed)
        return escape_unprintable(
            f"allow_recipients = [{listed}] under [smtp] does not allow {', '.join(refused)}", 400
        )
    return (
        "Without allow_recipients under [smtp] only addresses written out in relay.toml get mail; "
        f"{escape_unprintable(', '.join(refused), 200)} came out of a payload."
    )


async def _load_rates(relay: RunningRelay) -> dict[str, Any]:
    return build_rates(
        await load_day_counts(relay, MESSAGE_RATE_DAYS), find_first_day(relay, MESSAGE_RATE_DAYS), MESSAGE_RATE_DAYS
    )


async def _count_unmatched(relay: RunningRelay) -> str:
    count = await relay.store.messages.unmatched()
    verb = "is" if count == 1 else "are"
    return f"{format_count(count, 'status', 'statuses')} {verb} about messages that are not registered" if count else ""


async def _build_view_links(relay: RunningRelay, filters: MessageFilter) -> tuple[NavLink, ...]:
    counts = await relay.store.messages.standing()
    return tuple(
        NavLink(
            name,
            f"/messages?{query}" if query else "/messages",
            current=(filters.channel, filters.statuses) == (channel, statuses),
            count=f"{sum(one.count for one in counts if _matches_view(one, channel, statuses)):,}",
        )
        for name, query, channel, statuses in _VIEWS
    )


def _matches_view(one: StatusCount, channel: str | None, statuses: tuple[MessageStatus, ...]) -> bool:
    return channel in (None, one.channel) and (not statuses or one.status in statuses)


def _keep_filters(request: web.Request) -> str:
    pairs = [(name, text) for name in _FILTER_NAMES for text in request.query.getall(name, []) if text]
    return urlencode(pairs)


def _live_path(chosen: int | None, kept: str) -> str:
    return _build_path({"id": chosen} if chosen else {}, kept, "/messages/live")


def _build_path(more: dict[str, int], kept: str, path: str = "/messages") -> str:
    query = "&".join(part for part in (kept, urlencode(more)) if part)
    return f"{path}?{query}" if query else path


def build_rates(days: tuple[DayCounts, ...], first: date, span: int) -> dict[str, Any]:
    """Return what the chart of `span` days from `first` on shows: numbers, bars, the same as a sentence and a table.

    The table has the newest day first. A bar is its x, its width, a title, and its parts from the floor up.
    """
    daily = group_by_day(days)
    dates = [first + timedelta(days=number) for number in range(span)]
    counted = [daily.get(day, MessageCounts()) for day in dates]
    most = _round_up_scale(max((counts.sent for counts in counted), default=0))
    whole = add_up_counts(days)
    return {
        "span": f"last {format_count(span, 'day')}, by the day of sending (UTC)",
        "kpis": _build_rate_figures(whole, add_up_counts(days, "email")),
        "bars": [
            _build_day_bar(place, day, counts, (span, most))
            for place, (day, counts) in enumerate(zip(dates, counted, strict=True))
        ],
        "top": [f"{most * part // 4:,}" for part in (4, 3, 2, 1, 0)],
        "axis": [_format_short_day(dates[place]) for place in sorted({0, span // 2, span - 1})],
        "sentence": (
            f"Messages by day over the {format_count(span, 'day')} to {_format_short_day(dates[-1])}: "
            f"{format_count(whole.sent, 'message')} "
            f"sent, {whole.delivered:,} delivered, {whole.failed:,} failed, {whole.under_way:,} under way."
        ),
        "days": days[::-1],
    }


def _build_rate_figures(whole: MessageCounts, mail: MessageCounts) -> tuple[Figure, ...]:
    return (
        Figure("Sent", f"{whole.sent:,}", f"{whole.under_way:,} under way"),
        _build_rate_figure("Delivered", whole.delivery_rate, f"{whole.delivered:,} of {whole.sent:,}"),
        _build_rate_figure("Opened", mail.open_rate, f"{mail.opened:,} of {format_count(mail.delivered, 'mail')}"),
        _build_rate_figure("Clicked", mail.click_rate, f"{mail.clicked:,} of {format_count(mail.delivered, 'mail')}"),
        Figure("Failed", f"{whole.failed:,}", f"{whole.complained:,} complained"),
    )


def _build_rate_figure(name: str, rate: float | None, note: str) -> Figure:
    if rate is None:
        return Figure(name, "–", note)  # noqa: RUF001 - a dash for no number
    return Figure(name, f"{rate * 100:.1f}", note, "%")


def _build_day_bar(
    place: int, day: date, counts: MessageCounts, scale: tuple[int, int]
) -> tuple[str, str, str, list[tuple[str, str, str]]]:
    span, most = scale
    width = 100.0 / span
    parts, top = [], _CHART_HEIGHT
    for name, count in (("ok", counts.delivered), ("way", counts.under_way), ("err", counts.failed)):
        height = count / most * _CHART_HEIGHT
        top -= height
        if count:
            parts.append((name, f"{top:.2f}", f"{height:.2f}"))
    title = f"{_format_short_day(day)}: {counts.sent:,} sent, {counts.delivered:,} delivered, {counts.failed:,} failed"
    return f"{(place + _DAY_GAP / 2) * width:.2f}", f"{width * (1 - _DAY_GAP):.2f}", title, parts


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


def _round_up_scale(most: int) -> int:
    """Return a whole top for the axis that four steps divide."""
    step = 4
    while step < most:
        step *= 2
    return step
