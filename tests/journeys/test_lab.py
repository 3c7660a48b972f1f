"""The lab in a browser: from an event to a run, its report live while it goes on."""

import asyncio

import pytest

from journeys.contrast import check_pages
from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.slow
async def test_a_run_is_begun_from_an_event_and_its_report_fills_while_it_goes_on(site, app):
    await site.stripe()
    page = await site.page()
    await until(page, "document.querySelector('[data-event]')")
    href = await page.evaluate("document.querySelector('.menu a[href^=\"/lab\"]').getAttribute('href')")
    assert href == "/lab?event=1"
    other = await site.page("/lab", another=True)
    assert await other.evaluate("document.querySelector('#runs').textContent.includes('None yet')")
    await site.hide(other)
    await site.visit(page, href)
    assert await page.evaluate("document.querySelector('#what').value") == "1"
    for name in ("delay", "wrong-signature"):
        await page.evaluate(f"document.querySelector('[name=experiment][value={name}]').click()")
    await page.evaluate("document.querySelector('.lab details').open = true")
    await page.evaluate("document.querySelector('#delay').value = '100ms'")
    app.room = 1 + 3 + 1  # the app answers what is delayed only when it may
    await page.click("button[data-send]")
    await until(page, "location.pathname === '/lab/1'")
    await until(page, "document.querySelector('#trial-duplicates .verdict.ok')")
    assert await page.evaluate("document.querySelector('#report h2').textContent") == "Running"
    assert "Running: 0 of 1 sends." in await page.evaluate("document.querySelector('#trial-delay').textContent")
    app.release()
    await until(page, "!document.querySelector('#report[hx-get]')")
    # The app answers 200 whatever the signature: it says so in the body alone.
    assert await page.evaluate("document.querySelector('#report h2').textContent") == "Failed"
    assert await page.evaluate("!document.querySelector('#cancel')")
    assert "was taken: 200" in await page.evaluate("document.querySelector('#trial-wrong-signature').textContent")
    assert len(app.got) == 1 + 3 + 1 + 2
    # Hidden it heard of nothing; it asks when it is back.
    await site.hide(other, hidden=False)
    await until(other, "document.querySelector('#runs a[href=\"/lab/1\"]')")
    await until(other, "document.querySelector('#runs tbody').textContent.includes('Failed')")


async def test_a_run_is_cancelled_and_begun_again(site):
    await site.stripe()
    page = await site.page("/lab?event=1")
    await page.evaluate("document.querySelector('[name=experiment][value=duplicates]').click()")
    await page.evaluate("document.querySelector('[name=experiment][value=delay]').click()")
    await page.evaluate("document.querySelector('#delay').value = '1h'")
    await page.click("button[data-send]")
    await until(page, "document.querySelector('#report[hx-get]')")
    await page.click("#cancel button")
    await until(page, "document.querySelector('#report h2')?.textContent === 'Cancelled'")
    assert await page.evaluate("!document.querySelector('#report[hx-get]')")
    assert await page.evaluate("!document.querySelector('#cancel')")
    await page.click(".bar form button")
    await until(page, "location.pathname === '/lab/2'")


async def test_the_lab_works_without_script(site):
    await site.stripe()
    page = await site.page("/lab?event=1", script=False)
    async with page.expect_event("load"):
        await page.click("button[data-send]")
    assert await page.evaluate("location.pathname") == "/lab/1"
    async with asyncio.timeout(60):
        while "Passed" not in await page.evaluate("document.querySelector('#report h2').textContent"):
            await site.visit(page, "/lab/1")
    assert "taken and answered alike" in await page.evaluate("document.querySelector('#trial-duplicates').innerText")


@pytest.mark.slow
async def test_every_text_of_the_lab_can_be_read_in_both_themes_at_every_width(site):
    await site.stripe()
    await site.stripe()
    page = await site.page("/lab?event=1")
    await page.evaluate("document.querySelector('#what').value = '1 2'")
    for name in ("burst", "shuffle", "stale", "retries"):
        await page.evaluate(f"document.querySelector('[name=experiment][value={name}]').click()")
    await page.click("button[data-send]")
    await until(page, "location.pathname === '/lab/1' && document.querySelector('#report')")
    await until(page, "!document.querySelector('#report[hx-get]')")
    sizes = ((1440, 900), (1024, 900), (390, 900), (320, 900))
    unfold = "document.querySelectorAll('details').forEach(one => { one.open = true; })"
    await check_pages(site, ("/lab?event=1", "/lab/1"), sizes, least=31, prepare=unfold)
