"""A target that is away while five hundred events come in and relay is killed twice: each arrives once, in order."""

import asyncio
import json
import signal
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

pytestmark = pytest.mark.program

EVENTS = 500
CONFIG = """
[targets.app]
forward = "http://127.0.0.1:{port}/hooks"
timeout = "5s"
retry = {{ attempts = 2, first = "1s" }}
"""


@pytest.fixture
def kill_journey():
    """The neighbour that starts the real program."""
    spec = spec_from_file_location("kill_journey", Path(__file__).with_name("test_kill.py"))
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


async def send(ready, numbers):
    async with aiohttp.ClientSession() as session:
        for n in numbers:
            async with session.post(ready["ingress_url"] + "/webhooks/test", json={"n": n}) as response:
                assert response.status == 200


async def listening(port, got, all_there):
    async def handle(request):
        got.append(json.loads(await request.read())["n"])
        if len(got) == EVENTS:
            all_there.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/hooks", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner


@pytest.mark.slow
async def test_an_outage_and_two_kills_lose_nothing_double_nothing_and_keep_the_order(
    tmp_path, unused_tcp_port, kill_journey
):
    (tmp_path / "relay.toml").write_text(CONFIG.format(port=unused_tcp_port))
    got = []
    async with asyncio.TaskGroup() as group:
        for numbers in (range(200), range(200, 400)):
            relay, ready = await kill_journey.start(tmp_path)
            group.create_task(kill_journey.drain(relay.stdout))
            await send(ready, numbers)
            relay.send_signal(signal.SIGKILL)
            await relay.wait()
        relay, ready = await kill_journey.start(tmp_path)
        group.create_task(kill_journey.drain(relay.stdout))
        await send(ready, range(400, EVENTS))
        token = (Path(ready["data_dir"]) / "token").read_text().strip()
        all_there = asyncio.Event()
        target = await listening(unused_tcp_port, got, all_there)
        async with asyncio.timeout(60):
            await all_there.wait()
        await asyncio.sleep(0.3)  # for what would come twice
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(ready["dashboard_url"] + "/api/status") as response,
        ):
            status = await response.json()
        relay.send_signal(signal.SIGINT)
        await relay.wait()
        await target.cleanup()
    assert got == list(range(EVENTS))
    assert (status["queue"]["succeeded"], status["queue"]["pending"]) == (EVENTS, 0)
    assert status["targets"][0]["state"] == "up"
