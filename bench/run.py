"""What relay costs, as ratios in one run, in less than three minutes: `make bench`.

relay (verified, routed, committed with synchronous=FULL) stands beside a bare aiohttp receiver that stores
nothing; both are loaded in turn by the same generator in another process. The route leads to a target that
does not answer, so what is measured is capture: the queue grows, nothing is sent.
"""

import asyncio
import json
import os
import platform
import re
import resource
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
VIEWERS = (1, 50)
EVENTS = 100
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

    def __init__(self, request: bytes, arrived: list[tuple[int, float]]) -> None:
        self.request, self.arrived = request, arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self.arrived += [(int(found), now) for found in dict.fromkeys(re.findall(rb'id="e-(\d+)"', data))]


async def live(ready: dict[str, str], count: int) -> None:
    """Measure from sending a request to the message of its event at each of `count` viewers, at 20 events a second."""
    token = (Path(ready["data_dir"]) / "token").read_text().strip()
    where = ready["dashboard_url"].removeprefix("http://")
    request = f"GET /stream?q= HTTP/1.1\r\nHost: {where}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    host, port = where.split(":")
    loop, arrived, sent = asyncio.get_running_loop(), [], {}
    viewers = [await loop.create_connection(lambda: Viewer(request, arrived), host, int(port)) for _ in range(count)]
    async with aiohttp.ClientSession() as session:
        await asyncio.sleep(1)
        for n in range(EVENTS):
            began = time.perf_counter()
            async with session.post(ready["ingress_url"] + "/webhooks/plain", data=b'{"n": %d}' % n) as response:
                sent[(await response.json())["event"]] = began
            await asyncio.sleep(max(0.0, began + 0.05 - time.perf_counter()))
        await asyncio.sleep(0.5)
    for transport, _ in viewers:
        transport.close()
    took = sorted((moment - sent[id_]) * 1000 for id_, moment in arrived if id_ in sent)
    p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
    print(f"request to SSE message, {count} viewers, {len(took)} messages: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def commands(folder: Path) -> None:
    """Measure the processor time of a command beside a running relay."""
    python = sys.executable
    ours = min(cpu_of([python, "-m", "relay", "events", "--json"], folder) for _ in range(ROUNDS))
    plain = min(cpu_of([python, "-c", "import aiohttp.web"], folder) for _ in range(ROUNDS))
    print(f"relay events: {ours:.2f} s of CPU, import aiohttp.web {plain:.2f} s, ratio {ours / plain:.2f}")


def cpu_of(command: list[str], folder: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def starts() -> None:
    """Measure from the start of the process to its first 2xx."""
    took: dict[str, list[float]] = {"relay": [], "bare": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for name, port in (("relay", 18_432), ("bare", 18_433)):
                ports = ["--ingress", f"127.0.0.1:{port}", "--dashboard", "127.0.0.1:auto"]
                relay = [sys.executable, "-m", "relay", "start", "--no-tunnel", *ports]
                command = relay if name == "relay" else [sys.executable, str(HERE / "bare.py"), str(port)]
                began = time.perf_counter()
                process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                while not answers(f"http://127.0.0.1:{port}/webhooks/github"):
                    time.sleep(0.002)
                took[name].append(time.perf_counter() - began)
                process.terminate()
                process.wait(20)
    ours, bare = (statistics.median(took[name]) for name in ("relay", "bare"))
    print(f"start to first 2xx: relay {ours:.2f} s, bare {bare:.2f} s, ratio {ours / bare:.2f}")


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, data=b"{}", timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    bare, bare_url = start_bare()
    try:
        with tempfile.TemporaryDirectory() as folder:
            relay, ready, took = start_relay(Path(folder))
            try:
                print(f"start to listening: {took:.2f} s")
                for count in VIEWERS:
                    asyncio.run(live(ready, count))
                commands(Path(folder))
                capture(bare_url, ready["ingress_url"] + "/webhooks/github")
                with urllib.request.urlopen(ready["ingress_url"] + "/webhooks/health") as health:
                    assert health.status == 200
            finally:
                relay.terminate()
                relay.wait(20)
    finally:
        bare.kill()
        bare.wait()
    starts()
    subprocess.run([sys.executable, HERE / "forward.py"], check=True)


if __name__ == "__main__":
    main()
