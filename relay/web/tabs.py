"""The tabs of an event: each built from the event and what the address asks for."""

import re
from dataclasses import replace

from aiohttp import web

from relay.model.event import Event, EventOutcome, Verdict
from relay.model.message import MessageFilter
from relay.model.paths import dotted
from relay.model.text import printable, size
from relay.routing import RouteMatch
from relay.web import gather
from relay.web.bodies import BODIES, Body
from relay.web.contexts.events import (
    DeliveriesTab,
    Found,
    HeadersTab,
    Link,
    PayloadTab,
    RouteLine,
    RoutingTab,
    Tab,
    VerificationTab,
)
from relay.web.diagnosis import ruled, wanted
from relay.web.keys import desk
from relay.web.senders import event_mark
from relay.web.view import find, text, tree
from relay.web.view.deliveries import line
from relay.web.view.headers import envelope
from relay.web.view.lists import suffix
from relay.web.view.verification import judged
from relay.web.view.words import plural

NAMES = ("payload", "headers", "verification", "routing", "deliveries")
VIEWS = ("tree", "form", "raw", "hex")
_BIG = 1_000_000  # bytes past which a tree opens one level only
_DELIVERIES = 20  # deliveries shown with all their attempts


async def tab(request: web.Request, event: Event, name: str) -> Tab:
    """Return a tab of an event by its name in the address; one of VIEWS is the payload seen that way."""
    match name:
        case "headers":
            return HeadersTab(base=base(event), envelope=envelope(event, gather.whole(request, "reveal")))
        case "verification":
            return await _verification(request, event)
        case "routing":
            matches = desk(request).verbs.explain(event)
            return RoutingTab(routes=tuple(_route(match) for match in matches))
        case "deliveries":
            return await _deliveries(request, event)
        case _:
            return await payload(request, event, name)


def links(request: web.Request, event: Event, current: str, sent: int) -> tuple[Link, ...]:
    """Return the row of tabs; `sent` is how many deliveries there are."""
    keep = suffix(gather.query_of(request).text)
    signs = {Verdict.VERIFIED: "ok", Verdict.INVALID: "err"}
    sign = signs.get(event.row.verdict, "warn" if event.row.reason == "vault_locked" else "")
    counts = {"headers": str(len(event.capture.headers)), "deliveries": str(sent)}
    current = current if current in NAMES else "payload"
    return tuple(
        Link(
            name=name.capitalize(),
            href=f"{base(event)}{'' if name == 'payload' else f'/{name}'}{keep}",
            current=name == current,
            key=name,
            count=counts.get(name, ""),
            sign=sign if name == "verification" else "",
        )
        for name in NAMES
    )


def base(event: Event) -> str:
    """Return the address of an event."""
    return f"/events/{event.id}"


async def payload(request: web.Request, event: Event, name: str) -> PayloadTab:
    """Return the body seen as a tree, a form, text or bytes; what suits it best where none is named."""
    body = await request.app[BODIES].read(event)
    kind = name if name in VIEWS else body.best
    if (kind == "tree" and not body.is_json) or (kind == "form" and not body.form):
        kind = body.best
    shown = PayloadTab(
        base=base(event),
        kind=kind,
        views=_views(request, event, body, kind),
        size=len(event.capture.body),
        bytes=plural(len(event.capture.body), "byte"),
        content_type=printable(event.row.content_type, 100),
        problem=" ".join(part for part in (body.note, body.problem if kind == "raw" else "") if part),
    )
    wanted = request.query.get("find", "")[:200].strip()
    return _found(request, body, shown, wanted) if wanted else _filled(request, event, body, shown)


def _filled(request: web.Request, event: Event, body: Body, shown: PayloadTab) -> PayloadTab:
    data, offset = body.content, gather.whole(request, "offset") or 0
    match shown.kind:
        case "tree" if "ptr" in request.query:
            return replace(shown, nodes=subtree(body.value, request), back=True)
        case "tree":
            return replace(shown, nodes=tree.tree(body.value, levels=_levels(data)))
        case "form":
            return replace(shown, fields=_fields(body))
        case "raw":
            window = text.raw(data, offset)
            return replace(
                shown, window=window, step="256 KB", problem=f"{shown.problem} {_partly(window)}".strip()
            )
        case "hex":
            window = text.hexadecimal(event.capture.body, offset)
            return replace(shown, window=window, step="4 KB")
        case _:
            return shown


def _found(request: web.Request, body: Body, shown: PayloadTab, wanted: str) -> PayloadTab:
    if body.is_json:
        hits = find.in_tree(body.value, wanted)
        found = _position(request, wanted, len(hits))
        here = tree.Wanted(at=hits[found.at] if hits else "", marks=frozenset(hits))
        nodes = tree.tree(body.value, levels=_levels(body.content), wanted=here)
        return replace(shown, kind="tree", find=found, nodes=nodes)
    offsets = find.in_text(body.content, wanted)
    found = _position(request, wanted, len(offsets))
    start = 0
    if offsets and offsets[found.at] >= text.RAW_WINDOW:
        start = body.content.rfind(b"\n", 0, offsets[found.at]) + 1
        start = max(start, offsets[found.at] - text.RAW_WINDOW // 2)
    window = text.raw(body.content, start, wanted)
    before = sum(offset < start for offset in offsets)
    nth = [index for index, piece in enumerate(window.pieces) if piece.hit]
    mark = nth[found.at - before] if 0 <= found.at - before < len(nth) else -1
    return replace(shown, kind="raw", find=found, window=window, step="256 KB", mark=mark)


def _position(request: web.Request, wanted: str, total: int) -> Found:
    # The same word asked for again is Enter: one hit on, or back.
    step = -1 if request.query.get("step") == "-1" else 1
    at = (gather.whole(request, "at") or 0) + step if request.query.get("was") == wanted else 0
    words = f"{total:,} or more" if total >= find.MOST else f"{total:,}"
    return Found(text=wanted, at=at % total if total else 0, total=total, words=words)


def subtree(value: object, request: web.Request) -> tuple[tree.Node, ...]:
    """Return what belongs below a folded node of a tree, as the address names it."""
    pointer = request.query.get("ptr", "")[:4000]
    place = tree.Place(
        pointer=pointer,
        path=printable(dotted(pointer), 500),
        depth=min(gather.whole(request, "depth") or 0, 200),
    )
    return tree.branch(
        _at(value, pointer), place, gather.whole(request, "from") or 0, gather.whole(request, "to")
    )


def _at(value: object, pointer: str) -> object:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and re.fullmatch(r"[0-9]{1,9}", key) and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _views(request: web.Request, event: Event, body: Body, current: str) -> tuple[Link, ...]:
    fits = {"image": body.best == "image", "form": bool(body.form), "tree": body.is_json}
    fits |= dict.fromkeys(("raw", "hex"), bool(event.capture.body))
    keep = suffix(gather.query_of(request).text)
    return tuple(
        Link(
            name=name.capitalize(),
            href=f"{base(event)}{'' if name == body.best else f'/{name}'}{keep}",
            current=name == current,
        )
        for name, fitting in fits.items()
        if fitting
    )


def _fields(body: Body) -> tuple[tuple[str, str], ...]:
    return tuple((printable(name, 200), printable(value, 20_000)) for name, value in body.form)


def _levels(data: bytes) -> int:
    return 1 if len(data) > _BIG else 2


def _partly(window: text.Window) -> str:
    if window.next is None and window.previous is None:
        return ""
    return f"{size(window.size)}. Showing bytes {window.offset:,} to {window.end:,}."


async def _verification(request: web.Request, event: Event) -> VerificationTab:
    here = desk(request)
    found = await here.verbs.diagnose(event) if wanted(event) else None
    source = here.setup.sources.get(event.row.source)
    still = await ruled(event, source) if source and event.problems else None
    return VerificationTab(
        base=base(event),
        judged=judged(event, source, event_mark(event.row).title, found, still),
        locked=event.row.reason == "vault_locked" and here.custody.standing.state == "locked",
        refused=event.row.outcome is EventOutcome.REJECTED or event.row.verdict is Verdict.INVALID,
    )


def _route(match: RouteMatch) -> RouteLine:
    route = match.route
    sources, types = ", ".join(route.sources) or "any source", ", ".join(route.events)
    name = f"{sources}{f', {types}' if types else ''} to {', '.join(route.targets)}"
    return RouteLine(name=printable(name, 300), matched=match.matched, why=printable(match.why, 300))


async def _deliveries(request: web.Request, event: Event) -> DeliveriesTab:
    here = desk(request)
    made = await gather.deliveries_of(here, event.id)
    newest = list(reversed(made))[:_DELIVERIES]
    now = here.clock.now()
    lines = [line(delivery, now, await here.store.deliveries.attempts(delivery.id)) for delivery in newest]
    messages = await here.store.messages.page(MessageFilter(event=event.id))
    return DeliveriesTab(
        lines=tuple(lines), messages=tuple(gather.message_line(one, now) for one in messages)
    )
