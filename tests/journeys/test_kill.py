"""kill -9 in the middle of a burst: nothing that was answered 2xx is lost, nothing shows twice."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

pytestmark = pytest.mark.program

START = [
    "-m",
    "relay",
    "start",
    "--json",
    "--no-tunnel",
    "--ingress",
    "127.0.0.1:auto",
    "--dashboard",
    "127.0.0.1:auto",
]


async def start(folder, *more, **environ):
    relay = await asyncio.create_subprocess_exec(
        sys.executable,
        *START,
        *more,
        cwd=folder,
        env=os.environ | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=2**24,
    )
    async with asyncio.timeout(60):
        return relay, json.loads(await relay.stdout.readline())


async def drain(stream):
    while await stream.read(65536):
        pass


async def burst(url, numbers, answered, enough):
    async def send(session, n):
        body = json.dumps({"n": n, "pad": "x" * 500})
        try:
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                answered[n] = json.loads(await response.read())["event"]
        except (aiohttp.ClientError, ConnectionError):
            return
        if len(answered) >= enough[0]:
            enough[1].set()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:
        await asyncio.gather(*(send(session, n) for n in numbers))


async def stored(ready):
    token = await asyncio.to_thread((Path(ready["data_dir"]) / "token").read_text)
    found, before = {}, ""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token.strip()}"}) as session:
        while before is not None:
            url = f"{ready['dashboard_url']}/api/events?limit=500{before}"
            async with session.get(url) as response:
                page = await response.json()
            for event in page["events"]:
                async with session.get(f"{ready['dashboard_url']}/api/events/{event['id']}/body") as response:
                    found[event["id"]] = json.loads(await response.read())["n"]
            before = f"&before={page['next_before']}" if page["next_before"] else None
    return found


@pytest.mark.slow
async def test_a_burst_cut_off_by_kill_loses_nothing_that_was_answered_and_shows_nothing_twice(tmp_path):
    answered = {}
    for round_ in range(3):
        relay, ready = await start(tmp_path)
        enough = (len(answered) + 120, asyncio.Event())
        numbers = range(round_ * 1000, round_ * 1000 + 400)
        async with asyncio.TaskGroup() as group:
            group.create_task(drain(relay.stdout))
            group.create_task(burst(ready["ingress_url"] + "/webhooks/test", numbers, answered, enough))
            await enough[1].wait()
            relay.send_signal(signal.SIGKILL)
            await relay.wait()
    relay, ready = await start(tmp_path)
    async with asyncio.TaskGroup() as group:
        group.create_task(drain(relay.stdout))
        found = await stored(ready)
        relay.send_signal(signal.SIGINT)
        await relay.wait()
    assert len(answered) >= 360
    assert {n: found.get(id_) for n, id_ in answered.items()} == {n: n for n in answered}
    assert len(set(found.values())) == len(found)
