"""Server-sent events: the loop of both streams, of pages and of the API, and frames drawn once for all viewers."""

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
HEARTBEAT_INTERVAL = 15.0  # seconds after which a comment shows that the stream lives
CACHE_SIZE = 256  # frames kept for the other viewers


def make_frame(data: str, event: str = "", id_: int | None = None) -> bytes:
    """Return one message; every kind of line break that a browser knows starts a `data:` line of its own."""
    if not data:
        return b""
    head = (f"id: {id_}\n" if id_ is not None else "") + (f"event: {event}\n" if event else "")
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = head + "".join(f"data: {line}\n" for line in lines if line) + "\n"
    return text.encode("utf-8", "backslashreplace")


def make_json_frame(event: str, value: object, id_: int | None = None) -> bytes:
    """Return one message of JSON on one line."""
    return make_frame(json.dumps(value, separators=(",", ":")), event, id_)


def make_signal_frame(signal: Signal) -> bytes:
    """Return what both streams say about a delivery, message or run of the lab that changed; b"" for other signals."""
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
    """What one open stream shows."""

    def greet(self) -> AsyncIterator[bytes]:
        """Return what comes first."""
        ...

    def take(self, signals: Iterable[Signal], *, lost: int) -> None:
        """Remember what was signalled; `lost` counts signals that this viewer was too slow for."""
        ...

    def wait(self) -> float:
        """Return how many seconds may pass before something is due; HEARTBEAT_INTERVAL while nothing is."""
        ...

    def frames(self) -> AsyncIterator[bytes]:
        """Return what is due now, and forget it."""
        ...


class EventStreams:
    """The open streams of one kind."""

    def __init__(self, refusal: str) -> None:
        self.cache = FrameCache()
        self._refusal = refusal
        self._viewers: dict[asyncio.Task[Any], web.Request] = {}

    async def serve(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Send a viewer what it shows until it leaves; too many of them are refused."""
        task = asyncio.current_task()
        if task is None or self._count_viewers() >= MAX_VIEWERS:
            return error_response(503, "too_many_viewers", self._refusal, "close one")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        self._viewers[task] = request
        try:
            # Before the answer begins: what a page asks for then is not older than what it is told.
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
        # A viewer that left is noticed at the next write only; walking from page to page leaves many such behind.
        gone = [task for task, request in self._viewers.items() if request.transport is None]
        for task in gone:
            task.cancel()
        return len(self._viewers) - len(gone)

    async def close(self, _: web.Application) -> None:
        """End every stream, so that stopping does not wait for them."""
        for task in tuple(self._viewers):
            task.cancel()


@dataclass(slots=True, eq=False)
class _Frame:
    signal: object
    data: bytes | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class FrameCache:
    """Frames drawn for one viewer and given to the others.

    A key holds the signal itself, so nothing drawn before it was committed can answer for it.
    """

    def __init__(self) -> None:
        self._frames: OrderedDict[tuple[object, ...], _Frame] = OrderedDict()

    async def get(self, signal: object, name: tuple[object, ...], draw: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return what `draw` gives for this very signal, drawing it unless somebody does already."""
        key = (id(signal), *name)
        frame = self._frames.get(key)
        if frame is None or frame.signal is not signal:
            frame = self._frames[key] = _Frame(signal)
            if len(self._frames) > CACHE_SIZE:
                self._frames.popitem(last=False)
        # Where the page that draws is closed, or the store fails, the next one that waits tries again.
        async with frame.lock:
            if frame.data is None:
                frame.data = await draw()
        return frame.data
