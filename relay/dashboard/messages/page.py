"""The page Messages: the list, one message with its history and its mail, and the rates; live while it is open."""

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from relay.actions.mail.addresses import is_permitted
from relay.dashboard.filters import escape_html, find_provider, format_count
from relay.dashboard.messages.rates import build_rates
from relay.dashboard.render import RENDERER, html_response, make_partial, sandboxed_response
from relay.dashboard.responses import render_page
from relay.dashboard.widgets import BAD_STATUSES, NavLink, build_message_chip
from relay.http.context import get_relay
from relay.http.params import parse_id, parse_message_filter, parse_number
from relay.model.message import LOST, Message, MessageFilter, MessageStatus, StatusCount, parse_addresses
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
            name=name,
            href=f"/messages?{query}" if query else "/messages",
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
