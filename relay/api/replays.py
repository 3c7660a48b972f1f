"""The JSON API for many at once: events replayed, deliveries retried or given up together."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from relay.api import serializers
from relay.errors import UsageError
from relay.http import params
from relay.http.context import get_relay
from relay.http.responses import json_response
from relay.model.batch import INCLUDABLE_OUTCOMES, NewBatch
from relay.model.delivery import DeliveryState, SignMode
from relay.model.event import EventOutcome
from relay.model.text import escape_unprintable


async def retry_deliveries(request: web.Request) -> web.Response:
    """POST /api/deliveries/retry with `{state, target, batch}`: all that match are due now, the failed by default."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"state", "target", "batch"})
    state = params.get_text(given, "state") or DeliveryState.FAILED.value
    if state not in tuple(DeliveryState):
        raise UsageError(f"there is no state {state!r}", hint=f"use {', '.join(DeliveryState)}")
    batch = given.get("batch")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or not 0 < batch < 2**62):
        raise UsageError("batch must be the number of a replay", hint="GET /api/replays lists them")
    count = await get_relay(request).replays.retry_deliveries(
        DeliveryState(state), params.get_text(given, "target"), batch
    )
    return json_response({"retried": count}, 202)


async def cancel_deliveries(request: web.Request) -> web.Response:
    """POST /api/deliveries/cancel with `{target}`: all that wait are given up."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"target"})
    return json_response(
        {"cancelled": await get_relay(request).replays.cancel_deliveries(params.get_text(given, "target"))}
    )


async def start_replay(request: web.Request) -> web.Response:
    """POST /api/replays with `{q, target, sign, rate, stop_on_failure, include, dry_run}`: the plan, or the batch."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"q", "target", "sign", "rate", "stop_on_failure", "include", "dry_run"})
    query = params.get_text(given, "q")
    if query is None:
        raise UsageError("q is missing", hint='send {"q": "has:failed"}; "" means every event')
    sign = params.get_text(given, "sign") or SignMode.AUTO.value
    if sign not in tuple(SignMode):
        raise UsageError(f"sign cannot be {sign!r}", hint="use auto, original or fresh")
    new = NewBatch(
        query=query,
        target=params.get_text(given, "target") or None,
        sign=SignMode(sign),
        rate=_parse_rate(given),
        stop_on_failure=_get_flag(given, "stop_on_failure") or False,
        include=_parse_include(given),
    )
    bulk = get_relay(request).bulk_replays
    plan = await bulk.plan(new)
    if _get_flag(given, "dry_run"):
        return json_response(serializers.serialize_plan(plan))
    begun = await bulk.start(new, plan)
    shown = serializers.serialize_batch(*await bulk.progress(begun.id))
    return json_response(shown | {"left_out": serializers.serialize_left_out(plan)}, 202)


async def list_replays(request: web.Request) -> web.Response:
    """GET /api/replays?limit=: newest first."""
    found = await get_relay(request).store.batches.page(params.parse_limit(request))
    return json_response({"replays": [serializers.serialize_batch(item) for item in found]})


async def get_replay(request: web.Request) -> web.Response:
    """GET /api/replays/{id}: how far a batch is."""
    return await _answer_with_batch(request, params.parse_id(request, "replay"), 200)


async def cancel_replay(request: web.Request) -> web.Response:
    """POST /api/replays/{id}/cancel."""
    id_ = params.parse_id(request, "replay")
    await get_relay(request).bulk_replays.cancel(id_)
    return await _answer_with_batch(request, id_, 200)


async def resume_replay(request: web.Request) -> web.Response:
    """POST /api/replays/{id}/resume, also with `{stop_on_failure}`: go on where it was."""
    id_ = params.parse_id(request, "replay")
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"stop_on_failure"})
    await get_relay(request).bulk_replays.resume(id_, stop_on_failure=_get_flag(given, "stop_on_failure"))
    return await _answer_with_batch(request, id_, 202)


async def _answer_with_batch(request: web.Request, id_: int, status: int) -> web.Response:
    return json_response(serializers.serialize_batch(*await get_relay(request).bulk_replays.progress(id_)), status)


def _parse_include(given: Mapping[str, Any]) -> frozenset[EventOutcome]:
    value = given.get("include") or []
    known = ", ".join(INCLUDABLE_OUTCOMES)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError("include must be a list", hint=f"send any of {known}")
    strange = next((item for item in value if item not in INCLUDABLE_OUTCOMES), None)
    if strange is not None:
        raise UsageError(f"include cannot hold {escape_unprintable(strange, 40)!r}", hint=f"use {known}")
    return frozenset(EventOutcome(item) for item in value)


def _parse_rate(given: Mapping[str, Any]) -> float | None:
    value = given.get("rate")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 10_000:
        raise UsageError("rate must be a number of deliveries a second", hint='send {"rate": 5}')
    return float(value)


def _get_flag(given: Mapping[str, Any], name: str) -> bool | None:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false", hint=f"leave {name} out for false")
    return value
