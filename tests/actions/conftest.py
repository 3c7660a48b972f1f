import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from builders import build_capture, build_delivery, build_event
from relay.actions.egress import EgressRules
from relay.actions.forward import ForwardAction
from relay.model.delivery import Delivery, DeliveryState
from relay.model.event import CapturedEvent
from relay.platform import SystemClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class RawServer:
    """Keeps every byte it is sent; answers each connection's request with what `say` writes."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def only(self) -> bytes:
        (request,) = self.received
        return request

    @property
    def head(self) -> list[bytes]:
        return self.only.partition(b"\r\n\r\n")[0].split(b"\r\n")

    @property
    def body(self) -> bytes:
        return self.only.partition(b"\r\n\r\n")[2]


Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def raw_server():
    return _raw_server


@asynccontextmanager
async def _raw_server(answer: bytes | Say = OK) -> AsyncIterator[RawServer]:
    kept = RawServer(0)
    talks: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        # A cancelled talk ends quietly: asyncio's streams print a traceback for any other way.
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                sizes = re.findall(rb"(?i)\ncontent-length: (\d+)\r", head)
                kept.received.append(head + await reader.readexactly(int(sizes[0]) if sizes else 0))
                if not isinstance(answer, bytes):
                    await answer(writer)
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=2**20)
    kept.port = server.sockets[0].getsockname()[1]
    try:
        yield kept
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@pytest.fixture
def make_event():
    return _event


def _event(**changes) -> CapturedEvent:
    headers = (("Host", "hooks.example"), ("Content-Type", "application/json"), ("Content-Length", "2"))
    fields: dict[str, Any] = {"headers": headers, "remote": "203.0.113.7", "received_at": NOW}
    capture = build_capture(**fields | changes)
    return build_event(capture, id=42, provider="stripe", type="invoice.paid", idempotency_key="evt_1", received_at=NOW)


@pytest.fixture
def make_delivery():
    return _delivery


def _delivery(**fields) -> Delivery:
    running = {"id": 7, "event_id": 42, "state": DeliveryState.RUNNING, "created_at": NOW, "due_at": NOW}
    return build_delivery(**running | fields)


def _as_received(event, capture, mode):
    return capture, ()


@pytest.fixture
def forwarding():
    return _forwarding


@asynccontextmanager
async def _forwarding(rules=EgressRules, signer=_as_received, **more) -> AsyncIterator[ForwardAction]:
    def rules_of(typed: bool) -> EgressRules:
        return rules(typed=typed)

    async with ForwardAction(
        rules=rules_of, signer=signer, find_source=lambda _: None, clock=SystemClock(), **more
    ) as action:
        yield action
