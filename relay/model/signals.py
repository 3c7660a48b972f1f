"""Signals of the bus: notifications of committed changes, with the changed value if it is known."""

from collections.abc import Callable
from dataclasses import field
from datetime import datetime

from relay.model.delivery import Delivery
from relay.model.event import EventRow
from relay.model.values import dataclass


@dataclass(frozen=True, slots=True)
class EventStored:
    """An event was committed, with the `deliveries` that are due; `wakes` where an older delivery became due with it.

    `build_row` returns the stored event; None if it has to be read from the store.
    """

    event_id: int
    deliveries: tuple[int, ...] = field(default=(), compare=False)
    wakes: bool = field(default=False, compare=False)
    build_row: Callable[[], EventRow] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class EventChanged:
    """An event was pinned, annotated or deleted, or checked after the vault was opened."""

    event_id: int


@dataclass(frozen=True, slots=True)
class DeliveryChanged:
    """A delivery was created, claimed or settled; `delivery` is its state, None if it has to be read from the store.

    `target` is that of a new event's delivery: while it is down, nothing is claimed for it. Else "".
    """

    delivery_id: int
    event_id: int
    state: str
    delivery: Delivery | None = field(default=None, compare=False, repr=False)
    target: str = field(default="", compare=False)

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryChanged":
        """Return the signal for a delivery in its current state."""
        return cls(delivery.id, delivery.event_id, delivery.state.value, delivery)


@dataclass(frozen=True, slots=True)
class MessageChanged:
    """A message was registered or its status changed."""

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
class TargetChanged:
    """A target went down, came back, or answered that it is gone."""

    target: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request was refused and not stored; `remote` is the caller's address, "" if unknown."""

    source: str
    status: int
    detail: str
    remote: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LabChanged:
    """A run of the lab started, progressed or ended."""

    run_id: int
    state: str


@dataclass(frozen=True, slots=True)
class HandlersChanged:
    """The handlers file of a target broke, as `detail` says, or can be run again ("")."""

    target: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VaultChanged:
    """The vault was opened, locked or written to, or events that waited for it were checked."""

    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoreChanged:
    """The store fails, for the reason in `detail`, or works again ("")."""

    detail: str = ""


Signal = (
    EventStored
    | EventChanged
    | DeliveryChanged
    | MessageChanged
    | TunnelChanged
    | TargetChanged
    | RequestRefused
    | LabChanged
    | VaultChanged
    | HandlersChanged
    | StoreChanged
)
