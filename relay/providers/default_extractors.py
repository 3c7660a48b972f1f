"""CloudEvents (v1.0, HTTP protocol binding) in each of its modes: its type and its key."""

from dataclasses import dataclass
from urllib.parse import unquote

from relay.model.event import Capture, Extractor
from relay.model.payload import Payload
from relay.model.request_items import ItemPaths
from relay.providers.extractors import body, first_of, header, join
from relay.providers.key_extractors import each_item, only_with

# https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md, section 3.3.
_BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class CloudEventAttributeExtractor:
    """An attribute in binary mode: a header `ce-…`, its value percent-encoded (section 3.1.3.2 of the binding)."""

    name: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        value = header(f"ce-{self.name}")(capture, payload)
        return None if value is None else unquote(value)


@dataclass(frozen=True, slots=True)
class StructuredCloudEventExtractor:
    """What another extractor finds, in a body that is a CloudEvent itself: it says its `specversion`."""

    extractor: Extractor

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        return None if payload.json_at("specversion") is None else self.extractor(capture, payload)


@dataclass(frozen=True, slots=True)
class BatchedCloudEventExtractor:
    """What another extractor finds, in a batch of CloudEvents."""

    extractor: Extractor

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        return self.extractor(capture, payload) if capture.content_type == _BATCH_CONTENT_TYPE else None


cloudevent_type = first_of(
    CloudEventAttributeExtractor("type"),
    StructuredCloudEventExtractor(body("type")),
    BatchedCloudEventExtractor(body(0, "type")),
)
"""The type of a CloudEvent, of the first one in a batch."""

# An id is unique within its source alone. The source comes first: as a URI reference it holds no space.
cloudevent_key = first_of(
    join(" ", CloudEventAttributeExtractor("source"), CloudEventAttributeExtractor("id"), whole=True),
    StructuredCloudEventExtractor(join(" ", body("source"), body("id"), whole=True)),
    BatchedCloudEventExtractor(each_item((), ("source",), ("id",))),
)
"""The key of a CloudEvent, or of a whole batch of them: source and id."""


# What the senders of the catalogue call the type, the commonest first; a nested one counts before its object.
_TYPE_NAMES = (
    ("type",),
    ("event_type",),
    ("eventType",),
    ("event", "type"),
    ("event", "name"),
    ("event",),
    ("topic",),
    ("action",),
)

default_event_type = first_of(
    cloudevent_type,
    header("X-Event-Type"),
    header("X-Event-Name"),
    header("X-Webhook-Event"),
    header("X-Webhook-Topic"),
    *(body(*where, *name) for where in ((), (0,), ("events", 0)) for name in _TYPE_NAMES),
)
"""The event type of a source that has no provider."""

default_items = ItemPaths(((None,), ("events", None)), unless=tuple({str(name[0]) for name in _TYPE_NAMES}))
"""Where a request of a source without provider holds several events: CloudEvents and Event Grid send lists."""

default_idempotency_key = first_of(
    cloudevent_key,
    header("Idempotency-Key"),
    # With its companions alone it is the message's id (Standard Webhooks); elsewhere it may be the webhook's own.
    only_with(header("webhook-id"), header("webhook-timestamp")),
    only_with(header("svix-id"), header("svix-timestamp")),
)
"""The idempotency key of a source that has no provider: only what is meant as one."""
