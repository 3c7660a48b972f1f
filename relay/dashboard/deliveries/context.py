"""What the page of deliveries is given: its views and filters, and a row for each delivery."""

from dataclasses import dataclass
from typing import ClassVar

from relay.dashboard.delivery_rows import DeliveryLine
from relay.dashboard.filters import Avatar, DisplayTime
from relay.dashboard.layout import PageLayout
from relay.dashboard.widgets import NavLink


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One delivery with its event; `href` opens it, or closes it where it is `open`.

    `tags` are replay and sample, `shield` is err for an event that failed verification.
    """

    template: ClassVar[str] = "parts/drow.html"
    mark: Avatar
    type: str
    summary: str
    received: DisplayTime
    line: DeliveryLine
    href: str
    open: bool
    tags: tuple[str, ...] = ()
    shield: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesPage:
    """The queue. `narrowed` are the filters with the address without each, `stream` what keeps the page current."""

    template: ClassVar[str] = "pages/deliveries.html"
    shell: PageLayout
    views: tuple[NavLink, ...]
    narrowed: tuple[NavLink, ...]
    targets: tuple[NavLink, ...]
    rows: tuple[DeliveryRow, ...]
    note: str
    failed: str
    fields: tuple[tuple[str, str], ...]
    stream: str
    older: str
    empty: str
