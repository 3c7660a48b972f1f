"""What the page of deliveries is given: its views and filters, and a row for each delivery."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.events import Link
from relay.web.view.deliveries import Line
from relay.web.view.marks import Mark
from relay.web.view.shell import Shell
from relay.web.view.words import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One delivery with its event; `href` opens it, or closes it where it is `open`.

    `tags` are replay and sample, `shield` is err for an event that failed verification.
    """

    template: ClassVar[str] = "parts/drow.html"
    mark: Mark
    type: str
    summary: str
    received: Moment
    line: Line
    href: str
    open: bool
    tags: tuple[str, ...] = ()
    shield: str = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesPage:
    """The queue. `narrowed` are the filters with the address without each, `stream` what keeps the page current."""

    template: ClassVar[str] = "pages/deliveries.html"
    shell: Shell
    views: tuple[Link, ...]
    narrowed: tuple[Link, ...]
    targets: tuple[Link, ...]
    rows: tuple[DeliveryRow, ...]
    note: str
    failed: str
    fields: tuple[tuple[str, str], ...]
    stream: str
    older: str
    empty: str
