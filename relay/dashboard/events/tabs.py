"""The tabs of an event: each built from the event and what the address asks for."""

import re
from dataclasses import replace

from aiohttp import web

from relay.dashboard import body_text, page_data
from relay.dashboard.delivery_rows import build_delivery_line
from relay.dashboard.events import body_tree
from relay.dashboard.events.bodies import BODY_CACHE, ParsedBody
from relay.dashboard.events.context import (
    DeliveriesTab,
    EventTab,
    HeadersTab,
    PayloadSearch,
    PayloadTab,
    RouteLine,
    RoutingTab,
    VerificationTab,
)
from relay.dashboard.events.detail import build_request_details
from relay.dashboard.events.verification import build_verification_panel
from relay.dashboard.filters import event_avatar, format_count
from relay.dashboard.urls import build_query_suffix
from relay.dashboard.widgets import NavLink, build_message_line
from relay.http.context import get_relay
from relay.model.event import CapturedEvent, EventOutcome, Verdict
from relay.model.json_paths import format_dotted_path
from relay.model.message import MessageFilter
from relay.model.text import escape_unprintable, format_size
from relay.pipeline.diagnosis import find_rule_problems, needs_diagnosis
from relay.pipeline.routing import RouteMatch

TAB_NAMES = ("payload", "headers", "verification", "routing", "deliveries")
PAYLOAD_VIEWS = ("tree", "form", "raw", "hex")
_LARGE_TREE = 1_000_000  # bytes past which a tree opens one level only
_MAX_DELIVERIES = 20  # deliveries shown with all their attempts


async def build_tab(request: web.Request, event: CapturedEvent, name: str) -> EventTab:
    """Return a tab of an event by its name in the address; one of VIEWS is the payload seen that way."""
    match name:
        case "headers":
            return HeadersTab(
                base=event_path(event),
                envelope=build_request_details(event, page_data.parse_whole_number(request, "reveal")),
            )
        case "verification":
            return await _build_verification_tab(request, event)
        case "routing":
            matches = get_relay(request).explain_routes(event)
            return RoutingTab(routes=tuple(_build_route_line(match) for match in matches))
        case "deliveries":
            return await _build_deliveries_tab(request, event)
        case _:
            return await build_payload_tab(request, event, name)


def build_tab_links(request: web.Request, event: CapturedEvent, current: str, sent: int) -> tuple[NavLink, ...]:
    """Return the row of tabs; `sent` is how many deliveries there are."""
    keep = build_query_suffix(page_data.parse_list_query(request).text)
    signs = {Verdict.VERIFIED: "ok", Verdict.INVALID: "err"}
    sign = signs.get(event.row.verdict, "warn" if event.row.reason == "vault_locked" else "")
    counts = {"headers": str(len(event.capture.headers)), "deliveries": str(sent)}
    current = current if current in TAB_NAMES else "payload"
    return tuple(
        NavLink(
            name=name.capitalize(),
            href=f"{event_path(event)}{'' if name == 'payload' else f'/{name}'}{keep}",
            current=name == current,
            key=name,
            count=counts.get(name, ""),
            sign=sign if name == "verification" else "",
        )
        for name in TAB_NAMES
    )


def event_path(event: CapturedEvent) -> str:
    """Return the address of an event."""
    return f"/events/{event.id}"


async def build_payload_tab(request: web.Request, event: CapturedEvent, name: str) -> PayloadTab:
    """Return the body seen as a tree, a form, text or bytes; what suits it best where none is named."""
    body = await request.app[BODY_CACHE].read(event)
    kind = name if name in PAYLOAD_VIEWS else body.best
    if (kind == "tree" and not body.is_json) or (kind == "form" and not body.form):
        kind = body.best
    shown = PayloadTab(
        base=event_path(event),
        kind=kind,
        views=_build_view_links(request, event, body, kind),
        size=len(event.capture.body),
        bytes=format_count(len(event.capture.body), "byte"),
        content_type=escape_unprintable(event.row.content_type, 100),
        problem=" ".join(part for part in (body.note, body.problem if kind == "raw" else "") if part),
    )
    wanted = request.query.get("find", "")[:200].strip()
    return _find_in_body(request, body, shown, wanted) if wanted else _fill_payload_tab(request, event, body, shown)


def _fill_payload_tab(request: web.Request, event: CapturedEvent, body: ParsedBody, shown: PayloadTab) -> PayloadTab:
    data, offset = body.content, page_data.parse_whole_number(request, "offset") or 0
    match shown.kind:
        case "tree" if "ptr" in request.query:
            return replace(shown, nodes=build_subtree(body.value, request), back=True)
        case "tree":
            return replace(shown, nodes=body_tree.build_tree(body.value, levels=_choose_depth(data)))
        case "form":
            return replace(shown, fields=_list_form_fields(body))
        case "raw":
            window = body_text.build_text_window(data, offset)
            return replace(
                shown, window=window, step="256 KB", problem=f"{shown.problem} {_describe_window(window)}".strip()
            )
        case "hex":
            window = body_text.build_hex_window(event.capture.body, offset)
            return replace(shown, window=window, step="4 KB")
        case _:
            return shown


def _find_in_body(request: web.Request, body: ParsedBody, shown: PayloadTab, wanted: str) -> PayloadTab:
    if body.is_json:
        hits = body_tree.find_in_tree(body.value, wanted)
        found = _parse_hit_position(request, wanted, len(hits))
        here = body_tree.TreeHits(at=hits[found.at] if hits else "", marks=frozenset(hits))
        nodes = body_tree.build_tree(body.value, levels=_choose_depth(body.content), wanted=here)
        return replace(shown, kind="tree", find=found, nodes=nodes)
    offsets = body_tree.find_in_text(body.content, wanted)
    found = _parse_hit_position(request, wanted, len(offsets))
    start = 0
    if offsets and offsets[found.at] >= body_text.RAW_WINDOW:
        start = body.content.rfind(b"\n", 0, offsets[found.at]) + 1
        start = max(start, offsets[found.at] - body_text.RAW_WINDOW // 2)
    window = body_text.build_text_window(body.content, start, wanted)
    before = sum(offset < start for offset in offsets)
    nth = [index for index, piece in enumerate(window.pieces) if piece.hit]
    mark = nth[found.at - before] if 0 <= found.at - before < len(nth) else -1
    return replace(shown, kind="raw", find=found, window=window, step="256 KB", mark=mark)


def _parse_hit_position(request: web.Request, wanted: str, total: int) -> PayloadSearch:
    # The same word asked for again is Enter: one hit on, or back.
    step = -1 if request.query.get("step") == "-1" else 1
    at = (page_data.parse_whole_number(request, "at") or 0) + step if request.query.get("was") == wanted else 0
    words = f"{total:,} or more" if total >= body_tree.MAX_HITS else f"{total:,}"
    return PayloadSearch(text=wanted, at=at % total if total else 0, total=total, words=words)


def build_subtree(value: object, request: web.Request) -> tuple[body_tree.TreeNode, ...]:
    """Return what belongs below a folded node of a tree, as the address names it."""
    pointer = request.query.get("ptr", "")[:4000]
    place = body_tree.NodePosition(
        pointer=pointer,
        path=escape_unprintable(format_dotted_path(pointer), 500),
        depth=min(page_data.parse_whole_number(request, "depth") or 0, 200),
    )
    return body_tree.build_branch(
        _resolve_pointer(value, pointer),
        place,
        page_data.parse_whole_number(request, "from") or 0,
        page_data.parse_whole_number(request, "to"),
    )


def _resolve_pointer(value: object, pointer: str) -> object:
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and re.fullmatch(r"[0-9]{1,9}", key) and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _build_view_links(
    request: web.Request, event: CapturedEvent, body: ParsedBody, current: str
) -> tuple[NavLink, ...]:
    fits = {"image": body.best == "image", "form": bool(body.form), "tree": body.is_json}
    fits |= dict.fromkeys(("raw", "hex"), bool(event.capture.body))
    keep = build_query_suffix(page_data.parse_list_query(request).text)
    return tuple(
        NavLink(
            name=name.capitalize(),
            href=f"{event_path(event)}{'' if name == body.best else f'/{name}'}{keep}",
            current=name == current,
        )
        for name, fitting in fits.items()
        if fitting
    )


def _list_form_fields(body: ParsedBody) -> tuple[tuple[str, str], ...]:
    return tuple((escape_unprintable(name, 200), escape_unprintable(value, 20_000)) for name, value in body.form)


def _choose_depth(data: bytes) -> int:
    return 1 if len(data) > _LARGE_TREE else 2


def _describe_window(window: body_text.BodyWindow) -> str:
    if window.next is None and window.previous is None:
        return ""
    return f"{format_size(window.size)}. Showing bytes {window.offset:,} to {window.end:,}."


async def _build_verification_tab(request: web.Request, event: CapturedEvent) -> VerificationTab:
    relay = get_relay(request)
    found = await relay.signature_doctor.diagnose(event) if needs_diagnosis(event) else None
    source = relay.sources.by_name.get(event.row.source)
    still = await find_rule_problems(event, source) if source and event.problems else None
    return VerificationTab(
        base=event_path(event),
        judged=build_verification_panel(event, source, event_avatar(event.row).title, found, still),
        locked=event.row.reason == "vault_locked" and relay.vault.status.state == "locked",
        refused=event.row.outcome is EventOutcome.REJECTED or event.row.verdict is Verdict.INVALID,
    )


def _build_route_line(match: RouteMatch) -> RouteLine:
    route = match.route
    sources, types = ", ".join(route.sources) or "any source", ", ".join(route.events)
    name = f"{sources}{f', {types}' if types else ''} to {', '.join(route.targets)}"
    return RouteLine(name=escape_unprintable(name, 300), matched=match.matched, why=escape_unprintable(match.why, 300))


async def _build_deliveries_tab(request: web.Request, event: CapturedEvent) -> DeliveriesTab:
    relay = get_relay(request)
    made = await page_data.load_deliveries(relay, event.id)
    newest = list(reversed(made))[:_MAX_DELIVERIES]
    now = relay.clock.now()
    lines = [
        build_delivery_line(delivery, now, await relay.store.deliveries.attempts(delivery.id)) for delivery in newest
    ]
    messages = await relay.store.messages.page(MessageFilter(event=event.id))
    return DeliveriesTab(lines=tuple(lines), messages=tuple(build_message_line(one, now) for one in messages))
