"""Handlers files written by the test, run in this process or in one of their own."""

import asyncio
import inspect
import itertools
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from builders import build_capture
from relay.handlers import Event, load_handlers
from relay.handlers.environment import HandlerOptions
from relay.handlers.event import EventMetadata
from relay.handlers.worker import WorkerPool
from relay.model.event import Verdict
from relay.platform import SystemClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEAD = "import relay\nfrom relay import Event, Failed, Retry, on, use\n"


@pytest.fixture
def write(tmp_path):
    """Write a file of the project, the decorators imported above it."""

    def go(text, name="handlers.py", head=HEAD) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + dedent(text), encoding="utf-8")
        return path

    return go


_number = itertools.count()


@pytest.fixture
def loaded(write):
    """Load a handlers file in this process, under a name of its own, as an app would that has no relay."""
    return lambda text: load_handlers(write(text, f"handlers_{next(_number)}.py"))


@pytest.fixture
def event():
    return lambda **fields: Event(**{"source": "stripe", "type": "invoice.paid"} | fields)


@pytest.fixture
def crew(tmp_path):
    """Open the processes of a handlers file; each event runs in one of them."""

    @asynccontextmanager
    async def opened(name="handlers.py", seconds=60, **more):
        options = HandlerOptions(
            target="app", path=tmp_path / name, folder=tmp_path, timeout=seconds, environ=dict(os.environ), **more
        )
        made = WorkerPool(options, SystemClock())
        try:
            yield made
        finally:
            await made.close()

    return opened


@pytest.fixture
def run():
    """Run an event with a crew."""

    async def go(crew, body=b"{}", type_="invoice.paid", source="stripe", headers=(), **more):
        capture = build_capture(
            source, headers=(("Content-Type", "application/json"), *headers), body=body, received_at=NOW
        )
        known = {"verdict": Verdict.VERIFIED, "id": 42, "provider": source} | more
        return await crew.run(capture, EventMetadata(type=type_, **known))

    return go


@pytest.fixture
def eventually():
    """Wait until something holds."""

    async def go(holds, within=60):
        async with asyncio.timeout(within):
            while True:
                held = holds()
                if await held if inspect.isawaitable(held) else held:
                    return
                await asyncio.sleep(0.01)

    return go
