"""Tunnels held by a real supervisor, a clock without waits, and a stand-in for the ngrok agent."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.model.secret import Secret
from relay.model.signals import TunnelChanged
from relay.platform import read_command_line
from relay.tunnel.base import TunnelOptions, TunnelTimeouts
from relay.tunnel.supervisor import Supervisor, choose_tunnel

TOKEN = "2ZtokenThatNobodyMaySee_7Qm4"
INGRESS = "http://127.0.0.1:8400"
FAST = {"start": 10.0, "heal": 0.3, "poll": 0.05, "close": 2.0}


class FastClock:
    """Notes how long it was asked to sleep, sleeps next to nothing, and moves on by that much."""

    def __init__(self):
        self.slept = []
        self.elapsed = 0.0

    def now(self):
        return datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=self.elapsed)

    def monotonic(self):
        return self.elapsed

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.elapsed += seconds
        await asyncio.sleep(0.01)


class Held:
    """A supervised tunnel while it runs, with everything it said."""

    def __init__(self, tunnel, clock):
        self.tunnel = tunnel
        self.clock = clock
        self.said: list[TunnelChanged] = []

    @property
    def states(self):
        return [str(change.state) for change in self.said]

    async def until(self, state, count=1):
        """Wait until `state` was said `count` times; return the last of them."""
        try:
            await eventually(lambda: self.states.count(state) >= count)
        except TimeoutError:
            pytest.fail(f"never {state} for the {count}. time: {self.said}")
        return [change for change in self.said if change.state == state][count - 1]


async def eventually(claim):
    async with asyncio.timeout(60):
        while not claim():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.005)


@asynccontextmanager
async def held(options, *, ingress=INGRESS, environ=os.environ, **pace):
    clock = FastClock()
    timeouts = TunnelTimeouts(**(FAST | pace))
    chosen = choose_tunnel(options, ingress, environ, timeouts)
    tunnel = Supervisor(chosen, options.data_dir, clock=clock, spread=lambda: 0.5)
    holding = Held(tunnel, clock)
    running = asyncio.ensure_future(tunnel.run(holding.said.append))
    try:
        yield holding
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled(), running.exception()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class StandIn:
    """The stand-in agent of `agent_stand_in.py`, installed as `ngrok` in a directory of its own."""

    def __init__(self, folder, data_dir):
        self.folder = folder
        self.data_dir = data_dir
        self.environ = {**os.environ, "PATH": str(folder), "NGROK_AUTHTOKEN": TOKEN, "NGROK_API_KEY": TOKEN}
        self.environ.pop("NGROK_PATH", None)
        self.environ.pop("PYNGROK_NGROK_PATH", None)
        script = Path(__file__).with_name("agent_stand_in.py").read_text()
        (folder / "ngrok").write_text(f"#!{sys.executable}\n{script}")
        (folder / "ngrok").chmod(0o755)
        self.plan()

    def plan(self, **orders):
        new = self.folder / "plan.new"
        new.write_text(json.dumps({"url": "https://first.ngrok.app", **orders}))
        new.replace(self.folder / "plan.json")

    @property
    def seen(self):
        return json.loads((self.folder / "seen.json").read_text())

    @property
    def pids(self):
        """Those of every agent that came far enough to note its own."""
        path = self.folder / "pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def options(self, **changes):
        values = {"provider": "ngrok", "data_dir": self.data_dir, "authtoken": Secret("env:NGROK_AUTHTOKEN", TOKEN)}
        return TunnelOptions(**(values | changes))

    def held(self, *, start=10.0, environ=None, **changes):
        return held(self.options(**changes), environ=environ or self.environ, start=start)


@pytest.fixture
def agent(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    return StandIn(folder, tmp_path / ".relay")


@pytest.fixture
def hold():
    """Gives `held(options, ingress=…, environ=…, start=…, poll=…)`: a tunnel while the block runs."""
    return held


@pytest.fixture
def start():
    """Gives a function that starts a program; all of them are killed, with their groups, after the test."""
    started = []

    def start(*command, **options):
        process = subprocess.Popen(command, start_new_session=True, stdin=subprocess.DEVNULL, **options)
        started.append(process)
        while not read_command_line(process.pid):  # for an instant after its start it has none
            time.sleep(0.001)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with process:
            process.wait()


@pytest.fixture
def is_alive():
    return alive


@pytest.fixture
def until():
    """Gives `eventually(claim)`: waits at most ten seconds for a claim to become true."""
    return eventually
