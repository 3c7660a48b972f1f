"""Deliveries: listed, shown with every attempt, retried and cancelled, one or many."""

from typing import Annotated

from multidict import MultiMapping
from pydantic import Field

from relay.api.resource import (
    Answer,
    ApiRequest,
    ApiRoute,
    EncodedBody,
    HeaderPairs,
    Refusal,
    Resource,
    Timestamp,
    default_to,
    make_shape,
)
from relay.model.delivery import DeliveryReason, DeliveryState
from relay.model.event_json import serialize_delivery
from relay.services import answers
from relay.services.relay import RunningRelay


class DeliverySummary(Resource):
    """A delivery as lists have it. `spared` of its attempts are not charged to the retry policy."""

    id: int
    event: int
    source: str
    target: str
    action: str
    reason: DeliveryReason
    state: DeliveryState
    created_at: Timestamp
    due_at: Timestamp
    attempts_made: int
    spared: int
    detail: str
    status: int | None
    took_ms: float | None
    batch: int | None
    lab: int | None


class AttemptRequest(Resource):
    """What an attempt sent; `notes` say what differs from the original."""

    method: str
    url: str
    headers: HeaderPairs
    body: EncodedBody
    notes: list[str]


class AttemptResponse(Resource):
    """What an attempt got; the body is `cut` where there was more of it."""

    status: int
    headers: HeaderPairs
    body: EncodedBody
    cut: bool
    notes: list[str]


class AttemptDetail(Resource):
    """One attempt of a delivery; `output` and `traceback` are those of a handler."""

    number: int
    started_at: Timestamp
    took_ms: float
    outcome: str
    detail: str
    request: AttemptRequest | None
    response: AttemptResponse | None
    output: str | None
    output_cut: bool
    traceback: str | None


class DeliveryDetail(DeliverySummary):
    """A delivery with its attempts."""

    attempts: list[AttemptDetail]


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
async def list_deliveries(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """List deliveries, newest first."""
    return await answers.list_deliveries(relay.store, query)


@ApiRoute("GET", "/api/deliveries/{id}", {200: DeliveryDetail})
async def get_delivery(relay: RunningRelay, id_: int) -> Answer:
    """Show a delivery with every attempt."""
    return await answers.load_delivery(relay.store, id_)


@ApiRoute("POST", "/api/deliveries/{id}/retry", {202: DeliverySummary})
async def retry_delivery(relay: RunningRelay, id_: int) -> Answer:
    """Try a delivery again now."""
    return serialize_delivery(await relay.replays.retry_delivery(id_))


@ApiRoute("POST", "/api/deliveries/{id}/cancel", {200: DeliverySummary})
async def cancel_delivery(relay: RunningRelay, id_: int) -> Answer:
    """Give up a delivery."""
    return serialize_delivery(await relay.replays.cancel_delivery(id_))


@ApiRoute("POST", "/api/deliveries/retry", {202: RetriedDeliveries}, RetryRequest)
async def retry_deliveries(relay: RunningRelay, call: RetryRequest) -> Answer:
    """Try all deliveries again now that match, the failed by default."""
    return {"retried": await relay.replays.retry_deliveries(call.state, call.target, call.batch)}


@ApiRoute("POST", "/api/deliveries/cancel", {200: CancelledDeliveries}, CancelRequest)
async def cancel_deliveries(relay: RunningRelay, call: CancelRequest) -> Answer:
    """Give up all deliveries that wait, or those to one target."""
    return {"cancelled": await relay.replays.cancel_deliveries(call.target)}
