"""`relay catch-up`, with a running relay and without one."""

import asyncio
import json
import os
import pty
import re
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

PUSH = {"ref": "refs/heads/main", "repository": {"id": 1, "name": "cat"}}


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


async def asked(provider):
    async with asyncio.timeout(60):
        while True:
            if provider.calls:
                return
            await asyncio.sleep(0.01)


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def command(tmp_path, environ, forker):
    """Run a command in the test's folder, as a process of its own; `begin` returns it while it runs."""

    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8", **environ}

    async def begin(*arguments, **streams):
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "relay", *arguments, cwd=tmp_path, env=env, **pipes | streams
        )

    async def run(*arguments):
        process = forker.start(*arguments, cwd=tmp_path, env=env)
        out, err = await asyncio.to_thread(process.communicate)
        return Done(process.returncode, out, err)

    go: Any = run
    go.begin = begin
    return go


async def test_it_lists_what_it_recovered_and_what_that_came_to(start, github, tables, environ, command, events):
    guids = [github.deliver("push", PUSH, ago(minutes=9 - n)) for n in range(3)]
    at = await start(tables(github), environ)
    done = await command("catch-up", "github", "--since", "2h")
    assert (done.code, done.err) == (0, "found 3, 0 were here, 3 recovered\n")
    lines = done.out.splitlines()
    assert [line.split()[:3] for line in lines] == [[f"#{n + 1}", "push", guid] for n, guid in enumerate(guids)]
    assert len(await events(at, "is:recovered")) == 3
    github.deliver("push", PUSH, ago(minutes=1))
    done = await command("catch-up", "github", "--since", "2h")
    assert (done.code, done.err) == (0, "found 4, 3 were here, 1 recovered\n")
    done = await command("catch-up", "github")
    assert (done.code, done.out, done.err) == (0, "", "found 4, 4 were here, 0 recovered; nothing was missed\n")


async def test_what_has_no_content_any_more_was_missed_all_the_same(start, svix, tables, environ, command):
    svix.message("user.created", ago(minutes=5), {"expired": True})
    await start(tables(svix), environ)
    done = await command("catch-up", "svix")
    assert (done.code, done.out) == (0, "")
    assert done.err == "found 1, 0 were here, 1 without content at Svix, 0 recovered\n"


async def test_without_a_running_relay_it_stores_just_as_well(tmp_path, stripe, tables, command):
    id_ = stripe.happen("charge.failed", ago(minutes=5))
    (tmp_path / "relay.toml").write_text(tables(stripe))
    done = await command("catch-up", "stripe", "--since", "2h", "--json")
    assert (done.code, done.err) == (0, "found 1, 0 were here, 1 recovered\n")
    answer = json.loads(done.out)
    assert (answer["state"], answer["recovered"], answer["events"][0]["key"]) == ("done", 1, id_)
    shown = await command("show", "1")
    assert "#1  stripe  charge.failed  unchecked, recovered" in shown.out
    assert re.search(r"^recovered +fetched afterwards; sent \d", shown.out, re.MULTILINE)
    assert re.search(r"^why +Fetched from the provider's own API", shown.out, re.MULTILINE)
    assert "answered" not in shown.out
    listed = await command("events", "is:recovered")
    assert "unchecked, recovered" in listed.out
    again = await command("catch-up", "stripe", "--since", "2h", "--json")
    assert json.loads(again.out)["known"] == 1


async def test_looking_and_not_forwarding(start, stripe, tables, environ, command, events, unused_tcp_port):
    stripe.happen("charge.failed", ago(minutes=5))
    target = f'[targets.app]\nforward = "http://127.0.0.1:{unused_tcp_port}/"\n'
    at = await start(tables(stripe, target), environ)
    done = await command("catch-up", "stripe", "--dry-run")
    assert (done.code, done.err) == (0, "found 1, 0 were here, 1 would be recovered\n")
    assert done.out.startswith("-  charge.failed  evt_")
    assert await events(at) == []
    assert (await command("catch-up", "stripe", "--no-forward")).code == 0
    (event,) = await events(at)
    assert set(event["deliveries"].values()) == {0}


@pytest.mark.parametrize(
    ("source", "since", "code", "said"),
    [
        ("github", "2h", 3, "relay: GitHub refuses the credential env:GITHUB_TOKEN; it needs a token"),
        ("github", "soon", 2, "relay: since is not a time; write an age such as 90m, 2h or 7d"),
        ("slack", "2h", 2, "relay: relay cannot catch up with slack"),
        ("svix", "2h", 2, "relay: nothing says what to ask Svix for"),
    ],
)
async def test_what_does_not_work_is_one_line_with_its_code(
    start, github, tables, environ, command, source, since, code, said
):
    github.token = "another"
    await start(tables(github), environ)
    done = await command("catch-up", source, "--since", since)
    assert (done.code, done.out) == (code, "")
    assert said in done.err.splitlines()[-1]
    assert "ghp_local" not in done.err


async def test_a_failure_half_way_tells_how_far_it_came(start, github, tables, environ, command):
    for n in range(3):
        github.deliver("push", PUSH, ago(minutes=9 - n))
    del github.items[0]["request"]
    await start(tables(github), environ)
    done = await command("catch-up", "github")
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    stopped, why = done.err.splitlines()
    assert stopped == "stopped: found 3, 0 were here, 2 recovered; run it again to continue"
    assert why.startswith("relay: GitHub answered something other than a delivery with its request; is http://")


async def test_a_limit_is_waited_for_and_said(start, github, tables, environ, command):
    github.deliver("push", PUSH, ago(minutes=9))
    github.answers = [(429, {"Retry-After": "1"}, {"message": "too many"})]
    await start(tables(github), environ)
    done = await command("catch-up", "github")
    assert done.code == 0
    assert done.err.splitlines() == ["relay: waits 1 s, for GitHub answered 429", "found 1, 0 were here, 1 recovered"]


async def test_interrupted_it_ends_in_the_relay_too(start, github, tables, environ, command):
    for n in range(3):
        github.deliver("push", PUSH, ago(minutes=9 - n))
    github.gate.clear()
    at = await start(tables(github), environ)
    process = await command.begin("catch-up", "github")
    await asked(github)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode().strip() == ("cancelled: found 0, 0 were here, 0 recovered; run it again to continue")
    _, state = await at.api("/api/catch-up/github")
    assert state["state"] == "cancelled"


async def test_on_a_terminal_a_bar_shows_how_far_it_is(start, github, tables, environ, command):
    for n in range(3):
        github.deliver("push", PUSH, ago(minutes=9 - n))
    await start(tables(github), environ)
    leader, follower = pty.openpty()
    process = await command.begin("catch-up", "github", stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    try:
        while chunk := await asyncio.to_thread(os.read, leader, 65536):
            shown += chunk
    except OSError:
        pass  # Linux says so when the other end is closed
    finally:
        os.close(leader)
    assert await process.wait() == 0
    assert b"found 3, 0 were here, 3 recovered" in shown
    assert b"recovering" in shown


async def test_without_a_running_relay_what_is_owed_is_sent_or_waits(
    tmp_path, stripe, tables, command, serve, unused_tcp_port
):
    got = []

    async def app(request):
        got.append(request.headers["Stripe-Signature"])
        return web.Response()

    stripe.happen("charge.failed", ago(minutes=5))
    path = tmp_path / "relay.toml"
    path.write_text(tables(stripe, f'[targets.app]\nforward = "http://127.0.0.1:{await serve(app)}/"\n'))
    done = await command("catch-up", "stripe")
    assert (done.err, len(got)) == ("found 1, 0 were here, 1 recovered\n", 1)
    stripe.happen("charge.failed", ago(minutes=4))
    path.write_text(tables(stripe, f'[targets.app]\nforward = "http://127.0.0.1:{unused_tcp_port}/"\n'))
    done = await command("catch-up", "stripe")
    assert done.err.splitlines() == [
        "found 2, 1 was here, 1 recovered",
        "1 delivery still queued; relay start sends what is",
    ]


async def test_ended_by_somebody_else_it_says_so(start, github, tables, environ, command):
    github.deliver("push", PUSH, ago(minutes=9))
    github.gate.clear()
    at = await start(tables(github), environ)
    process = await command.begin("catch-up", "github")
    await asked(github)
    await at.api("/api/catch-up/github/cancel", "POST")
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err == b"relay: the catch-up of github was cancelled; run it again\n"
