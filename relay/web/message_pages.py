"""The page Messages: the list, one message with its history and its mail, and the rates; live while it is open."""

from collections.abc import Iterable
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import urlencode

from aiohttp import web

from relay.mail.addresses import permitted
from relay.model.message import LOST, Message, MessageFilter, MessageStatus, addresses
from relay.model.rates import StatusCount
from relay.model.text import printable, readable
from relay.providers.codes import meaning
from relay.web import gather
from relay.web.asked import identity, number
from relay.web.contexts.events import Link, MessageLine
from relay.web.contexts.messages import MessageDetail, MessagesPage
from relay.web.keys import Desk, desk
from relay.web.messages import DAYS, days, filtered, first_day
from relay.web.render import RENDERER, html, partial, sandboxed
from relay.web.senders import provider
from relay.web.view import lists
from relay.web.view.messages import Rates, rates, steps
from relay.web.view.words import plural

_PAGE = 50
_STEPS = 200
_KEPT = ("channel", "provider", "status", "recipient", "since")
_REFUSED = "is not among the allowed recipients"
_FAILED = (*(status for status in MessageStatus if status in LOST), MessageStatus.COMPLAINED)
_VIEWS = (
    ("All", "", None, ()),
    ("Mail", "channel=email", "email", ()),
    ("SMS", "channel=sms", "sms", ()),
    ("Failed", f"status={','.join(_FAILED)}", None, _FAILED),
)


async def messages(request: web.Request) -> web.Response:
    """GET /messages?channel=&status=…, /messages/rates, /messages/{id}: the list, and beside it rates or a message."""
    here = desk(request)
    wanted = filtered(request)
    before = number(request, "before", None)
    found = await here.store.messages.page(wanted, before=before, limit=_PAGE)
    chosen = identity(request, "message") if "id" in request.match_info else None
    kept = _kept(request)
    context = MessagesPage(
        shell=await gather.frame(request, "Messages", "messages"),
        views=await _views(here, wanted),
        lines=_lines(here, found),
        suffix=f"?{kept}" if kept else "",
        chosen=await _detail(here, await here.store.messages.get(chosen)) if chosen else None,
        rates=None if chosen else await _rates(here),
        unmatched=await _unmatched(here),
        detail_shown=request.path != "/messages",
        live=_live(chosen, kept) if before is None else "",
        older=_address({"before": found[-1].id}, kept) if len(found) == _PAGE else "",
        smtp=printable(here.setup.smtp, 120),
        empty="No message is like that." if kept else "",
    )
    return html(request.app[RENDERER].page(context))


async def live(request: web.Request) -> web.Response:
    """GET /messages/live?id=: what has changed, each for its own place on the page that asks."""
    here, renderer = desk(request), request.app[RENDERER]
    found = await here.store.messages.page(filtered(request), limit=_PAGE)
    lines, kept = _lines(here, found), _kept(request)
    chosen = number(request, "id", None)
    shown = await here.store.messages.get(chosen) if chosen else None
    pieces = [
        (
            "#mlist",
            "innerMorph",
            renderer.part(
                "parts/message_list.html", lines=lines, suffix=f"?{kept}" if kept else "", current=chosen
            ),
        )
    ]
    if shown is not None:
        detail = await _detail(here, shown)
        pieces += [
            ("#mchip", "innerHTML", renderer.macro("chip", detail.line.chip)),
            ("#mwhy", "innerMorph", renderer.part("parts/message_why.html", message=detail)),
            ("#msteps", "innerMorph", renderer.part("parts/message_steps.html", message=detail)),
        ]
    else:
        drawn = await _rates(here)
        pieces += [
            ("#mplot", "innerMorph", renderer.part("parts/message_plot.html", rates=drawn)),
            ("#munmatched", "textContent", lists.escaped(await _unmatched(here))),
            ("#mnumbers", "innerHTML", renderer.part("parts/message_numbers.html", rates=drawn)),
        ]
    return html("".join(partial(*piece) for piece in pieces))


async def preview(request: web.Request) -> web.Response:
    """GET /messages/{id}/preview: the mail as it looks, in a sandbox of its own."""
    source = await desk(request).store.messages.source(identity(request, "message"))
    mail = message_from_bytes(source, policy=policy.default)
    part = mail.get_body(("html", "plain")) if isinstance(mail, EmailMessage) else None
    if part is None:
        return sandboxed("")
    text = part.get_payload(decode=True)
    shown = readable(text) if isinstance(text, bytes) else ""
    return sandboxed(
        shown if part.get_content_type() == "text/html" else f"<pre>{lists.escaped(shown)}</pre>"
    )


async def _detail(here: Desk, message: Message) -> MessageDetail:
    told = steps(message, await here.store.messages.history(message.id, limit=_STEPS + 1))
    known = provider(message.provider)
    facts = (
        ("To", printable(message.recipient, 500)),
        ("By", known.title if known else printable(message.provider, 64)),
        ("External id", printable(message.external_id, 200)),
        ("Embedded id", printable(message.embedded_id, 200)),
    )
    return MessageDetail(
        line=gather.message_line(message, here.clock.now()),
        facts=tuple((name, value) for name, value in facts if value),
        steps=told[-_STEPS:],
        hidden=max(0, len(told) - _STEPS),
        meaning=meaning(message.provider, message.code),
        rule=_rule(here, message),
        delivery_id=message.delivery_id,
        previewable=bool(await here.store.messages.source(message.id)),
    )


def _rule(here: Desk, message: Message) -> str:
    """Return the rule that refuses a recipient, as relay.toml has it now; "" for a message that was not refused."""
    if message.delivery_id is None or not message.detail.endswith(_REFUSED):
        return ""
    allowed = here.setup.allow_recipients
    refused = [one for one in addresses(message.recipient) if not permitted(one, allowed)]
    if not refused:
        return "allow_recipients under [smtp] allows it by now: try the delivery again."
    if allowed:
        listed = ", ".join(f'"{pattern}"' for pattern in allowed)
        return printable(
            f"allow_recipients = [{listed}] under [smtp] does not allow {', '.join(refused)}", 400
        )
    return (
        "Without allow_recipients under [smtp] only addresses written out in relay.toml get mail; "
        f"{printable(', '.join(refused), 200)} came out of a payload."
    )


def _lines(here: Desk, found: Iterable[Message]) -> tuple[MessageLine, ...]:
    now = here.clock.now()
    return tuple(gather.message_line(message, now) for message in found)


async def _rates(here: Desk) -> Rates:
    return rates(await days(here, DAYS), first_day(here, DAYS), DAYS)


async def _unmatched(here: Desk) -> str:
    count = await here.store.messages.unmatched()
    told = "tells" if count == 1 else "tell"
    return (
        f"{plural(count, 'status', 'statuses')} {told} of messages that nobody has registered"
        if count
        else ""
    )


async def _views(here: Desk, wanted: MessageFilter) -> tuple[Link, ...]:
    standing = await here.store.messages.standing()
    return tuple(
        Link(
            name=name,
            href=f"/messages?{query}" if query else "/messages",
            current=(wanted.channel, wanted.statuses) == (channel, statuses),
            count=f"{sum(one.count for one in standing if _holds(one, channel, statuses)):,}",
        )
        for name, query, channel, statuses in _VIEWS
    )


def _holds(one: StatusCount, channel: str | None, statuses: tuple[MessageStatus, ...]) -> bool:
    return channel in (None, one.channel) and (not statuses or one.status in statuses)


def _kept(request: web.Request) -> str:
    pairs = [(name, text) for name in _KEPT for text in request.query.getall(name, []) if text]
    return urlencode(pairs)


def _live(chosen: int | None, kept: str) -> str:
    return _address({"id": chosen} if chosen else {}, kept, "/messages/live")


def _address(more: dict[str, int], kept: str, path: str = "/messages") -> str:
    query = "&".join(part for part in (kept, urlencode(more)) if part)
    return f"{path}?{query}" if query else path
