"""ngrok: what the agent is given, how it fails, how it is watched, and that nothing is left of it."""

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from relay.model.secret import Secret
from relay.tunnel.base import RefusedError, TunnelOptions
from relay.tunnel.ngrok_agent import NoAgentError, default_agent, find_agent

TOKEN = "2ZtokenThatNobodyMaySee_7Qm4"


async def test_the_tunnel_is_up_with_the_address_ngrok_gave(agent):
    async with agent.held() as held:
        up = await held.until("up")
        assert up.public_url == "https://first.ngrok.app"
        assert held.states == ["connecting", "up"]
        assert (held.tunnel.current.state, held.tunnel.current.public_url) == ("up", up.public_url)
    assert agent.seen["tunnel"] == {
        "name": "relay",
        "addr": "http://127.0.0.1:8400",
        "proto": "http",
        "schemes": ["https"],
        "inspect": False,
    }


async def test_a_domain_is_asked_for(agent):
    async with agent.held(domain="my-team.ngrok.app") as held:
        await held.until("up")
    assert agent.seen["tunnel"]["domain"] == "my-team.ngrok.app"


def shown_to_others(pid):
    """What a process list shows of a process: its command line and its environment."""
    return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/environ").read_text()


async def test_the_token_is_in_a_private_file_and_nowhere_else(agent):
    async with agent.held() as held:
        await held.until("up")
        seen = agent.seen
        shown = shown_to_others(seen["pid"])
        config = agent.data_dir / "ngrok.yml"
        assert stat.S_IMODE(config.stat().st_mode) == 0o600
        assert TOKEN in config.read_text()
    assert seen["token"] == TOKEN
    assert seen["config_mode"] == 0o600
    assert TOKEN not in shown
    assert TOKEN not in repr(held.said)


async def test_the_agent_keeps_no_requests(agent):
    async with agent.held() as held:
        await held.until("up")
    assert agent.seen["tunnel"]["inspect"] is False
    assert agent.seen["config"]["inspect_db_size"] == "-1"


async def test_nothing_is_left_after_closing(agent, is_alive):
    async with agent.held() as held:
        await held.until("up")
        assert is_alive(agent.seen["pid"])
    assert not is_alive(agent.seen["pid"])
    assert list(agent.data_dir.iterdir()) == []


async def test_an_agent_that_ignores_the_polite_signal_is_killed(agent, hold, is_alive):
    agent.plan(stubborn=True)
    async with hold(agent.options(), environ=agent.environ, close=0.2) as held:
        await held.until("up")
    assert not is_alive(agent.seen["pid"])


async def test_nothing_is_left_when_closed_while_connecting(agent, is_alive, until):
    agent.plan(silent=True)
    async with agent.held():
        await until((agent.folder / "pids").exists)
    assert not any(is_alive(pid) for pid in agent.pids)


async def test_a_silent_agent_is_given_up(agent, is_alive):
    agent.plan(silent=True)
    async with agent.held(start=0.3) as held:
        down = await held.until("down")
        assert "did not connect within" in down.detail
        assert down.detail.endswith("trying again in 1 s")
    assert not any(is_alive(pid) for pid in agent.pids)


SESSION_ERRORS = {
    "4018": (r"ngrok has no authtoken \(ERR_NGROK_4018\): set NGROK_AUTHTOKEN", "not tried again"),
    "105": (r"ngrok refused the authtoken \(ERR_NGROK_105\): compare env:NGROK_AUTHTOKEN with", "not tried again"),
    "107": (r"ngrok refused the authtoken \(ERR_NGROK_107\): compare env:NGROK_AUTHTOKEN with", "not tried again"),
    "108": (r"no agent session left \(ERR_NGROK_108\): stop the other agent", "trying again in 60 s"),
    "121": (r"an agent this old \(ERR_NGROK_121\): run: ngrok update", "trying again in 60 s"),
    "offline": (r"cannot reach ngrok \(failed to dial .*no such host\): is this machine online", "in 1 s"),
    "x509": (r"certificate is not trusted.*\(failed to send .*x509: .*unknown authority\): a company", "in 1 s"),
}


@pytest.mark.parametrize("kind", SESSION_ERRORS)
async def test_a_refused_session_is_one_clear_sentence(agent, kind):
    sentence, then = SESSION_ERRORS[kind]
    agent.plan(session_error=kind)
    async with agent.held() as held:
        down = await held.until("down")
    assert re.search(sentence, down.detail)
    assert down.detail.endswith(then) or f"; {then}" in down.detail
    assert "\n" not in down.detail
    assert TOKEN not in down.detail
    assert down.public_url is None


TUNNEL_ERRORS = {
    "319": r"the domain my\.example\.dev is not reserved for this ngrok account \(ERR_NGROK_319\): reserve it",
    "334": r"another ngrok agent already serves this address \(ERR_NGROK_334\): stop it",
    "9999": r"ngrok failed: A failure of my\.example\.dev that\\x1b\[31m nobody has met.*err_ngrok_9999",
}


@pytest.mark.parametrize("kind", TUNNEL_ERRORS)
async def test_a_refused_tunnel_is_one_clear_sentence(agent, kind):
    agent.plan(tunnel_error=kind)
    async with agent.held(domain="my.example.dev") as held:
        down = await held.until("down")
    assert re.search(TUNNEL_ERRORS[kind], down.detail)
    assert TOKEN not in down.detail


async def test_another_agent_on_this_machine_is_named(agent, tmp_path, start):
    other = tmp_path / "ngrok"
    other.write_text("#!/bin/sh\nsleep 60 & wait\n")
    other.chmod(0o755)
    running = start(other, "http", "80")
    agent.plan(session_error="108")
    async with agent.held() as held:
        down = await held.until("down")
    assert re.search(rf"\(here: process (\d+, )*{running.pid}\b", down.detail)


async def test_no_token_is_said_without_starting_an_agent(agent):
    async with agent.held(authtoken=None) as held:
        down = await held.until("down")
    assert "set NGROK_AUTHTOKEN" in down.detail
    assert not (agent.folder / "pids").exists()


async def test_a_refused_token_is_tried_again_only_when_asked(agent):
    agent.plan(session_error="107")
    async with agent.held() as held:
        await held.until("down")
        await asyncio.sleep(0.1)
        assert held.clock.slept == []
        agent.plan()
        held.tunnel.reconnect()
        await held.until("up")


@pytest.mark.parametrize(
    "url", ["http://first.ngrok.app", "https://\x1b[31mevil", "https://a@b.dev", "https://p\u0430ypal.dev", "", None, 7]
)
async def test_an_address_that_is_not_plain_https_is_a_failure_shown_escaped(agent, url):
    agent.plan(url=url)
    async with agent.held() as held:
        down = await held.until("down")
    assert "not a plain https URL" in down.detail
    assert "\x1b" not in down.detail
    assert "up" not in held.states


async def test_a_killed_agent_is_replaced_and_a_new_address_said_aloud(agent, is_alive):
    async with agent.held() as held:
        await held.until("up")
        agent.plan(url="https://second.ngrok.app")
        os.kill(agent.seen["pid"], signal.SIGKILL)
        down = await held.until("down")
        assert down.detail == "the ngrok agent was killed (signal 9); trying again in 1 s"
        up = await held.until("up", 2)
        assert up.detail == (
            "public URL changed: https://first.ngrok.app -> https://second.ngrok.app; update your webhook settings"
        )
        assert held.tunnel.current.public_url == "https://second.ngrok.app"
    assert len(agent.pids) == 2
    assert not any(is_alive(pid) for pid in agent.pids)


async def test_an_address_that_changes_while_up_is_reported(agent):
    async with agent.held() as held:
        await held.until("up")
        agent.plan(url="https://second.ngrok.app")
        up = await held.until("up", 2)
    assert up.public_url == "https://second.ngrok.app"
    assert "public URL changed" in up.detail
    assert len(agent.pids) == 1


async def test_a_tunnel_the_agent_no_longer_has_is_rebuilt(agent):
    async with agent.held() as held:
        await held.until("up")
        agent.plan(gone=True)
        down = await held.until("down")
        assert down.detail.startswith("ngrok closed the tunnel")
        agent.plan()
        await held.until("up", 2)


async def test_an_agent_that_finds_its_session_again_is_kept(agent, hold):
    agent.plan(heals=True)
    async with hold(agent.options(), environ=agent.environ, heal=60.0) as held:
        await held.until("up")
        os.kill(agent.seen["pid"], signal.SIGUSR1)
        await held.until("up", 2)
    assert held.states == ["connecting", "up", "connecting", "up"]
    assert held.said[2].public_url is None
    assert len(agent.pids) == 1


async def test_an_agent_that_does_not_find_its_session_again_is_replaced(agent):
    async with agent.held() as held:
        await held.until("up")
        os.kill(agent.seen["pid"], signal.SIGUSR1)
        down = await held.until("down")
        assert "read EOF" in down.detail
        await held.until("up", 2)
    assert len(agent.pids) == 2


async def test_a_frozen_agent_is_replaced(agent, hold, is_alive):
    async with hold(agent.options(), environ=agent.environ, answer=0.4, close=0.2) as held:
        await held.until("up")
        os.kill(agent.seen["pid"], signal.SIGSTOP)
        down = await held.until("down")
        assert down.detail.startswith("the ngrok agent stopped answering")
        await held.until("up", 2)
    assert not any(is_alive(pid) for pid in agent.pids)


RELAY = """
import asyncio, functools, pathlib, sys
from relay.platform import SystemClock
from relay.model.secret import Secret
from relay.tunnel.supervisor import Supervisor, choose_tunnel
from relay.tunnel.base import TunnelOptions
options = TunnelOptions(provider="ngrok", data_dir=pathlib.Path(sys.argv[1]), authtoken=Secret("", "t"))
tunnel = Supervisor(choose_tunnel(options, "http://127.0.0.1:1"), options.data_dir, clock=SystemClock())
asyncio.run(tunnel.run(functools.partial(print, flush=True)))
"""


async def test_an_agent_left_by_a_killed_relay_is_ended(agent, start, is_alive, until):
    relay = start(sys.executable, "-c", RELAY, agent.data_dir, env=agent.environ, stdout=subprocess.DEVNULL)
    await until(lambda: (agent.folder / "seen.json").exists() and "tunnel" in agent.seen)
    relay.kill()
    relay.wait()
    left = agent.seen["pid"]
    assert is_alive(left)
    async with agent.held() as held:
        await held.until("up")
        assert not is_alive(left)
        assert agent.seen["pid"] != left


def test_a_proxy_that_swallows_the_agents_api_is_named(agent, start):
    environ = {**agent.environ, "http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    relay = start(sys.executable, "-c", RELAY, agent.data_dir, env=environ, stdout=subprocess.PIPE, text=True)
    said = [next(relay.stdout) for _ in range(2)]
    relay.send_signal(signal.SIGINT)
    relay.wait()
    assert "http_proxy is set: add 127.0.0.1 to no_proxy" in said[1]


def test_the_search_for_an_agent_names_what_is_wrong(tmp_path):
    with pytest.raises(RefusedError, match="ngrok is not installed") as none:
        find_agent(None, {"PATH": str(tmp_path)}, tmp_path / "ngrok")
    assert "https://ngrok.com/download" in none.value.hint
    with pytest.raises(RefusedError, match="there is no ngrok agent at /nowhere/ngrok"):
        find_agent(None, {"PATH": str(tmp_path), "NGROK_PATH": "/nowhere/ngrok"}, tmp_path / "ngrok")


def test_the_agent_is_found_where_people_keep_it(tmp_path):
    for folder in ("given", "named", "path", "default"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ngrok").write_text("#!/bin/sh\n")
        (tmp_path / folder / "ngrok").chmod(0o755)
    given, named, path, default = (tmp_path / name / "ngrok" for name in ("given", "named", "path", "default"))
    environ = {"PATH": str(path.parent), "NGROK_PATH": str(named)}
    assert find_agent(given, environ, default) == given
    assert find_agent(None, environ, default) == named
    assert find_agent(None, {"PATH": str(path.parent)}, default) == path
    assert find_agent(None, {"PATH": ""}, default) == default
    assert default_agent().name == "ngrok"


SCRIPT = "from pyngrok.ngrok import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
LAUNCHERS = {
    "pip": f"#!/venv/bin/python\n# -*- coding: utf-8 -*-\nimport re\nimport sys\n{SCRIPT}",
    "a long path": f"#!/bin/sh\n'''exec' \"/a long/path/python\" \"$0\" \"$@\"\n' '''\nimport sys\n{SCRIPT}",
    "setuptools": "#!/usr/bin/python3\n# EASY-INSTALL-ENTRY-SCRIPT: 'pyngrok==7.2.0','console_scripts','ngrok'\n",
    "pyenv": '#!/usr/bin/env bash\nset -e\nexec "/home/me/.pyenv/libexec/pyenv" exec "ngrok" "$@"\n',
}


def launcher(folder, text):
    folder.mkdir()
    (folder / "ngrok").write_text(text)
    (folder / "ngrok").chmod(0o755)
    return folder / "ngrok"


@pytest.mark.parametrize("text", LAUNCHERS.values(), ids=LAUNCHERS)
def test_pyngroks_script_is_not_the_agent_and_the_agent_behind_it_is_found(tmp_path, text):
    script = launcher(tmp_path / "venv", text)
    environ = {"PATH": str(script.parent)}
    with pytest.raises(NoAgentError) as missing:
        find_agent(None, environ, tmp_path / "none")
    assert missing.value.message == f"ngrok is not installed ({script} is pyngrok's script, not the agent)"
    assert "relay tunnel install" in missing.value.hint
    with pytest.raises(RefusedError, match="is pyngrok's script, not the ngrok agent"):
        find_agent(script, environ, tmp_path / "none")
    agent = launcher(tmp_path / "usr", "#!/opt/pyngrok-tools/bin/python\nimport the_agent\n")
    assert find_agent(None, {"PATH": f"{script.parent}:{agent.parent}"}, tmp_path / "none") == agent
    assert find_agent(None, environ, agent) == agent


def test_a_binary_is_the_agent_whatever_its_bytes_say(tmp_path):
    binary = tmp_path / "ngrok"
    binary.write_bytes(b"\x7fELF\x02\x01\n pyngrok ")
    binary.chmod(0o755)
    assert find_agent(None, {"PATH": str(tmp_path)}, tmp_path / "none") == binary


async def test_an_ngrok_command_that_is_pyngroks_script_is_never_started(hold, tmp_path):
    ran = tmp_path / "ran"
    script = launcher(tmp_path / "venv", f"#!/bin/sh\ntouch {ran} # pyngrok\necho https://a.example.dev\n")
    options = TunnelOptions(provider="command", command="ngrok http {port}", data_dir=tmp_path)
    async with hold(options, environ={"PATH": f"{script.parent}:/usr/bin:/bin"}) as held:
        down = await held.until("down")
    assert down.detail.startswith(
        "the ngrok of tunnel.command is pyngrok's script, not the agent: run relay tunnel install"
    )
    assert not ran.exists()


async def test_a_command_that_pyenv_starts_is_no_ngrok(hold, tmp_path):
    text = "#!/bin/sh\n# exec pyenv exec python3\necho https://a.example.dev\nexec sleep 60\n"
    script = launcher(tmp_path / "shims", text).rename(tmp_path / "shims" / "python3")
    options = TunnelOptions(provider="command", command="python3 tunnel.py", data_dir=tmp_path)
    async with hold(options, environ={"PATH": f"{script.parent}:/usr/bin:/bin"}, settle=0.05) as held:
        assert (await held.until("up")).public_url == "https://a.example.dev"


async def test_a_missing_agent_is_looked_for_again_every_minute(agent):
    environ = {**agent.environ, "NGROK_PATH": str(agent.folder / "later")}
    async with agent.held(environ=environ) as held:
        down = await held.until("down")
        assert down.detail.startswith("there is no ngrok agent at")
        (agent.folder / "ngrok").rename(agent.folder / "later")
        await held.until("up")
        assert set(held.clock.slept) == {60.0}


async def test_a_token_with_odd_characters_reaches_the_agent_whole(agent):
    odd = 'a"b\\c: #é'
    async with agent.held(authtoken=Secret("vault:ngrok", odd)) as held:
        await held.until("up")
    assert agent.seen["token"] == odd
