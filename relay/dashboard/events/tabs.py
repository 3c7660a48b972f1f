"""The tabs of an event, each built from the event and the URL."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from relay.dashboard import body_text
from relay.dashboard.body_text import is_binary
from relay.dashboard.event_list import parse_list_suffix
from relay.dashboard.events import body_tree
from relay.dashboard.events.detail import describe_verification, parse_query_pairs
from relay.dashboard.filters import capitalize_first, event_avatar, format_count
from relay.http.responses import get_relay
from relay.model.event import CapturedEvent, EventOutcome, Verdict
from relay.model.message import MessageFilter
from relay.model.parameters import parse_whole_number
from relay.model.payload import Payload
from relay.model.text import format_size
from relay.model.values import dataclass
from relay.pipeline.diagnosis import find_rule_problems
from relay.services.answers import needs_diagnosis
from relay.services.relay import RunningRelay

_CACHE_SIZE = 4
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
TAB_NAMES = ("payload", "headers", "verification", "routing", "deliveries")
PAYLOAD_VIEWS = ("tree", "form", "raw", "hex")
_LARGE_TREE = 1_000_000  # bytes above which a tree opens only one level
_MAX_DELIVERIES = 20  # deliveries tab with all their attempts
# Further values of a body tab; `find` is the current hit (from 0) and the text on their number.
_PLAIN_TAB: Mapping[str, Any] = {
    "find": {"text": "", "at": 0, "total": 0, "words": ""},
    "nodes": (),
    "back": False,
    "fields": (),
    "window": None,
    "mark": -1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBody:
    """A parsed body. `best` is its preferred view; `value` is its JSON if `is_json`.

    `content` is the unpacked body, as UTF-8 if it is text; `note` says how it was decoded.
    """

    best: str
    content: bytes = b""
    is_json: bool = False
    value: object = None
    form: tuple[tuple[str, str], ...] = ()
    note: str = ""
    problem: str = ""

    @property
    def levels(self) -> int:
        """Return how many levels of its tree are open initially."""
        return 1 if len(self.content) > _LARGE_TREE else 2


class BodyCache:
    """Caches the parsed bodies of recent events."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], ParsedBody] = OrderedDict()

    async def read(self, event: CapturedEvent) -> ParsedBody:
        """Return the parsed body of an event."""
        key = (event.id, event.row.sha256)
        if key not in self._kept:
            heavy = event.capture.payload.is_heavy
            self._kept[key] = await asyncio.to_thread(parse_body, event) if heavy else parse_body(event)
            while len(self._kept) > _CACHE_SIZE:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


BODY_CACHE: web.AppKey[BodyCache] = web.AppKey("bodies", BodyCache)


def parse_body(event: CapturedEvent) -> ParsedBody:
    """Return the parsed body; pure."""
    capture, payload = event.capture, event.capture.payload
    if payload.is_empty:
        return ParsedBody(best="empty")
    if capture.content_type in IMAGE_TYPES:
        return ParsedBody(best="image", content=capture.body)
    content = payload.unpacked.content if payload.text is None else payload.text.encode("utf-8", "surrogatepass")
    body = ParsedBody(best="raw", content=content, note=_describe_reading(payload))
    value = None
    if payload.json is not None:  # again, with the original spelling of numbers: 1.10, not 1.1
        value = Payload.of_request(capture.headers, capture.body, capture.query, exact=True).json
    fields = (*payload.fields, *((file.field, file.title) for file in payload.files))
    if fields:
        whole = value is not None and all(name != "payload" for name, _ in fields)
        return replace(body, best="tree" if whole else "form", is_json=value is not None, value=value, form=fields)
    if payload.error is None:
        return replace(body, best="tree", is_json=True, value=value)
    if is_binary(content):
        return replace(body, best="hex")
    if "json" in payload.media_type or content.lstrip()[:1] in (b"{", b"["):
        error = payload.error
        where = f"Not valid JSON: line {error.line}, column {error.column}" if error.line else "Not read as JSON"
        return replace(body, problem=f"{where}: {error.message}")
    return body


def _describe_reading(payload: Payload) -> str:
    unpacked, problem = payload.unpacked, payload.problem
    notes = [f"{capitalize_first(problem)}."] if problem else []
    if unpacked.encodings:
        names = ", then ".join(unpacked.encodings)
        notes.append(
            f"Unpacked from {names}: {format_count(len(unpacked.content), 'byte')}. "
            "Hex, Copy and Download give the body as it came."
        )
    return " ".join(notes)


async def build_tab(request: web.Request, event: CapturedEvent, name: str) -> tuple[str, object]:
    """Return the template of a tab and its values; the name may be one of PAYLOAD_VIEWS."""
    relay = get_relay(request)
    match name:
        case "headers":
            values: dict[str, Any] = {
                "event": event,
                "query": parse_query_pairs(event.row.query),
                "reveal": parse_whole_number(request.query, "reveal"),
            }
        case "verification":
            values = await _load_verification(relay, event)
        case "routing":
            values = {"matches": relay.explain_routes(event)}
        case "deliveries":
            values = await _load_deliveries(relay, event)
        case _:
            return "events/payload.html", await build_payload_tab(request, event, name)
    return f"events/{name}.html", {"base": f"/events/{event.id}", **values}


async def build_payload_tab(request: web.Request, event: CapturedEvent, name: str) -> dict[str, Any]:
    """Return the body as a tree, a form, text or bytes; by default its preferred view.

    `kind` is tree, form, raw, hex, image or empty; `base` the event's URL; `mark` the current piece.
    """
    body = await request.app[BODY_CACHE].read(event)
    kind = name if name in PAYLOAD_VIEWS else body.best
    if (kind == "tree" and not body.is_json) or (kind == "form" and not body.form):
        kind = body.best
    tab = {
        **_PLAIN_TAB,
        "base": f"/events/{event.id}",
        "kind": kind,
        "views": _list_fitting_views(event, body),
        "best": body.best,
        "suffix": parse_list_suffix(request),
        "size": len(event.capture.body),
        "content_type": event.row.content_type,
        "problem": " ".join(part for part in (body.note, body.problem if kind == "raw" else "") if part),
    }
    text = request.query.get("find", "")[:200].strip()
    return tab | (_find_in_body(request, body, text) if text else _build_view(request, event, body, tab))


def _build_view(request: web.Request, event: CapturedEvent, body: ParsedBody, tab: dict[str, Any]) -> dict[str, Any]:
    offset = parse_whole_number(request.query, "offset") or 0
    match tab["kind"]:
        case "tree" if "ptr" in request.query:
            return {"nodes": build_subtree(body.value, request), "back": True}
        case "tree":
            return {"nodes": body_tree.build_tree(body.value, levels=body.levels)}
        case "form":
            return {"fields": body.form}
        case "raw":
            window = body_text.build_text_window(body.content, offset)
            problem = f"{tab['problem']} {_describe_window(window)}".strip()
            return {"window": window, "problem": problem}
        case "hex":
            return {"window": body_text.build_hex_window(event.capture.body, offset)}
        case _:
            return {}


def _find_in_body(request: web.Request, body: ParsedBody, text: str) -> dict[str, Any]:
    if body.is_json:
        hits = body_tree.find_in_tree(body.value, text)
        found = _parse_hit_position(request, text, len(hits))
        at = hits[found["at"]] if hits else ""
        nodes = body_tree.build_tree(body.value, levels=body.levels, at=at, marks=frozenset(hits))
        return {"kind": "tree", "find": found, "nodes": nodes}
    offsets = body_tree.find_in_text(body.content, text)
    found = _parse_hit_position(request, text, len(offsets))
    at, start = found["at"], 0
    if offsets and offsets[at] >= body_text.RAW_WINDOW:
        start = body.content.rfind(b"\n", 0, offsets[at]) + 1
        start = max(start, offsets[at] - body_text.RAW_WINDOW // 2)
    window = body_text.build_text_window(body.content, start, text)
    before = sum(offset < start for offset in offsets)
    nth = [index for index, (_, is_hit) in enumerate(window.pieces) if is_hit]
    mark = nth[at - before] if 0 <= at - before < len(nth) else -1
    return {"kind": "raw", "find": found, "window": window, "mark": mark}


def _parse_hit_position(request: web.Request, text: str, total: int) -> dict[str, Any]:
    # The same word again means Enter: go to the next or previous hit.
    step = -1 if request.query.get("step") == "-1" else 1
    at = (parse_whole_number(request.query, "at") or 0) + step if request.query.get("was") == text else 0
    words = f"{total:,} or more" if total >= body_tree.MAX_HITS else f"{total:,}"
    return {"text": text, "at": at % total if total else 0, "total": total, "words": words}


def build_subtree(value: object, request: web.Request) -> tuple[body_tree.TreeNode, ...]:
    """Return the lines below the folded node of a tree that the URL names."""
    return body_tree.build_branch(
        value,
        request.query.get("ptr", "")[:4000],
        min(parse_whole_number(request.query, "depth") or 0, 200),
        parse_whole_number(request.query, "from") or 0,
        parse_whole_number(request.query, "to"),
    )


def _list_fitting_views(event: CapturedEvent, body: ParsedBody) -> list[str]:
    fits = {"image": body.best == "image", "form": body.form, "tree": body.is_json}
    fits |= dict.fromkeys(("raw", "hex"), event.capture.body)
    return [name for name, fitting in fits.items() if fitting]


def _describe_window(window: body_text.BodyWindow) -> str:
    if window.end - window.offset == window.size:
        return ""
    return f"{format_size(window.size)}. Showing bytes {window.offset:,} to {window.end:,}."


async def _load_verification(relay: RunningRelay, event: CapturedEvent) -> dict[str, Any]:
    diagnosis = await relay.signature_doctor.diagnose(event) if needs_diagnosis(event) else None
    source = relay.sources.by_name.get(event.row.source)
    problems_now = await find_rule_problems(event, source) if source and event.problems else None
    provider = event_avatar(event.row).title
    return {
        "diagnosis": diagnosis,
        "event": event,
        "source": source,
        "provider": provider,
        "verdict": describe_verification(event, provider, diagnosis, problems_now),
        "locked": event.row.reason == "vault_locked" and relay.vault.status.state == "locked",
        "refused": event.row.outcome is EventOutcome.REJECTED or event.row.verdict is Verdict.INVALID,
    }


async def _load_deliveries(relay: RunningRelay, event: CapturedEvent) -> dict[str, Any]:
    newest = (await relay.store.deliveries.of_event(event.id))[: -_MAX_DELIVERIES - 1 : -1]
    return {
        "deliveries": [(one, await relay.store.deliveries.attempts(one.id)) for one in newest],
        "now": relay.clock.now(),
        "messages": await relay.store.messages.page(MessageFilter(event=event.id)),
    }
