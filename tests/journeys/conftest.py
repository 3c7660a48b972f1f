"""A real Chromium and a real relay with a real app behind it; one browser for all tests of a worker."""

import asyncio
import hashlib
import hmac
import io
import json
import random
import socket
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import async_playwright

from journeys.waiting import until
from relay.app import run_relay
from relay.config.build import Overrides, load

SECRET = "whsec_journey_secret"
PHONE = 500  # pixels: the width below which a window is a phone's
ENVIRON = {"STRIPE_WEBHOOK_SECRET": SECRET}

LEAVE = """(() => {
  try { sessionStorage.clear(); localStorage.clear(); } catch { /* the page of an error has none */ }
  return location = 'about:blank';
})()"""


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker(pytest.mark.browser)


class App:
    """The app being developed: it checks signatures as Stripe says, and remembers what it got.

    Once it has as many requests as `room` says, it answers none until it is told to `release` them.
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

    def release(self):
        """Answer the requests that wait, and all that are still to come."""
        self.room = None
        self.open.set()

    async def take(self, request):
        body = await request.read()
        self.got.append((request.path_qs, request.headers.copy(), body))
        if len(self.got) == self.room:
            self.open.clear()
        await self.open.wait()
        parts = dict(part.split("=", 1) for part in request.headers.get("Stripe-Signature", "t=,v1=").split(","))
        good = hmac.compare_digest(sign(body, parts["t"]), parts["v1"])
        return web.json_response({"verified": good}, status=self.status)


class Windows:
    """A browser with a window and a tab of each kind, kept from test to test: a new tab costs more than a page."""

    def __init__(self, browser):
        self.browser = browser
        self.contexts = {}
        # One origin for all tests: the browser has the files of the pages already. Below those that systems hand out.
        self.port = find_free_port(range(20_000, 30_000))

    async def get_context(self, **kind):
        key = tuple(kind.values())
        if key not in self.contexts:
            context = self.contexts[key] = await self.browser.new_context(**kind)
            context.set_default_timeout(60_000)
            await context.new_page()
        return self.contexts[key]

    async def clear(self, context):
        """Close the other tabs of a test, empty the first, and forget what it was signed in to and allowed to do."""
        first, *others = context.pages
        for page in others:
            await page.close()
        await first.unroute_all()
        # Left by the page itself, its process stays: it is the next page's, which is of the same site.
        await until(first, LEAVE)
        await first.wait_for_url("about:blank")
        await context.clear_cookies()
        await context.clear_permissions()


class Site:
    """A running relay, the app behind it, and the tabs that show it with what they logged and asked for."""

    def __init__(self, windows, app, session, folder, stack):
        self.windows, self.app, self.session, self.folder, self.stack = windows, app, session, folder, stack
        self.contexts = set()
        self.logs = []
        self.requests = []
        self.allowed = ()

    async def start(self, toml, **overrides):
        path = self.folder / "relay.toml"
        path.write_text(toml)
        dashboard = f"127.0.0.1:{self.windows.port}"
        ports: dict[str, Any] = {"ingress": "127.0.0.1:auto", "dashboard": dashboard, "no_tunnel": True}
        config = load(path, Overrides(**ports | overrides), ENVIRON)
        self.running = run_relay(config)
        self.relay = await self.running.__aenter__()

    async def stop(self):
        await self.running.__aexit__(None, None, None)

    @property
    def ingress(self):
        return self.relay.ingress_url

    @property
    def dashboard(self):
        return self.relay.dashboard_url

    async def page(self, path="/events", **kind):
        """Show a page to somebody who is signed in."""
        page = await self.open_tab(**kind)
        if path == "/events":
            await page.goto(self.relay.login_url)
        else:
            await self.sign_in(page)
            await self.visit(page, path)
        return page

    async def pages(self, path, widths, **kind):
        """Show a page at each width; a phone and the wider windows each load it once."""
        shown = {}
        for width in widths:
            is_phone = width < PHONE
            if is_phone in shown:
                page = shown[is_phone]
                await page.set_viewport_size(page.viewport_size | {"width": width})
            else:
                page = shown[is_phone] = await self.page(path, width=width, **kind)
            yield width, page

    async def sign_in(self, page):
        """Sign in without loading the page that follows."""
        await page.context.request.get(self.relay.login_url, max_redirects=0)

    async def open_tab(self, *, width=1440, height=900, script=True, motion=False, another=False):
        """Return the tab of a kind, or another one; they share their cookies. A narrow one is a phone's.

        Where there is motion, a page takes no clicks while it fades in.
        """
        context = await self.windows.get_context(is_mobile=width < PHONE, java_script_enabled=script)
        if context not in self.contexts:
            self.contexts.add(context)
            for event, note in (
                ("console", lambda message: self.logs.append((message.type, message.text))),
                ("weberror", lambda thrown: self.logs.append(("exception", str(thrown.error)))),
                ("request", self.note_request),
            ):
                context.on(event, note)
                self.stack.callback(context.remove_listener, event, note)
            self.stack.push_async_callback(self.windows.clear, context)
        page = await context.new_page() if another else context.pages[0]
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(
            media="null", color_scheme="null", reduced_motion="no-preference" if motion else "reduce"
        )
        return page

    def note_request(self, request):
        self.requests.append(request)

    async def visit(self, page, path):
        await page.goto(self.dashboard + path)
        await page.evaluate("document.fonts.ready.then(() => 1)")

    async def hide(self, page, hidden=True):
        """Tell a tab that it is behind another one, or in front again: Playwright keeps all of them in front."""
        await page.evaluate(
            f"Object.defineProperty(document, 'hidden', {{get: () => {str(hidden).lower()}, configurable: true}});"
            " document.dispatchEvent(new Event('visibilitychange'))"
        )

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


def find_free_port(ports):
    for port in random.sample(ports, len(ports)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def sign(body, moment, secret=SECRET):
    return hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


PAYMENT = {
    "id": "evt_1",
    "object": "event",
    "created": 1795356450,
    "data": {"object": {"id": "pi_1", "amount": 4800, "currency": "eur", "metadata": {"order": "1042"}}},
    "type": "payment_intent.succeeded",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(require_program):
    (chromium,) = require_program("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--font-render-hinting=none"])
        yield Windows(browser)
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def app():
    app = App()
    await app.start()
    yield app
    await app.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def site(browser, app, tmp_path):
    """A relay with a Stripe source and one target; at the end no page has complained or asked elsewhere."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        site = Site(browser, app, session, tmp_path, stack)
        await site.start(
            f"[sources.stripe]\nsecret = 'env:STRIPE_WEBHOOK_SECRET'\n[targets.app]\nforward = '{app.url}'\n"
            "[emails.receipt]\nto = '{{ payload.to }}'\nsubject = 'Paid'\n"
            'text = "Hello"\n[smtp]\nhost = "127.0.0.1"\nport = 1\nsecurity = "none"\n'
            'sender = "relay@example.com"\nallow_recipients = ["*@example.com"]\n'
        )
        stack.push_async_callback(site.stop)
        yield site
        # Chromium says so of a fade between two pages that the next page cut short; it cannot be seen.
        quiet = (*site.allowed, "Transition was aborted")
        assert [log for log in site.logs if not any(text in log[1] for text in quiet)] == []
        # What the Content-Security-Policy forbids is a request to Playwright, but one that was never sent.
        sent = [request.url for request in site.requests if request.failure != "csp"]
        assert [url for url in sent if not url.startswith((site.dashboard, "about:", "data:"))] == []


@pytest.fixture
def settle():
    """Give the page a moment in which something that must not happen could happen."""
    return lambda seconds=0.4: asyncio.sleep(seconds)
