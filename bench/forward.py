"""What forwarding costs, as ratios in one run: `python bench/forward.py`.

relay delivers events that wait for a target (claimed, sent, the attempt committed with synchronous=FULL), beside
a bare aiohttp client that posts the same bytes to the same target as often at once and keeps nothing. Then relay
is idle but for one webhook at a time: from its first byte sent to the target having read it.
"""

import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web
from load import BODY

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
EVENTS = int(os.environ.get("BENCH_EVENTS", "1500"))
AT_ONCE = 16
PROBES = 300
CONFIG = """
[targets.app]
forward = "http://127.0.0.1:{port}/hooks"
concurrency = {at_once}
"""


class Target:
    """An app that reads and answers 200; counts, and says when each request was read."""

    def __init__(self) -> None:
        self.read_at: list[float] = []
        self.enough = asyncio.Event()
        self.wanted = 0

    async def handle(self, request: web.Request) -> web.Response:
        await request.read()
        self.read_at.append(time.perf_counter())
        if len(self.read_at) >= self.wanted:
            self.enough.set()
        return web.Response()

    def expect(self, count: int) -> None:
        self.read_at.clear()
        self.enough.clear()
        self.wanted = count


async def serve(target: Target, port: int = 0) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_post("/hooks", target.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, runner.addresses[0][1]


def relay(folder: Path) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "start", "--json", "--no-tunnel"]
        + ["--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"],
        cwd=folder,
        stdout=(folder / "out").open("wb"),
        stderr=subprocess.DEVNULL,
    )
    while not (ready := (folder / "out").read_text().partition("\n")[0]):
        time.sleep(0.01)
    return process, json.loads(ready)


async def fill(url: str, count: int) -> None:
    """Send events, a few at once."""
    numbers = iter(range(count))

    async def send(session: aiohttp.ClientSession) -> None:
        for _ in numbers:
            async with session.post(url, data=BODY, headers={"Content-Type": "application/json"}) as answer:
                assert answer.status == 200, answer.status

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(send(session) for _ in range(AT_ONCE)))


async def bare(port: int, target: Target) -> float:
    """Return how many requests a second a bare client makes."""
    target.expect(EVENTS)
    began = time.perf_counter()
    await fill(f"http://127.0.0.1:{port}/hooks", EVENTS)
    return EVENTS / (time.perf_counter() - began)


async def replayed(ready: dict[str, str], target: Target) -> float:
    """Return how many deliveries a second relay makes of events that are retried together."""
    token = (Path(ready["data_dir"]) / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    target.expect(EVENTS)
    async with aiohttp.ClientSession(headers=headers) as session:
        url = f"{ready['dashboard_url']}/api/deliveries/retry"
        async with session.post(url, json={"state": "succeeded"}) as answer:
            assert (await answer.json())["retried"] >= EVENTS
    began = time.perf_counter()
    await target.enough.wait()
    rate = EVENTS / (time.perf_counter() - began)
    await asyncio.sleep(1.0)
    return rate


async def idle(ready: dict[str, str], target: Target) -> list[float]:
    """Return the milliseconds from sending a webhook to the target having read it."""
    took = []
    async with aiohttp.ClientSession() as session:
        for _ in range(PROBES):
            target.expect(1)
            began = time.perf_counter()
            async with session.post(ready["ingress_url"] + "/webhooks/plain", data=BODY) as answer:
                await answer.read()
            await target.enough.wait()
            took.append((target.read_at[0] - began) * 1000)
            await asyncio.sleep(0.005)
    return sorted(took)


async def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    target = Target()
    runner, port = await serve(target)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "relay.toml").write_text(CONFIG.format(port=port, at_once=AT_ONCE))
        process, ready = await asyncio.to_thread(relay, Path(folder))
        try:
            took = await idle(ready, target)
            target.expect(EVENTS)
            await fill(ready["ingress_url"] + "/webhooks/plain", EVENTS)
            await target.enough.wait()
            await asyncio.sleep(2.0)
            pairs = [(await bare(port, target), await replayed(ready, target)) for _ in range(ROUNDS)]
        finally:
            process.terminate()
            process.wait(20)
    plain, ours = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    print(f"{AT_ONCE} at once: bare client {plain:.0f}/s, relay {ours:.0f}/s, ratio {ours / plain:.2f}")
    print(
        f"webhook sent to target having read it, idle, {PROBES} times: "
        f"p50 {took[PROBES // 2]:.1f} ms, p99 {took[int(PROBES * 0.99)]:.1f} ms"
    )
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
