"""Handlers as functions of what they need: relay, the number in the path, the event of it, the fields of a form."""

from collections.abc import Awaitable, Callable
from functools import lru_cache
from inspect import signature
from typing import Any, TypeVar

from aiohttp import web

from relay.http.params import parse_id, read_fields
from relay.http.responses import get_relay

ResultT = TypeVar("ResultT")


async def call_handler(handler: Callable[..., Awaitable[ResultT]], request: web.Request, **more: object) -> ResultT:
    """Return what a handler returns, called with what its parameters name.

    That is `relay`, `request`, `query`, what the path names (its number as `id_`), the `event` of that number, the
    fields of a `form`, and `more`. A parameter of what the path does not name keeps its default.
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
