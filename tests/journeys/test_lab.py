"""The lab in a browser: from an event to a run, its report live while it goes on."""

import asyncio
from pathlib import Path

import pytest

CONTRAST = Path(__file__).with_name("contrast.js").read_text()

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_run_is_begun_from_an_event_and_its_report_fills_while_it_goes_on(site, app):
    await site.stripe()
    page = await site.page()
    await page.media(motion="reduce")  # a page that fades in takes no clicks
    await page.until("document.querySelector('[data-event]')")
    href = await page.js("document.querySelector('.menu a[href^=\"/lab\"]').getAttribute('href')")
    assert href == "/lab?event=1"
    other = await site.page("/lab")
    assert await other.js("document.querySelector('#runs').textContent.includes('None yet')")
    await page.command("Page.bringToFront")
    await page.goto(site.dashboard + href)
    assert await page.js("document.querySelector('#what').value") == "1"
    for name in ("delay", "wrong-signature"):
        await page.js(f"document.querySelector('[name=experiment][value={name}]').click()")
    await page.js("document.querySelector('.lab details').open = true")
    await page.js("document.querySelector('#delay').value = '1500ms'")
    await page.click("button[data-send]")
    await page.until("location.pathname === '/lab/1'")
    await page.until("document.querySelector('#trial-duplicates .verdict.ok')")
    assert await page.js("document.querySelector('#report h2').textContent") == "Running"
    assert "Running: 0 of 1 sends." in await page.js("document.querySelector('#trial-delay').textContent")
    await page.until("!document.querySelector('#report[hx-get]')")
    # The app answers 200 whatever the signature: it says so in the body alone.
    assert await page.js("document.querySelector('#report h2').textContent") == "Failed"
    assert await page.js("!document.querySelector('#cancel')")
    assert "was taken: 200" in await page.js("document.querySelector('#trial-wrong-signature').textContent")
    assert len(app.got) == 1 + 3 + 1 + 2
    # Hidden it heard of nothing; it asks when it is back.
    await other.command("Page.bringToFront")
    await other.until("document.querySelector('#runs a[href=\"/lab/1\"]')")
    await other.until("document.querySelector('#runs tbody').textContent.includes('Failed')")


async def test_a_run_is_cancelled_and_begun_again(site):
    await site.stripe()
    page = await site.page("/lab?event=1")
    await page.media(motion="reduce")  # a page that fades in takes no clicks
    await page.js("document.querySelector('[name=experiment][value=duplicates]').click()")
    await page.js("document.querySelector('[name=experiment][value=delay]').click()")
    await page.js("document.querySelector('#delay').value = '1h'")
    await page.click("button[data-send]")
    await page.until("document.querySelector('#report[hx-get]')")
    await page.click("#cancel button")
    await page.until("document.querySelector('#report h2')?.textContent === 'Cancelled'")
    assert await page.js("!document.querySelector('#report[hx-get]')")
    assert await page.js("!document.querySelector('#cancel')")
    await page.click(".bar form button")
    await page.until("location.pathname === '/lab/2'")


async def test_the_lab_works_without_script(site):
    await site.stripe()
    page = await site.page()
    await page.media(motion="reduce")  # a page that fades in takes no clicks
    await page.command("Emulation.setScriptExecutionDisabled", value=True)
    await page.goto(site.dashboard + "/lab?event=1")
    loaded = site.browser.wait("Page.loadEventFired", page.session)
    await page.click("button[data-send]")
    await asyncio.wait_for(loaded, 60)
    assert await page.js("location.pathname") == "/lab/1"
    async with asyncio.timeout(60):
        while "Passed" not in await page.js("document.querySelector('#report h2').textContent"):
            await page.goto(site.dashboard + "/lab/1")
    assert "taken and answered alike" in await page.js(
        "document.querySelector('#trial-duplicates').innerText"
    )


@pytest.mark.parametrize("width", [1440, 1024, 390, 320])
async def test_every_text_of_the_lab_can_be_read_in_both_themes_at_every_width(site, width):
    await site.stripe()
    await site.stripe()
    page = await site.page("/lab?event=1")
    await page.js("document.querySelector('#what').value = '1 2'")
    for name in ("burst", "shuffle", "stale", "retries"):
        await page.js(f"document.querySelector('[name=experiment][value={name}]').click()")
    await page.click("button[data-send]")
    await page.until("location.pathname === '/lab/1' && document.querySelector('#report')")
    await page.until("!document.querySelector('#report[hx-get]')")
    await page.size(width, 900)
    for scheme in ("light", "dark"):
        await page.media(scheme, "reduce")
        for path in ("/lab?event=1", "/lab/1"):
            await page.goto(site.dashboard + path)
            await page.js("document.querySelectorAll('details').forEach(one => { one.open = true; })")
            found = await page.js(CONTRAST)
            assert (path, scheme, found["out"], found["wide"]) == (path, scheme, [], False)
            assert found["n"] > 30
