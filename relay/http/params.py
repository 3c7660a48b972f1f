"""What an API call asks for, read strictly: every mistake names its parameter."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from aiohttp import web

from relay.catchup.recovery import CatchUpRequest
from relay.errors import NotFoundError, UsageError
from relay.http.context import get_relay
from relay.model.body_edit import edit_body
from relay.model.delivery import DeliveryChanges, SignMode
from relay.model.event import Capture, Headers
from relay.model.message import CHANNELS, MessageFilter, MessageStatus
from relay.model.payload import PayloadError, parse_json
from relay.model.search import Query, parse_moment, parse_query_strictly
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay
from relay.services.stats import WINDOWS, StatsWindow

MAX_LIMIT = 500

DEFAULT_SINCE = "24h"  # of a catch-up


def parse_id(request: web.Request, noun: str = "event") -> int:
    """Return the number in the path. Raises NotFoundError: what is no number cannot be found."""
    text = request.match_info["id"]
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise NotFoundError(f"no such {noun}", hint=f"{noun}s have small numbers")
    return int(text)


def parse_number(request: web.Request, name: str, default: int | None, most: int = 2**62) -> int | None:
    """Return a number of the query string. Raises UsageError naming the parameter."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < 1:
        raise UsageError(f"{name} is not a positive number", hint=f"write {name}=50")
    return min(int(text), most)


def parse_limit(request: web.Request, default: int = 50) -> int:
    """Return how many rows are wanted."""
    return parse_number(request, "limit", default, MAX_LIMIT) or default


def parse_query(request: web.Request) -> Query:
    """Return the query of the query string. Raises UsageError for what cannot be read of it."""
    return parse_query_strictly(request.query.get("q", ""), get_relay(request).clock.now())


async def read_json_body(request: web.Request) -> Mapping[str, Any]:
    """Return the JSON object a call carries; {} for none. Raises UsageError."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        value = parse_json(raw)
    except PayloadError as error:
        raise UsageError(f"the body is not JSON: {error.message}", hint="send a JSON object") from error
    if not isinstance(value, dict):
        raise UsageError("the body is not a JSON object", hint='send one such as {"target": "app"}')
    return value


def get_text(body: Mapping[str, Any], name: str) -> str | None:
    """Return a text of the body, or None. Raises UsageError when it is something else."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} must be text", hint=f"leave {name} out, or quote it")
    return value


def reject_unknown_keys(body: Mapping[str, Any], names: set[str]) -> None:
    """Raise UsageError when the body holds a key that means nothing."""
    strange = sorted(set(body) - names)
    if strange:
        raise UsageError(f"unknown key {strange[0]!r}", hint=f"use {', '.join(sorted(names))}")


def get_flag(body: Mapping[str, Any], name: str) -> bool:
    """Return a claim of the body, False where it is not made. Raises UsageError when it is something else."""
    value = body.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false", hint=f"leave {name} out for false")
    return value


async def read_email_request(request: web.Request) -> tuple[str, tuple[str, ...], bool]:
    """Return the template, the recipients and the force that a call for a mail asks for. Raises UsageError."""
    given = await read_json_body(request)
    reject_unknown_keys(given, {"template", "to", "force"})
    template = get_text(given, "template")
    if not template:
        raise UsageError("template is missing", hint='send {"template": "receipt"}')
    to = given.get("to") or []
    listed = [to] if isinstance(to, str) else to
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise UsageError("to must be an address or a list of addresses", hint='send {"to": ["a@example.com"]}')
    return template, tuple(listed), get_flag(given, "force")


def parse_window(request: web.Request) -> StatsWindow:
    """Return the window that is asked for. Raises UsageError naming those there are."""
    name = request.query.get("window", "1h")
    if name not in WINDOWS:
        raise UsageError("window is none that is counted", hint=f"use {', '.join(WINDOWS)}")
    return WINDOWS[name]


def parse_message_filter(request: web.Request) -> MessageFilter:
    """Return which messages the query string asks for. Raises UsageError naming what cannot be read."""
    channel = request.query.get("channel")
    statuses = tuple(
        MessageStatus(check_choice("status", text, tuple(MessageStatus)))
        for part in request.query.getall("status", [])
        for text in part.split(",")
        if text
    )
    return MessageFilter(
        channel=check_choice("channel", channel, CHANNELS) if channel else None,
        provider=request.query.get("provider") or None,
        statuses=statuses,
        recipient=request.query.get("recipient") or None,
        since=_parse_since(request),
        event=parse_number(request, "event", None),
    )


def _parse_since(request: web.Request) -> datetime | None:
    text = request.query.get("since")
    if not text:
        return None
    since = parse_moment(text, get_relay(request).clock.now())
    if since is None:
        raise UsageError("since is neither an age nor a time", hint="write since=2h or since=2026-01-31")
    return since


def check_choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    """Return a word that is allowed. Raises UsageError naming those that are."""
    if text not in allowed:
        raise UsageError(f"{name} cannot be {escape_unprintable(text, 40)!r}", hint=f"use {', '.join(allowed)}")
    return text


EDIT_KEYS = frozenset(
    ("sign", "method", "path", "query", "headers", "set_headers", "remove_headers", "body", "body_base64", "set")
)


def read_changes(body: Mapping[str, Any], capture: Capture) -> DeliveryChanges:
    """Return the edits of a captured request that a replay asks for. Raises UsageError naming what cannot be read."""
    sign = get_text(body, "sign") or "auto"
    if sign not in tuple(SignMode):
        raise UsageError(f"sign cannot be {sign!r}", hint="use auto, original or fresh")
    headers = _edit_headers(body, capture)
    return DeliveryChanges(
        sign=SignMode(sign),
        method=get_text(body, "method"),
        path=get_text(body, "path"),
        query=get_text(body, "query"),
        headers=headers,
        body=_edit_body(body, capture if headers is None else replace(capture, headers=headers)),
    )


def _edit_headers(body: Mapping[str, Any], capture: Capture) -> Headers | None:
    headers = _parse_headers(body.get("headers"))
    new = _parse_headers(body.get("set_headers")) or ()
    gone = body.get("remove_headers") or []
    if not isinstance(gone, list) or not all(isinstance(name, str) for name in gone):
        raise UsageError("remove_headers must be a list of names", hint='send ["X-Debug"]')
    if not new and not gone:
        return headers
    kept = [pair for pair in headers or capture.headers if pair[0].lower() not in {one.lower() for one in gone}]
    for lower, values in _group_by_name(new).items():
        place = next((at for at, pair in enumerate(kept) if pair[0].lower() == lower), len(kept))
        kept = [pair for pair in kept if pair[0].lower() != lower]
        kept[place:place] = values
    return tuple(kept)


def _group_by_name(headers: Headers) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append((name, value))
    return found


def _edit_body(body: Mapping[str, Any], capture: Capture) -> bytes | None:
    edited, encoded = get_text(body, "body"), get_text(body, "body_base64")
    if edited is not None and encoded is not None:
        raise UsageError("body and body_base64 are two bodies", hint="send one of them")
    new = None if edited is None else edited.encode("utf-8", "surrogatepass")
    if encoded is not None:
        try:
            new = b64decode(encoded, validate=True)
        except ValueError as error:
            raise UsageError("body_base64 is not base64", hint="use the standard alphabet and padding") from error
    fields = body.get("set") or {}
    if not isinstance(fields, dict):
        raise UsageError("set must map paths to values", hint='send {"data.object.amount": 500}')
    content_type = capture.header("Content-Type") or ""
    return edit_body(capture.body if new is None else new, content_type, fields) if fields else new


def _parse_headers(value: object) -> Headers | None:
    if value is None:
        return None
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise UsageError("headers must be a list of [name, value] pairs or an object", hint="")
    return tuple(_parse_header(pair) for pair in pairs)


def _parse_header(pair: object) -> tuple[str, str]:
    match pair:
        case [str(name), str(value)] | (str(name), str(value)):
            # On the wire a header is bytes: text beyond ASCII goes out as UTF-8.
            return name, value.encode("utf-8", "replace").decode("latin-1")
    raise UsageError("headers must be pairs of name and value, both text", hint='write ["X-Env", "dev"]')


def parse_catch_up_request(
    relay: RunningRelay, source: str, since: str, *, dry_run: bool, forward: bool
) -> CatchUpRequest:
    """Return what to catch up with. Raises UsageError for a `since` that is no time."""
    when = parse_moment(since.strip(), relay.clock.now())
    if when is None:
        raise UsageError(
            "since is no time", hint="write an age such as 90m, 2h or 7d, or a time such as 2026-01-31T12:00"
        )
    return CatchUpRequest(source=source, since=when, dry_run=dry_run, forward=forward)
