"""The stream for programs: `/api/stream`, server-sent events with JSON on one line each."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from relay.api.resource import ApiRoute
from relay.http.event_stream import HEARTBEAT_INTERVAL, EventStreams, make_json_frame, make_signal_frame
from relay.http.responses import get_relay
from relay.model.event import EventRow
from relay.model.event_json import Json, serialize_event_row
from relay.model.parameters import parse_whole_number
from relay.model.signals import EventStored, Signal, TunnelChanged, VaultChanged
from relay.services.relay import RunningRelay
from relay.store.deliveries import count_states

_AT_ONCE = 500  # events that are read from the store at once

API_STREAMS: web.AppKey[EventStreams] = web.AppKey("api_streams", EventStreams)


@ApiRoute("GET", "/api/stream", {200: "text/event-stream"})
async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream `event`, `delivery`, `message`, `lab` and `status` as server-sent events; resumes with Last-Event-ID."""
    return await request.app[API_STREAMS].serve(request, _ApiViewer(request))


class _ApiViewer:
    """One program that listens. It gets every event in order: what its queue lost comes from the store."""

    def __init__(self, request: web.Request) -> None:
        self._relay: RunningRelay = get_relay(request)
        self._cache = request.app[API_STREAMS].cache
        self._last = parse_whole_number(request.headers, "Last-Event-ID")
        self._signals: list[Signal] = []
        self._sent = 0  # the number of the newest event that was sent, or was there before
        self._caught_up = 0  # the number up to which events came from the store
        self._lost, self._is_behind = 0, False

    async def greet(self) -> AsyncIterator[bytes]:
        newest = await self._find_newest()
        self._sent = newest if self._last is None else min(self._last, newest)
        yield make_json_frame("status", _make_status_frame(self._relay))
        if self._last is not None:
            async for frame in self._catch_up():
                yield frame

    async def _catch_up(self) -> AsyncIterator[bytes]:
        """Give the events behind the newest that was sent, oldest first."""
        newest = await self._find_newest()
        while self._sent < newest:
            top = min(self._sent + _AT_ONCE, newest)
            page = await self._relay.store.events.page(after=self._sent, before=top + 1, limit=_AT_ONCE)
            rows = await self._load_events(row.id for row in page.rows)
            self._sent = self._caught_up = top
            if rows:
                yield b"".join(_make_event_frame(row, counts) for row, counts in reversed(rows.values()))

    async def _find_newest(self) -> int:
        rows = (await self._relay.store.events.page(limit=1)).rows
        return rows[0].id if rows else 0

    def take(self, signals: Iterable[Signal], *, lost: int) -> None:
        self._is_behind = self._is_behind or lost > self._lost
        self._lost = lost
        self._signals += signals

    def wait(self) -> float:
        return HEARTBEAT_INTERVAL

    async def frames(self) -> AsyncIterator[bytes]:
        if self._is_behind:
            self._is_behind = False
            async for frame in self._catch_up():
                yield frame
        signals, self._signals = self._signals, []
        new = [one.event_id for one in signals if isinstance(one, EventStored)]
        signals = [one for one in signals if not isinstance(one, EventStored) or one.event_id > self._caught_up]
        self._sent = max([self._sent, *new])
        named = [one.event_id for one in signals if isinstance(one, EventStored) and one.build_row is None]
        rows = await self._load_events(named) if named else {}
        frames = [await self._frame(signal, rows) for signal in signals]
        if any(frames):
            yield b"".join(frames)

    async def _load_events(self, ids: Iterable[int]) -> dict[int, tuple[EventRow, Counter[str]]]:
        """Return events with where their deliveries stand, newest first."""
        rows = await self._relay.store.events.rows(ids)
        made = await self._relay.store.deliveries.of_events(row.id for row in rows)
        return {row.id: (row, count_states(made[row.id])) for row in rows}

    async def _frame(self, signal: Signal, rows: dict[int, tuple[EventRow, Counter[str]]]) -> bytes:
        match signal:
            case EventStored(build_row=None, event_id=id_):
                return _make_event_frame(*rows[id_]) if id_ in rows else b""
            case EventStored():
                return await self._cache.get(signal, (), lambda: _draw_stored(signal))
            case TunnelChanged() | VaultChanged():
                return make_json_frame("status", _make_status_frame(self._relay))
        return make_signal_frame(signal)


async def _draw_stored(signal: EventStored) -> bytes:
    assert signal.build_row is not None
    return _make_event_frame(signal.build_row(), Counter(pending=len(signal.deliveries)))


def _make_event_frame(row: EventRow, counts: Counter[str]) -> bytes:
    return make_json_frame("event", serialize_event_row(row, counts), row.id)


def _make_status_frame(relay: RunningRelay) -> Json:
    tunnel = relay.state.tunnel
    return {
        "boot": relay.boot_id,
        "version": relay.version,
        "tunnel": tunnel.state,
        "public_url": relay.state.public_url,
        "detail": tunnel.detail,
        "vault": relay.vault.status.state,
    }
