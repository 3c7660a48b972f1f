"""The worked example runs as its README says: client, relay and sender are three processes."""

import asyncio
import json
import re
import shutil
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

EXAMPLE = Path(__file__).parents[2] / "examples" / "notifications"
GOOD = {"event_id": 7, "timestamp": "2026-01-02T03:04:05Z", "event_type": "disk.full", "description": "3 GB left"}


@asynccontextmanager
async def process(folder, *arguments):
    started = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def line(started):
    async with asyncio.timeout(60):
        return (await started.stdout.readline()).decode().rstrip()


@pytest.fixture
async def example(tmp_path):
    """The example at work: its folder, where relay listens, and the client's process."""
    folder = tmp_path / "notifications"
    shutil.copytree(EXAMPLE, folder)
    async with process(folder, "client.py", "0") as client:
        url = re.fullmatch(r"waiting for notifications on (http://127\.0\.0\.1:\d+/notifications)", await line(client))[
            1
        ]
        toml = folder / "relay.toml"
        toml.write_text(toml.read_text().replace("http://127.0.0.1:9000/notifications", url))
        ports = ("--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")
        async with process(folder, "-m", "relay", "start", "--json", "--no-tunnel", *ports) as relay:
            ready = json.loads(await line(relay))
            yield folder, ready["ingress_url"] + "/webhooks/notifications", client
            assert relay.returncode is None


def post(url, value):
    body = json.dumps(value).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def test_the_sender_prints_what_the_readme_says_and_the_client_gets_one(example):
    folder, url, client = example
    async with process(folder, "send.py", url) as sender:
        out, err = await sender.communicate()
    assert (sender.returncode, err.decode()) == (0, "")
    told = (EXAMPLE / "README.md").read_text().partition("python send.py                    # sends from Python\n")[2]
    assert out.decode() == told.partition("```")[0]
    assert re.fullmatch(r"disk\.full \d+: only 3 GB are left on /data", await line(client))


async def test_the_sender_says_in_one_line_that_nobody_listens(unused_tcp_port):
    async with process(EXAMPLE, "send.py", f"http://127.0.0.1:{unused_tcp_port}/webhooks/notifications") as sender:
        out, err = await sender.communicate()
    assert (sender.returncode, out) == (1, b"")
    assert err.decode() == f"127.0.0.1:{unused_tcp_port}: connection refused; start what should answer there\n"


@pytest.mark.slow
async def test_one_that_fits_is_forwarded_and_every_wrong_field_is_named(example):
    _, url, client = example
    assert (await asyncio.to_thread(post, url, GOOD))[0] == 200
    assert await line(client) == "disk.full 7: 3 GB left"
    wrong = {"event_id": "x", "timestamp": 1e300, "event_type": 5, "description": None}
    for name, value in wrong.items():
        status, answer = await asyncio.to_thread(post, url, GOOD | {"event_id": 8, name: value})
        assert status == 400
        assert [field["field"] for field in answer["error"]["fields"]] == [name]
        status, answer = await asyncio.to_thread(post, url, {key: GOOD[key] for key in GOOD if key != name})
        assert status == 400
        assert answer["error"]["fields"] == [
            {"field": name, "pointer": f"/{name}", "message": "is missing", "code": "schema"}
        ]
    assert (await asyncio.to_thread(post, url, GOOD | {"event_id": 9}))[0] == 200
    assert await line(client) == "disk.full 9: 3 GB left"
