"""What an API call asks for, read strictly: every mistake names its parameter."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aiohttp import web

from relay.catchup.base import CatchUpRequest
from relay.errors import NotFoundError, UsageError
from relay.http.responses import get_relay
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
    id_ = parse_digits(request.match_info["id"])
    if id_ is None:
        raise NotFoundError(f"no such {noun}", hint=f"{noun}s have small numbers")
    return id_


def parse_number(request: web.Request, name: str, default: int | None, most: int = 2**62) -> int | None:
    """Return a number of the query string. Raises UsageError naming the parameter."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (number := parse_digits(text)):
        raise UsageError(f"{name} is not a positive number", hint=f"write {name}=50")
    return min(number, most)


def parse_whole_number(values: Mapping[str, str], name: str) -> int | None:
    """Return a number of a query string or of headers, 0 included, or None for anything else."""
    return parse_digits(values.get(name, ""))


def parse_digits(text: str) -> int | None:
    """Return the number that a text of at most 18 digits is, or None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def parse_limit(request: web.Request) -> int:
    """Return how many rows to list at most."""
    return parse_number(request, "limit", None, MAX_LIMIT) or 50


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
