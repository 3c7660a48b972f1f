"""The live stream of the dashboard: rows and results as HTML, drawn once and shared by everyone who looks."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

from relay.model.event import EventOutcome
from relay.model.search import EVERYTHING, Query, parse
from relay.model.signals import (
    DeliveryChanged,
    EventChanged,
    EventStored,
    MessageChanged,
    Refused,
    Signal,
    TunnelChanged,
)
from relay.web import gather
from relay.web.answers import error_response
from relay.web.keys import Desk, desk
from relay.web.render import RENDERER, Renderer, partial
from relay.web.view import lists, shell

MAX_VIEWERS = 64
SILENCE = 15.0  # seconds after which a comment shows that the stream lives
APART = 0.25  # seconds between two messages of a kind
ROWS = 50  # rows in one message; when more wait, the page is told to pull
SHARED = 256  # drawings kept for the other viewers
RETRY = "retry: 500\n"

VIEWERS: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("stream_viewers", set)


class Drawings:
    """What was drawn for one viewer and fits the others: the same signal, drawn once.

    A key holds the signal itself, so nothing drawn before it was committed can answer for it.
    """

    def __init__(self) -> None:
        self._drawn: OrderedDict[tuple[object, ...], tuple[object, asyncio.Future[str]]] = OrderedDict()

    async def get(self, signal: object, name: tuple[object, ...], draw: Callable[[], Awaitable[str]]) -> str:
        """Return what `draw` gives for this very signal, drawing it unless somebody does already."""
        key = (id(signal), *name)
        found = self._drawn.get(key)
        if found is not None and found[0] is signal:
            return await asyncio.shield(found[1])
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._drawn[key] = (signal, future)
        while len(self._drawn) > SHARED:
            self._drawn.popitem(last=False)
        try:
            text = await draw()
        except BaseException as error:
            self._drawn.pop(key, None)
            if not isinstance(error, Exception):
                future.cancel()
                raise
            future.set_exception(error)
            future.exception()  # seen: nobody else may be waiting for it
            raise
        future.set_result(text)
        return text


DRAWINGS: web.AppKey[Drawings] = web.AppKey("drawings", Drawings)


async def stream(request: web.Request) -> web.StreamResponse:
    """GET /stream?q=: server-sent events for this dashboard's pages; `id` is the newest event, and resumes."""
    viewers = request.app[VIEWERS]
    task = asyncio.current_task()
    if len(viewers) >= MAX_VIEWERS or task is None:
        return error_response(503, "too_many_viewers", "too many pages are open", "close one")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    viewers.add(task)
    try:
        await response.prepare(request)
        viewer = Viewer(request)
        with viewer.here.bus.subscribed() as listening:
            await response.write(viewer.hello())
            await response.write(await viewer.missed(request.headers.get("Last-Event-ID", "")))
            while True:
                wait = viewer.wait()
                try:
                    async with asyncio.timeout(wait):
                        viewer.take(await listening.next(), lost=listening.lost)
                except TimeoutError:
                    if wait == SILENCE:
                        await response.write(b": still here\n\n")
                async for frame in viewer.frames():
                    await response.write(frame)
    except ConnectionError:
        return response
    finally:
        viewers.discard(task)


async def close(app: web.Application) -> None:
    """End every stream, so that stopping does not wait for them."""
    viewers = app[VIEWERS]
    for task in tuple(viewers):
        task.cancel()


@dataclass(slots=True)
class _Waiting:
    """What has gathered since it was last sent, the newest signal for each thing."""

    rows: dict[int, EventStored] = field(default_factory=dict)
    cells: dict[int, Signal] = field(default_factory=dict)
    events: dict[int, DeliveryChanged] = field(default_factory=dict)
    messages: dict[int, MessageChanged] = field(default_factory=dict)
    status: Signal | None = None
    counts: Signal | None = None
    pull: bool = False


class Viewer:
    """One open page: what it waits for, and when it may next be sent."""

    def __init__(self, request: web.Request) -> None:
        self.here: Desk = desk(request)
        self._clock = self.here.clock
        self._renderer: Renderer = request.app[RENDERER]
        self._drawings = request.app[DRAWINGS]
        self._text = request.query.get("q")
        self._waiting = _Waiting()
        self._sent: dict[str, float] = {}
        self._lost = 0

    def hello(self) -> bytes:
        """Return the first message: who is there, and how soon to come back."""
        return (RETRY + _frame(self._status(), "status")).encode()

    async def missed(self, last: str) -> bytes:
        """Return what came while the viewer was away."""
        if self._text is None or not (last.isascii() and last.isdigit()) or len(last) > 18:
            return b""
        page = await self.here.store.events.page(self._query(), after=int(last), limit=ROWS + 1)
        if len(page.rows) > ROWS:
            return _frame(json.dumps({"n": len(page.rows), "rejected": 0}), "event", page.rows[0].id).encode()
        drawn = "".join(self._row(row) for row in await gather.rows(self.here, page.rows))
        text = partial("#rows", "afterbegin", drawn)
        return _frame(text, id_=page.rows[0].id).encode("utf-8", "backslashreplace") if drawn else b""

    def take(self, signals: Iterable[Signal], *, lost: int) -> None:
        """Remember what was signalled; `lost` counts signals that this viewer was too slow for."""
        waiting = self._waiting
        if lost != self._lost:
            # Whatever it was, the page can find out by asking.
            self._lost = lost
            waiting.pull = True
        for signal in signals:
            match signal:
                case EventStored():
                    waiting.rows[signal.event_id] = signal
                    waiting.counts = signal
                case DeliveryChanged():
                    waiting.cells[signal.event_id] = signal
                    waiting.events[signal.event_id] = signal
                    waiting.counts = signal
                case EventChanged():
                    waiting.cells[signal.event_id] = signal
                    waiting.counts = signal
                case MessageChanged():
                    waiting.messages[signal.message_id] = signal
                    waiting.counts = signal
                case TunnelChanged():
                    waiting.status = signal
                case Refused():
                    pass

    def wait(self) -> float:
        """Return how many seconds may pass before something is due."""
        due = [self._sent.get(kind, 0.0) + APART for kind in self._kinds()]
        return max(0.0, min(due) - self._clock.monotonic()) if due else SILENCE

    async def frames(self) -> AsyncIterator[bytes]:
        """Give every message that is due now, each as soon as it is drawn, and forget it."""
        now = self._clock.monotonic()
        for kind in self._kinds():
            if now - self._sent.get(kind, -APART) >= APART:
                self._sent[kind] = now
                text = await self._FRAMES[kind](self)
                if text:
                    yield text.encode("utf-8", "backslashreplace")

    def _kinds(self) -> list[str]:
        return [kind for kind in self._FRAMES if getattr(self._waiting, kind)]

    async def _rows_frame(self) -> str:
        waiting, self._waiting.rows = self._waiting.rows, {}
        pull, self._waiting.pull = self._waiting.pull, False
        if self._text is None or not waiting:
            return ""
        if len(waiting) > ROWS or pull:
            return await self._pull(waiting)
        newest = waiting[max(waiting)]
        text = await self._drawings.get(newest, (self._text, *waiting), lambda: self._rows_of(waiting))
        return _frame(text, id_=max(waiting)) if text else ""

    async def _rows_of(self, waiting: dict[int, EventStored]) -> str:
        rows = await self.here.store.events.rows(waiting)
        query = self._query()
        if query.terms and rows:
            ids = [row.id for row in rows]
            page = await self.here.store.events.page(
                query, after=min(ids) - 1, before=max(ids) + 1, limit=len(ids)
            )
            fitting = {row.id for row in page.rows}
            rows = tuple(row for row in rows if row.id in fitting)
        if not rows:
            return ""
        return partial(
            "#rows", "afterbegin", "".join(self._row(row) for row in await gather.rows(self.here, rows))
        )

    async def _pull(self, waiting: dict[int, EventStored]) -> str:
        rows = await self.here.store.events.rows(waiting)
        rejected = sum(row.outcome is EventOutcome.REJECTED for row in rows)
        return _frame(json.dumps({"n": len(waiting), "rejected": rejected}), "event", max(waiting))

    async def _cells_frame(self) -> str:
        waiting, self._waiting.cells = self._waiting.cells, {}
        if self._text is None:
            return ""
        newest = next(reversed(waiting.values()))
        ids = tuple(waiting)
        return _frame(await self._drawings.get(newest, ("cells", *ids), lambda: self._cells_of(ids)))

    async def _cells_of(self, ids: tuple[int, ...]) -> str:
        events = await self.here.store.events.rows(ids)
        text = ""
        for row in await gather.rows(self.here, events):
            cells = self._renderer.part("parts/cells.html", row=row)
            text += cells
        return text

    async def _counts_frame(self) -> str:
        signal, self._waiting.counts = self._waiting.counts, None
        return _frame(await self._drawings.get(signal, ("counts", self._text), self._counts_of))

    async def _counts_of(self) -> str:
        nav = await gather.nav_counts(self.here)
        if self._text is None:
            return self._renderer.part("parts/counts.html", counts=nav, views=())
        views = gather.saved_views(self._text, await self.here.store.events.counts())
        text = self._renderer.part("parts/counts.html", counts=nav, views=views)
        return text + partial(
            "#count", "textContent", lists.escaped(await gather.count_line(self.here, self._query()))
        )

    async def _events_frame(self) -> str:
        waiting, self._waiting.events = self._waiting.events, {}
        return "".join(
            _frame(
                json.dumps({"event": one.event_id, "delivery": one.delivery_id, "state": one.state}),
                "delivery",
            )
            for one in waiting.values()
        )

    async def _messages_frame(self) -> str:
        waiting, self._waiting.messages = self._waiting.messages, {}
        return "".join(
            _frame(
                json.dumps({"message": one.message_id, "event": one.event_id, "status": one.status}),
                "message",
            )
            for one in waiting.values()
        )

    async def _status_frame(self) -> str:
        self._waiting.status = None
        live, setup = self.here.live, self.here.setup
        frame = self._renderer.part(
            "parts/status.html",
            shell=_Frame(
                tunnel=shell.tunnel(live.tunnel, setup.ingress_url),
                banners=shell.banners(live.tunnel, setup.ingress_url, live.down),
            ),
        )
        return _frame(self._status(), "status") + _frame(frame)

    # `rows` first: what a cell belongs to should be there before it.
    _FRAMES: ClassVar = {
        "rows": _rows_frame,
        "cells": _cells_frame,
        "counts": _counts_frame,
        "events": _events_frame,
        "messages": _messages_frame,
        "status": _status_frame,
    }

    def _row(self, row: object) -> str:
        return self._renderer.macro("row", row, lists.suffix(self._text or ""))

    def _query(self) -> Query:
        return parse(self._text, self._clock.now()) if self._text else EVERYTHING

    def _status(self) -> str:
        setup = self.here.setup
        return json.dumps(
            {"boot": setup.boot, "version": setup.version, "tunnel": self.here.live.tunnel.state}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    tunnel: shell.Tunnel
    banners: tuple[shell.Banner, ...]


def _frame(data: str, event: str = "", id_: int | None = None) -> str:
    """Return one message; every kind of line break that a browser knows starts a `data:` line of its own."""
    if not data:
        return ""
    head = (f"id: {id_}\n" if id_ is not None else "") + (f"event: {event}\n" if event else "")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return head + "".join(f"data: {line}\n" for line in lines if line) + "\n"
