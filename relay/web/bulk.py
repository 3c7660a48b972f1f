"""The JSON API for many at once: deliveries retried or given up together."""

from aiohttp import web

from relay.errors import UsageError
from relay.model.delivery import DeliveryState
from relay.web import asked
from relay.web.answers import json_response
from relay.web.keys import desk


async def retry(request: web.Request) -> web.Response:
    """POST /api/deliveries/retry with `{state, target}`: all that match are due now; state is failed by default."""
    given = await asked.json_body(request)
    asked.known(given, {"state", "target"})
    state = asked.text(given, "state") or DeliveryState.FAILED.value
    if state not in tuple(DeliveryState):
        raise UsageError(f"there is no state {state!r}", hint=f"use {', '.join(DeliveryState)}")
    count = await desk(request).verbs.retry_all(DeliveryState(state), asked.text(given, "target"))
    return json_response({"retried": count}, 202)


async def cancel(request: web.Request) -> web.Response:
    """POST /api/deliveries/cancel with `{target}`: all that wait are given up."""
    given = await asked.json_body(request)
    asked.known(given, {"target"})
    return json_response({"cancelled": await desk(request).verbs.cancel_all(asked.text(given, "target"))})
