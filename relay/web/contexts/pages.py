"""What the pages beside Events are given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.dialogs import Field
from relay.web.view.catch_up import CatchUp
from relay.web.view.marks import Mark
from relay.web.view.secrets import SecretLine
from relay.web.view.shell import Shell


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """Something did not work: a sentence and what to do."""

    template: ClassVar[str] = "pages/error.html"
    shell: Shell
    title: str
    sentence: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLine:
    """A source as configured; `state` with its class says how it stands, `turned_away` sums up `refused`."""

    name: str
    mark: Mark
    path: str
    url: str
    state: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    secrets: tuple[SecretLine, ...]
    steps: tuple[str, ...]
    refused: tuple[str, ...]
    catch_up: CatchUp | None
    turned_away: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesPage:
    """What may send; `unclaimed` tells of requests that were for no source."""

    template: ClassVar[str] = "pages/sources.html"
    shell: Shell
    origin: str
    lines: tuple[SourceLine, ...]
    chosen: SourceLine | None
    detail_shown: bool
    unclaimed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLine:
    """A target as configured, and how it does; `rehearse` leads to what it would have mailed."""

    name: str
    action: str
    leads: str
    facts: tuple[tuple[str, str], ...]
    routes: tuple[str, ...]
    waiting: str
    down: str
    rehearse: str = ""


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
    signing: str
