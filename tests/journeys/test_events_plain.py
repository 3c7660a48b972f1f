"""The dashboard without script, on paper, on a phone, in the dark, and by keyboard alone."""

import asyncio
from pathlib import Path

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
IDS = "[...document.querySelectorAll('#rows .row')].map(row => +row.id.slice(2))"


async def test_everything_can_be_read_and_done_without_script(site):
    for number in range(52):
        await site.send({"n": {"deep": number}})
    page = await site.page()
    await page.media(motion="reduce")  # a page that fades in takes no clicks
    await page.command("Emulation.setScriptExecutionDisabled", value=True)
    await page.goto(site.dashboard + "/events")
    text = "document.body.innerText"
    assert "need JavaScript" in await page.js(text)

    async def follow(selector):
        loaded = site.browser.wait("Page.loadEventFired", page.session)
        await page.click(selector)
        await asyncio.wait_for(loaded, 60)

    await follow("#foot a")
    assert await page.js(IDS) == [2, 1]
    await follow("#e-2 .go")
    assert "deep" in await page.js("document.querySelector('#payload').innerText")
    await follow("[data-tab='2']")
    assert "Content-Type" in await page.js(text)
    await follow("[data-key=r]")
    await follow("dialog [data-send]")
    assert await page.js("location.pathname.startsWith('/deliveries/')")
    assert len(site.app.got) == 53
    await page.goto(site.dashboard + "/events?q=id:7")
    assert await page.js(IDS) == [7]


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1024, 768), (390, 844)])
async def test_every_text_can_be_read_in_both_themes_at_every_width(site, width, height):
    await site.stripe()
    await site.stripe(secret="whsec_other")
    site.app.status = 500
    await site.stripe()
    page = await site.page()
    await page.size(width, height)
    for scheme in ("light", "dark"):
        await page.media(scheme, "reduce")
        for path in (
            "/events",
            "/events/2/verification",
            "/events/3/deliveries",
            "/events/3/headers",
            "/events/3/replay",
            "/deliveries",
            "/deliveries?state=failed&target=app",
            "/replays",
            "/replays?q=",
            "/compare?a=1&b=2&all=1",
            "/compare?a=1",
            "/find",
            "/events/delete?q=",
            "/sources",
            "/targets",
            "/trigger",
            "/messages",
            "/stats",
        ):
            await page.goto(site.dashboard + path)
            found = await page.js(CONTRAST)
            assert (path, scheme, found["out"], found["wide"]) == (path, scheme, [], False)
            assert found["n"] > 3


async def test_a_phone_shows_list_and_detail_as_two_pages(site):
    await site.stripe()
    page = await site.page()
    await page.size(390, 844)
    seen = "document.querySelector('{}').checkVisibility()"
    await page.goto(site.dashboard + "/events")
    assert await page.js(seen.format("#rows"))
    assert not await page.js(seen.format("#detail"))
    loaded = site.browser.wait("Page.loadEventFired", page.session)
    await page.click("#e-1 .go")
    await asyncio.wait_for(loaded, 60)
    assert await page.js("location.pathname") == "/events/1"
    assert not await page.js(seen.format("#rows"))
    assert await page.js(seen.format("#payload"))
    for width in (390, 320):
        await page.size(width, 700)
        assert await page.js("document.documentElement.scrollWidth <= innerWidth")


async def test_paper_gets_the_event_and_nothing_around_it(site):
    await site.stripe()
    page = await site.page("/events/1")
    await page.media(medium="print")
    for part, wanted in {"h2": 1, "#hops": 1, "#payload": 1, ".side": 0, "#rows": 0, ".tabs": 0}.items():
        assert await page.js(f"document.querySelector('{part}').checkVisibility()") == bool(wanted), part


async def test_reduced_motion_leaves_nothing_moving(site):
    await site.send()
    page = await site.page()
    await page.media(motion="reduce")
    await page.goto(site.dashboard + "/events")
    assert await page.js("document.getAnimations().filter(a => a.playState === 'running').length") == 0


async def test_a_keyboard_alone_reaches_everything_in_order(site):
    await site.stripe()
    page = await site.page()
    await page.until("document.querySelector('#hops').innerText.includes('200')")
    where = "document.activeElement.closest('.side, .bar, .list-tools, #rows, #detail')?.className ?? ''"
    order = []
    for _ in range(40):
        await page.key("Tab")
        assert await page.js("document.activeElement.matches(':focus-visible')")
        place = (await page.js(where)).split(" ")[0]
        if place and (not order or order[-1] != place):
            order.append(place)
        if place == "pane":
            break
    assert order == ["side", "bar", "list-tools", "rows", "pane"]


async def test_the_theme_is_remembered_without_a_flash(site):
    await site.send()
    page = await site.page()
    for theme in ("light", "dark"):
        await page.click("[data-theme-toggle]")
        await page.until(f"document.documentElement.dataset.theme === '{theme}'")
    html = await page.js("fetch('/events').then(r => r.text())")
    assert '<html lang="en" data-theme="dark">' in html
    await page.click("[data-theme-toggle]")
    await page.until("document.documentElement.dataset.theme === ''")
