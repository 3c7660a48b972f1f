"""The event list: its rows by day, count line, search box and saved views, and the footer that pages on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from aiohttp import web

from relay.dashboard.event_rows import EventListRow, build_event_row
from relay.dashboard.filters import DayHeading, event_avatar, format_count, format_day, format_moment
from relay.dashboard.urls import build_events_url, build_query_suffix
from relay.dashboard.widgets import NavLink
from relay.http.context import get_relay
from relay.model.event import EventRow
from relay.model.search import KEYS, Query, parse_query
from relay.services.relay import RunningRelay
from relay.store.events import EventCounts, EventPage

PAGE_SIZE = 50
MAX_ROWS = 300  # rows in one page; measured: `J` held down still paints within 100 ms
_COUNT_LIMIT = 10_000  # matches counted before the count line says "or more"
_KNOWN_VALUES = {
    "verdict": ("verified", "invalid", "unsigned", "unchecked"),
    "outcome": ("accepted", "duplicate", "ignored", "rejected"),
    "has": ("failed", "pending", "succeeded", "note", "message"),
    "is": ("duplicate", "replay", "sample", "pinned", "recovered"),
    "status": ("2xx", "4xx", "5xx"),
    "after": ("15m", "1h", "24h", "7d"),
}


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
    """The list for a search; `day` heads its first row."""

    query: str
    rows: tuple[EventListLine, ...]
    day: DayHeading | None = None
    count: str = ""
    selected: int | None = None
    problems: tuple[str, ...] = ()

    @property
    def suffix(self) -> str:
        """Return what every row's link carries on."""
        return build_query_suffix(self.query)

    @property
    def full(self) -> ListFooter:
        """Return the footer for when it holds as many rows as a page may."""
        return build_full_footer(self.query, 0)


def parse_list_query(request: web.Request) -> Query:
    """Return the search of an address; several `q` are one, as the form sends its tokens."""
    text = " ".join(part.strip() for part in request.query.getall("q", []) if part.strip())
    return parse_query(text, get_relay(request).clock.now(), lenient=True)


def parse_list_suffix(request: web.Request) -> str:
    """Return the search of an address as a link carries it on."""
    return build_query_suffix(parse_list_query(request).text)


def parse_current_url(request: web.Request) -> tuple[str, str]:
    """Return the path and the search of the page an htmx request comes from."""
    parts = urlsplit(request.headers.get("HX-Current-URL", ""))
    return parts.path, " ".join(parse_qs(parts.query).get("q", []))


async def load_rows(relay: RunningRelay, events: Sequence[EventRow]) -> list[EventListRow]:
    """Return the rows of events with the results of their deliveries."""
    deliveries = await relay.store.deliveries.of_events(event.id for event in events) if events else {}
    return [build_event_row(event, deliveries[event.id], event_avatar(event)) for event in events]


async def load_listing(
    relay: RunningRelay, query: Query, *, before: int | None = None, selected: int | None = None
) -> tuple[EventList, ListFooter, EventPage]:
    """Return the list for a query, newest first; a query that cannot be read lists everything."""
    readable = parse_query("", relay.clock.now()) if query.problems else query
    page = await relay.store.events.page(readable, limit=PAGE_SIZE, before=before)
    times, now = [event.received_at for event in page.rows], relay.clock.now()
    listing = EventList(
        query=query.text,
        rows=build_list_lines(await load_rows(relay, page.rows), times, now, selected=selected),
        day=format_day(times[0], now) if times else None,
        count=await build_count_line(relay, readable, page, complete=before is None),
        selected=selected,
        problems=(*query.problems, *query.notes),
    )
    last = times[-1] if times else None
    return listing, build_footer(query.text, len(times), page.next_before, last, page.searched_to), page


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
    lines: list[EventListLine] = []
    above = format_day(after, now, zone) if after else None
    current = selected if any(row.id == selected for row in rows) else rows[0].id if rows and not after else None
    for row, time in zip(rows, times, strict=True):
        today = format_day(time, now, zone)
        heading = today if above is not None and today != above else None
        lines.append(EventListLine(row=row, day=heading, first=row.id == current))
        above = today
    return tuple(lines)


def select_row(listing: EventList, selected: int) -> EventList:
    """Return the list with another row as the one shown."""
    rows = tuple(replace(line, first=line.row.id == selected) for line in listing.rows)
    return replace(listing, rows=rows, selected=selected)


async def build_count_line(
    relay: RunningRelay, query: Query, page: EventPage | None = None, *, complete: bool = True
) -> str:
    """Return the count line; a page that holds every match needs no second query."""
    if not query.terms:
        total = (await relay.store.events.counts()).events
    elif page is not None and page.next_before is None and complete:
        total = len(page.rows)
    else:
        try:
            total = await relay.store.events.count(query, _COUNT_LIMIT)
        except TimeoutError:
            return "Many match"
    return _format_count_line(query, total, page.took if page else None, page.searched_to if page else None)


def _format_count_line(query: Query, total: int, took: float | None, searched_to: datetime | None) -> str:
    """Return the count line: `1,284 events`, `312 match, 6 ms`, `Searched back to 3 Nov`."""
    if not query.text.strip():
        return format_count(total, "event")
    if searched_to is not None:
        return f"Searched back to {format_moment(searched_to).full[:-4]}"
    number = f"{total:,} or more" if total >= _COUNT_LIMIT else f"{total:,}"
    words = f"{number} {'matches' if total == 1 else 'match'}"
    return words if took is None else f"{words}, {max(1, round(took * 1000))} ms"


def build_footer(
    query: str, shown: int, next_before: int | None, after: datetime | None, searched_to: datetime | None
) -> ListFooter:
    """Return the end of a list of which `shown` rows are in the page; `after` is when its last row came."""
    if next_before is None:
        return ListFooter(words="That is all" if shown else "")
    if shown >= MAX_ROWS:
        return build_full_footer(query, next_before)
    fields: dict[str, object] = {"q": query, "before": next_before, "shown": shown}
    if after is not None:
        fields["last"] = int(after.timestamp())
    return ListFooter(
        words="Older events load as you scroll" if searched_to is None else "Keep searching",
        href=build_events_url(query, before=next_before),
        next=f"/events/rows?{urlencode(fields, quote_via=quote)}",
    )


def build_full_footer(query: str, next_before: int) -> ListFooter:
    """Return the end of a list that holds as many rows as a page may."""
    href = build_events_url(query, before=next_before)
    return ListFooter(words="", full=True, shown=MAX_ROWS, query=query, href=href)


def build_search_box(query: Query, sources: Sequence[str]) -> dict[str, Any]:
    """Return the search box: filters with the address without each, the words, and the filters that can be added."""
    values = {"source": tuple(sources), **_KNOWN_VALUES}
    texts = [term.text for term in query.terms]
    return {
        "tokens": [
            (term, build_events_url(" ".join(text for text in texts if text != term.text))) for term in query.filters
        ],
        "words": " ".join(term.text for term in query.words),
        "groups": [
            (key, KEYS[key], [(value, build_events_url(f"{query.text} {key}:{value}".strip())) for value in found])
            for key in KEYS
            if (found := values.get(key, ())) or key in ("source", "type", "method")
        ],
    }


def build_saved_views(query: str, counts: EventCounts) -> tuple[NavLink, ...]:
    """Return the searches people often need, with how many events each holds now."""
    current = " ".join(query.split())
    views = (
        ("All", "", counts.events),
        ("Failing", "has:failed", counts.failing),
        ("Rejected", "outcome:rejected", counts.rejected),
        ("Queued", "has:pending", counts.queued),
    )
    return tuple(
        NavLink(name=name, href=build_events_url(search), count=f"{count:,}", current=current == search)
        for name, search, count in views
    )
