"""The event passed to handlers: frozen, with a parsed payload and case-insensitive headers."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from relay.model import event as model
from relay.model.event import Capture, Verdict
from relay.model.payload import Payload
from relay.model.request_items import RequestItems
from relay.model.text import decode_header_text
from relay.model.values import dataclass

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Headers(Mapping[str, str]):
    """The headers of a request: looked up ignoring case, listed in the order and case received.

    A repeated header reads as its values joined by commas; `all` returns each.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> None:
        self._pairs = tuple(pairs.items()) if isinstance(pairs, Mapping) else tuple(pairs)

    def all(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, in the order received."""
        lower = name.lower()
        return tuple(value for key, value in self._pairs if key.lower() == lower)

    def __getitem__(self, name: str) -> str:
        found = self.all(name)
        if not found:
            raise KeyError(name)
        return ", ".join(found)

    def __iter__(self) -> Iterator[str]:
        first: dict[str, str] = {}
        for name, _ in self._pairs:
            first.setdefault(name.lower(), name)
        return iter(first.values())

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self._pairs})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.all(name))

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Event:
    """One event, as `@on` and `@use` get it. Made by hand it needs a source and a type, for tests.

    `payload` is the body as JSON, a form's fields by name, or the query parameters if there is no
    body; None if it is none of them. It belongs to this run only. `raw` are the body's exact bytes.
    `timestamp` is when relay received it, in UTC. `verdict` compares equal to "verified", "invalid",
    "unsigned" or "unchecked". `id` is the number that relay shows, 0 outside relay. `items` are the events
    of a request that contains several, such as SendGrid's, as in its JSON, else only the payload;
    `type` is then that of the first, and `types` are all types, each once.
    """

    source: str
    type: str
    payload: Any = None
    headers: Headers = field(default_factory=Headers)
    raw: bytes = b""
    timestamp: datetime = _LONG_AGO
    verdict: Verdict = Verdict.UNCHECKED
    id: int = 0
    provider: str = ""
    idempotency_key: str | None = None
    method: str = "POST"
    path: str = ""
    query: str = ""
    types: tuple[str, ...] = ()
    items: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        """Set the items of an event without items to itself."""
        if not self.types:
            object.__setattr__(self, "types", (self.type,))
        if not self.items and self.payload is not None:
            object.__setattr__(self, "items", (self.payload,))

    def __repr__(self) -> str:
        return f"<Event {self.id} {self.type} from {self.source}, {self.verdict}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMetadata:
    """Metadata of a request besides its bytes."""

    type: str
    verdict: Verdict
    id: int = 0
    provider: str = ""
    idempotency_key: str | None = None
    batch: RequestItems | None = None


def event_metadata(event: model.CapturedEvent) -> EventMetadata:
    """Return the metadata of a stored event."""
    return EventMetadata(
        type=event.type,
        verdict=event.verification.verdict,
        id=event.id,
        provider=event.row.provider,
        idempotency_key=event.row.idempotency_key,
        batch=event.batch,
    )


def build_event(capture: Capture, metadata: EventMetadata, payload: Payload | None = None) -> Event:
    """Return the event for a handler; its payload is parsed here, unless it was parsed for this handler."""
    payload = payload or capture.read_payload()
    split = metadata.batch.split(payload) if metadata.batch else None
    headers = tuple((decode_header_text(name), decode_header_text(value)) for name, value in capture.headers)
    return Event(
        source=capture.source,
        type=metadata.type,
        payload=payload.value,
        headers=Headers(headers),
        raw=capture.body,
        timestamp=capture.received_at,
        verdict=metadata.verdict,
        id=metadata.id,
        provider=metadata.provider,
        idempotency_key=metadata.idempotency_key,
        method=capture.method,
        path=decode_header_text(capture.path),
        query=decode_header_text(capture.query),
        types=metadata.batch.types if metadata.batch else (),
        items=split.values if split else (),
    )
