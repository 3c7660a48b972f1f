"""What the live stream shows, drawn once for everybody who looks: rows, results, counts, the tunnel."""

import asyncio
import json
from collections.abc import Iterable, Mapping

from aiohttp import web
from markupsafe import escape

from relay.dashboard import layout
from relay.dashboard.event_list import EventListRow, build_count_line, build_event_row, build_saved_views, load_rows
from relay.dashboard.filters import build_url, format_count
from relay.dashboard.render import RENDERER, make_partial
from relay.http.responses import get_relay
from relay.model.event import EventOutcome
from relay.model.search import EVERYTHING, Query, parse_query
from relay.model.signals import EventStored
from relay.services.relay import RunningRelay

MAX_ROWS = 50  # rows in one message; when more wait, the page is told to ask for them
_MAX_NEWEST = 20  # rows whose deliveries may settle between a page and its stream
_TEMPLATES = tuple(f"live/{name}.html" for name in ("cells", "counts", "lines", "new_deliveries", "status"))
LIVE_COUNT_LIMIT = 100_000  # deliveries up to which the numbers of their views are kept current


class SseRenderer:
    """Draws frames for one search; `text` None is for pages without a list."""

    def __init__(self, request: web.Request, text: str | None) -> None:
        self.relay: RunningRelay = get_relay(request)
        self.text = text
        self._renderer = request.app[RENDERER]

    async def prepare(self) -> None:
        """Compile what is drawn, off the loop: the first event to be shown would wait for it."""
        await asyncio.to_thread(self._renderer.compile_templates, "macros.html", *_TEMPLATES)

    async def rows(self, stored: Mapping[int, EventStored]) -> bytes:
        """Return the rows of those events that fit the search, newest first, under the newest id."""
        newest, query = max(stored), self._query()
        built = [one.build_row() for _, one in sorted(stored.items(), reverse=True) if one.build_row is not None]
        if len(built) == len(stored) and not query.terms and not any(one.deliveries for one in stored.values()):
            return self._render_rows([build_event_row(row, ()) for row in built], newest)
        found = await self.relay.store.events.rows(stored)
        if query.terms and found:
            low, high = found[-1].id - 1, found[0].id + 1
            page = await self.relay.store.events.page(query, after=low, before=high, limit=len(found))
            fitting = {row.id for row in page.rows}
            found = tuple(row for row in found if row.id in fitting)
        return self._render_rows(await load_rows(self.relay, found), newest) if found else b""

    async def missed(self, last: int) -> bytes:
        """Return what came after the event `last`: its rows, or how to ask for them when there are many."""
        page = await self.relay.store.events.page(self._query(), after=last, limit=MAX_ROWS + 1)
        if len(page.rows) > MAX_ROWS:
            return make_data_frame("event", {"n": len(page.rows), "rejected": 0}, page.rows[0].id)
        rows = await load_rows(self.relay, page.rows)
        return self._render_rows(rows, page.rows[0].id) if page.rows else b""

    async def newest(self, *, lined: bool) -> bytes:
        """Return how the rows at the top of the list stand: events, or deliveries where it is `lined` with those."""
        if lined:
            return await self.lines(
                one.id for one in await self.relay.store.deliveries.page(limit=_MAX_NEWEST, lab=False)
            )
        page = await self.relay.store.events.page(self._query(), limit=_MAX_NEWEST)
        return await self.cells([row.id for row in page.rows])

    async def render_crowd(self, ids: Iterable[int]) -> bytes:
        """Return how many wait, for a page that is to ask for them itself."""
        wanted = list(ids)
        found = await self.relay.store.events.rows(wanted)
        rejected = sum(row.outcome is EventOutcome.REJECTED for row in found)
        return make_data_frame("event", {"n": len(wanted), "rejected": rejected}, max(wanted))

    async def cells(self, ids: Iterable[int]) -> bytes:
        """Return result and shield of events, each for its own place."""
        found = await self.relay.store.events.rows(ids)
        rows = await load_rows(self.relay, found)
        return make_frame("".join(self._renderer.part("live/cells.html", row=row) for row in rows))

    async def counts(self) -> bytes:
        """Return every number around the list."""
        counts, query = await self.relay.store.events.counts(), self._query()
        nav = await layout.load_nav_counts(self.relay, counts)
        views = () if self.text is None else build_saved_views(self.text, counts)
        text = self._renderer.part("live/counts.html", counts=nav, views=views)
        if self.text is None:
            return make_frame(text)
        line = await build_count_line(self.relay, query) if query.terms else format_count(counts.events, "event")
        return make_frame(text + make_partial("#count", "textContent", escape(line)))

    def status(self) -> bytes:
        """Return who answers, and how the tunnel is."""
        relay = self.relay
        plain = {"boot": relay.boot_id, "version": relay.version, "tunnel": relay.state.tunnel.state}
        return make_data_frame("status", plain)

    async def around(self) -> bytes:
        """Return what may change in the frame of a page: tunnel, banners and vault."""
        return make_frame(self._renderer.part("live/status.html", shell=await layout.load_frame(self.relay)))

    async def banners(self) -> bytes:
        """Return the banners."""
        shown = self._renderer.part("banners.html", banners=await layout.load_banners(self.relay))
        return make_frame(make_partial("#banners", "outerHTML", shown))

    async def lines(self, ids: Iterable[int]) -> bytes:
        """Return how deliveries stand, each for its own place, and the counts of their views."""
        relay = self.relay
        found = await relay.store.deliveries.rows(ids)
        # A million take 0.1 s to count, too long to do it four times a second.
        few = await relay.store.deliveries.newest() <= LIVE_COUNT_LIMIT
        counts = await relay.store.deliveries.counts(lab=False) if few else None
        values = {"deliveries": found, "counts": counts, "now": relay.clock.now(), "down": relay.state.down}
        return make_frame(self._renderer.part("live/lines.html", **values))

    def fresh(self, count: int, href: str) -> bytes:
        """Return how many deliveries a list does not show yet, and where it would."""
        shown = self._renderer.part(
            "live/new_deliveries.html", words=format_count(count, "new delivery", "new deliveries"), href=href
        )
        return make_frame(make_partial("#fresh", "innerHTML", shown)) if count else b""

    def _render_rows(self, rows: Iterable[EventListRow], newest: int) -> bytes:
        suffix = build_url("", q=self.text or "")
        text = "".join(self._renderer.render_macro("row", row, suffix) for row in rows)
        return make_frame(make_partial("#rows", "afterbegin", text), id_=newest)

    def _query(self) -> Query:
        query = parse_query(self.text, self.relay.clock.now(), lenient=True) if self.text else EVERYTHING
        # A search that cannot be read lists everything, here as in the page.
        return EVERYTHING if query.problems else query


def make_data_frame(name: str, plain: Mapping[str, object], id_: int | None = None) -> bytes:
    """Return a named message, its data as JSON."""
    return make_frame(json.dumps(plain), name, id_)


def make_frame(data: str, event: str = "", id_: int | None = None) -> bytes:
    """Return one message; every kind of line break that a browser knows starts a `data:` line of its own."""
    if not data:
        return b""
    head = (f"id: {id_}\n" if id_ is not None else "") + (f"event: {event}\n" if event else "")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = head + "".join(f"data: {line}\n" for line in lines if line) + "\n"
    return text.encode("utf-8", "backslashreplace")
