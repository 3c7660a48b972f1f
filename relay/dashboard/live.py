"""Live updates: a stream of server-sent events for each open page, rendered once for all viewers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any

from aiohttp import web
from markupsafe import escape

from relay.dashboard import layout
from relay.dashboard.delivery_rows import parse_delivery_filters
from relay.dashboard.event_list import EventListRow, build_count_line, list_saved_views, load_rows
from relay.dashboard.filters import build_url, format_count
from relay.dashboard.render import RENDERER, make_partial
from relay.http.event_stream import HEARTBEAT_INTERVAL, EventStreams, make_frame, make_json_frame, make_signal_frame
from relay.http.responses import get_relay
from relay.model.event import EventOutcome
from relay.model.parameters import parse_whole_number
from relay.model.search import EVERYTHING, Query, parse_query
from relay.model.signals import (
    DeliveryChanged,
    EventChanged,
    EventStored,
    HandlersChanged,
    LabChanged,
    MessageChanged,
    Signal,
    StoreChanged,
    TargetChanged,
    TunnelChanged,
    VaultChanged,
)

MAX_ROWS = 50  # rows in a message; if there are more, the page requests them
MIN_INTERVAL = 0.25  # seconds between two messages of a kind
LIVE_COUNT_LIMIT = 100_000  # number of deliveries up to which the counts of their views are updated
# A row is sent at once while events arrive singly: each counts for this many seconds.
_CALM = 0.02
_MAX_CROWD = 4 * _CALM  # maximum of such counts
_MAX_NEWEST = 20  # rows whose deliveries may change between a page and its stream
LIVE_TEMPLATES = (  # with all that they import, which a test holds
    "macros.html",
    "shell.html",
    "banners.html",
    *(f"live/{name}.html" for name in ("cells", "counts", "lines", "new_deliveries", "status")),
)
_RETRY_FRAME = b"retry: 500\n"
_NO_EVENT = 2**62

# The parts of a page that each signal changes, with the field that identifies the object.
_CHANGES: Mapping[type[Signal], tuple[tuple[str, str], ...]] = {
    EventStored: (("rows", "event_id"), ("counts", "")),
    EventChanged: (("cells", "event_id"), ("counts", "")),
    DeliveryChanged: (("cells", "event_id"), ("lines", "delivery_id"), ("delivery", "event_id"), ("counts", "")),
    MessageChanged: (("message", "message_id"), ("counts", "")),
    LabChanged: (("lab", "run_id"),),
    TargetChanged: (("banners", ""), ("counts", "")),
    **dict.fromkeys((TunnelChanged, HandlersChanged, VaultChanged, StoreChanged), (("status", ""),)),
}

PAGE_STREAMS: web.AppKey[EventStreams] = web.AppKey("page_streams", EventStreams)


async def stream_updates(request: web.Request) -> web.StreamResponse:
    """GET /stream?q=: server-sent events for this dashboard's pages; `id` is the newest event, and resumes.

    The deliveries page sends `of=deliveries` and its filters, and the newest id it shows as `top`. Pages
    without a list send no `q`.
    """
    return await request.app[PAGE_STREAMS].serve(request, PageViewer(request))


class PageViewer:
    """The viewer of an open page: its queued changes, when they may be sent, and how they are rendered."""

    def __init__(self, request: web.Request) -> None:
        self._relay = get_relay(request)
        self._renderer = request.app[RENDERER]
        self._cache = request.app[PAGE_STREAMS].cache
        self._search = request.query.get("q")
        self._last_seen = parse_whole_number(request.headers, "Last-Event-ID")
        # The deliveries page names the newest one it shows, and whether it can show newer ones.
        self._shows_deliveries = request.query.get("of") == "deliveries"
        top = parse_whole_number(request.query, "top")
        self._top = _NO_EVENT if top is None else top
        self._filters = parse_delivery_filters(request)
        self._newest_url = build_url("/deliveries", state=self._filters.pop("state"))
        self._new_deliveries: set[int] = set()
        # Changes that this page does not show.
        self._left_out = {"rows", "lost", "cells"} if self._search is None else set[str]()
        self._left_out |= set() if self._shows_deliveries else {"lines"}
        # Changes since the last message: by kind, the newest signal for each object.
        self._waiting: dict[str, dict[Any, Any]] = {}
        self._sent: dict[str, float] = {}
        self._arrived = self._crowd = 0.0
        self._lost = 0
        # `rows` first: a row must exist before its cells.
        self._kinds: dict[str, Callable[[dict[Any, Any]], Awaitable[bytes]]] = {
            "rows": self._render_rows,
            "lost": self._render_lost,
            "cells": self._render_cells,
            "counts": self._render_counts,
            "banners": self._render_banners,
            "lines": self._render_lines,
            **dict.fromkeys(("delivery", "message", "lab"), self._render_data),
            "status": self._render_status,
        }

    async def greet(self) -> AsyncIterator[bytes]:
        """Yield the server's identity, the events missed while disconnected, and the newest rows.

        There are no signals for changes between rendering and connecting.
        """
        yield _RETRY_FRAME + self._make_status_frame()
        # In a thread: the first event would have to wait for it.
        await asyncio.to_thread(self._renderer.compile_templates, *LIVE_TEMPLATES)
        store = self._relay.store
        if self._search is not None and self._last_seen is not None:
            yield await self._draw_missed(self._last_seen)
        if self._shows_deliveries:
            newest = await store.deliveries.page(limit=_MAX_NEWEST, lab=False)
            yield await self._draw_lines(one.id for one in newest)
        elif self._search is not None:
            page = await store.events.page(self._parse_search(), limit=_MAX_NEWEST)
            yield await self._draw_cells([row.id for row in page.rows])

    def take(self, signals: Iterable[Signal], *, lost: int) -> None:
        """Remember what was signalled; `lost` counts signals that this viewer was too slow for."""
        if lost > self._lost:
            self._add("lost", None, self._waiting.get("lost", {}).get(None, 0) + lost - self._lost)
            self._lost = lost
        for signal in signals:
            if isinstance(signal, EventStored):
                now = self._relay.clock.monotonic()
                self._crowd = min(max(0.0, self._crowd - now + self._arrived) + _CALM, MIN_INTERVAL)
                self._arrived = now
                if "rows" not in self._waiting and self._crowd <= _MAX_CROWD:
                    self._sent.pop("rows", None)
            for kind, field in _CHANGES.get(type(signal), ()):
                self._add(kind, getattr(signal, field) if field else None, signal)
                if kind == "counts" and self._relay.state.down:
                    self._add("banners", None, signal)

    def _add(self, kind: str, thing: object, signal: object) -> None:
        if kind not in self._left_out:
            self._waiting.setdefault(kind, {})[thing] = signal

    def wait(self) -> float:
        """Return the seconds until the next message is due."""
        due = [self._next_at(kind) for kind in self._waiting]
        return max(0.0, min(due) - self._relay.clock.monotonic()) if due else HEARTBEAT_INTERVAL

    def _next_at(self, kind: str) -> float:
        # At the same moments for all viewers, so that a rendered frame serves all of them.
        return (self._sent.get(kind, -MIN_INTERVAL) // MIN_INTERVAL + 1) * MIN_INTERVAL

    async def frames(self) -> AsyncIterator[bytes]:
        """Yield the due messages, each as soon as it is rendered, and remove them."""
        now = self._relay.clock.monotonic()
        for kind, render in self._kinds.items():
            if kind in self._waiting and now >= self._next_at(kind):
                self._sent[kind] = now
                if frame := await render(self._waiting.pop(kind)):
                    yield frame

    async def _render_rows(self, waiting: dict[int, EventStored]) -> bytes:
        draw = self._draw_crowd if len(waiting) > MAX_ROWS else self._draw_rows
        newest = waiting[max(waiting)]
        return await self._cache.get(newest, ("rows", self._search, *waiting), lambda: draw(waiting))

    async def _render_lost(self, waiting: dict[None, int]) -> bytes:
        # The page can load lost changes by a request.
        return make_json_frame("event", {"n": waiting[None], "rejected": 0})

    async def _render_cells(self, waiting: dict[int, Signal]) -> bytes:
        return await self._cache.get(_get_newest(waiting), ("cells", *waiting), lambda: self._draw_cells(waiting))

    async def _render_counts(self, waiting: dict[None, Signal]) -> bytes:
        return await self._cache.get(waiting[None], ("counts", self._search), self._draw_counts)

    async def _render_banners(self, waiting: dict[None, Signal]) -> bytes:
        return await self._cache.get(waiting[None], ("banners",), self._draw_banners)

    async def _render_lines(self, waiting: dict[int, Signal]) -> bytes:
        newer = [id_ for id_ in waiting if id_ > self._top]
        if newer:
            found = await self._relay.store.deliveries.rows(newer)
            self._new_deliveries |= {one.id for one in found if one.lab is None}
        key = ("lines", *self._filters.values(), *waiting)
        drawn = await self._cache.get(_get_newest(waiting), key, lambda: self._draw_lines(waiting))
        if not self._new_deliveries:
            return drawn
        words = format_count(len(self._new_deliveries), "new delivery", "new deliveries")
        text = self._renderer.part("live/new_deliveries.html", words=words, href=self._newest_url)
        return drawn + make_frame(make_partial("#fresh", "innerHTML", text))

    async def _render_data(self, waiting: dict[int, Signal]) -> bytes:
        return b"".join(map(make_signal_frame, waiting.values()))

    async def _render_status(self, _: dict[None, Signal]) -> bytes:
        frame = await layout.load_frame(self._relay)
        return self._make_status_frame() + make_frame(self._renderer.part("live/status.html", shell=frame))

    def _make_status_frame(self) -> bytes:
        relay = self._relay
        plain = {"boot": relay.boot_id, "version": relay.version, "tunnel": relay.state.tunnel.state}
        return make_json_frame("status", plain)

    def _parse_search(self) -> Query:
        # Invalid terms are ignored, as in the page.
        return parse_query(self._search, self._relay.clock.now(), lenient=True).readable if self._search else EVERYTHING

    async def _draw_rows(self, stored: Mapping[int, EventStored]) -> bytes:
        """Return the rows of matching events, newest first, with the newest id."""
        newest, query, events = max(stored), self._parse_search(), self._relay.store.events
        built = [one.build_row() for _, one in sorted(stored.items(), reverse=True) if one.build_row is not None]
        if len(built) == len(stored) and not query.terms and not any(one.deliveries for one in stored.values()):
            return self._make_rows_frame([(row, ()) for row in built], newest)
        found = await events.rows(stored)
        if query.terms and found:
            low, high = found[-1].id - 1, found[0].id + 1
            page = await events.page(query, after=low, before=high, limit=len(found))
            fitting = {row.id for row in page.rows}
            found = tuple(row for row in found if row.id in fitting)
        return self._make_rows_frame(await load_rows(self._relay, found), newest) if found else b""

    async def _draw_missed(self, last: int) -> bytes:
        """Return the events after `last`: their rows, or a request for them if there are many."""
        page = await self._relay.store.events.page(self._parse_search(), after=last, limit=MAX_ROWS + 1)
        if len(page.rows) > MAX_ROWS:
            return make_json_frame("event", {"n": len(page.rows), "rejected": 0}, page.rows[0].id)
        rows = await load_rows(self._relay, page.rows)
        return self._make_rows_frame(rows, page.rows[0].id) if page.rows else b""

    def _make_rows_frame(self, rows: Iterable[EventListRow], newest: int) -> bytes:
        suffix = build_url("", q=self._search)
        text = "".join(self._renderer.render_macro("row", *row, suffix) for row in rows)
        return make_frame(make_partial("#rows", "afterbegin", text), id_=newest)

    async def _draw_crowd(self, stored: Mapping[int, EventStored]) -> bytes:
        """Return the number of new events, which the page requests itself."""
        found = await self._relay.store.events.rows(stored)
        rejected = sum(row.outcome is EventOutcome.REJECTED for row in found)
        return make_json_frame("event", {"n": len(stored), "rejected": rejected}, max(stored))

    async def _draw_cells(self, ids: Collection[int]) -> bytes:
        """Return result and shield of events, each for its cell; rows of deleted events are removed."""
        rows = await load_rows(self._relay, await self._relay.store.events.rows(ids))
        gone = set(ids).difference(event.id for event, _ in rows)
        cells = [self._renderer.part("live/cells.html", event=event, deliveries=made) for event, made in rows]
        return make_frame("".join(cells + [make_partial(f"#e-{id_}", "delete", "") for id_ in sorted(gone)]))

    async def _draw_counts(self) -> bytes:
        """Return all numbers around the list."""
        counts, query = await self._relay.store.events.counts(), self._parse_search()
        nav = await layout.load_nav_counts(self._relay, counts)
        views = () if self._search is None else list_saved_views(counts)
        text = self._renderer.part("live/counts.html", counts=nav, views=views)
        if self._search is None:
            return make_frame(text)
        line = await build_count_line(self._relay, query) if query.terms else format_count(counts.events, "event")
        return make_frame(text + make_partial("#count", "textContent", escape(line)))

    async def _draw_banners(self) -> bytes:
        text = self._renderer.part("banners.html", banners=await layout.load_banners(self._relay))
        return make_frame(make_partial("#banners", "outerHTML", text))

    async def _draw_lines(self, ids: Iterable[int]) -> bytes:
        """Return the states of deliveries, each for its row, and the counts of their views."""
        relay, deliveries = self._relay, self._relay.store.deliveries
        found = await deliveries.rows(ids)
        # Counting a million takes 0.1 s, too long for four times a second.
        is_countable = await deliveries.newest() <= LIVE_COUNT_LIMIT
        counts = await deliveries.counts(**self._filters, lab=False) if is_countable else None
        values = {"deliveries": found, "counts": counts, "now": relay.clock.now(), "down": relay.state.down}
        return make_frame(self._renderer.part("live/lines.html", **values))


def _get_newest(waiting: dict[int, Signal]) -> Signal:
    return next(reversed(waiting.values()))
