"""Catching up with a source as its page shows it: the form, how far it is, what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import ClassVar

from relay.catchup.base import Access
from relay.catchup.recovery import CatchUpProgress, CatchUpState, MissedEvent
from relay.dashboard.filters import Avatar, DisplayTime, format_count, format_moment
from relay.dashboard.layout import PageLayout
from relay.dashboard.sources.rules import SecretLine
from relay.dashboard.urls import build_events_url, encode_query
from relay.dashboard.widgets import FormOption
from relay.model.text import escape_unprintable

MAX_EVENTS_LISTED = 10  # events named one by one
PERIODS = (("2h", "2 hours"), ("24h", "A day"), ("3d", "3 days"), ("7d", "A week"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredEvent:
    """One event that was missed; `href` is "" while it is not stored."""

    type: str
    key: str
    sent: DisplayTime
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUpOutcome:
    """How far a catch-up is, or what came of it. `kind` is "", warn or err; `href` lists what was recovered."""

    running: bool
    kind: str
    words: str
    detail: str
    hint: str
    events: tuple[RecoveredEvent, ...]
    more: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodChoice:
    """One span of time to catch up with."""

    value: str
    name: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUpSection:
    """The section of a source's page; `problem` says why it cannot be caught up with, `line` what would help.

    `again` is where the section is asked for while a catch-up runs, the form as it is.
    """

    action: str
    back: str
    asks: str
    choices: tuple[PeriodChoice, ...]
    forward: bool = True
    again: str = ""
    problem: str = ""
    line: str = ""
    outcome: CatchUpOutcome | None = None


def build_unavailable_section(name: str, problem: str, line: str) -> CatchUpSection:
    """Return the section of a source that cannot be asked for yet."""
    return CatchUpSection(
        action="", back=_get_page_path(name), asks="", choices=(), problem=escape_unprintable(problem, 300), line=line
    )


def build_catch_up_section(
    name: str, access: Access, progress: CatchUpProgress | None, form: Mapping[str, str], problem: str = ""
) -> CatchUpSection:
    """Return the section of a source that can be caught up with; `problem` is why it was not begun.

    `form` is what was chosen, as posted; nothing chosen means what most people want.
    """
    since = form.get("since", "")
    chosen = since if since in dict(PERIODS) else "24h"
    forward = bool(form.get("forward")) or "since" not in form
    action = f"{_get_page_path(name)}/catch-up"
    return CatchUpSection(
        action=action,
        back=_get_page_path(name),
        asks=escape_unprintable(f"Asks {access.host} with {access.reference} for what it sent.", 200),
        choices=tuple(PeriodChoice(value=age, name=words, chosen=age == chosen) for age, words in PERIODS),
        forward=forward,
        again=f"{action}?{encode_query({'since': chosen, 'forward': '1' if forward else ''})}",
        problem=escape_unprintable(problem, 400),
        outcome=_build_outcome(name, progress) if progress else None,
    )


def _build_outcome(name: str, progress: CatchUpProgress, zone: tzinfo | None = None) -> CatchUpOutcome:
    error = progress.error
    words = progress.words
    if not progress.over:
        words = f"{progress.recovered} of {progress.missed} recovered" if progress.missed else f"Listing: {words}"
    stopped = {CatchUpState.FAILED: "Stopped", CatchUpState.CANCELLED: "Cancelled"}.get(progress.state)
    return CatchUpOutcome(
        running=not progress.over,
        kind="err" if error else "warn" if stopped else "",
        words=escape_unprintable(f"{stopped}: {words}" if stopped else words[:1].upper() + words[1:], 300),
        detail=escape_unprintable(error.message if error else progress.detail, 400),
        hint=escape_unprintable(error.hint, 300) if error else "",
        events=_build_recovered_events(progress.items, zone),
        more=format_count(len(progress.items) - MAX_EVENTS_LISTED, "more event")
        if len(progress.items) > MAX_EVENTS_LISTED
        else "",
        href=build_events_url(f"source:{name} is:recovered") if progress.recovered else "",
    )


def _build_recovered_events(items: Sequence[MissedEvent], zone: tzinfo | None) -> tuple[RecoveredEvent, ...]:
    return tuple(
        RecoveredEvent(
            type=escape_unprintable(item.type, 80) or "unknown",
            key=escape_unprintable(item.key, 80),
            sent=format_moment(item.sent_at, zone),
            href=f"/events/{item.id}" if item.id is not None else "",
        )
        for item in items[:MAX_EVENTS_LISTED]
    )


def _get_page_path(name: str) -> str:
    # Names of configured sources are letters, digits, dots, dashes and underscores.
    return f"/sources/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPage:
    """Something did not work: a sentence and what to do."""

    template: ClassVar[str] = "error.html"
    shell: PageLayout
    title: str
    sentence: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLine:
    """A source as configured; `state` with its class says how it stands, `turned_away` sums up `refused`."""

    name: str
    mark: Avatar
    path: str
    url: str
    state: str
    kind: str
    facts: tuple[tuple[str, str], ...]
    secrets: tuple[SecretLine, ...]
    steps: tuple[str, ...]
    refused: tuple[str, ...]
    catch_up: CatchUpSection | None
    turned_away: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesPage:
    """What may send; `unclaimed` tells of requests that were for no source."""

    template: ClassVar[str] = "pages/sources.html"
    shell: PageLayout
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
    shell: PageLayout
    lines: tuple[TargetLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPage:
    """A sample to send."""

    template: ClassVar[str] = "pages/trigger.html"
    shell: PageLayout
    sources: tuple[FormOption, ...]
    types: tuple[str, ...]
    source: str
    type: str
    body: str
    error: str
    signing: str
