"""Samples: which there are, and one sent signed through the real ingress."""

from typing import Annotated, Any

from multidict import MultiMapping
from pydantic import Field

from relay.api.events import EventSummary
from relay.api.resource import Answer, ApiRequest, ApiRoute, Refusal, default_to, make_shape
from relay.model.event_json import serialize_event_row
from relay.services.relay import RunningRelay
from relay.store.deliveries import count_states

_IS_MISSING = Refusal("a trigger needs source and type", "relay samples lists them")
_RequiredText = Annotated[str, Field(min_length=1), _IS_MISSING]


class SampleRequest(ApiRequest):
    """Which sample to send; `set` changes fields by path, `body` replaces it, `to` is a further target or URL."""

    source: _RequiredText
    type: _RequiredText
    set: Annotated[
        dict[str, Any],
        default_to({}),
        Refusal("set must be an object of paths and values", 'write {"data.object.amount": 500}'),
    ] = Field(default_factory=dict)
    body: str | None = None
    to: str | None = None


class TriggeredEvent(EventSummary):
    """The event that a sample made, and what the app needs to verify it where relay signed it with its own.

    `missing_secret` is where relay looked for the source's secret in vain.
    """

    local_public_key: str | None
    run_secret: str | None
    missing_secret: str | None


SampleList = make_shape("SampleList", "The event types that can be triggered, by source.", samples=dict[str, list[str]])


@ApiRoute("POST", "/api/triggers", {201: TriggeredEvent}, SampleRequest)
async def trigger_sample(relay: RunningRelay, call: SampleRequest) -> Answer:
    """Send a signed sample event through the real ingress."""
    body = None if call.body is None else call.body.encode("utf-8", "replace")
    row = await relay.trigger_sample(call.source, call.type, changes=call.set, body=body, to=call.to)
    made = await relay.store.deliveries.of_event(row.id)
    source = relay.sources.named(row.source)
    local = source.local if source else None
    keys = {
        "local_public_key": local.public or None if local else None,
        "run_secret": local.secret.reveal() if local and not local.public else None,
        "missing_secret": next(iter(source.missing_secrets), None) if source else None,
    }
    return serialize_event_row(row, count_states(made)) | keys


@ApiRoute("GET", "/api/samples", {200: SampleList}, query="source")
async def list_samples(relay: RunningRelay, query: MultiMapping[str]) -> Answer:
    """List what can be triggered, by source."""
    source = query.get("source")
    names = [source] if source else list(relay.sources.by_name)
    return {"samples": {name: list(relay.list_sample_types(name)) for name in names}}
