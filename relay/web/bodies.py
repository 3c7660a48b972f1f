"""Bodies read for showing: parsed off the event loop, and the last few kept, since people look at one for a while."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web

from relay.model.event import Event
from relay.model.payload import Payload, PayloadError, parse_json
from relay.web.view.text import is_binary

_KEPT = 4
_AT_ONCE = 64 * 1024  # bytes parsed on the event loop itself: about a millisecond
_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a body is. `best` is the view that suits it; `value` holds its JSON where `is_json`."""

    best: str
    is_json: bool = False
    value: object = None
    form: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    problem_line: int = 0


class Bodies:
    """Remembers what the bodies looked at last are."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], Body] = OrderedDict()

    async def read(self, event: Event) -> Body:
        """Return what the body of an event is."""
        key = (event.id, event.row.sha256)
        if key not in self._kept:
            small = len(event.capture.body) <= _AT_ONCE
            self._kept[key] = read(event) if small else await asyncio.to_thread(read, event)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


BODIES: web.AppKey[Bodies] = web.AppKey("bodies", Bodies)


def read(event: Event) -> Body:
    """Return what a body is; pure."""
    body, kind = event.capture.body, event.capture.content_type
    if not body:
        return Body(best="empty")
    if kind in _PICTURES:
        return Body(best="image")
    payload = Payload(body, kind)
    if payload.is_form and payload.form:
        value = payload.json
        return Body(best="form", is_json=value is not None, value=value, form=payload.form)
    if "json" in kind or body.lstrip()[:1] in (b"{", b"["):
        try:
            return Body(best="tree", is_json=True, value=parse_json(body))
        except PayloadError as error:
            if is_binary(body):
                return Body(best="hex")
            where = f" line {error.line}, column {error.column}:" if error.line else ""
            return Body(
                best="raw", problem=f"Not valid JSON:{where} {error.sentence}", problem_line=error.line
            )
    return Body(best="hex" if is_binary(body) else "raw")
