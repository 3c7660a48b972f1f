"""What the live stream shows, drawn once for everybody who looks: rows, results, counts, the tunnel."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from aiohttp import web

from relay.model.event import EventOutcome, EventRow
from relay.model.search import EVERYTHING, Query, parse
from relay.web import gather
from relay.web.banners import banners
from relay.web.keys import Desk, desk
from relay.web.render import RENDERER, partial
from relay.web.view import deliveries, lists, shell
from relay.web.view.deliveries import line
from relay.web.view.words import plural

ROWS = 50  # rows in one message; when more wait, the page is told to ask for them
_TOP = 20  # rows whose deliveries may settle between a page and its stream
COUNTED = 100_000  # deliveries up to which the numbers of their views are kept current
SHARED = 256  # drawings kept for the other viewers


class Drawings:
    """Frames drawn for one viewer and given to the others.

    A key holds the signal itself, so nothing drawn before it was committed can answer for it.
    """

    def __init__(self) -> None:
        self._drawn: OrderedDict[tuple[object, ...], tuple[object, asyncio.Future[bytes]]] = OrderedDict()

    async def get(
        self, signal: object, name: tuple[object, ...], draw: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return what `draw` gives for this very signal, drawing it unless somebody does already."""
        key = (id(signal), *name)
        while True:
            found = self._drawn.get(key)
            if found is None or found[0] is not signal:
                return await self._draw(key, signal, draw)
            try:
                return await asyncio.shield(found[1])
            except _AbandonedError:
                continue

    async def _draw(
        self, key: tuple[object, ...], signal: object, draw: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._drawn[key] = (signal, future)
        while len(self._drawn) > SHARED:
            self._drawn.popitem(last=False)
        try:
            frame = await draw()
        except BaseException:
            # The page of whoever drew was closed, or the store failed: the next one tries again.
            self._drawn.pop(key, None)
            future.set_exception(_AbandonedError)
            future.exception()
            raise
        future.set_result(frame)
        return frame


class _AbandonedError(Exception):
    """A drawing that was not finished; never leaves this module."""


DRAWINGS: web.AppKey[Drawings] = web.AppKey("drawings", Drawings)


class Drawer:
    """Draws frames for one search; `text` None is for pages without a list."""

    def __init__(self, request: web.Request, text: str | None) -> None:
        self.here: Desk = desk(request)
        self.text = text
        self._renderer = request.app[RENDERER]

    async def rows(self, ids: Iterable[int]) -> bytes:
        """Return the rows of those events that fit the search, newest first, under the newest id."""
        wanted = list(ids)
        found = await self.here.store.events.rows(wanted)
        query = self._query()
        if query.terms and found:
            low, high = found[-1].id - 1, found[0].id + 1
            page = await self.here.store.events.page(query, after=low, before=high, limit=len(found))
            fitting = {row.id for row in page.rows}
            found = tuple(row for row in found if row.id in fitting)
        return await self._drawn(found, max(wanted)) if found else b""

    async def missed(self, last: int) -> bytes:
        """Return what came after the event `last`: its rows, or how to ask for them when there are many."""
        page = await self.here.store.events.page(self._query(), after=last, limit=ROWS + 1)
        if len(page.rows) > ROWS:
            return told("event", {"n": len(page.rows), "rejected": 0}, page.rows[0].id)
        return await self._drawn(page.rows, page.rows[0].id) if page.rows else b""

    async def newest(self, *, lined: bool) -> bytes:
        """Return how the rows at the top of the list stand: events, or deliveries where it is `lined` with those."""
        if lined:
            return await self.lines(
                one.id for one in await self.here.store.deliveries.page(limit=_TOP, lab=False)
            )
        page = await self.here.store.events.page(self._query(), limit=_TOP)
        return await self.cells([row.id for row in page.rows])

    async def crowd(self, ids: Iterable[int]) -> bytes:
        """Return how many wait, for a page that is to ask for them itself."""
        wanted = list(ids)
        found = await self.here.store.events.rows(wanted)
        rejected = sum(row.outcome is EventOutcome.REJECTED for row in found)
        return told("event", {"n": len(wanted), "rejected": rejected}, max(wanted))

    async def cells(self, ids: Iterable[int]) -> bytes:
        """Return result and shield of events, each for its own place."""
        found = await self.here.store.events.rows(ids)
        rows = await gather.rows(self.here, found)
        return frame("".join(self._renderer.part("parts/cells.html", row=row) for row in rows))

    async def counts(self) -> bytes:
        """Return every number around the list."""
        nav = await gather.nav_counts(self.here)
        if self.text is None:
            return frame(self._renderer.part("parts/counts.html", counts=nav, views=()))
        views = gather.saved_views(self.text, await self.here.store.events.counts())
        text = self._renderer.part("parts/counts.html", counts=nav, views=views)
        line = lists.escaped(await gather.count_line(self.here, self._query()))
        return frame(text + partial("#count", "textContent", line))

    def status(self) -> bytes:
        """Return who answers, and how the tunnel is."""
        setup = self.here.setup
        plain = {"boot": setup.boot, "version": setup.version, "tunnel": self.here.live.tunnel.state}
        return told("status", plain)

    async def around(self) -> bytes:
        """Return what may change in the frame of a page: tunnel, banners and vault."""
        around = _Around(
            tunnel=shell.tunnel(self.here.live.tunnel, self.here.setup.ingress_url),
            banners=await banners(self.here),
            vault=await gather.vault(self.here),
        )
        return frame(self._renderer.part("parts/status.html", shell=around))

    async def banners(self) -> bytes:
        """Return the banners."""
        shown = self._renderer.part("parts/banners.html", banners=await banners(self.here))
        return frame(partial("#banners", "outerHTML", shown))

    async def lines(self, ids: Iterable[int]) -> bytes:
        """Return how deliveries stand, each for its own place, and the counts of their views."""
        now, down = self.here.clock.now(), self.here.live.down
        found = await self.here.store.deliveries.rows(ids)
        drawn = [line(one, now, held=one.target in down) for one in found]
        # A million take 0.1 s to count, too long to do it four times a second.
        few = await self.here.store.deliveries.newest() <= COUNTED
        counts = deliveries.held(await self.here.store.deliveries.counts(lab=False)) if few else {}
        return frame(self._renderer.part("parts/lines.html", lines=drawn, counts=counts))

    def fresh(self, count: int, href: str) -> bytes:
        """Return how many deliveries a list does not show yet, and where it would."""
        shown = self._renderer.part(
            "parts/fresh.html", words=plural(count, "new delivery", "new deliveries"), href=href
        )
        return frame(partial("#fresh", "innerHTML", shown)) if count else b""

    async def _drawn(self, found: tuple[EventRow, ...], newest: int) -> bytes:
        suffix = lists.suffix(self.text or "")
        rows = await gather.rows(self.here, found)
        text = "".join(self._renderer.macro("row", row, suffix) for row in rows)
        return frame(partial("#rows", "afterbegin", text), id_=newest)

    def _query(self) -> Query:
        query = parse(self.text, self.here.clock.now(), lenient=True) if self.text else EVERYTHING
        # A search that cannot be read lists everything, here as in the page.
        return EVERYTHING if query.problems else query


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    tunnel: shell.Tunnel
    banners: tuple[shell.Banner, ...]
    vault: shell.Vault


def told(name: str, plain: Mapping[str, object], id_: int | None = None) -> bytes:
    """Return a named message, its data as JSON."""
    return frame(json.dumps(plain), name, id_)


def frame(data: str, event: str = "", id_: int | None = None) -> bytes:
    """Return one message; every kind of line break that a browser knows starts a `data:` line of its own."""
    if not data:
        return b""
    head = (f"id: {id_}\n" if id_ is not None else "") + (f"event: {event}\n" if event else "")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = head + "".join(f"data: {line}\n" for line in lines if line) + "\n"
    return text.encode("utf-8", "backslashreplace")
