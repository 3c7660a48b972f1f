"""What the bus carries: something was committed, go and look."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventStored:
    """An event was committed."""

    event_id: int


@dataclass(frozen=True, slots=True)
class EventChanged:
    """An event was pinned, annotated or deleted, or checked after the vault was opened."""

    event_id: int


@dataclass(frozen=True, slots=True)
class DeliveryChanged:
    """A delivery was made, claimed or settled."""

    delivery_id: int
    event_id: int
    state: str


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """A message was registered or moved on."""

    message_id: int
    event_id: int | None
    status: str


@dataclass(frozen=True, slots=True)
class TunnelChanged:
    """The tunnel came up, dropped, or changed its address."""

    state: str
    public_url: str | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request was turned away at the door and not stored."""

    source: str
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class VaultChanged:
    """The vault was opened, locked or written to, or what waited for it was checked."""

    state: str
    detail: str = ""


Signal = (
    EventStored | EventChanged | DeliveryChanged | MessageChanged | TunnelChanged | VaultChanged | Refused
)
