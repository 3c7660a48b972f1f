"""Catching up with a source as its page shows it: the form, how far it is, what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from relay.catchup.listing import Access
from relay.catchup.progress import CatchUpState, Item, Progress
from relay.model.text import printable
from relay.web.view.lists import encoded, href
from relay.web.view.words import Moment, moment, plural

SHOWN = 10  # events named one by one
AGES = (("2h", "2 hours"), ("24h", "A day"), ("3d", "3 days"), ("7d", "A week"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """One event that was missed; `href` is "" while it is not stored."""

    type: str
    key: str
    sent: Moment
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How far a catch-up is, or what came of it. `kind` is "", warn or err; `href` lists what was recovered."""

    running: bool
    kind: str
    words: str
    detail: str
    hint: str
    events: tuple[Recovered, ...]
    more: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One span of time to catch up with."""

    value: str
    name: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """The section of a source's page; `problem` says why it cannot be caught up with, `line` what would help.

    `again` is where the section is asked for while a catch-up runs, the form as it is.
    """

    action: str
    back: str
    asks: str
    choices: tuple[Choice, ...]
    forward: bool = True
    again: str = ""
    problem: str = ""
    line: str = ""
    outcome: Outcome | None = None


def impossible(name: str, problem: str, line: str) -> CatchUp:
    """Return the section of a source that cannot be asked for yet."""
    return CatchUp(
        action="", back=_page(name), asks="", choices=(), problem=printable(problem, 300), line=line
    )


def possible(
    name: str, access: Access, progress: Progress | None, form: Mapping[str, str], problem: str = ""
) -> CatchUp:
    """Return the section of a source that can be caught up with; `problem` is why it was not begun.

    `form` is what was chosen, as posted; nothing chosen means what most people want.
    """
    since = form.get("since", "")
    chosen = since if since in dict(AGES) else "24h"
    forward = bool(form.get("forward")) or "since" not in form
    action = f"{_page(name)}/catch-up"
    return CatchUp(
        action=action,
        back=_page(name),
        asks=printable(f"Asks {access.host} with {access.reference} for what it sent.", 200),
        choices=tuple(Choice(value=age, name=words, chosen=age == chosen) for age, words in AGES),
        forward=forward,
        again=f"{action}?{encoded({'since': chosen, 'forward': '1' if forward else ''})}",
        problem=printable(problem, 400),
        outcome=_outcome(name, progress) if progress else None,
    )


def _outcome(name: str, progress: Progress, zone: tzinfo | None = None) -> Outcome:
    error = progress.error
    words = progress.words
    if not progress.over:
        words = (
            f"{progress.recovered} of {progress.missed} recovered" if progress.missed else f"Listing: {words}"
        )
    stopped = {CatchUpState.FAILED: "Stopped", CatchUpState.CANCELLED: "Cancelled"}.get(progress.state)
    return Outcome(
        running=not progress.over,
        kind="err" if error else "warn" if stopped else "",
        words=printable(f"{stopped}: {words}" if stopped else words[:1].upper() + words[1:], 300),
        detail=printable(error.sentence if error else progress.detail, 400),
        hint=printable(error.hint, 300) if error else "",
        events=_recovered(progress.items, zone),
        more=plural(len(progress.items) - SHOWN, "more event") if len(progress.items) > SHOWN else "",
        href=href(f"source:{name} is:recovered") if progress.recovered else "",
    )


def _recovered(items: Sequence[Item], zone: tzinfo | None) -> tuple[Recovered, ...]:
    return tuple(
        Recovered(
            type=printable(item.type, 80) or "unknown",
            key=printable(item.key, 80),
            sent=moment(item.sent_at, zone),
            href=f"/events/{item.id}" if item.id is not None else "",
        )
        for item in items[:SHOWN]
    )


def _page(name: str) -> str:
    # Names of configured sources are letters, digits, dots, dashes and underscores.
    return f"/sources/{name}"
