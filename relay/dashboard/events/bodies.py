"""Bodies read for showing: parsed off the event loop, and the last few kept, since people look at one for a while."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace

from aiohttp import web

from relay.dashboard.body_text import is_binary
from relay.dashboard.filters import format_count
from relay.model.event import CapturedEvent
from relay.model.payload import Payload

_CACHE_SIZE = 4
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBody:
    """What a body is. `best` is the view that suits it; `value` holds its JSON where `is_json`.

    `content` is the body unpacked, as UTF-8 where it is text; `note` says what was done to read it.
    """

    best: str
    content: bytes = b""
    is_json: bool = False
    value: object = None
    form: tuple[tuple[str, str], ...] = ()
    note: str = ""
    problem: str = ""
    problem_line: int = 0


class BodyCache:
    """Remembers what the bodies looked at last are."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], ParsedBody] = OrderedDict()

    async def read(self, event: CapturedEvent) -> ParsedBody:
        """Return what the body of an event is."""
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
    """Return what a body is; pure."""
    payload = event.capture.payload
    if payload.is_empty:
        return ParsedBody(best="empty")
    if event.capture.content_type in IMAGE_TYPES:
        return ParsedBody(best="image", content=event.capture.body)
    content = _to_utf8(payload)
    body = ParsedBody(best="raw", content=content, note=_describe_reading(payload))
    fields = (*payload.fields, *((file.field, file.title) for file in payload.files))
    if fields:
        value = payload.json
        whole = value is not None and all(name != "payload" for name, _ in fields)
        return replace(body, best="tree" if whole else "form", is_json=value is not None, value=value, form=fields)
    if payload.error is None:
        return replace(body, best="tree", is_json=True, value=payload.json)
    if is_binary(content):
        return replace(body, best="hex")
    if "json" in payload.media_type or content.lstrip()[:1] in (b"{", b"["):
        error = payload.error
        where = f" line {error.line}, column {error.column}:" if error.line else ""
        return replace(body, problem=f"Not valid JSON:{where} {error.message}", problem_line=error.line)
    return body


def _to_utf8(payload: Payload) -> bytes:
    content, text = payload.unpacked.content, payload.text
    return content if text is None else text.encode("utf-8", "surrogatepass")


def _describe_reading(payload: Payload) -> str:
    unpacked, problem = payload.unpacked, payload.problem
    notes = [f"{problem[:1].upper()}{problem[1:]}."] if problem else []
    if unpacked.encodings:
        names = ", then ".join(unpacked.encodings)
        notes.append(
            f"Unpacked from {names}: {format_count(len(unpacked.content), 'byte')}. "
            "Hex, Copy and Download give the body as it came."
        )
    return " ".join(notes)
