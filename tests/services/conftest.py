"""A relay with a vault of its own, an app behind it, and requests signed as Stripe signs."""

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from builders import QUICK_KDF
from relay.app import run_relay
from relay.config.build import Overrides, load, resolve_again
from relay.model.secret import Secret
from relay.platform import SystemClock
from relay.vault.storage import Vault

PASSWORD = "four words no sentence"
KEY = "whsec_canary_stripe"


class App:
    """Somebody's app: the ids of the events it got, in order, and each request whole."""

    def __init__(self):
        self.url = ""
        self.got = []
        self.requests = []

    async def take(self, request):
        body = await request.read()
        self.requests.append((request.headers.copy(), body))
        self.got.append(json.loads(body)["id"])
        return web.Response()


class Moved(SystemClock):
    """The machine's clock, `ahead` seconds further on."""

    ahead = 0.0

    def now(self):
        return super().now() + timedelta(seconds=self.ahead)


@pytest.fixture
async def app():
    app = App()
    served = web.Application()
    served.router.add_route("*", "/{path:.*}", app.take)
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hooks"
    yield app
    await runner.cleanup()


@pytest.fixture
def clock():
    return Moved()


@pytest.fixture
def password():
    return Secret("x", PASSWORD)


@pytest.fixture
def saved(tmp_path, password):
    """Make the vault of the test's relay, and lock it."""

    def save(**secrets):
        vault = Vault(tmp_path / ".relay" / "vault", QUICK_KDF)
        vault.create(password)
        for name, value in secrets.items():
            vault.put(name, value)
        vault.lock()
        return vault

    return save


def _signed(key, secret=KEY, when=None, type_="invoice.paid"):
    body = json.dumps({"id": key, "object": "event", "type": type_}).encode()
    moment = str(int(when or time.time()))
    mac = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"Stripe-Signature": f"t={moment},v1={mac}", "Content-Type": "application/json"}


@pytest.fixture
def signed():
    return _signed


@pytest.fixture
def stripe():
    """Send an event as Stripe does; return status and answer."""

    async def send(at, key, name="stripe", **more):
        body, headers = _signed(key, **more)
        status, answer = await at.send(f"/webhooks/{name}", data=body, headers=headers)
        return status, json.loads(answer)

    return send


@pytest.fixture
def unlock():
    async def go(at, password=PASSWORD):
        return await at.api("/api/vault/unlock", "POST", json={"password": password})

    return go


@pytest.fixture
def events():
    async def find(at, q=""):
        _, found = await at.api(f"/api/events?limit=500&q={q}")
        return {event["id"]: event for event in found["events"]}

    return find


@pytest.fixture
def once(tmp_path):
    """Run a relay for as long as a block lasts, open where a password is given; yield it and a way to send."""

    @asynccontextmanager
    async def go(toml, password=None):
        path = tmp_path / "relay.toml"
        path.write_text(toml)
        ports: dict[str, Any] = {"ingress": "127.0.0.1:auto", "dashboard": "127.0.0.1:auto", "no_tunnel": True}
        config = load(path, Overrides(**ports), {})
        if password is not None:
            config.vault.unlock(password)
            config = resolve_again(config)
        async with run_relay(config) as relay, aiohttp.ClientSession() as session:

            async def send(path, body, headers):
                async with session.post(relay.ingress_url + path, data=body, headers=headers) as answer:
                    return answer.status

            yield relay, send

    return go


@pytest.fixture
def until():
    """Wait until a claim holds, for a minute at least."""

    async def wait(claim):
        for _ in range(6000):
            held = claim()
            if await held if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.01)
        pytest.fail("it never came to that")

    return wait
