"""What each template is given: one frozen type a page or part, the template's name beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from relay.web.view.deliveries import Line
from relay.web.view.edits import Difference
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
    """Why the event was believed or not."""

    template: ClassVar[str] = "parts/verification.html"
    base: str
    judged: Judged
    refused: bool


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
    """One outgoing message as lists show it."""

    id: int
    channel: str
    subject: str
    to: str
    chip: Chip
    detail: str
    time: Moment
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
    """The title of an event."""

    id: int
    type: str
    mark: Mark
    time: Moment
    size: str
    pinned: bool
    note: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """Something did not work: a sentence and what to do."""

    template: ClassVar[str] = "pages/error.html"
    shell: Shell
    title: str
    sentence: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One choice of a form."""

    value: str
    name: str
    help: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a delivery that somebody waits for. `page` is the delivery's own."""

    template: ClassVar[str] = "parts/sent.html"
    chip: Chip
    target: str
    took: str
    body: str
    detail: str
    href: str
    again: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayForm:
    """A replay as edited so far; `changes` says what differs and `warning` what will go wrong."""

    template: ClassVar[str] = "parts/replay.html"
    event: EventHead
    action: str
    back: str
    targets: tuple[Field, ...]
    url: str
    method: str
    path: str
    headers: str
    body: str
    editable: bool
    header_count: int
    signs: tuple[Field, ...]
    changes: "Changed"
    results: tuple[Sent, ...] = ()
    errors: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """All of them, in words."""

    template: ClassVar[str] = "parts/changed.html"
    words: str
    changes: tuple[Difference, ...]
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailForm:
    """An e-mail from an event; `preview` is the address of its sandboxed preview."""

    template: ClassVar[str] = "parts/email.html"
    event: EventHead
    action: str
    back: str
    templates: tuple[Field, ...]
    to: str
    preview: "Preview | None"
    note: str
    results: tuple[Sent, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A mail as it would be sent; its HTML is shown by a frame of its own."""

    template: ClassVar[str] = "parts/preview.html"
    to: str
    subject: str
    text: str
    frame: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogPage:
    """A dialog as a page of its own, for whoever has no JavaScript."""

    template: ClassVar[str] = "pages/dialog.html"
    shell: Shell
    title: str
    form: ReplayForm | EmailForm


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One line of the deliveries page: the event and the delivery."""

    mark: Mark
    type: str
    summary: str
    received: Moment
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveriesPage:
    """The queue."""

    template: ClassVar[str] = "pages/deliveries.html"
    shell: Shell
    views: tuple[Link, ...]
    rows: tuple[DeliveryRow, ...]
    open: int | None
    older: str
    empty: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagesPage:
    """Outgoing mail and SMS, and one of them in full."""

    template: ClassVar[str] = "pages/messages.html"
    shell: Shell
    lines: tuple[MessageLine, ...]
    chosen: MessageLine | None
    detail_shown: bool
    previewable: bool
    older: str
    smtp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLine:
    """A source as configured; `state` with its class says how it stands."""

    name: str
    mark: Mark
    path: str
    url: str
    state: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    missing: tuple[str, ...]
    steps: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesPage:
    """What may send."""

    template: ClassVar[str] = "pages/sources.html"
    shell: Shell
    origin: str
    lines: tuple[SourceLine, ...]
    chosen: SourceLine | None
    detail_shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLine:
    """A target as configured, and how it does."""

    name: str
    action: str
    leads: str
    facts: tuple[tuple[str, str], ...]
    routes: tuple[str, ...]
    waiting: str
    down: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsPage:
    """Where events go."""

    template: ClassVar[str] = "pages/targets.html"
    shell: Shell
    lines: tuple[TargetLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPage:
    """A sample to send."""

    template: ClassVar[str] = "pages/trigger.html"
    shell: Shell
    sources: tuple[Field, ...]
    types: tuple[str, ...]
    source: str
    type: str
    body: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FramePage:
    """A page that is not there yet: what it will show, and what to use until then."""

    template: ClassVar[str] = "pages/frame.html"
    shell: Shell
    icon_name: str
    sentence: str
    instead: tuple[tuple[str, str], ...]


Page = (
    EventsPage
    | FirstPage
    | ErrorPage
    | DialogPage
    | DeliveriesPage
    | MessagesPage
    | SourcesPage
    | TargetsPage
    | TriggerPage
    | FramePage
)
