"""CloudEvents (v1.0, HTTP protocol binding) in each of its modes: its type and its key."""

from urllib.parse import unquote

from relay.model.event import Capture, Extractor
from relay.model.payload import Payload
from relay.model.request_items import ItemPaths
from relay.providers.derived_extractors import each_item
from relay.providers.extractors import body, first_of, header, join, make_extractor, only_with

# https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md, section 3.3.
_BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"


@make_extractor
def _attribute(capture: Capture, payload: Payload, name: str) -> str | None:
    """Extract an attribute in binary mode: a header `ce-…`, its value percent-encoded (section 3.1.3.2)."""
    value = header(f"ce-{name}")(capture, payload)
    return None if value is None else unquote(value)


@make_extractor
def _if_structured(capture: Capture, payload: Payload, extractor: Extractor) -> str | None:
    """Extract a text of a body that is a CloudEvent itself: it says its `specversion`."""
    return None if payload.json_at("specversion") is None else extractor(capture, payload)


@make_extractor
def _if_batched(capture: Capture, payload: Payload, extractor: Extractor) -> str | None:
    """Extract a text of a batch of CloudEvents."""
    return extractor(capture, payload) if capture.content_type == _BATCH_CONTENT_TYPE else None


cloudevent_type = first_of(_attribute("type"), _if_structured(body("type")), _if_batched(body("0.type")))
"""The type of a CloudEvent, of the first one in a batch."""

# An id is unique within its source alone. The source comes first: as a URI reference it holds no space.
cloudevent_key = first_of(
    join(" ", _attribute("source"), _attribute("id"), whole=True),
    _if_structured(join(" ", body("source"), body("id"), whole=True)),
    _if_batched(each_item("", "source", "id")),
)
"""The key of a CloudEvent, or of a whole batch of them: source and id."""


# What the senders of the catalogue call the type, the commonest first; a nested one counts before its object.
_TYPE_NAMES = ("type", "event_type", "eventType", "event.type", "event.name", "event", "topic", "action")

default_event_type = first_of(
    cloudevent_type,
    header("X-Event-Type"),
    header("X-Event-Name"),
    header("X-Webhook-Event"),
    header("X-Webhook-Topic"),
    *(body(f"{where}{name}") for where in ("", "0.", "events.0.") for name in _TYPE_NAMES),
)
"""The event type of a source that has no provider."""

default_items = ItemPaths(((None,), ("events", None)), unless=tuple({name.partition(".")[0] for name in _TYPE_NAMES}))
"""Where a request of a source without provider holds several events: CloudEvents and Event Grid send lists."""

default_idempotency_key = first_of(
    cloudevent_key,
    header("Idempotency-Key"),
    # With its companions alone it is the message's id (Standard Webhooks); elsewhere it may be the webhook's own.
    only_with(header("webhook-id"), header("webhook-timestamp")),
    only_with(header("svix-id"), header("svix-timestamp")),
)
"""The idempotency key of a source that has no provider: only what is meant as one."""
