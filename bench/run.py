"""What relay costs, as ratios in one run: `make bench`.

relay (verified, routed, committed with synchronous=FULL) stands beside a bare aiohttp receiver that stores
nothing; both are loaded in turn by the same generator in another process. The route leads to a target that
does not answer, so what is measured is capture: the queue grows, nothing is sent.
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
import urllib.request
from pathlib import Path

import aiohttp

HERE = Path(__file__).parent
ROUNDS = 3
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
CONNECTIONS = (1, 16, 64)
VIEWERS = 50
CONFIG = """
[sources.github]
secret = "env:GITHUB_WEBHOOK_SECRET"
[targets.app]
forward = "http://127.0.0.1:9/hooks"
[[routes]]
source = "github"
events = ["push"]
to = ["app"]
"""


def start_relay(folder: Path) -> tuple[subprocess.Popen[bytes], dict[str, str], float]:
    (folder / "relay.toml").write_text(CONFIG)
    began = time.perf_counter()
    relay = subprocess.Popen(
        [sys.executable, "-m", "relay", "start", "--no-tunnel"]
        + ["--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"],
        cwd=folder,
        env=os.environ | {"GITHUB_WEBHOOK_SECRET": "bench-secret"},
        stdout=(folder / "out").open("wb"),
        stderr=subprocess.DEVNULL,
    )
    running = folder / ".relay/running.json"
    while not running.exists():
        assert relay.poll() is None, "relay did not start"
        time.sleep(0.002)
    took = time.perf_counter() - began
    return relay, json.loads(running.read_text()) | {"data_dir": str(folder / ".relay")}, took


def start_bare() -> tuple[subprocess.Popen[bytes], str]:
    port = 18_431
    bare = subprocess.Popen([sys.executable, HERE / "bare.py", str(port)], stdout=subprocess.PIPE)
    assert bare.stdout is not None
    bare.stdout.readline()
    return bare, f"http://127.0.0.1:{port}/webhooks/github"


def load(url: str, connections: int) -> dict[str, float]:
    command = [sys.executable, HERE / "load.py", url, str(connections), str(SECONDS)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def capture(bare_url: str, relay_url: str) -> None:
    print(
        f"{'connections':>11} {'bare/s':>8} {'relay/s':>8} {'ratio':>6} {'bare p99':>9} {'relay p99':>9} {'ratio':>6}"
    )
    for connections in CONNECTIONS:
        pairs = [(load(bare_url, connections), load(relay_url, connections)) for _ in range(ROUNDS)]
        assert not any(side["failures"] for pair in pairs for side in pair), "a request failed"
        bare, relay = (
            {key: statistics.median(pair[n][key] for pair in pairs) for key in ("rate", "p99")} for n in (0, 1)
        )
        print(
            f"{connections:>11} {bare['rate']:>8.0f} {relay['rate']:>8.0f} {relay['rate'] / bare['rate']:>6.2f} "
            f"{bare['p99']:>6.2f} ms {relay['p99']:>6.2f} ms {relay['p99'] / bare['p99']:>6.2f}"
        )


class Viewer(asyncio.Protocol):
    """One open stream; a bare protocol, so that fifty of them cost the measuring side next to nothing."""

    def __init__(self, request: bytes, arrived: list[float]) -> None:
        self.request, self.arrived = request, arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if b'id="e-' in data:
            self.arrived.append(time.perf_counter())


async def live(ready: dict[str, str]) -> None:
    """Measure from sending a request to the message of its event at each of fifty viewers."""
    token = (Path(ready["data_dir"]) / "token").read_text().strip()
    where = ready["dashboard_url"].removeprefix("http://")
    request = f"GET /stream?q= HTTP/1.1\r\nHost: {where}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    host, port = where.split(":")
    loop, arrived, took = asyncio.get_running_loop(), [], []
    viewers = [await loop.create_connection(lambda: Viewer(request, arrived), host, int(port)) for _ in range(VIEWERS)]
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(2)
        for n in range(60):
            arrived.clear()
            sent = time.perf_counter()
            async with session.post(ready["ingress_url"] + "/webhooks/plain", data=b'{"n": %d}' % n) as response:
                await response.read()
            await asyncio.sleep(0.35)
            took += [(moment - sent) * 1000 for moment in arrived]
    for transport, _ in viewers:
        transport.close()
    took.sort()
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(f"request to SSE message, {VIEWERS} viewers, {len(took)} messages: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    bare, bare_url = start_bare()
    try:
        with tempfile.TemporaryDirectory() as folder:
            relay, ready, took = start_relay(Path(folder))
            try:
                print(f"start to listening: {took:.2f} s")
                asyncio.run(live(ready))
                capture(bare_url, ready["ingress_url"] + "/webhooks/github")
                with urllib.request.urlopen(ready["ingress_url"] + "/webhooks/health") as health:
                    assert health.status == 200
            finally:
                relay.terminate()
                relay.wait(20)
    finally:
        bare.kill()
        bare.wait()


if __name__ == "__main__":
    main()
