"""Server-sent events: the loop of the streams of pages and API, and frames rendered once for all viewers."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import field
from typing import Any, Protocol

from aiohttp import web

from relay.http.responses import error_response, get_relay
from relay.model.signals import DeliveryChanged, LabChanged, MessageChanged, Signal
from relay.model.values import dataclass

MAX_VIEWERS = 64
HEARTBEAT_INTERVAL = 15.0  # seconds after which a comment keeps the stream alive
CACHE_SIZE = 256  # frames cached for other viewers


def make_frame(data: str, event: str = "", id_: int | None = None) -> bytes:
    """Return a message; each kind of line break that browsers know starts a new `data:` line."""
    if not data:
        return b""
    head = (f"id: {id_}\n" if id_ is not None else "") + (f"event: {event}\n" if event else "")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = head + "".join(f"data: {line}\n" for line in lines if line) + "\n"
    return text.encode("utf-8", "backslashreplace")


def make_json_frame(event: str, value: object, id_: int | None = None) -> bytes:
    """Return a message of JSON on one line."""
    return make_frame(json.dumps(value, separators=(",", ":")), event, id_)


def make_signal_frame(signal: Signal) -> bytes:
    """Return the frame for a changed delivery, message or lab run, the same for both streams; b"" for other signals."""
    match signal:
        case DeliveryChanged():
            plain = {"delivery": signal.delivery_id, "event": signal.event_id, "state": signal.state}
            return make_json_frame("delivery", plain)
        case MessageChanged():
            plain = {"message": signal.message_id, "event": signal.event_id, "status": signal.status}
            return make_json_frame("message", plain)
        case LabChanged():
            return make_json_frame("lab", {"lab": signal.run_id, "state": signal.state})
    return b""


class Viewer(Protocol):
    """The viewer of an open stream."""

    def greet(self) -> AsyncIterator[bytes]:
        """Return the first frames."""
        ...

    def take(self, signals: Iterable[Signal], *, lost: int) -> None:
        """Queue signals; `lost` counts signals dropped because this viewer was too slow."""
        ...

    def wait(self) -> float:
        """Return the seconds until the next frame is due; HEARTBEAT_INTERVAL if none is."""
        ...

    def frames(self) -> AsyncIterator[bytes]:
        """Return the frames that are due, and remove them."""
        ...


class EventStreams:
    """The open streams of a kind."""

    def __init__(self, refusal: str) -> None:
        self.cache = FrameCache()
        self._refusal = refusal
        self._viewers: dict[asyncio.Task[Any], web.Request] = {}

    async def serve(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Send frames to a viewer until it disconnects; refuses too many viewers."""
        task = asyncio.current_task()
        if task is None or self._count_viewers() >= MAX_VIEWERS:
            return error_response(503, "too_many_viewers", self._refusal, "close one")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        self._viewers[task] = request
        try:
            # Before the response starts, so that later requests of the page are not older than its stream.
            with get_relay(request).bus.subscribe() as listening:
                await response.prepare(request)
                async for frame in viewer.greet():
                    await response.write(frame)
                while True:
                    wait = viewer.wait()
                    try:
                        async with asyncio.timeout(wait):
                            viewer.take(await listening.next(), lost=listening.lost)
                    except TimeoutError:
                        if wait == HEARTBEAT_INTERVAL:
                            await response.write(b": still here\n\n")
                    async for frame in viewer.frames():
                        await response.write(frame)
        except ConnectionError:
            return response
        finally:
            self._viewers.pop(task, None)

    def _count_viewers(self) -> int:
        # A closed stream is noticed only at the next write; changing pages leaves many of them.
        gone = [task for task, request in self._viewers.items() if request.transport is None]
        for task in gone:
            task.cancel()
        return len(self._viewers) - len(gone)

    async def close(self, _: web.Application) -> None:
        """End all streams, so that shutdown does not wait for them."""
        for task in tuple(self._viewers):
            task.cancel()


@dataclass(slots=True, eq=False)
class _Frame:
    signal: object
    data: bytes | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class FrameCache:
    """Caches frames rendered for one viewer for the others.

    The key contains the signal itself, so a frame rendered before its commit is never used.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[object, ...], _Frame] = OrderedDict()

    async def get(self, signal: object, name: tuple[object, ...], draw: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the result of `draw` for this signal, rendered once."""
        key = (id(signal), *name)
        frame = self._frames.get(key)
        if frame is None or frame.signal is not signal:
            frame = self._frames[key] = _Frame(signal)
            if len(self._frames) > CACHE_SIZE:
                self._frames.popitem(last=False)
        # If the rendering page is closed, or the store fails, the next waiting one tries again.
        async with frame.lock:
            if frame.data is None:
                frame.data = await draw()
        return frame.data
