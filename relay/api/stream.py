"""The stream for programs: `/api/stream`, server-sent events with JSON on one line each."""

import asyncio
import json
from typing import Any

from aiohttp import web

from relay.api.events import serialize_event_row
from relay.api.resource import Json
from relay.http.context import get_relay
from relay.http.responses import error_response
from relay.model.signals import (
    DeliveryChanged,
    EventStored,
    LabChanged,
    MessageChanged,
    Signal,
    TunnelChanged,
    VaultChanged,
)
from relay.services.relay import RunningRelay
from relay.store.deliveries import count_states

MAX_VIEWERS = 64
HEARTBEAT_INTERVAL = 15.0  # seconds after which a comment shows that the stream lives
_MAX_RESUMED = 500

API_VIEWERS = web.AppKey("feed_viewers", set[asyncio.Task[Any]])


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream `event`, `delivery`, `message`, `lab` and `status` as server-sent events; resumes with Last-Event-ID."""
    relay = get_relay(request)
    viewers = request.app[API_VIEWERS]
    task = asyncio.current_task()
    if len(viewers) >= MAX_VIEWERS or task is None:
        return error_response(503, "too_many_viewers", "too many streams are open", "close one")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    viewers.add(task)
    try:
        await response.prepare(request)
        with relay.bus.subscribe() as listening:
            await response.write(_make_frame("status", _make_status_frame(relay)))
            await response.write(await _load_missed(relay, request.headers.get("Last-Event-ID", "")))
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_INTERVAL):
                        signals = await listening.next()
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                await response.write(await _make_frames(relay, signals))
    except ConnectionError:
        return response
    finally:
        viewers.discard(task)


async def close_api_streams(app: web.Application) -> None:
    """End every stream, so that stopping does not wait for them."""
    viewers = app[API_VIEWERS]
    for task in tuple(viewers):
        task.cancel()


async def _load_missed(relay: RunningRelay, last: str) -> bytes:
    if not (last.isascii() and last.isdigit()) or len(last) > 18:
        return b""
    page = await relay.store.events.page(after=int(last), limit=_MAX_RESUMED)
    return await _make_frames(relay, tuple(EventStored(row.id) for row in reversed(page.rows)))


async def _make_frames(relay: RunningRelay, signals: tuple[Signal, ...]) -> bytes:
    stored = [signal.event_id for signal in signals if isinstance(signal, EventStored)]
    rows = {row.id: row for row in await relay.store.events.rows(stored)} if stored else {}
    made = await relay.store.deliveries.of_events(rows) if rows else {}
    frames: list[bytes] = []
    for signal in signals:
        match signal:
            case EventStored(event_id=id_) if id_ in rows:
                frames.append(_make_frame("event", serialize_event_row(rows[id_], count_states(made[id_])), id_))
            case DeliveryChanged():
                plain = {"delivery": signal.delivery_id, "event": signal.event_id, "state": signal.state}
                frames.append(_make_frame("delivery", plain))
            case MessageChanged():
                plain = {"message": signal.message_id, "event": signal.event_id, "status": signal.status}
                frames.append(_make_frame("message", plain))
            case LabChanged():
                frames.append(_make_frame("lab", {"lab": signal.run_id, "state": signal.state}))
            case TunnelChanged() | VaultChanged():
                frames.append(_make_frame("status", _make_status_frame(relay)))
            case _:
                continue
    return b"".join(frames)


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


def _make_frame(name: str, value: object, id_: int | None = None) -> bytes:
    # ASCII JSON holds no line break of any kind, so nothing captured can start a frame of its own.
    text = json.dumps(value, separators=(",", ":"))
    head = f"id: {id_}\n" if id_ is not None else ""
    return f"{head}event: {name}\ndata: {text}\n\n".encode("ascii")
