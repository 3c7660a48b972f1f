"""What the Events page and its parts are given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.dashboard.body_text import BodyWindow, TextPiece
from relay.dashboard.delivery_rows import DeliveryLine
from relay.dashboard.event_rows import EventListRow
from relay.dashboard.events.body_tree import TreeNode
from relay.dashboard.events.detail import PipelineBar, RequestDetails
from relay.dashboard.events.list_view import EventList, ListFooter, SavedView, SearchBox
from relay.dashboard.events.verification import VerificationPanel
from relay.dashboard.filters import Avatar
from relay.dashboard.layout import PageLayout
from relay.dashboard.widgets import EventHeader, MessageLine, NavLink


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSearch:
    """What a search in a payload came to: the hit stood on (from 0) of `total`, `words` saying the latter."""

    text: str = ""
    at: int = 0
    total: int = 0
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadTab:
    """A body. `kind` is tree, form, raw, hex, image or empty; `base` the event's address; `mark` the piece stood on."""

    template: ClassVar[str] = "events/payload.html"
    base: str
    kind: str
    views: tuple[NavLink, ...]
    size: int
    bytes: str
    content_type: str
    step: str = ""
    problem: str = ""
    find: PayloadSearch = PayloadSearch()
    nodes: tuple[TreeNode, ...] = ()
    back: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    window: BodyWindow | None = None
    mark: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadersTab:
    """The request without its body."""

    template: ClassVar[str] = "events/headers.html"
    base: str
    envelope: RequestDetails


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationTab:
    """Why the event was believed or not; `locked`: it waits for the vault, which can be opened from here."""

    template: ClassVar[str] = "events/verification.html"
    base: str
    judged: VerificationPanel
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

    template: ClassVar[str] = "events/routing.html"
    routes: tuple[RouteLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesTab:
    """What was sent for the event."""

    template: ClassVar[str] = "events/deliveries.html"
    lines: tuple[DeliveryLine, ...]
    messages: tuple[MessageLine, ...]


EventTab = PayloadTab | HeadersTab | VerificationTab | RoutingTab | DeliveriesTab


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDetail:
    """The right-hand side: one event with one of its tabs."""

    template: ClassVar[str] = "events/detail.html"
    event: EventHeader
    hops: PipelineBar
    tabs: tuple[NavLink, ...]
    tab: EventTab
    suffix: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsPage:
    """List and detail. `detail_shown` puts the detail first on a phone; `gone` stands where there is none."""

    template: ClassVar[str] = "events/page.html"
    shell: PageLayout
    views: tuple[SavedView, ...]
    search: SearchBox
    list: EventList
    foot: ListFooter
    detail_shown: bool
    detail: EventDetail | None
    suffix: str
    gone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderChoice:
    """A provider to connect: where to paste what."""

    name: str
    mark: Avatar
    current: bool
    url: str
    variable: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingPage:
    """Nothing has arrived yet. `curl` is one command that changes that."""

    template: ClassVar[str] = "events/onboarding.html"
    shell: PageLayout
    reachable: bool
    curl: str
    picks: tuple[ProviderChoice, ...]
    pick: ProviderChoice
    targets: tuple[str, ...]
    sample: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePair:
    """One place on both sides; no pieces where there is nothing."""

    path: str
    left: tuple[TextPiece, ...]
    right: tuple[TextPiece, ...]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareGroup:
    """Places that belong together."""

    title: str
    pairs: tuple[ComparePair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage:
    """Two events. `views` switch between the differences and everything; `reveal` shows hidden headers."""

    template: ClassVar[str] = "events/compare.html"
    shell: PageLayout
    sides: tuple[EventListRow, EventListRow]
    count: str
    groups: tuple[CompareGroup, ...]
    views: tuple[NavLink, ...]
    swap: str
    reveal: str
    cut: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareForm:
    """One event, and the latest of its kind to choose the other from."""

    template: ClassVar[str] = "events/compare_form.html"
    event: EventHeader
    back: str
    back_name: str
    rows: tuple[tuple[str, EventListRow], ...]
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinderHit:
    """One thing that was found. `keys` open it without looking, `dialog` says that it opens over the page."""

    name: str
    href: str
    kind: str
    icon: str
    keys: tuple[str, ...] = ()
    dialog: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FinderForm:
    """The box and what it found so far; `event` is the one that was open."""

    template: ClassVar[str] = "finder.html"
    text: str
    event: str
    hits: tuple[FinderHit, ...]
    back: str = "/events"
    back_name: str = "Events"
