"""The JSON API for many at once: events replayed, deliveries retried or given up together."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from relay.errors import UsageError
from relay.model.batch import INCLUDABLE, NewBatch
from relay.model.delivery import DeliveryState, SignMode
from relay.model.event import EventOutcome
from relay.model.text import printable
from relay.web import asked, shapes
from relay.web.answers import json_response
from relay.web.keys import desk


async def retry(request: web.Request) -> web.Response:
    """POST /api/deliveries/retry with `{state, target, batch}`: all that match are due now, the failed by default."""
    given = await asked.json_body(request)
    asked.known(given, {"state", "target", "batch"})
    state = asked.text(given, "state") or DeliveryState.FAILED.value
    if state not in tuple(DeliveryState):
        raise UsageError(f"there is no state {state!r}", hint=f"use {', '.join(DeliveryState)}")
    batch = given.get("batch")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or not 0 < batch < 2**62):
        raise UsageError("batch must be the number of a replay", hint="GET /api/replays lists them")
    count = await desk(request).verbs.retry_all(DeliveryState(state), asked.text(given, "target"), batch)
    return json_response({"retried": count}, 202)


async def cancel(request: web.Request) -> web.Response:
    """POST /api/deliveries/cancel with `{target}`: all that wait are given up."""
    given = await asked.json_body(request)
    asked.known(given, {"target"})
    return json_response({"cancelled": await desk(request).verbs.cancel_all(asked.text(given, "target"))})


async def start(request: web.Request) -> web.Response:
    """POST /api/replays with `{q, target, sign, rate, stop_on_failure, include, dry_run}`: the plan, or the batch."""
    given = await asked.json_body(request)
    asked.known(given, {"q", "target", "sign", "rate", "stop_on_failure", "include", "dry_run"})
    query = asked.text(given, "q")
    if query is None:
        raise UsageError("q is missing", hint='send {"q": "has:failed"}; "" means every event')
    sign = asked.text(given, "sign") or SignMode.AUTO.value
    if sign not in tuple(SignMode):
        raise UsageError(f"sign cannot be {sign!r}", hint="use auto, original or fresh")
    new = NewBatch(
        query=query,
        target=asked.text(given, "target") or None,
        sign=SignMode(sign),
        rate=_rate(given),
        stop_on_failure=_flag(given, "stop_on_failure") or False,
        include=_include(given),
    )
    bulk = desk(request).verbs.bulk
    plan = await bulk.plan(new)
    if _flag(given, "dry_run"):
        return json_response(shapes.plan(plan))
    begun = await bulk.start(new, plan)
    shown = shapes.batch(*await bulk.progress(begun.id))
    return json_response(shown | {"left_out": shapes.left_out(plan)}, 202)


async def replays(request: web.Request) -> web.Response:
    """GET /api/replays?limit=: newest first."""
    found = await desk(request).store.batches.page(asked.limit(request))
    return json_response({"replays": [shapes.batch(item) for item in found]})


async def replay(request: web.Request) -> web.Response:
    """GET /api/replays/{id}: how far a batch is."""
    return await _shown(request, asked.identity(request, "replay"), 200)


async def stop(request: web.Request) -> web.Response:
    """POST /api/replays/{id}/cancel."""
    id_ = asked.identity(request, "replay")
    await desk(request).verbs.bulk.cancel(id_)
    return await _shown(request, id_, 200)


async def resume(request: web.Request) -> web.Response:
    """POST /api/replays/{id}/resume, also with `{stop_on_failure}`: go on where it was."""
    id_ = asked.identity(request, "replay")
    given = await asked.json_body(request)
    asked.known(given, {"stop_on_failure"})
    await desk(request).verbs.bulk.resume(id_, stop_on_failure=_flag(given, "stop_on_failure"))
    return await _shown(request, id_, 202)


async def _shown(request: web.Request, id_: int, status: int) -> web.Response:
    return json_response(shapes.batch(*await desk(request).verbs.bulk.progress(id_)), status)


def _include(given: Mapping[str, Any]) -> frozenset[EventOutcome]:
    value = given.get("include") or []
    known = ", ".join(INCLUDABLE)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError("include must be a list", hint=f"send any of {known}")
    strange = next((item for item in value if item not in INCLUDABLE), None)
    if strange is not None:
        raise UsageError(f"include cannot hold {printable(strange, 40)!r}", hint=f"use {known}")
    return frozenset(EventOutcome(item) for item in value)


def _rate(given: Mapping[str, Any]) -> float | None:
    value = given.get("rate")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 10_000:
        raise UsageError("rate must be a number of deliveries a second", hint='send {"rate": 5}')
    return float(value)


def _flag(given: Mapping[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false", hint=f"leave {name} out for false")
    return value
