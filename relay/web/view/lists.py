"""The event list around its rows: days, count, search with its tokens, saved views, and the foot that pages on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from urllib.parse import quote, urlencode

from markupsafe import escape

from relay.model.search import KEYS, Query
from relay.model.text import printable
from relay.web.view.rows import Row
from relay.web.view.words import Day, day, moment, plural

PAGE = 50
MOST = 300  # rows in one page; measured: `J` held down still paints within 100 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class ListLine:
    """A row, and the day that begins with it where one does; `first` is the list's one tab stop."""

    row: Row
    day: Day | None = None
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Foot:
    """The end of the list: more to come, enough shown, or nothing further."""

    words: str
    href: str = ""
    next: str = ""
    full: bool = False
    shown: int = 0
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The list: `suffix` is what every row's link carries on; `full` is its foot once it holds enough."""

    query: str
    suffix: str
    rows: tuple[ListLine, ...]
    full: Foot
    day: Day | None = None
    count: str = ""
    selected: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One filter of the search box and the address without it."""

    text: str
    problem: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One value a filter may have."""

    name: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One key of the search language with the values that are known."""

    key: str
    help: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search box: filters as tokens, the rest as text."""

    tokens: tuple[Token, ...]
    text: str
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """A link to a search people often need."""

    name: str
    href: str
    count: str
    current: bool


def escaped(text: str) -> str:
    """Return plain text as HTML."""
    return str(escape(text))


def encoded(fields: Mapping[str, str]) -> str:
    """Return fields as the query of an address."""
    return urlencode(fields, quote_via=quote)


def quoted(text: str) -> str:
    """Return text as one part of a path."""
    return quote(text, safe="")


def as_json(value: object) -> str:
    """Return a value as JSON in ASCII, fit for a header."""
    return json.dumps(value)


def suffix(query: str) -> str:
    """Return what a link carries on so that the list keeps its filter: `?q=…`, or nothing."""
    return f"?{urlencode({'q': query}, quote_via=quote)}" if query else ""


def href(query: str, **more: object) -> str:
    """Return the address of the list for a search."""
    fields = {"q": query, **more} if query else more
    return f"/events?{urlencode(fields, quote_via=quote)}" if fields else "/events"


def lines(
    rows: Sequence[Row],
    times: Sequence[datetime],
    now: datetime,
    *,
    after: datetime | None = None,
    selected: int | None = None,
    zone: tzinfo | None = None,
) -> tuple[ListLine, ...]:
    """Return the rows with a heading wherever a day begins; `after` is when the row above them came."""
    made: list[ListLine] = []
    above = day(after, now, zone) if after else None
    current = (
        selected if any(row.id == selected for row in rows) else rows[0].id if rows and not after else None
    )
    for row, time in zip(rows, times, strict=True):
        today = day(time, now, zone)
        heading = today if above is not None and today != above else None
        made.append(ListLine(row=row, day=heading, first=row.id == current))
        above = today
    return tuple(made)


def select(listed: Listed, selected: int) -> Listed:
    """Return the list with another row as the one shown."""
    rows = tuple(replace(line, first=line.row.id == selected) for line in listed.rows)
    return replace(listed, rows=rows, selected=selected)


def count(query: Query, total: int, limit: int, took: float | None, searched_to: datetime | None) -> str:
    """Return the count line: `1,284 events`, `312 match, 6 ms`, `Searched back to 3 Nov`."""
    if not query.text.strip():
        return plural(total, "event")
    number = f"{limit:,} or more" if total >= limit else f"{total:,}"
    words = f"{number} {'matches' if total == 1 else 'match'}"
    if took is not None:
        words = f"{words}, {max(1, round(took * 1000))} ms"
    if searched_to is not None:
        words = f"Searched back to {moment(searched_to).full[:-4]}"
    return words


def foot(
    query: str, shown: int, next_before: int | None, after: datetime | None, searched_to: datetime | None
) -> Foot:
    """Return the end of a list of which `shown` rows are in the page; `after` is when its last row came."""
    if next_before is None:
        return Foot(words="That is all" if shown else "")
    older = href(query, before=next_before)
    if shown >= MOST:
        return full_foot(query, next_before)
    fields: dict[str, object] = {"q": query, "before": next_before, "shown": shown}
    if after is not None:
        fields["last"] = int(after.timestamp())
    words = "Older events load as you scroll" if searched_to is None else "Keep searching"
    return Foot(words=words, href=older, next=f"/events/rows?{urlencode(fields, quote_via=quote)}")


def deliveries(state: str, **more: object) -> str:
    """Return the address of the deliveries in a state, "" for all."""
    fields = {name: value for name, value in {"state": state, **more}.items() if value}
    return f"/deliveries?{urlencode(fields, quote_via=quote)}" if fields else "/deliveries"


def full_foot(query: str, next_before: int) -> Foot:
    """Return the end of a list that holds as many rows as a page may."""
    return Foot(words="", full=True, shown=MOST, query=query, href=href(query, before=next_before))


def search(query: Query, sources: Sequence[str]) -> Search:
    """Return the search box for a query: its filters as tokens, its words as text."""
    terms = query.terms
    tokens = query.filters
    words = query.words
    texts = [term.text for term in terms]
    return Search(
        tokens=tuple(
            Token(
                text=printable(term.text, 200),
                problem=term.problem,
                without=href(" ".join(text for text in texts if text != term.text)),
            )
            for term in tokens
        ),
        text=printable(" ".join(term.text for term in words), 1000),
        groups=_groups(query.text, sources),
    )


def views(query: str, counts: dict[str, int]) -> tuple[SavedView, ...]:
    """Return the saved views with how many events each holds now."""
    here = " ".join(query.split())
    return tuple(
        SavedView(name=name, href=href(text), count=f"{counts[name]:,}", current=here == text)
        for name, text in VIEWS.items()
    )


VIEWS = {"All": "", "Failing": "has:failed", "Rejected": "outcome:rejected", "Queued": "has:pending"}

_KNOWN = {
    "verdict": ("verified", "invalid", "unsigned", "unchecked"),
    "outcome": ("accepted", "duplicate", "ignored", "rejected"),
    "has": ("failed", "pending", "succeeded", "note", "message"),
    "is": ("duplicate", "replay", "sample", "pinned", "recovered"),
    "status": ("2xx", "4xx", "5xx"),
    "after": ("15m", "1h", "24h", "7d"),
}


def _groups(query: str, sources: Sequence[str]) -> tuple[Group, ...]:
    known = {"source": tuple(sources), **_KNOWN}
    return tuple(
        Group(
            key=key,
            help=KEYS[key],
            choices=tuple(
                Choice(name=value, href=href(f"{query} {key}:{value}".strip()))
                for value in known.get(key, ())
            ),
        )
        for key in KEYS
        if key in known or key in ("type", "method")
    )
