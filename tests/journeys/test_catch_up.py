"""Catching up in a browser: one click, live, and the result in place."""

from datetime import UTC, datetime

import pytest
from aiohttp import web

from journeys.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

KEY = "env:STRIPE_WEBHOOK_SECRET"  # any variable will do as a credential of a stand-in


async def _api(site, count):
    """Serve an account of Stripe with that many events that were not delivered; return its port."""
    now = int(datetime.now(UTC).timestamp())
    events = [
        {
            "id": f"evt_{number}",
            "object": "event",
            "created": now - 60 - number,
            "data": {"object": {"id": f"pi_{number}", "amount": 500, "currency": "eur"}},
            "type": "payment_intent.succeeded",
        }
        for number in range(count)
    ]

    async def answer(_):
        return web.json_response({"object": "list", "has_more": False, "data": events})

    app = web.Application()
    app.router.add_get("/v1/events", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site.stack.push_async_callback(runner.cleanup)
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    return runner.addresses[0][1]


async def _caught_up_with(site, count):
    port = await _api(site, count)
    await site.stop()
    await site.start(
        "[sources.stripe]\nsecret = 'env:STRIPE_WEBHOOK_SECRET'\n[sources.stripe.catch_up]\n"
        f"base_url = 'http://127.0.0.1:{port}'\nkey = '{KEY}'\n[targets.app]\nforward = '{site.app.url}'\n"
    )


async def test_one_click_recovers_what_was_missed_and_says_so_in_place(site):
    await _caught_up_with(site, 12)
    page = await site.page("/sources/stripe")
    await page.click("#catch-up label:has(input[value='2h'])")
    await page.click("#catch-up button[name=look]")
    await until(page, "document.querySelector('#catch-up')?.textContent.includes('12 would be recovered')")
    assert await page.evaluate("document.querySelector('#catch-up input[name=since]:checked').value") == "2h"
    await page.click("#catch-up button.primary")
    done = "Found 12, 0 were here, 12 recovered"
    await until(page, f"document.querySelector('#catch-up')?.textContent.includes('{done}')")
    assert await page.evaluate("document.querySelectorAll('#catch-up tbody tr').length") == 11
    assert await page.evaluate("location.pathname") == "/sources/stripe"
    await page.click("#catch-up .banner a")
    await until(page, "location.pathname === '/events' && document.querySelectorAll('#rows .row').length === 12")
    assert await page.evaluate("document.querySelectorAll('#rows [title^=Recovered]').length") == 12


async def test_what_is_recovered_slides_in_live(site):
    await _caught_up_with(site, 3)
    assert await site.stripe() == 200
    page = await site.page()
    await until(page, "document.querySelectorAll('#rows .row').length === 1")
    token = site.relay.login_url.rpartition("=")[2]
    async with site.session.post(
        f"{site.dashboard}/api/catch-up", json={"source": "stripe"}, headers={"Authorization": f"Bearer {token}"}
    ) as response:
        # The event that came by itself is one of those that Stripe lists.
        assert (await response.json())["summary"] == "found 3, 1 was here, 2 recovered"
    await until(page, "document.querySelectorAll('#rows [title^=Recovered]').length === 2")
    rows = "[...document.querySelectorAll('#rows .row:has([title^=Recovered]) .chip')]"
    await until(page, f"{rows}.every(chip => chip.textContent.includes('200'))")
