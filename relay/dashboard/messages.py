"""The pages Messages (the list, one with its history and its mail, the rates; live while open) and the dry runs."""

from datetime import date, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from markupsafe import escape

from relay.actions.mail.addresses import is_permitted
from relay.dashboard.render import sandboxed_response
from relay.dashboard.responses import format_error, render_page, render_part
from relay.delivery.email_dry_run import DryRunRequest
from relay.errors import NotFoundError, RelayError
from relay.http.responses import get_relay
from relay.model.mail import DryRunPage
from relay.model.message import (
    BAD_STATUSES,
    MESSAGE_RATE_DAYS,
    DayCounts,
    Message,
    MessageCounts,
    MessageFilter,
    MessageStatus,
    add_up_counts,
    find_first_day,
    group_by_day,
    parse_addresses,
)
from relay.model.parameters import parse_message_filter, parse_number
from relay.model.text import decode_text
from relay.providers.message_status import explain_code
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50
_DEFAULT_QUERY = "after:7d"  # of a dry run
_MAX_STEPS = 200
_FILTER_NAMES = ("channel", "provider", "status", "recipient", "since")
_REFUSED_TEXT = "is not among the allowed recipients"
_VIEWS = (
    ("All", "", None, ()),
    ("Mail", "channel=email", "email", ()),
    ("SMS", "channel=sms", "sms", ()),
    ("Failed", f"status={','.join(BAD_STATUSES)}", None, BAD_STATUSES),
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
_DAY_GAP = 0.2  # of a bar's width that stays empty


async def show_messages(request: web.Request, relay: RunningRelay, id_: int | None = None) -> web.Response:
    """GET /messages?channel=&status=…, /messages/rates, /messages/{id}: the list, and beside it rates or a message."""
    filters, kept = _parse_filters(request), _keep_filters(request)
    before = parse_number(request.query, "before", None)
    values = await _load_messages(request, filters, id_, before)
    found = values["messages"]
    return await render_page(
        request,
        "messages/page.html",
        "Messages",
        "messages",
        views=await _list_views(relay, filters),
        detail_shown=request.path != "/messages",
        live=_build_path(kept, "/messages/live", id=id_) if before is None else "",
        older=_build_path(kept, before=found[-1].id) if len(found) == _PAGE_SIZE else "",
        smtp=relay.smtp_address,
        is_filtered=bool(kept),
        **values,
    )


async def show_message_updates(request: web.Request) -> web.Response:
    """GET /messages/live?id=: what has changed, each for its own place on the page that asks."""
    id_ = parse_number(request.query, "id", None)
    values = await _load_messages(request, _parse_filters(request), id_)
    return render_part(request, "messages/live.html", current=id_, **values)


def _parse_filters(request: web.Request) -> MessageFilter:
    now = get_relay(request).clock.now()
    return parse_message_filter(request.query, request.query.getall("status", ()), now)


async def _load_messages(
    request: web.Request, filters: MessageFilter, id_: int | None, before: int | None = None
) -> dict[str, Any]:
    """Return a page of messages, with the message `id_` or the rates."""
    relay, kept = get_relay(request), _keep_filters(request)
    now, store = relay.clock.now(), relay.store.messages
    since = find_first_day(now, MESSAGE_RATE_DAYS)
    return {
        "messages": await store.page(filters, before=before, limit=_PAGE_SIZE),
        "now": now,
        "suffix": f"?{kept}" if kept else "",
        "chosen": await _build_detail(relay, await store.get(id_)) if id_ else None,
        "rates": None if id_ else build_rates(await store.days(since), since, MESSAGE_RATE_DAYS),
        "unmatched": await store.unmatched(),
    }


async def preview_message(relay: RunningRelay, id_: int) -> web.Response:
    """GET /messages/{id}/preview: the mail as it looks, in a sandbox of its own."""
    source = await relay.store.messages.source(id_)
    mail = message_from_bytes(source, policy=policy.default)
    part = mail.get_body(("html", "plain")) if isinstance(mail, EmailMessage) else None
    if part is None:
        return sandboxed_response("")
    text = part.get_payload(decode=True)
    body = decode_text(text) if isinstance(text, bytes) else ""
    return sandboxed_response(body if part.get_content_type() == "text/html" else f"<pre>{escape(body)}</pre>")


async def _build_detail(relay: RunningRelay, message: Message) -> dict[str, Any]:
    """Return a complete message; `hidden` counts the oldest steps left out, `refused` are its refused recipients.

    `refused` is None for a message that was not refused; it is evaluated with the current relay.toml.
    """
    history = await relay.store.messages.history(message.id, limit=_MAX_STEPS + 1)
    # In the order of the events, which may differ from the order of the reports.
    ordered = sorted(history, key=lambda entry: (entry.at or entry.received_at, entry.status.rank))
    allowed = relay.allowed_recipients
    is_refused = message.delivery_id is not None and message.detail.endswith(_REFUSED_TEXT)
    return {
        "message": message,
        "steps": [
            (entry, *_get_step_style(entry.status), explain_code(message.provider, entry.code))
            for entry in ordered[-_MAX_STEPS:]
        ],
        "hidden": max(0, len(ordered) - _MAX_STEPS),
        "meaning": explain_code(message.provider, message.code),
        "allowed": allowed,
        "refused": [one for one in parse_addresses(message.recipient) if not is_permitted(one, allowed)]
        if is_refused
        else None,
        "previewable": bool(await relay.store.messages.source(message.id)),
    }


def _get_step_style(status: MessageStatus) -> tuple[str, str]:
    """Return the class and the icon of a status in a history."""
    is_good = status.arrived and status is not MessageStatus.COMPLAINED
    kind = "err" if status in BAD_STATUSES else "ok" if is_good else "skip-step"
    return kind, _STATUS_ICONS.get(status, "circle-x")


async def _list_views(relay: RunningRelay, filters: MessageFilter) -> list[tuple[str, str, int, bool]]:
    """Return the saved views: name, URL, number of messages, and whether it is the current one."""
    counts, views = await relay.store.messages.standing(), []
    for name, query, channel, statuses in _VIEWS:
        fitting = (one for one in counts if channel in (None, one.channel) and (not statuses or one.status in statuses))
        is_current = (filters.channel, filters.statuses) == (channel, statuses)
        views.append((name, _build_path(query), sum(one.count for one in fitting), is_current))
    return views


def _keep_filters(request: web.Request) -> str:
    pairs = [(name, text) for name in _FILTER_NAMES for text in request.query.getall(name, []) if text]
    return urlencode(pairs)


def _build_path(kept: str, path: str = "/messages", **more: int | None) -> str:
    query = "&".join(part for part in (kept, urlencode({name: id_ for name, id_ in more.items() if id_})) if part)
    return f"{path}?{query}" if query else path


def build_rates(days: tuple[DayCounts, ...], first: date, span: int) -> dict[str, Any]:
    """Return the chart of `span` days from `first`: sums, bars, and the numbers by day, newest first.

    A bar is its x, its day and counts, and its parts from the bottom up: class, y and height.
    """
    daily = group_by_day(days)
    dates = [first + timedelta(days=number) for number in range(span)]
    counted = [daily.get(day, MessageCounts()) for day in dates]
    top = 4  # of the axis: integers that are divisible into four steps
    while top < max((counts.sent for counts in counted), default=0):
        top *= 2
    return {
        "span": span,
        "counts": add_up_counts(days),
        "mails": add_up_counts(days, "email"),
        "bars": [
            (f"{(place + _DAY_GAP / 2) * 100 / span:.2f}", _format_short_day(day), counts, _build_bar(counts, top))
            for place, (day, counts) in enumerate(zip(dates, counted, strict=True))
        ],
        "width": f"{100 / span * (1 - _DAY_GAP):.2f}",
        "top": top,
        "axis": [_format_short_day(dates[place]) for place in sorted({0, span // 2, span - 1})],
        "days": days[::-1],
    }


def _build_bar(counts: MessageCounts, top: int) -> list[tuple[str, str, str]]:
    parts, y = [], 100.0
    for name, count in (("ok", counts.delivered), ("way", counts.under_way), ("err", counts.failed)):
        height = count / top * 100
        y -= height
        if count:
            parts.append((name, f"{y:.2f}", f"{height:.2f}"))
    return parts


def _format_short_day(day: date) -> str:
    return f"{day.day} {day:%b}"


async def show_dry_run(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /emails/dry-run?q=&target=&template=&before=, /emails/{name}/dry-run?q=: the same, to look at."""
    template = request.match_info.get("name") or request.query.get("template", "")
    target = request.query.get("target", "")
    query = request.query.get("q", _DEFAULT_QUERY)
    if template and template not in relay.email_recipients:
        raise NotFoundError("no such mail template", hint="relay.toml names them under [emails]")
    dry_run = DryRunRequest(
        query=query,
        template=template or None,
        target=target or None,
        before=parse_number(request.query, "before", None),
        limit=_PAGE_SIZE,
    )
    error, found = "", DryRunPage(mails=(), events=0, next_before=None)
    try:
        found = await relay.email_dry_run.list_mails(dry_run)
    except RelayError as problem:
        error = format_error(problem)
    return await render_page(
        request,
        "messages/dry_run.html",
        "Dry run of e-mails",
        "targets",
        422 if error else 200,
        query=query,
        chosen=template,
        target=target,
        templates=relay.email_recipients,
        found=found,
        error=error,
    )
