"""Refused events and those turned away at the door, as a browser shows them."""

import pytest

from journeys.contrast import check_contrast
from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

RULES = """
[sources.shop]
provider = "custom"
schema = "s.json"
rate_limit = { requests_per_minute = 1, burst = 3 }
allow_ips = ["127.0.0.0/8"]
[targets.app]
forward = "http://127.0.0.1:9/"
"""
NESTED = '{"properties": {"data": {"required": ["amount"], "properties": {"%s": {"type": "integer"}}}}}'
LONG = "a_very_long_name_of_a_field_that_no_line_has_room_for"


async def ruled(site):
    await site.stop()
    (site.folder / "s.json").write_text(NESTED % LONG)
    await site.start(RULES)


async def test_a_rejected_event_names_the_field_where_it_broke(site):
    await ruled(site)
    assert await site.send({"data": {}}, "/webhooks/shop") == 400
    page = await site.page("/events/1")
    await until(page, "document.querySelector('.hops > .wire').innerText === 'Schema: data.amount is missing'")
    assert await page.evaluate("document.querySelector('#e-1').innerText.includes('data.amount is missing')")
    await page.keyboard.press("3")
    await until(page, "location.pathname === '/events/1/verification'")
    await until(page, "document.querySelector('.steps').innerText.includes('/data/amount')")
    assert await page.evaluate("document.querySelector('.verdict h3').innerText") == (
        "Refused: the body does not fit the schema"
    )


async def test_a_long_reason_stays_inside_its_line(site):
    await ruled(site)
    await site.send({"data": {"amount": 1, LONG: "x"}}, "/webhooks/shop")
    inside = (
        "(() => { const line = document.querySelector('.hops').getBoundingClientRect(), "
        "chip = document.querySelector('.hops > .wire .chip').getBoundingClientRect(); "
        "return chip.left >= line.left && chip.right <= line.right })()"
    )
    async for width, page in site.pages("/events/1", (1440, 1024, 390, 320), height=800):
        assert await page.evaluate(inside), width
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    assert "no_line_has_room_for" in await page.evaluate("document.querySelector('.hops > .wire .chip').title")


async def test_the_sources_page_shows_the_rules_and_who_was_refused(site):
    await ruled(site)
    for _ in range(15):
        await site.send({"data": {"amount": 1}}, "/webhooks/shop")
    page = await site.page("/sources/shop")
    text = await page.evaluate("document.querySelector('main').innerText")
    assert "12 too fast" in text
    assert "12 requests came too fast (limit 1 a minute, 3 at once). The latest: " in text
    assert "1 a minute, 3 at once" in text
    await check_contrast(page, "/sources/shop")
