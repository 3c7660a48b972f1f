"""Strict parsing of request parameters (each error names its parameter), and the arguments of handlers."""

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from inspect import signature
from typing import Any, TypeVar

from aiohttp import web

from relay.catchup.base import CatchUpRequest
from relay.errors import NotFoundError, UsageError
from relay.http.responses import get_relay
from relay.model.parameters import parse_digits
from relay.model.payload import PayloadError, parse_json
from relay.model.search import parse_moment
from relay.services.relay import RunningRelay
from relay.services.stats import WINDOWS, StatsWindow

ResultT = TypeVar("ResultT")
DEFAULT_SINCE = "24h"  # of a catch-up


async def call_handler(handler: Callable[..., Awaitable[ResultT]], request: web.Request, **more: object) -> ResultT:
    """Call a handler with the arguments that its parameters name, and return its result.

    These are `relay`, `request`, `query`, the variables of the path (its number as `id_`), the `event` of that number,
    the fields of a `form`, and `more`. A parameter for a missing path variable keeps its default.
    """
    names, relay = _list_parameters(handler), get_relay(request)
    values: dict[str, Any] = {"relay": relay, "request": request, "query": request.query, **request.match_info, **more}
    if "id" in values and not names.isdisjoint(("id_", "event")):
        values["id_"] = parse_id(request)
    if "event" in names:
        values["event"] = await relay.store.events.get(values["id_"])
    if "form" in names:
        values["form"] = await read_fields(request)
    return await handler(**{name: values[name] for name in names if name in values})


@lru_cache(maxsize=256)
def _list_parameters(handler: Callable[..., object]) -> frozenset[str]:
    return frozenset(signature(handler).parameters)


# The noun for the number in a path, by the segment before it; the default is event.
_NOUNS = {"deliveries": "delivery", "lab": "lab run", "labs": "lab run", "messages": "message", "replays": "replay"}


def parse_id(request: web.Request) -> int:
    """Return the number in the path. Raises NotFoundError if it is not a number."""
    text = request.match_info["id"]
    id_ = parse_digits(text)
    if id_ is None:
        noun = _NOUNS.get(request.path.partition(f"/{text}")[0].rpartition("/")[2], "event")
        raise NotFoundError(f"no such {noun}", hint="use its number, such as 42")
    return id_


async def read_fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; the first value of repeated names."""
    form = list((await request.post()).items())
    return {name: value for name, value in reversed(form) if isinstance(value, str)}


async def read_json_body(request: web.Request) -> Mapping[str, Any]:
    """Return the JSON object in the body; {} if there is none. Raises UsageError."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        value = parse_json(raw, strict=True)
    except PayloadError as error:
        raise UsageError(f"the body is not JSON: {error.message}", hint="send a JSON object") from error
    if not isinstance(value, dict):
        raise UsageError("the body is not a JSON object", hint='send one such as {"target": "app"}')
    return value


def parse_window(query: Mapping[str, str]) -> StatsWindow:
    """Return the requested window. Raises UsageError that lists the valid ones."""
    name = query.get("window", "1h")
    if name not in WINDOWS:
        raise UsageError("window is not a known span of time", hint=f"use {', '.join(WINDOWS)}")
    return WINDOWS[name]


def parse_catch_up_request(
    relay: RunningRelay, source: str, since: str, *, dry_run: bool, forward: bool
) -> CatchUpRequest:
    """Return the requested catch-up. Raises UsageError if `since` is not a time."""
    when = parse_moment(since.strip(), relay.clock.now())
    if when is None:
        raise UsageError(
            "since is not a time", hint="write an age such as 90m, 2h or 7d, or a time such as 2026-01-31T12:00"
        )
    return CatchUpRequest(source=source, since=when, dry_run=dry_run, forward=forward)
