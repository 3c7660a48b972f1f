"""What the Events page and its parts are given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.view.deliveries import Line
from relay.web.view.headers import Envelope
from relay.web.view.hops import Hops
from relay.web.view.lists import Foot, Listed, SavedView, Search
from relay.web.view.marks import Mark
from relay.web.view.rows import Chip
from relay.web.view.shell import Shell
from relay.web.view.text import Window
from relay.web.view.tree import Node
from relay.web.view.verification import Judged
from relay.web.view.words import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link among others; `key` is what a script calls it, `sign` ok, err or warn."""

    name: str
    href: str
    current: bool = False
    key: str = ""
    count: str = ""
    sign: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search in a payload came to: the hit stood on (from 0) of `total`, `words` saying the latter."""

    text: str = ""
    at: int = 0
    total: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadTab:
    """A body. `kind` is tree, form, raw, hex, image or empty; `base` the event's address; `mark` the piece stood on."""

    template: ClassVar[str] = "parts/payload.html"
    base: str
    kind: str
    views: tuple[Link, ...]
    size: int
    bytes: str
    content_type: str
    step: str = ""
    problem: str = ""
    find: Found = Found()
    nodes: tuple[Node, ...] = ()
    back: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    window: Window | None = None
    mark: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadersTab:
    """The request without its body."""

    template: ClassVar[str] = "parts/headers.html"
    base: str
    envelope: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationTab:
    """Why the event was believed or not; `locked`: it waits for the vault, which can be opened from here."""

    template: ClassVar[str] = "parts/verification.html"
    base: str
    judged: Judged
    refused: bool
    locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLine:
    """One route in words."""

    name: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingTab:
    """Which route leads where, and why."""

    template: ClassVar[str] = "parts/routing.html"
    routes: tuple[RouteLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLine:
    """One outgoing message as lists show it; `when` is the time of day, or the day where that is another."""

    id: int
    channel: str
    subject: str
    to: str
    chip: Chip
    detail: str
    time: Moment
    when: str
    event_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesTab:
    """What was sent for the event."""

    template: ClassVar[str] = "parts/deliveries.html"
    lines: tuple[Line, ...]
    messages: tuple[MessageLine, ...]


Tab = PayloadTab | HeadersTab | VerificationTab | RoutingTab | DeliveriesTab


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHead:
    """The title of an event; `sent` is when its provider sent one that was recovered afterwards."""

    id: int
    type: str
    mark: Mark
    time: Moment
    size: str
    pinned: bool
    note: str
    sent: Moment | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """The right-hand side: one event with one of its tabs."""

    template: ClassVar[str] = "parts/detail.html"
    event: EventHead
    hops: Hops
    tabs: tuple[Link, ...]
    tab: Tab
    suffix: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsPage:
    """List and detail. `detail_shown` puts the detail first on a phone; `gone` stands where there is none."""

    template: ClassVar[str] = "pages/events.html"
    shell: Shell
    views: tuple[SavedView, ...]
    search: Search
    list: Listed
    foot: Foot
    detail_shown: bool
    detail: Detail | None
    suffix: str
    gone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPick:
    """A provider to connect: where to paste what."""

    name: str
    mark: Mark
    current: bool
    url: str
    variable: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPage:
    """Nothing has arrived yet. `curl` is one command that changes that."""

    template: ClassVar[str] = "pages/first.html"
    shell: Shell
    reachable: bool
    curl: str
    picks: tuple[ProviderPick, ...]
    pick: ProviderPick
    targets: tuple[str, ...]
    sample: str
