"""A real Chromium and a real relay with a real app behind it; one browser for each module of tests."""

import asyncio
import hashlib
import hmac
import importlib.util
import io
import json
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from relay.app import running
from relay.config import Overrides, load

_spec = importlib.util.spec_from_file_location("relay_journeys_cdp", Path(__file__).with_name("cdp.py"))
cdp = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cdp)

SECRET = "whsec_journey_secret"
ENVIRON = {"STRIPE_WEBHOOK_SECRET": SECRET}


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.browser)


class App:
    """The app being developed: it checks signatures as Stripe says, and remembers what it got.

    Once it has as many requests as `room` says, it answers none until it is `open` again.
    """

    def __init__(self):
        self.got = []
        self.room = None
        self.open = asyncio.Event()
        self.open.set()
        self.status = 200
        self.runner = None

    async def start(self, port=0):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.take)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/hooks"

    async def stop(self):
        await self.runner.cleanup()

    async def take(self, request):
        body = await request.read()
        self.got.append((request.path_qs, request.headers.copy(), body))
        if len(self.got) == self.room:
            self.open.clear()
        await self.open.wait()
        parts = dict(
            part.split("=", 1) for part in request.headers.get("Stripe-Signature", "t=,v1=").split(",")
        )
        good = hmac.compare_digest(sign(body, parts["t"]), parts["v1"])
        return web.json_response({"verified": good}, status=self.status)


class Site:
    """A running relay, the app behind it, and a page that shows it."""

    def __init__(self, browser, app, session, folder, stack):
        self.browser, self.app, self.session, self.folder, self.stack = browser, app, session, folder, stack
        self.pages = []
        self.allowed = ()

    async def start(self, toml, **overrides):
        path = self.folder / "relay.toml"
        path.write_text(toml)
        ports = {"ingress": "127.0.0.1:auto", "dashboard": "127.0.0.1:auto", "no_tunnel": True}
        config = load(path, Overrides(**ports | overrides), ENVIRON)
        self.running = running(config)
        self.relay = await self.running.__aenter__()

    async def stop(self):
        await self.running.__aexit__(None, None, None)

    @property
    def ingress(self):
        return self.relay.setup.ingress_url

    @property
    def dashboard(self):
        return self.relay.setup.dashboard_url

    async def page(self, path="/events"):
        page = await self.browser.page()
        self.pages.append(page)
        await page.goto(self.relay.login_url)
        if path != "/events":
            await page.goto(self.dashboard + path)
        return page

    async def send(self, value=None, path="/webhooks/test", **headers):
        body = value if isinstance(value, bytes) else json.dumps(value or {}).encode()
        headers = {"Content-Type": "application/json"} | headers
        async with self.session.post(self.ingress + path, data=io.BytesIO(body), headers=headers) as response:
            return response.status

    async def stripe(self, value=None, secret=SECRET):
        now = str(int(time.time()))
        body = json.dumps(value or PAYMENT, indent=2).encode()
        header = f"t={now},v1={sign(body, now, secret)}"
        return await self.send(body, "/webhooks/stripe", **{"Stripe-Signature": header})


def sign(body, moment, secret=SECRET):
    return hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


PAYMENT = {
    "id": "evt_1",
    "object": "event",
    "created": 1795356450,
    "data": {"object": {"id": "pi_1", "amount": 4800, "currency": "eur", "metadata": {"order": "1042"}}},
    "type": "payment_intent.succeeded",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(require_program):
    require_program("chromium")
    async with cdp.Browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def app():
    app = App()
    await app.start()
    yield app
    await app.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def site(browser, app, tmp_path):
    """A relay with a Stripe source and one target; at the end no page has complained or asked elsewhere."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        site = Site(browser, app, session, tmp_path, stack)
        await site.start(
            f"[sources.stripe]\nsecret = 'env:STRIPE_WEBHOOK_SECRET'\n[targets.app]\nforward = '{app.url}'\n"
            "[emails.receipt]\nto = '{{ payload.to }}'\nsubject = 'Paid'\n"
            'text = "Hello"\n[smtp]\nhost = "127.0.0.1"\nport = 1\nsecurity = "none"\n'
            'sender = "relay@example.com"\nallow_recipients = ["*@example.com"]\n',
        )
        yield site
        # Chromium says so of a fade between two pages that the next page cut short; nobody sees it.
        quiet = (*site.allowed, "Transition was aborted")
        for page in site.pages:
            complaints = [log for log in page.logs if not any(text in str(log[1]) for text in quiet)]
            assert complaints == []
            assert [
                url for url in page.requests if not url.startswith((site.dashboard, "about:", "data:"))
            ] == []
            await page.close()
        await site.stop()


@pytest.fixture
def settle():
    """Give the page a moment in which something that must not happen could happen."""
    return lambda seconds=0.4: asyncio.sleep(seconds)
