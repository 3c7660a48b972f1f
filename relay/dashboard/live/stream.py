"""The live stream of the dashboard: rows and results as HTML for every page that is open."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import field
from typing import ClassVar

from aiohttp import web

from relay.dashboard.filters import build_url
from relay.dashboard.live.renderer import MAX_ROWS, SseRenderer, make_data_frame
from relay.http.event_stream import HEARTBEAT_INTERVAL, EventStreams
from relay.http.params import parse_whole_number
from relay.model.signals import (
    DeliveryChanged,
    EventChanged,
    EventStored,
    HandlersChanged,
    LabChanged,
    MessageChanged,
    RequestRefused,
    Signal,
    StoreChanged,
    TargetChanged,
    TunnelChanged,
    VaultChanged,
)
from relay.model.values import dataclass

MIN_INTERVAL = 0.25  # seconds between two messages of a kind
_CALM = 0.02  # seconds without an event after which one that comes alone is sent at once
RETRY_FRAME = b"retry: 500\n"
_NO_EVENT = 2**62

PAGE_STREAMS: web.AppKey[EventStreams] = web.AppKey("page_streams", EventStreams)


async def stream_updates(request: web.Request) -> web.StreamResponse:
    """GET /stream?q=: server-sent events for this dashboard's pages; `id` is the newest event, and resumes.

    The page of deliveries asks with `of=deliveries`, and names the newest it shows as `top`.
    """
    return await request.app[PAGE_STREAMS].serve(request, PageViewer(request))


@dataclass(slots=True)
class _PendingUpdates:
    """What has gathered since it was last sent, the newest signal for each thing."""

    rows: dict[int, EventStored] = field(default_factory=dict)
    cells: dict[int, Signal] = field(default_factory=dict)
    deliveries: dict[int, DeliveryChanged] = field(default_factory=dict)
    messages: dict[int, MessageChanged] = field(default_factory=dict)
    lines: dict[int, DeliveryChanged] = field(default_factory=dict)
    banners: Signal | None = None
    labs: dict[int, LabChanged] = field(default_factory=dict)
    counts: Signal | None = None
    status: Signal | None = None
    lost: int = 0


class PageViewer:
    """One open page: what it waits for, and when it may next be sent."""

    def __init__(self, request: web.Request) -> None:
        self.drawer = SseRenderer(request, request.query.get("q"))
        self._clock = self.drawer.relay.clock
        self._drawings = request.app[PAGE_STREAMS].cache
        self._last_seen = parse_whole_number(request.headers, "Last-Event-ID")
        self._waiting = _PendingUpdates()
        # The page of deliveries says which is the newest it shows, and where it would show what is newer.
        self._lined = request.query.get("of") == "deliveries"
        top = parse_whole_number(request.query, "top")
        self._top = _NO_EVENT if top is None else top
        self._newest = build_url("/deliveries", state=request.query.get("state"))
        self._fresh: set[int] = set()
        self._sent: dict[str, float] = {}
        self._arrived = 0.0
        self._lost = 0

    @property
    def _listed(self) -> bool:
        return self.drawer.text is not None

    async def greet(self) -> AsyncIterator[bytes]:
        """Give who answers, what came while the viewer was away, and the newest rows as they are.

        No signal says what changed since the page was rendered.
        """
        yield RETRY_FRAME + self.drawer.status()
        await self.drawer.prepare()
        if self._listed and self._last_seen is not None:
            yield await self.drawer.missed(self._last_seen)
        if self._listed or self._lined:
            yield await self.drawer.newest(lined=self._lined)

    def take(self, signals: Iterable[Signal], *, lost: int) -> None:
        """Remember what was signalled; `lost` counts signals that this viewer was too slow for."""
        waiting = self._waiting
        waiting.lost, self._lost = waiting.lost + lost - self._lost, lost
        for signal in signals:
            match signal:
                case EventStored(id_):
                    now = self._clock.monotonic()
                    if not waiting.rows and now - self._arrived >= _CALM:
                        self._sent.pop("rows", None)
                    self._arrived, waiting.rows[id_] = now, signal
                case DeliveryChanged(event_id=id_):
                    waiting.cells[id_] = waiting.deliveries[id_] = signal
                case EventChanged(id_):
                    waiting.cells[id_] = signal
                case MessageChanged(id_):
                    waiting.messages[id_] = signal
                case TunnelChanged() | HandlersChanged() | VaultChanged() | StoreChanged():
                    waiting.status = signal
                    continue
                case LabChanged(id_):
                    waiting.labs[id_] = signal
                    continue
                case RequestRefused():
                    continue
            waiting.counts = signal
            self._note(signal)

    def _note(self, signal: Signal) -> None:
        if self._lined and isinstance(signal, DeliveryChanged):
            self._waiting.lines[signal.delivery_id] = signal
        if isinstance(signal, TargetChanged) or self.drawer.relay.state.down:
            self._waiting.banners = signal

    def wait(self) -> float:
        """Return how many seconds may pass before something is due."""
        due = [self._next_at(kind) for kind in self._kinds()]
        return max(0.0, min(due) - self._clock.monotonic()) if due else HEARTBEAT_INTERVAL

    def _next_at(self, kind: str) -> float:
        # At the same moments for every viewer, so that what one of them draws is what the others need.
        return (self._sent.get(kind, -MIN_INTERVAL) // MIN_INTERVAL + 1) * MIN_INTERVAL

    async def frames(self) -> AsyncIterator[bytes]:
        """Give every message that is due now, each as soon as it is drawn, and forget it."""
        now = self._clock.monotonic()
        for kind in self._kinds():
            if now >= self._next_at(kind):
                self._sent[kind] = now
                frame = await self._FRAMES[kind](self)
                if frame:
                    yield frame

    def _kinds(self) -> list[str]:
        return [kind for kind in self._FRAMES if getattr(self._waiting, kind)]

    async def _rows(self) -> bytes:
        waiting, self._waiting.rows = self._waiting.rows, {}
        if not self._listed:
            return b""
        name = ("rows", self.drawer.text, *waiting)
        draw = self.drawer.render_crowd if len(waiting) > MAX_ROWS else self.drawer.rows
        return await self._drawings.get(waiting[max(waiting)], name, lambda: draw(waiting))

    async def _refresh_rows(self) -> bytes:
        # Whatever was lost, the page can find out by asking.
        count, self._waiting.lost = self._waiting.lost, 0
        return make_data_frame("event", {"n": count, "rejected": 0}) if self._listed else b""

    async def _cells(self) -> bytes:
        waiting, self._waiting.cells = self._waiting.cells, {}
        if not self._listed:
            return b""
        newest = next(reversed(waiting.values()))
        return await self._drawings.get(newest, ("cells", *waiting), lambda: self.drawer.cells(waiting))

    async def _counts(self) -> bytes:
        signal, self._waiting.counts = self._waiting.counts, None
        return await self._drawings.get(signal, ("counts", self.drawer.text), self.drawer.counts)

    async def _banners(self) -> bytes:
        signal, self._waiting.banners = self._waiting.banners, None
        return await self._drawings.get(signal, ("banners",), self.drawer.banners)

    async def _lines(self) -> bytes:
        waiting, self._waiting.lines = self._waiting.lines, {}
        fresh = [id_ for id_ in waiting if id_ > self._top]
        if fresh:
            found = await self.drawer.relay.store.deliveries.rows(fresh)
            self._fresh |= {one.id for one in found if one.lab is None}
        newest = next(reversed(waiting.values()))
        drawn = await self._drawings.get(newest, ("lines", *waiting), lambda: self.drawer.lines(waiting))
        return drawn + self.drawer.fresh(len(self._fresh), self._newest)

    async def _deliveries(self) -> bytes:
        waiting, self._waiting.deliveries = self._waiting.deliveries, {}
        return b"".join(
            make_data_frame("delivery", {"event": one.event_id, "delivery": one.delivery_id, "state": one.state})
            for one in waiting.values()
        )

    async def _messages(self) -> bytes:
        waiting, self._waiting.messages = self._waiting.messages, {}
        return b"".join(
            make_data_frame("message", {"message": one.message_id, "event": one.event_id, "status": one.status})
            for one in waiting.values()
        )

    async def _labs(self) -> bytes:
        waiting, self._waiting.labs = self._waiting.labs, {}
        return b"".join(make_data_frame("lab", {"lab": one.run_id, "state": one.state}) for one in waiting.values())

    async def _status(self) -> bytes:
        self._waiting.status = None
        return self.drawer.status() + await self.drawer.around()

    # `rows` first: what a cell belongs to should be there before it.
    _FRAMES: ClassVar = {
        "rows": _rows,
        "lost": _refresh_rows,
        "cells": _cells,
        "counts": _counts,
        "banners": _banners,
        "lines": _lines,
        "deliveries": _deliveries,
        "messages": _messages,
        "labs": _labs,
        "status": _status,
    }
