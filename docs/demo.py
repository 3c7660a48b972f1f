"""Films docs/demo.gif for screenshot.py: an event fails, is replayed and succeeds; another one was changed."""

import asyncio
import io
import json
import tempfile
from pathlib import Path

import aiohttp
from aiohttp import web
from PIL import Image
from playwright.async_api import Page, async_playwright

from relay import sign
from relay.app import run_relay
from relay.config.build import Overrides, load

HERE = Path(__file__).resolve().parent
OUT = HERE / "demo.gif"
SIZE = {"width": 1180, "height": 700}
TOML = """
[sources.stripe]
secret = "env:SECRET"
[sources.github]
secret = "env:SECRET"
[targets.app]
forward = "{app}/webhooks"
retry   = {{ attempts = 1 }}
"""
SECRET = "whsec_made_up"  # noqa: S105 - no secret of anybody
# What Stripe signed, and what a proxy made of it that read the JSON and wrote it again.
EVENT = {"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {"id": "in_1", "total": 12900}}}
SIGNED = json.dumps(EVENT, indent=2).encode()
CHANGED = json.dumps(EVENT, separators=(",", ":")).encode()
BEFORE = (("github", "push"), ("stripe", "customer.created"), ("stripe", "invoice.paid"))


class App:
    """The app that events go to: broken until it is fixed."""

    def __init__(self) -> None:
        self.status = 200

    async def start(self) -> web.AppRunner:
        """Listen on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def _take(self, request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(0.02)
        text = "ok" if self.status < 400 else "KeyError: 'customer_email'"
        return web.Response(status=self.status, text=text)


class Film:
    """Pictures of a page, each with how long it is shown in milliseconds."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[tuple[Image.Image, int]] = []

    async def take(self, milliseconds: int) -> None:
        """Take a picture once the page is still."""
        await asyncio.sleep(0.6)
        picture = Image.open(io.BytesIO(await self.page.screenshot())).convert("RGB")
        self.frames.append((picture, milliseconds))

    def write(self, path: Path) -> None:
        """Write all pictures as one GIF that repeats."""
        pictures = [picture.quantize(128, dither=Image.Dither.NONE) for picture, _ in self.frames]
        times = [milliseconds for _, milliseconds in self.frames]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, loop=0, optimize=True)


async def record(chromium: str) -> None:
    """Write docs/demo.gif, filmed in that browser."""
    app = App()
    runner = await app.start()
    with tempfile.TemporaryDirectory(prefix="relay-demo-") as folder:
        config = Path(folder, "relay.toml")
        await asyncio.to_thread(config.write_text, TOML.format(app=f"http://localhost:{runner.addresses[0][1]}"))
        async with (
            run_relay(load(config, Overrides(), {"SECRET": SECRET})) as relay,
            async_playwright() as playwright,
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {relay.login_url.rpartition('=')[2]}"}) as api,
        ):
            browser = await playwright.chromium.launch(executable_path=chromium)
            page = await browser.new_page(viewport=SIZE, reduced_motion="reduce")
            film = Film(page)

            async def trigger(source: str, type_: str) -> int:
                sent = await api.post(f"{relay.dashboard_url}/api/triggers", json={"source": source, "type": type_})
                return int((await sent.json())["id"])

            for source, type_ in BEFORE:
                await trigger(source, type_)
            await page.goto(relay.login_url)
            await film.take(1200)
            app.status = 500
            failing = await trigger("stripe", "payment_intent.succeeded")
            await film.take(1400)
            await page.goto(f"{relay.dashboard_url}/events/{failing}")
            await film.take(2600)
            app.status = 200
            await page.keyboard.press("r")
            await film.take(2200)
            await page.keyboard.press("Enter")
            await asyncio.sleep(1)
            await film.take(2600)
            stripe = f"{relay.ingress_url}/webhooks/stripe"
            signed = sign(SIGNED, stripe, secret=SECRET, signature="stripe")
            await api.post(stripe, data=CHANGED, headers=dict(signed.headers))
            await page.goto(f"{relay.dashboard_url}/events/{failing + 1}")
            await page.locator("#tabs").get_by_text("Verification").click()
            await film.take(3600)
            await browser.close()
            film.write(OUT)
    await runner.cleanup()
