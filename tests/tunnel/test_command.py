"""A tunnel by command: the rule for its address, its end, its group, and a real one through OpenSSH."""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from relay.tunnel.base import TunnelOptions


@pytest.fixture
def by_command(tmp_path, hold):
    def held(command, *, url_pattern=None, **more):
        options = TunnelOptions(provider="command", data_dir=tmp_path, command=command, url_pattern=url_pattern)
        return hold(options, **({"settle": 0.05} | more))

    return held


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


async def test_the_command_gets_the_ingress_address_and_its_parts_without_a_shell(by_command, tmp_path):
    seen = tmp_path / "seen"
    program = script(
        tmp_path / "tunnel it", f'#!/bin/sh\nprintf "%s\\n" "$@" > {seen}\necho https://a.example.dev; sleep 60\n'
    )
    async with by_command(f"'{program}' --url {{ingress_url}} '{{host}} is {{port}}' ';' '$HOME'") as held:
        up = await held.until("up")
    assert up.public_url == "https://a.example.dev"
    assert seen.read_text().splitlines() == ["--url", "http://127.0.0.1:8400", "127.0.0.1 is 8400", ";", "$HOME"]


async def test_the_address_of_a_known_service_is_not_waited_for(by_command, tmp_path):
    program = script(
        tmp_path / "tunnel",
        "#!/bin/sh\necho 'npm warn deprecated uuid@3.4.0: See https://v8.dev/blog/math-random for details.' >&2\n"
        "echo as https://tool.example said\necho your url is: https://quick-cat-9.loca.lt\nsleep 60\n",
    )
    async with by_command(str(program), settle=1000.0) as held:
        assert (await held.until("up")).public_url == "https://quick-cat-9.loca.lt"


async def test_a_better_address_is_waited_for(by_command, tmp_path):
    program = script(
        tmp_path / "tunnel",
        "#!/bin/sh\necho https://tool.example\nsleep 0.1\necho https://quick-cat-9.loca.lt\nsleep 60\n",
    )
    async with by_command(str(program), settle=1000.0) as held:
        assert (await held.until("up")).public_url == "https://quick-cat-9.loca.lt"


async def test_a_new_address_of_a_running_command_is_taken_and_said(by_command, tmp_path):
    go = tmp_path / "go"
    program = script(
        tmp_path / "tunnel",
        "#!/bin/sh\necho 'a1.lhr.example tunneled with tls termination, https://a1.lhr.example'\n"
        f"while [ ! -e {go} ]; do sleep 0.05; done\necho connection lost\n"
        "echo 'd4.lhr.example tunneled with tls termination, https://d4.lhr.example'\nsleep 60\n",
    )
    async with by_command(str(program)) as held:
        await held.until("up")
        go.touch()
        up = await held.until("up", 2)
        assert held.tunnel.current.public_url == "https://d4.lhr.example"
    assert up.detail == (
        "public URL changed: https://a1.lhr.example -> https://d4.lhr.example; update your webhook settings"
    )
    assert held.states == ["connecting", "up", "up"]


async def test_a_pattern_that_nothing_fits_is_named(by_command, tmp_path):
    program = script(tmp_path / "tunnel", "#!/bin/sh\necho https://a.loca.lt\nsleep 60\n")
    async with by_command(str(program), url_pattern=r"https://b\.example", start=0.5) as held:
        down = await held.until("down")
    assert "printed no https address within" in down.detail
    assert "tunnel.url_pattern" in down.detail


async def test_a_command_that_ends_is_started_again(by_command, tmp_path):
    program = script(tmp_path / "tunnel", "#!/bin/sh\necho https://a$$.example.dev\nsleep 0.05\necho bye >&2\nexit 3\n")
    async with by_command(str(program)) as held:
        down = await held.until("down")
        assert down.detail == "tunnel ended with status 3; it last said: bye; trying again in 1 s"
        assert "public URL changed" in (await held.until("up", 2)).detail


async def test_a_command_that_fails_at_once_says_why(by_command, tmp_path):
    program = script(tmp_path / "tunnel", "#!/bin/sh\nprintf '\\033[31mno\\033]0;x\\007 route\\001\\n' >&2\nexit 1\n")
    async with by_command(str(program)) as held:
        down = await held.until("down")
    assert down.detail.startswith("tunnel ended with status 1; it last said: no route\\x01;")


async def test_a_command_that_prints_no_address_is_given_up(by_command, tmp_path):
    program = script(tmp_path / "tunnel", "#!/bin/sh\necho hello; sleep 60\n")
    async with by_command(str(program), start=0.5) as held:
        down = await held.until("down")
    assert "printed no https address within" in down.detail
    assert "hello" in down.detail


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (
            "no-such-program --url {ingress_url}",
            "cannot start no-such-program: No such file or directory; trying again in 60 s",
        ),
        (
            "cloudflared 'unclosed",
            "tunnel.command cannot be read: No closing quotation; not tried again until you reconnect",
        ),
        (None, "tunnel.command is missing"),
    ],
)
async def test_a_command_that_cannot_run_is_one_clear_sentence(by_command, command, sentence):
    async with by_command(command) as held:
        assert (await held.until("down")).detail.startswith(sentence)


async def test_an_address_with_odd_characters_is_a_failure_shown_escaped(by_command, tmp_path):
    program = script(tmp_path / "tunnel", "#!/bin/sh\nprintf 'https://a\\001b.example.dev\\n'; sleep 60\n")
    async with by_command(str(program)) as held:
        down = await held.until("down")
    assert "gave an address that is not a plain https URL: https://a\\x01b.example.dev" in down.detail


async def test_a_chatty_command_is_drained_for_ever(by_command, tmp_path, until):
    # Far more than a pipe holds, part of it without line ends.
    program = script(
        tmp_path / "tunnel",
        f"#!{sys.executable}\n"
        "import pathlib, sys, time\n"
        "print('https://a.example.dev', flush=True)\n"
        "sys.stderr.write('x' * 2_000_000)\n"
        "sys.stdout.write('line\\n' * 200_000)\n"
        "sys.stdout.flush()\n"
        f"pathlib.Path({str(tmp_path / 'through')!r}).touch()\n"
        "time.sleep(60)\n",
    )
    async with by_command(str(program)) as held:
        await held.until("up")
        await until((tmp_path / "through").exists)
    assert held.states == ["connecting", "up"]


async def test_closing_ends_the_whole_group(by_command, tmp_path, is_alive, until):
    program = script(
        tmp_path / "tunnel",
        f"#!/bin/sh\ntrap '' TERM\nsleep 60 > /dev/null 2>&1 &\necho $! > {tmp_path / 'pid'}\n"
        "echo https://a.example.dev\nwhile :; do sleep 60 & wait; done\n",
    )
    async with by_command(str(program), close=0.2) as held:
        await held.until("up")
        pid = int((tmp_path / "pid").read_text())
        assert is_alive(pid)
    # Killed it is; whoever adopted it may take a moment to bury it.
    await until(lambda: not is_alive(pid))


class Sshd:
    """A real sshd on a high port, run as this user with keys of its own."""

    def __init__(self, folder, program):
        self.folder = folder
        self.program = program
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nPasswordAuthentication no\n"
            "PermitRootLogin yes\nAllowTcpForwarding yes\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def command(self):
        """A program for tunnel.command: ssh -R on a port of the far end's choice, told as an https address."""
        ssh = (
            f"ssh -F none -N -T -i {self.folder}/user -p {self.port} -o BatchMode=yes -o StrictHostKeyChecking=no "
            f"-o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o ExitOnForwardFailure=yes "
            f'-R 127.0.0.1:0:"$1":"$2" {getpass.getuser()}@127.0.0.1'
        )
        return script(
            self.folder / "tunnel",
            f'#!/bin/sh\n{ssh} 2>&1 < /dev/null | while read -r line; do\n  echo "$line"\n'
            '  case $line in "Allocated port "*) set -- $line; echo "https://port-$3.example.dev";; esac\ndone\n',
        )

    def started(self, start):
        self.process = start(self.program, "-D", "-f", self.folder / "sshd_config", "-E", self.folder / "log")
        return self

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def drop_sessions(self):
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # another process may end while it is looked at
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)


@asynccontextmanager
async def application():
    """A real server in place of relay's ingress; gives its address."""

    async def answer(request):
        return web.Response(text=f"captured {request.path} {await request.text()}")

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def through(public_url):
    """Send a webhook to the far end of the ssh tunnel; return the answer."""
    port = re.search(r"port-(\d+)", public_url)[1]
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/webhooks/stripe", data="body") as answer,
    ):
        return await answer.text()


async def test_a_webhook_comes_through_openssh_and_again_after_the_connection_was_cut(
    by_command, tmp_path, start, until, require_program
):
    program, *_ = require_program("sshd", "ssh", "ssh-keygen")
    sshd = Sshd(tmp_path, program).started(start)
    await until(sshd.listens)
    command = f"{sshd.command()} {{host}} {{port}}"
    async with application() as ingress, by_command(command, ingress=ingress) as held:
        first = (await held.until("up")).public_url
        assert await through(first) == "captured /webhooks/stripe body"
        sshd.drop_sessions()
        await held.until("down")
        second = (await held.until("up", 2)).public_url
        assert await through(second) == "captured /webhooks/stripe body"
