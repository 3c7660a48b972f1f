"""What the Metrics page is given."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.events import Link
from relay.web.view.charts import Plot
from relay.web.view.marks import Mark
from relay.web.view.shell import Shell
from relay.web.view.words import Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Kpi:
    """One number with its unit, a word beside it and its little line; `dot` is the class of a dot, "" for none."""

    label: str
    value: str
    unit: str
    note: str
    path: str
    dot: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceBar:
    """A source: its share of the busiest one's events as 0 to 100."""

    name: str
    mark: Mark
    share: str
    events: str
    verified: str
    bad: bool
    p95: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetBar:
    """A target: its share of attempts that succeeded as 0 to 100."""

    name: str
    address: str
    dot: str
    share: str
    success: str
    kind: str
    p95: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowLine:
    """One of the slowest deliveries."""

    mark: Mark
    type: str
    href: str
    target: str
    result: str
    bad: bool
    took: str
    at: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonBar:
    """Why requests were refused or did not verify, with its share of the most frequent reason as 0 to 100."""

    sentence: str
    href: str
    share: str
    count: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One step of the window, for the table behind the charts."""

    at: Moment
    events: str
    rejected: str
    failed: str
    p50: str
    p95: str
    p99: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsPage:
    """The window in numbers and charts. `step` names what one bar is: minute, 15 minutes, 2 hours."""

    template: ClassVar[str] = "pages/stats.html"
    shell: Shell
    window: str
    windows: tuple[Link, ...]
    step: str
    kpis: tuple[Kpi, ...]
    volume: Plot
    latency: Plot
    sources: tuple[SourceBar, ...]
    targets: tuple[TargetBar, ...]
    slow: tuple[SlowLine, ...]
    reasons: tuple[ReasonBar, ...]
    numbers: tuple[Number, ...]
