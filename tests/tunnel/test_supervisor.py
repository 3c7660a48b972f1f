"""The supervisor: its waits, its reports, and which tunnel the options lead to."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass

import pytest

from relay.errors import TunnelError
from relay.model.secret import Secret
from relay.model.signals import TunnelChanged
from relay.platform import SystemClock
from relay.tunnel.base import RefusedError, TunnelOptions
from relay.tunnel.process import PidFile
from relay.tunnel.supervisor import Supervisor


class Stepping(SystemClock):
    """A clock on which every wait is over at once and counts in full."""

    def __init__(self):
        self.slept = []
        self.elapsed = 0.0

    def monotonic(self):
        return self.elapsed

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.elapsed += seconds
        await asyncio.sleep(0)


@dataclass
class Scripted:
    """A tunnel that lives one life after the other, each a list of steps, and then for ever."""

    lives: list
    clock: Stepping
    name = "scripted"
    closed = 0

    async def hold(self, say):
        try:
            for step in self.lives.pop(0) if self.lives else [None]:
                match step:
                    case str():
                        say("up", step, "it is up")
                    case float():
                        await self.clock.sleep(step)
                        self.clock.slept.pop()
                    case Exception():
                        raise step
                    case None:
                        await asyncio.Event().wait()
        finally:
            self.closed += 1


@pytest.fixture
def live(until, tmp_path):
    """Gives `live(lives)`: runs a supervisor until its lives are used up; gives it, its waits, its reports."""

    async def lived(lives, spread=lambda: 0.5):
        clock = Stepping()
        tunnel = Scripted(list(lives), clock)
        supervisor = Supervisor(tunnel, tmp_path, clock=clock, spread=spread)
        said = []
        running = asyncio.ensure_future(supervisor.run(said.append))
        many = len(lives)
        await until(lambda: tunnel.closed == many)
        running.cancel()
        await asyncio.wait({running})
        assert running.cancelled()
        return supervisor, clock.slept, said

    return lived


LOST = TunnelError("it was lost", hint="look")


async def test_waits_double_from_one_second_to_sixty(live):
    _, slept, _ = await live([[LOST]] * 9)
    # Spread around 50, so that none is ever longer than 60.
    assert slept == [1, 2, 4, 8, 16, 32, 50, 50, 50]


async def test_waits_are_spread_by_a_fifth_and_never_longer_than_sixty(live):
    _, least, _ = await live([[LOST]] * 8, spread=lambda: 0.0)
    _, most, _ = await live([[LOST]] * 8, spread=lambda: 1.0)
    assert least == pytest.approx([0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 40, 40])
    assert most == pytest.approx([1.2, 2.4, 4.8, 9.6, 19.2, 38.4, 60, 60])


async def test_a_minute_up_makes_the_next_failure_the_first(live):
    _, slept, _ = await live([[LOST], [LOST], ["https://a.dev", 59.0, LOST], ["https://a.dev", 60.0, LOST], [LOST]])
    assert slept == [1, 2, 4, 1, 2]


async def test_a_refusal_is_tried_again_when_it_says(live):
    _, slept, said = await live([[RefusedError("no agent")], [RefusedError("no session", again=7.0)]])
    assert slept == [60, 7]
    assert [change.detail for change in said] == ["no agent; trying again in 60 s", "no session; trying again in 7 s"]


async def test_every_change_is_reported_once_with_one_sentence(live):
    a, b = "https://a.dev", "https://b.dev"
    supervisor, _, said = await live([[a, a, LOST], [a, LOST], [b]])
    down = "it was lost: look; trying again in {} s"
    assert said == [
        TunnelChanged("up", a, "it is up"),
        TunnelChanged("down", None, down.format(1)),
        TunnelChanged("up", a, "it is up"),
        TunnelChanged("down", None, down.format(2)),
        TunnelChanged("up", b, f"public URL changed: {a} -> {b}; update your webhook settings"),
        TunnelChanged("down", None, "the scripted tunnel ended; trying again in 4 s"),
    ]
    assert (supervisor.current.state, supervisor.current.public_url, supervisor.current.detail) == (
        "down",
        None,
        said[-1].detail,
    )


async def test_an_unforeseen_failure_does_not_stop_relay(live, caplog):
    _, slept, said = await live([[ZeroDivisionError("a secret")], [TimeoutError()]])
    assert slept == [1, 2]
    assert said[0].detail == "the scripted tunnel failed: relay's log says how; trying again in 1 s"
    assert "ZeroDivisionError" in caplog.text


async def test_a_reconnect_drops_the_tunnel_and_opens_it_at_once(until, tmp_path):
    clock = Stepping()
    tunnel = Scripted([["https://a.dev", None], ["https://b.dev", None]], clock)
    supervisor = Supervisor(tunnel, tmp_path, clock=clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(supervisor.run(lambda _: None))
        await until(lambda: supervisor.current.public_url == "https://a.dev")
        supervisor.reconnect()
        supervisor.reconnect()
        await until(lambda: supervisor.current.public_url == "https://b.dev")
        running.cancel()
    assert tunnel.closed == 2
    assert clock.slept == []


async def test_a_reconnect_ends_a_wait_that_would_never_end(until, tmp_path):
    clock = Stepping()
    tunnel = Scripted([[RefusedError("bad token", again=None)], ["https://a.dev", None]], clock)
    supervisor = Supervisor(tunnel, tmp_path, clock=clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(supervisor.run(lambda _: None))
        await until(lambda: supervisor.current.detail == "bad token; not tried again until you reconnect")
        supervisor.reconnect()
        await until(lambda: supervisor.current.public_url == "https://a.dev")
        running.cancel()


async def test_without_a_token_auto_is_no_tunnel_and_says_why(hold, tmp_path):
    for token in (None, Secret("env:NGROK_AUTHTOKEN", " ")):
        async with hold(TunnelOptions(data_dir=tmp_path, authtoken=token)) as held:
            said = await held.until("none")
        assert said == TunnelChanged("none", None, "no ngrok authtoken: set NGROK_AUTHTOKEN for a public URL")


async def test_with_a_token_auto_is_ngrok(agent):
    async with agent.held(provider="auto") as held:
        assert (await held.until("up")).detail == "ngrok forwards to http://127.0.0.1:8400"


def test_pyngrok_is_imported_only_for_an_ngrok_tunnel():
    code = "import sys, relay.tunnel; sys.exit('pyngrok' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_no_tunnel_is_said_and_kept(hold, tmp_path):
    async with hold(TunnelOptions(data_dir=tmp_path, provider="none")) as held:
        await held.until("none")
    assert held.said == [TunnelChanged("none", None, "the tunnel is switched off")]


@pytest.mark.parametrize("provider", ["none", "static"])
async def test_the_tunnel_of_a_killed_relay_is_ended_whatever_comes_next(hold, tmp_path, start, is_alive, provider):
    left = start("sh", "-c", "sleep 61 & wait")
    PidFile(tmp_path).note(left.pid)
    options = TunnelOptions(data_dir=tmp_path, provider=provider, public_url="https://hooks.example.dev")
    async with hold(options) as held:
        await held.until({"none": "none", "static": "up"}[provider])
    assert not is_alive(left.pid)


async def test_a_process_that_took_over_a_noted_number_is_left_alone(hold, tmp_path, start, is_alive):
    ours = start("sleep", "62")
    pid_file = PidFile(tmp_path)
    pid_file.note(ours.pid)
    stranger = start("sleep", "63")
    pid_file.path.write_text(pid_file.path.read_text().replace(str(ours.pid), str(stranger.pid)))
    async with hold(TunnelOptions(data_dir=tmp_path, provider="none")) as held:
        await held.until("none")
    assert is_alive(stranger.pid)


@pytest.mark.parametrize(
    "noted", ["", "\x00é", "12", "0 ", "0 none", "-1 none", "99999999 none", "99999999999999999999 x", "1 2 3"]
)
async def test_a_damaged_pid_file_ends_nothing(hold, tmp_path, noted):
    (tmp_path / "tunnel.pid").write_text(noted)
    async with hold(TunnelOptions(data_dir=tmp_path, provider="none")) as held:
        await held.until("none")


async def test_a_static_address_is_up_at_once(hold, tmp_path):
    options = TunnelOptions(data_dir=tmp_path, provider="static", public_url="https://hooks.example.dev/")
    async with hold(options) as held:
        up = await held.until("up")
    assert up.public_url == "https://hooks.example.dev"
    assert held.states == ["up"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (None, "the static tunnel has no address: set public_url"),
        ("http://hooks.example.dev", "tunnel.public_url gave an address that is not a plain https URL"),
        ("https://hooks.example.dev:99999", "tunnel.public_url gave an address that is not a plain https URL"),
        ("https://hooks.example.dev:0", "tunnel.public_url gave an address that is not a plain https URL"),
    ],
)
async def test_a_static_address_that_cannot_be_is_down(hold, tmp_path, url, sentence):
    async with hold(TunnelOptions(data_dir=tmp_path, provider="static", public_url=url)) as held:
        assert (await held.until("down")).detail.startswith(sentence)
