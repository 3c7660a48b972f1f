"""Takes docs/dashboard.png and docs/demo.gif: a real relay, signed samples, an app behind it, a real browser."""

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import aiohttp
import demo
from aiohttp import web
from playwright.async_api import async_playwright

from relay.app import RunningRelay, run_relay
from relay.config.build import Overrides, load

HERE = Path(__file__).resolve().parent
OUT = HERE / "dashboard.png"

SAMPLES = (
    ("twilio", "message.delivered"),
    ("slack", "app_mention"),
    ("github", "workflow_run.completed"),
    ("stripe", "customer.created"),
    ("linear", "Issue.update"),
    ("stripe", "invoice.paid"),
    ("github", "issue_comment.created"),
    ("resend", "email.delivered"),
    ("stripe", "customer.subscription.updated"),
    ("shopify", "products/update"),
    ("stripe", "payment_intent.payment_failed"),
    ("slack", "block_actions"),
    ("github", "pull_request.opened"),
    ("twilio", "message.failed"),
    ("stripe", "checkout.session.completed"),
    ("shopify", "orders/create"),
    ("github", "release.published"),
    ("stripe", "charge.refunded"),
    ("stripe", "payment_intent.succeeded"),
    ("stripe", "invoice.paid"),
    ("github", "push"),
)
CHOSEN = "payment_intent.succeeded"
SOURCES = tuple(dict.fromkeys(source for source, _ in SAMPLES))

TOML = """
[tunnel]
provider = "static"
public_url = "https://hooks.example.dev"

[targets.app]
forward = "{app}/webhooks"

[targets.ledger]
forward = "{app}/ingest"

[[routes]]
source = "*"
to = ["app"]

[[routes]]
source = "stripe"
events = ["payment_intent.*", "invoice.*"]
to = ["ledger"]
"""


def main() -> int:
    """Write both pictures and say where they are."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("There is no browser to take the pictures with; install chromium\n")
        return 1
    asyncio.run(_take(chromium))
    asyncio.run(demo.record(chromium))
    for path in (OUT, demo.OUT):
        sys.stdout.write(f"wrote {path.relative_to(HERE.parent)}\n")
    return 0


async def _take(chromium: str) -> None:
    app = await _app()
    port = app.addresses[0][1]
    with tempfile.TemporaryDirectory(prefix="relay-screenshot-") as folder:
        environ = {f"SECRET_{source.upper()}": _secret(source) for source in SOURCES}
        sources = "".join(f'[sources.{name}]\nsecret = "env:SECRET_{name.upper()}"\n' for name in SOURCES)
        config = Path(folder, "relay.toml")
        await asyncio.to_thread(config.write_text, sources + TOML.format(app=f"http://localhost:{port}"))
        async with run_relay(load(config, Overrides(), environ)) as relay, async_playwright() as playwright:
            chosen = await _fill(relay)
            browser = await playwright.chromium.launch(executable_path=chromium, args=["--font-render-hinting=none"])
            page = await browser.new_page(
                viewport={"width": 1440, "height": 900}, device_scale_factor=1.5, reduced_motion="reduce"
            )
            await page.goto(relay.login_url)
            await page.goto(f"{relay.dashboard_url}/events/{chosen}")
            await page.evaluate("document.fonts.ready.then(() => 1)")
            await asyncio.sleep(0.5)
            await page.screenshot(path=OUT)
            await browser.close()
    await app.cleanup()


async def _fill(relay: RunningRelay) -> int:
    """Send every sample, one of them forged; return the number of the event to show."""
    chosen = 0
    headers = {"Authorization": f"Bearer {relay.login_url.rpartition('=')[2]}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for number, (source, type_) in enumerate(SAMPLES):
            wanted = {"source": source, "type": type_}
            async with session.post(f"{relay.dashboard_url}/api/triggers", json=wanted) as answer:
                event = await answer.json()
                chosen = event["id"] if type_ == CHOSEN else chosen
            if number == len(SAMPLES) // 2:
                forged = {"Stripe-Signature": "t=1,v1=00", "Content-Type": "application/json"}
                body = b'{"id": "evt_forged", "object": "event", "type": "charge.succeeded"}'
                await session.post(f"{relay.ingress_url}/webhooks/stripe", data=body, headers=forged)
            await asyncio.sleep(0.3)
    return chosen


async def _app() -> web.AppRunner:
    """Start the app that events go to: it answers after a moment, and does not like one kind of event."""

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        await asyncio.sleep(0.004 + len(body) % 37 / 1000)
        refuse = request.headers.get("X-Shopify-Topic") == "orders/create"
        return web.json_response({"ok": not refuse}, status=422 if refuse else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


def _secret(source: str) -> str:
    # Resend takes base64 behind its prefix; any text does for the others.
    return "whsec_cmVsYXktc2NyZWVuc2hvdC1zZWNyZXQ=" if source == "resend" else f"made-up-secret-of-{source}"


if __name__ == "__main__":
    sys.exit(main())
