"""CloudEvents (v1.0, HTTP protocol binding) in each of its modes: what an event is called and what it is known by."""

from dataclasses import dataclass
from urllib.parse import unquote

from relay.model.event import Capture, Pick
from relay.model.payload import Payload
from relay.providers.lists import each
from relay.providers.picks import body, first, header, joined

_BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True, slots=True)
class AttributePick:
    """An attribute in binary mode: a header `ce-…`, its value percent-encoded (section 3.1.3.2 of the binding)."""

    name: str

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the value as text."""
        value = header(f"ce-{self.name}")(capture, payload)
        return None if value is None else unquote(value)


@dataclass(frozen=True, slots=True)
class StructuredPick:
    """What another pick finds, in a body that is a CloudEvent itself: it says its `specversion`."""

    pick: Pick

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the text, or None for any other body."""
        return None if payload.json_at("specversion") is None else self.pick(capture, payload)


@dataclass(frozen=True, slots=True)
class BatchedPick:
    """What another pick finds, in a batch of CloudEvents."""

    pick: Pick

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the text, or None for a request of another kind."""
        return self.pick(capture, payload) if capture.content_type == _BATCH else None


event_type = first(AttributePick("type"), StructuredPick(body("type")), BatchedPick(body(0, "type")))
"""The type of a CloudEvent, of the first one in a batch."""

# An id is unique within its source alone. The source comes first: as a URI reference it holds no space.
event_key = first(
    joined(" ", AttributePick("source"), AttributePick("id"), whole=True),
    StructuredPick(joined(" ", body("source"), body("id"), whole=True)),
    BatchedPick(each((), ("source",), ("id",))),
)
"""What a CloudEvent, or a whole batch of them, is known by: source and id."""
