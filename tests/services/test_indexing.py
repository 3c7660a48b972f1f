"""How the full-text index gives way to what comes in."""

import asyncio

import pytest

from relay.model.signals import EventChanged
from relay.platform import SystemClock


class PausesOfIndexing(SystemClock):
    """The machine's clock, on which indexing waits for `goes` alone; `coming` signals come in each of its pauses."""

    def __init__(self, coming):
        self.coming = coming
        self.goes = asyncio.Event()
        self.bus = None
        self.pauses = []

    async def sleep(self, seconds):
        if asyncio.current_task().get_name() != "index":
            await super().sleep(seconds)
            return
        self.pauses.append(seconds)
        await self.goes.wait()
        for _ in range(self.coming if len(self.pauses) < 15 else 0):
            self.bus.publish(EventChanged(1))


@pytest.mark.parametrize(
    ("coming", "expected"),
    [
        pytest.param(20, [0.05, 0.5], id="some come: half a second between two batches"),
        pytest.param(600, [0.05, *[0.5] * 10], id="a flood: no batch for five seconds"),
    ],
)
async def test_indexing_gives_way_to_what_comes_in(start, until, coming, expected):
    clock = PausesOfIndexing(coming)
    at = await start(clock=clock)
    clock.bus = at.relay.bus
    clock.bus.publish(EventChanged(1))
    await until(lambda: clock.pauses)
    await at.send("/webhooks/shop", data=b'{"id": 1}')
    clock.goes.set()
    await until(lambda: len(clock.pauses) >= len(expected))
    assert clock.pauses[: len(expected)] == expected
    _, found = await at.api("/api/events?q=shop")
    assert [event["id"] for event in found["events"]] == [1]
