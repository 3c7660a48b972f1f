"""Walks a click on Replay: which packages of relay work from the page's handler until the delivery is stored."""

import asyncio
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import aiohttp

import relay
from relay.app import run_relay
from relay.config.build import Overrides, load
from relay.dashboard.replay.dialog import replay_event
from relay.store.deliveries import Deliveries
from relay.store.events import Events

_ROOT = Path(relay.__file__).parent
_TOML = '[targets.app]\nforward = "http://127.0.0.1:9/"\n'
MOST_PACKAGES = 5
NAMED_TARGET = {"target": "app"}
TYPED_ADDRESS = {"url": "http://localhost:9/typed"}


class ReplayWalk(NamedTuple):
    """The packages in the order in which they are entered, and how often the event is loaded whole."""

    packages: tuple[str, ...]
    loads: int


class _Walk:
    """A profiler of what the page's handler calls; a package is a folder or a module directly under relay/."""

    def __init__(self) -> None:
        self.packages: dict[str, None] = {}
        self.loads: set[FrameType] = set()
        self._is_over = False

    def __call__(self, frame: FrameType, event: str, value: object) -> None:
        code = frame.f_code
        if self._is_over or not code.co_filename.startswith(str(_ROOT)) or not _is_below_handler(frame):
            return
        if event == "call":
            self.packages[Path(code.co_filename).relative_to(_ROOT).parts[0].removesuffix(".py")] = None
            if code is Events.get.__code__:
                self.loads.add(frame)  # the same frame each time that it goes on
        # It returns the delivery's id once that is on disk, and something else whenever it waits.
        self._is_over = event == "return" and code is Deliveries.add.__code__ and isinstance(value, tuple)


def _is_below_handler(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code is not replay_event.__code__:
        frame = frame.f_back
    return frame is not None


def walk_replay(form: dict[str, str]) -> ReplayWalk:
    """Return what a click enters that sends this form."""
    return asyncio.run(_click(form))


async def _click(form: dict[str, str]) -> ReplayWalk:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.toml"
        path.write_text(_TOML)
        ports = Overrides(ingress="127.0.0.1:auto", dashboard="127.0.0.1:auto", no_tunnel=True)
        async with run_relay(load(path, ports, {})) as running, aiohttp.ClientSession() as session:
            async with session.post(f"{running.ingress_url}/webhooks/test", data=b"{}") as response:
                response.raise_for_status()
            headers = {"Authorization": f"Bearer {running.login_url.rpartition('=')[2]}"}
            walk = _Walk()
            sys.setprofile(walk)
            try:
                url = f"{running.dashboard_url}/events/1/replay"
                async with session.post(url, data=form, headers=headers, allow_redirects=False) as response:
                    response.raise_for_status()
            finally:
                sys.setprofile(None)
            return ReplayWalk(tuple(walk.packages), len(walk.loads))


def main() -> None:
    """Print the figures like `stats.py` does."""
    for name, form in (("a named target", NAMED_TARGET), ("an address", TYPED_ADDRESS)):
        walk = walk_replay(form)
        mark = " " if len(walk.packages) <= MOST_PACKAGES and walk.loads == 1 else "*"
        title = f"Packages of a click on Replay to {name}"
        loads = f"{', '.join(walk.packages)}; the event is loaded {walk.loads} x"
        sys.stdout.write(f"{mark} {title:<47}{len(walk.packages):>7}   at most {MOST_PACKAGES}: {loads}\n")


if __name__ == "__main__":
    main()
