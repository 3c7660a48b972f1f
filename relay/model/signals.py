"""What the bus carries: something was committed, go and look."""

from dataclasses import dataclass
from datetime import datetime


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
class TargetChanged:
    """A target went down, came back, or said that it is gone."""

    target: str


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A request was refused and not stored; `remote` is who called, "" where that is unknown."""

    source: str
    status: int
    detail: str
    remote: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LabChanged:
    """A run of the lab began, went on or ended."""

    run_id: int
    state: str


@dataclass(frozen=True, slots=True)
class HandlersChanged:
    """The handlers file of a target broke, as `detail` says, or can be run again ("")."""

    target: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VaultChanged:
    """The vault was opened, locked or written to, or what waited for it was checked."""

    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StoreChanged:
    """The store can keep nothing, as `detail` says, or keeps events again ("")."""

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
