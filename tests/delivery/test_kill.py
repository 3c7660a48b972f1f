import asyncio
import os
import signal
import subprocess
import sys

import pytest

from relay.model.delivery import DeliveryState

# One relay's worth of engine in a process of its own: it owes an event to `url` and delivers it.
CHILD = """
import asyncio, importlib.util, pathlib, sys

spec = importlib.util.spec_from_file_location("world", sys.argv[1])
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)


class Elsewhere:
    url = sys.argv[3]


async def main():
    async with made.make_world(pathlib.Path(sys.argv[2]), Elsewhere)() as it:
        await it.event("app", body=b"kept")
        async with it.running():
            await asyncio.sleep(60)


asyncio.run(main())
"""


@pytest.mark.program
async def test_an_engine_that_is_killed_between_and_in_attempts_loses_nothing(
    world, app, eventually, tmp_path, request
):
    app.answers = [500]
    here = request.path.with_name("conftest.py")
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        str(here),
        str(tmp_path),
        app.url,
        env=os.environ | {"PYTHONPATH": str(here.parents[1])},  # where conftest.py finds the builders
        stderr=subprocess.PIPE,
    )
    try:
        await eventually(lambda: len(app.got) == 1, within=60)
        app.gate.clear()
        await eventually(lambda: app.at_once == 1)
    finally:
        child.send_signal(signal.SIGKILL)
        _, errors = await child.communicate()
    assert errors == b""
    app.gate.set()
    async with world() as it:
        left = await it.store.deliveries.get(1)
        assert (left.state, left.attempts, left.detail) == (DeliveryState.RUNNING, 1, "500")
        async with it.running():
            delivery = await it.settled(1)
        attempts = await it.store.deliveries.attempts(1)
    assert delivery.state == "succeeded"
    assert [attempt.detail for attempt in attempts] == ["500", "200"]
    assert set(app.bodies) == {b"kept"}
