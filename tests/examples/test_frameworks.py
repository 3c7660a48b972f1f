"""Each framework's example as its README starts it, and events signed by Stripe's own library."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import stripe

from printed import check_output, find_block, split_commands

pytestmark = pytest.mark.program

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "whsec_made_up_for_this"
PATIENCE = 60.0
FRAMEWORKS = {
    "flask": ("flask --app app run --port 8000", ("-m",)),
    "django": ("python app.py runserver 8000", ()),
    "fastapi": ("uvicorn app:app --port 8000", ("-m",)),
}
ACCEPTED = {"success": True, "event": None, "outcome": "accepted"}
DUPLICATE = {"success": True, "event": None, "outcome": "duplicate"}


class App:
    """An example in a folder of its own, started as its README says, on a port that is free."""

    def __init__(self, folder, forker, command, before):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = command.removeprefix("python ").replace("8000", str(self.port)).split()
        # Its reloader would be a second process, which nobody here could end.
        words += ["--noreload"] if "runserver" in words else []
        self.command = (sys.executable, *before, *words)
        self.folder, self.forker = folder, forker
        self.process = None
        self.output = ""

    def env(self, secret):
        kept = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONUNBUFFERED": "1"}
        return kept | ({"STRIPE_WEBHOOK_SECRET": secret} if secret else {})

    async def start(self, secret=SECRET):
        self.process = await asyncio.create_subprocess_exec(
            *self.command,
            cwd=self.folder,
            env=self.env(secret),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def stop(self):
        """End the app and keep what it printed."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENCE):
            out, _ = await self.process.communicate()
        self.output += out.decode()

    @asynccontextmanager
    async def running(self):
        await self.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.answering()
            yield self
        finally:
            await self.stop()

    async def answering(self):
        while True:
            assert self.process.returncode is None, "it ended by itself"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return

    async def run(self, command):
        """Run a command of the README beside the app and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command.replace("8000", str(self.port))),
            cwd=self.folder,
            env=self.env(SECRET)
            | {"PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
            pass_fds=self.forker.handles,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(PATIENCE):
            out, _ = await process.communicate()
        return out.decode()

    async def send(self, body, signature, path="/webhooks/stripe"):
        headers = {"Content-Type": "application/json", "Stripe-Signature": signature}
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture(params=FRAMEWORKS)
def example(request):
    return request.param


@pytest.fixture
def app(example, tmp_path, forker):
    folder = shutil.copytree(
        EXAMPLES / example, tmp_path / "app", ignore=shutil.ignore_patterns(".relay", "__pycache__")
    )
    (folder / "bin").mkdir()
    forker.write_command(folder / "bin/relay")
    return App(folder, forker, *FRAMEWORKS[example])


def signed(body, secret=SECRET):
    return stripe.WebhookSignature.generate_signature_header(body, secret)


def paid(id_="evt_1", invoice="in_1", type_="invoice.paid"):
    paid_for = {"id": invoice, "object": "invoice", "amount_paid": 1999, "currency": "eur"}
    return json.dumps({"id": id_, "object": "event", "type": type_, "data": {"object": paid_for}})


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_readme_starts_it_as_it_is_started_here(name):
    commands = re.findall(r"^\$ (.+)$", (EXAMPLES / name / "README.md").read_text(), re.MULTILINE)
    assert FRAMEWORKS[name][0] in commands
    assert f"pip install 'webhook-relay[{name}]'" in commands[0]


async def test_what_is_sent_to_it_is_answered_as_its_readme_shows_and_handled_once(app, example, require_program):
    require_program("curl")
    page = f"examples/{example}/README.md"
    (_, (trigger, sent)), ((forge, (refused,)),) = (
        split_commands(find_block(page, words)) for words in ("relay trigger", "curl -i")
    )
    body, unlisted = paid(), paid("evt_4", "in_unlisted", "charge.refunded")
    async with app.running():
        check_output(sent, await app.run(trigger))
        assert (await app.run(forge)).startswith(refused.removesuffix("…"))
        assert await app.send(body, signed(body)) == (200, ACCEPTED)
        assert await app.send(body, signed(body)) == (200, DUPLICATE)
        await refuses_what_stripe_did_not_sign(app, signed(body))
        status, told = await app.send(unlisted, signed(unlisted))
        assert (status, told["outcome"]) == (200, "ignored")
    async with app.running():  # what was handled is remembered
        assert await app.send(body, signed(body)) == (200, DUPLICATE)
    assert app.output.count("paid: in_1, 19.99 EUR\n") == 1
    for never in ("in_forged", "in_changed", "in_unlisted", "Traceback"):
        assert never not in app.output


async def refuses_what_stripe_did_not_sign(app, signature):
    forged = paid("evt_2", "in_forged")
    status, refused = await app.send(forged, signed(forged, "whsec_another"))
    assert (status, refused["error"]["code"]) == (401, "signature_not_valid")
    status, refused = await app.send(paid("evt_3", "in_changed"), signature)
    assert (status, refused["error"]["code"]) == (401, "signature_not_valid")
    assert (await app.send(forged, signed(forged), "/webhooks/nobody"))[0] == 404


async def test_without_its_secret_the_app_does_not_start_and_names_the_variable(app):
    await app.start(secret=None)
    async with asyncio.timeout(PATIENCE):
        out, _ = await app.process.communicate()
    assert app.process.returncode != 0
    assert "STRIPE_WEBHOOK_SECRET is not set" in out.decode()
