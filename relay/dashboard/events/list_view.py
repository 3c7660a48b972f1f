"""The event list around its rows: days, count, search with its tokens, saved views, and the foot that pages on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from urllib.parse import quote, urlencode

from relay.dashboard.event_rows import EventListRow
from relay.dashboard.filters import DayHeading, format_count, format_day, format_moment
from relay.dashboard.urls import build_events_url
from relay.model.search import KEYS, Query
from relay.model.text import escape_unprintable

PAGE_SIZE = 50
MAX_ROWS = 300  # rows in one page; measured: `J` held down still paints within 100 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class EventListLine:
    """A row, and the day that begins with it where one does; `first` is the list's one tab stop."""

    row: EventListRow
    day: DayHeading | None = None
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFooter:
    """The end of the list: more to come, enough shown, or nothing further."""

    words: str
    href: str = ""
    next: str = ""
    full: bool = False
    shown: int = 0
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventList:
    """The list: `suffix` is what every row's link carries on; `full` is its foot once it holds enough."""

    query: str
    suffix: str
    rows: tuple[EventListLine, ...]
    full: ListFooter
    day: DayHeading | None = None
    count: str = ""
    selected: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchToken:
    """One filter of the search box and the address without it."""

    text: str
    problem: str
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChoice:
    """One value a filter may have."""

    name: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterGroup:
    """One key of the search language with the values that are known."""

    key: str
    help: str
    choices: tuple[FilterChoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBox:
    """The search box: filters as tokens, the rest as text."""

    tokens: tuple[SearchToken, ...]
    text: str
    groups: tuple[FilterGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """A link to a search people often need."""

    name: str
    href: str
    count: str
    current: bool


def build_list_lines(
    rows: Sequence[EventListRow],
    times: Sequence[datetime],
    now: datetime,
    *,
    after: datetime | None = None,
    selected: int | None = None,
    zone: tzinfo | None = None,
) -> tuple[EventListLine, ...]:
    """Return the rows with a heading wherever a day begins; `after` is when the row above them came."""
    made: list[EventListLine] = []
    above = format_day(after, now, zone) if after else None
    current = selected if any(row.id == selected for row in rows) else rows[0].id if rows and not after else None
    for row, time in zip(rows, times, strict=True):
        today = format_day(time, now, zone)
        heading = today if above is not None and today != above else None
        made.append(EventListLine(row=row, day=heading, first=row.id == current))
        above = today
    return tuple(made)


def select_row(listed: EventList, selected: int) -> EventList:
    """Return the list with another row as the one shown."""
    rows = tuple(replace(line, first=line.row.id == selected) for line in listed.rows)
    return replace(listed, rows=rows, selected=selected)


def format_count_line(query: Query, total: int, limit: int, took: float | None, searched_to: datetime | None) -> str:
    """Return the count line: `1,284 events`, `312 match, 6 ms`, `Searched back to 3 Nov`."""
    if not query.text.strip():
        return format_count(total, "event")
    number = f"{limit:,} or more" if total >= limit else f"{total:,}"
    words = f"{number} {'matches' if total == 1 else 'match'}"
    if took is not None:
        words = f"{words}, {max(1, round(took * 1000))} ms"
    if searched_to is not None:
        words = f"Searched back to {format_moment(searched_to).full[:-4]}"
    return words


def build_footer(
    query: str, shown: int, next_before: int | None, after: datetime | None, searched_to: datetime | None
) -> ListFooter:
    """Return the end of a list of which `shown` rows are in the page; `after` is when its last row came."""
    if next_before is None:
        return ListFooter(words="That is all" if shown else "")
    older = build_events_url(query, before=next_before)
    if shown >= MAX_ROWS:
        return build_full_footer(query, next_before)
    fields: dict[str, object] = {"q": query, "before": next_before, "shown": shown}
    if after is not None:
        fields["last"] = int(after.timestamp())
    words = "Older events load as you scroll" if searched_to is None else "Keep searching"
    return ListFooter(words=words, href=older, next=f"/events/rows?{urlencode(fields, quote_via=quote)}")


def build_full_footer(query: str, next_before: int) -> ListFooter:
    """Return the end of a list that holds as many rows as a page may."""
    return ListFooter(
        words="", full=True, shown=MAX_ROWS, query=query, href=build_events_url(query, before=next_before)
    )


def build_search_box(query: Query, sources: Sequence[str]) -> SearchBox:
    """Return the search box for a query: its filters as tokens, its words as text."""
    terms = query.terms
    tokens = query.filters
    words = query.words
    texts = [term.text for term in terms]
    return SearchBox(
        tokens=tuple(
            SearchToken(
                text=escape_unprintable(term.text, 200),
                problem=term.problem,
                without=build_events_url(" ".join(text for text in texts if text != term.text)),
            )
            for term in tokens
        ),
        text=escape_unprintable(" ".join(term.text for term in words), 1000),
        groups=_build_filter_groups(query.text, sources),
    )


def build_saved_views(query: str, counts: dict[str, int]) -> tuple[SavedView, ...]:
    """Return the saved views with how many events each holds now."""
    here = " ".join(query.split())
    return tuple(
        SavedView(name=name, href=build_events_url(text), count=f"{counts[name]:,}", current=here == text)
        for name, text in SAVED_VIEWS.items()
    )


SAVED_VIEWS = {"All": "", "Failing": "has:failed", "Rejected": "outcome:rejected", "Queued": "has:pending"}

_KNOWN_VALUES = {
    "verdict": ("verified", "invalid", "unsigned", "unchecked"),
    "outcome": ("accepted", "duplicate", "ignored", "rejected"),
    "has": ("failed", "pending", "succeeded", "note", "message"),
    "is": ("duplicate", "replay", "sample", "pinned", "recovered"),
    "status": ("2xx", "4xx", "5xx"),
    "after": ("15m", "1h", "24h", "7d"),
}


def _build_filter_groups(query: str, sources: Sequence[str]) -> tuple[FilterGroup, ...]:
    known = {"source": tuple(sources), **_KNOWN_VALUES}
    return tuple(
        FilterGroup(
            key=key,
            help=KEYS[key],
            choices=tuple(
                FilterChoice(name=value, href=build_events_url(f"{query} {key}:{value}".strip()))
                for value in known.get(key, ())
            ),
        )
        for key in KEYS
        if key in known or key in ("type", "method")
    )
