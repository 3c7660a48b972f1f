"""Deliveries: listed, shown with every attempt, retried and cancelled, one or many."""

from typing import Annotated

from aiohttp import web
from pydantic import AliasPath, Field

from relay.api.resource import (
    ApiRequest,
    ApiRoute,
    Body,
    HeaderPairs,
    HeaderText,
    Milliseconds,
    Refusal,
    Resource,
    TextOrNull,
    Timestamp,
    default_to,
    find_next_before,
    make_shape,
    read_request,
)
from relay.http import params
from relay.http.responses import get_relay, json_response
from relay.model.delivery import DeliveryReason, DeliveryState


class DeliverySummary(Resource):
    """A delivery as lists have it. `spared` of its attempts are not charged to the retry policy."""

    id: int
    event: int = Field(validation_alias="event_id")
    source: str
    target: str
    action: str
    reason: DeliveryReason
    state: DeliveryState
    created_at: Timestamp
    due_at: Timestamp
    attempts_made: int = Field(validation_alias="attempts")
    spared: int
    detail: str
    status: int | None
    took_ms: Milliseconds | None = Field(validation_alias="took")
    batch: int | None
    lab: int | None


class AttemptRequest(Resource):
    """What an attempt sent; `notes` say what differs from the original."""

    method: str
    url: HeaderText
    headers: HeaderPairs
    body: Body
    notes: list[str]


class AttemptResponse(Resource):
    """What an attempt got; the body is `cut` where there was more of it."""

    status: int
    headers: HeaderPairs
    body: Body
    cut: bool
    notes: list[str]


class AttemptDetail(Resource):
    """One attempt of a delivery; `output` and `traceback` are those of a handler."""

    number: int
    started_at: Timestamp
    took_ms: Milliseconds = Field(validation_alias="took")
    outcome: str
    detail: str
    request: AttemptRequest | None
    response: AttemptResponse | None
    output: str | None = Field(None, validation_alias=AliasPath("output", "text"))
    output_cut: bool = Field(False, validation_alias=AliasPath("output", "cut"))
    traceback: TextOrNull = Field(None, validation_alias=AliasPath("output", "traceback"))


class DeliveryDetail(DeliverySummary):
    """A delivery with its attempts."""

    attempts: list[AttemptDetail] = Field(validation_alias="made")


DeliveryList = make_shape(
    "DeliveryList", "A page of deliveries, newest first.", deliveries=list[DeliverySummary], next_before=int | None
)
RetriedDeliveries = make_shape("RetriedDeliveries", "How many deliveries are due again.", retried=int)
CancelledDeliveries = make_shape("CancelledDeliveries", "How many deliveries were given up.", cancelled=int)


class RetryRequest(ApiRequest):
    """Which deliveries to retry: in a state (failed), to a target, of a bulk replay."""

    state: Annotated[
        DeliveryState,
        Field(strict=False),
        default_to(DeliveryState.FAILED),
        Refusal("there is no state {value}", f"use {', '.join(DeliveryState)}"),
    ] = DeliveryState.FAILED
    batch: Annotated[
        int | None,
        Field(gt=0, lt=2**62),
        Refusal("batch must be the number of a replay", "GET /api/replays lists them"),
    ] = None
    target: str | None = None


class CancelRequest(ApiRequest):
    """Which waiting deliveries to give up: those to a target, or all."""

    target: str | None = None


@ApiRoute("GET", "/api/deliveries", {200: DeliveryList}, query="state event target batch before limit")
async def list_deliveries(request: web.Request) -> web.Response:
    """List deliveries, newest first."""
    limit = params.parse_limit(request)
    found = await get_relay(request).store.deliveries.page(
        state=request.query.get("state") or None,
        event=params.parse_number(request, "event", None),
        target=request.query.get("target") or None,
        batch=params.parse_number(request, "batch", None),
        before=params.parse_number(request, "before", None),
        limit=limit,
    )
    return json_response(DeliveryList.serialize(deliveries=found, next_before=find_next_before(found, limit)))


@ApiRoute("GET", "/api/deliveries/{id}", {200: DeliveryDetail})
async def get_delivery(request: web.Request) -> web.Response:
    """Show a delivery with every attempt."""
    store = get_relay(request).store
    item = await store.deliveries.get(params.parse_id(request, "delivery"))
    return json_response(DeliveryDetail.serialize(item, made=await store.deliveries.attempts(item.id)))


@ApiRoute("POST", "/api/deliveries/{id}/retry", {202: DeliverySummary})
async def retry_delivery(request: web.Request) -> web.Response:
    """Try a delivery again now."""
    item = await get_relay(request).replays.retry_delivery(params.parse_id(request, "delivery"))
    return json_response(DeliverySummary.serialize(item), 202)


@ApiRoute("POST", "/api/deliveries/{id}/cancel", {200: DeliverySummary})
async def cancel_delivery(request: web.Request) -> web.Response:
    """Give up a delivery."""
    item = await get_relay(request).replays.cancel_delivery(params.parse_id(request, "delivery"))
    return json_response(DeliverySummary.serialize(item))


@ApiRoute("POST", "/api/deliveries/retry", {202: RetriedDeliveries}, RetryRequest)
async def retry_deliveries(request: web.Request) -> web.Response:
    """Try all deliveries again now that match, the failed by default."""
    call = await read_request(request, RetryRequest)
    count = await get_relay(request).replays.retry_deliveries(call.state, call.target, call.batch)
    return json_response({"retried": count}, 202)


@ApiRoute("POST", "/api/deliveries/cancel", {200: CancelledDeliveries}, CancelRequest)
async def cancel_deliveries(request: web.Request) -> web.Response:
    """Give up all deliveries that wait, or those to one target."""
    call = await read_request(request, CancelRequest)
    return json_response({"cancelled": await get_relay(request).replays.cancel_deliveries(call.target)})
