"""The dashboard without script, on paper, on a phone, in the dark, and by keyboard alone."""

import math

import pytest

from journeys.contrast import check_pages
from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDS = "[...document.querySelectorAll('#rows .row')].map(row => +row.id.slice(2))"


async def test_everything_can_be_read_and_done_without_script(site):
    for number in range(52):
        await site.send({"n": {"deep": number}})
    page = await site.page(script=False)
    text = "document.body.innerText"
    assert "need JavaScript" in await page.evaluate(text)

    async def follow(selector):
        async with page.expect_event("load"):
            await page.click(selector)

    await follow("#foot a")
    assert await page.evaluate(IDS) == [2, 1]
    await follow("#e-2 .go")
    assert "deep" in await page.evaluate("document.querySelector('#payload').innerText")
    await follow("[data-tab='2']")
    assert "Content-Type" in await page.evaluate(text)
    await follow("[data-key=r]")
    await follow("dialog [data-send]")
    assert await page.evaluate("location.pathname.startsWith('/deliveries/')")
    assert len(site.app.got) == 53
    await site.visit(page, "/events?q=id:7")
    assert await page.evaluate(IDS) == [7]


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [((1440, 900), (1024, 768)), ((390, 844),)], ids=["wide", "phone"])
async def test_every_text_can_be_read_in_both_themes_at_every_width(site, sizes):
    await site.stripe()
    await site.stripe(secret="whsec_other")
    site.app.status = 500
    await site.stripe()
    paths = (
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
    )
    await check_pages(site, paths, sizes)


async def test_a_phone_shows_list_and_detail_as_two_pages(site):
    await site.stripe()
    page = await site.page(width=390, height=844)
    seen = "document.querySelector('{}').checkVisibility()"
    assert await page.evaluate(seen.format("#rows"))
    assert not await page.evaluate(seen.format("#detail"))
    async with page.expect_event("load"):
        await page.click("#e-1 .go")
    assert await page.evaluate("location.pathname") == "/events/1"
    assert not await page.evaluate(seen.format("#rows"))
    assert await page.evaluate(seen.format("#payload"))
    for width in (390, 320):
        await page.set_viewport_size({"width": width, "height": 700})
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_paper_gets_the_event_and_nothing_around_it(site):
    await site.stripe({"description": "long " * 500})
    page = await site.page("/events/1")
    await page.emulate_media(media="print")
    for part, wanted in {"h2": 1, "#hops": 1, "#payload": 1, ".side": 0, ".bar": 0, "#rows": 0, ".tabs": 0}.items():
        assert await page.evaluate(f"document.querySelector('{part}').checkVisibility()") == bool(wanted), part
    assert await page.evaluate("document.querySelector('#payload .k').offsetHeight") < 40  # on one line


async def test_reduced_motion_leaves_nothing_moving(site):
    await site.send()
    page = await site.page()
    assert await page.evaluate("document.getAnimations().filter(a => a.playState === 'running').length") == 0
    # A change of colours fades nowhere, whichever element it is inherited by.
    await page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert await page.evaluate("document.getAnimations().length") == 0


async def test_a_page_at_rest_stops_painting(site):
    await site.send()
    page = await site.page(motion=True)
    await until(page, "document.querySelector('.dot.live') && !document.querySelector('.spin')")  # it is delivered
    ends = await page.evaluate("document.getAnimations().map(a => a.effect.getComputedTiming().endTime)")
    assert ends
    assert max(ends) < math.inf  # what moves for ever is painted sixty times a second


async def test_a_keyboard_alone_reaches_everything_in_order(site):
    await site.stripe()
    page = await site.page()
    await until(page, "document.querySelector('#hops').innerText.includes('200')")
    where = "document.activeElement.closest('.side, .bar, .list-tools, #rows, #detail')?.className ?? ''"
    order = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.matches(':focus-visible')")
        place = (await page.evaluate(where)).split(" ")[0]
        if place and (not order or order[-1] != place):
            order.append(place)
        if place == "pane":
            break
    assert order == ["side", "bar", "list-tools", "rows", "pane"]
    # What is chosen is drawn again, and keeps the focus; a filter leaves it to the field.
    await page.focus("[data-tab='2']")
    await page.keyboard.press("Enter")
    await until(page, "document.querySelector('[data-tab=\"2\"][aria-current]')?.matches(':focus')")
    await page.keyboard.press("f")
    await until(page, "document.querySelector('#filters[style]') && document.activeElement.dataset.key === 'f'")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await until(page, "document.querySelector('.tok') && document.activeElement.id === 'q'")
    await page.focus(".tok a")
    await page.keyboard.press("Enter")
    await until(page, "!document.querySelector('.tok') && document.activeElement.id === 'q'")
    await page.focus("#views a:last-child")
    await page.keyboard.press("Enter")
    await until(page, "document.querySelector('#views a:last-child[aria-current]')?.matches(':focus')")


async def test_the_theme_is_the_systems_until_one_is_chosen_and_remembered_without_a_flash(site):
    await site.send()
    page = await site.page()
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    by_system = {}
    for theme in ("light", "dark"):
        await page.emulate_media(color_scheme=theme)
        by_system[theme] = await page.evaluate(ground)
    assert by_system["light"] != by_system["dark"]
    for theme in ("light", "dark"):
        await page.click("[data-theme-toggle]")
        await until(page, f"document.documentElement.dataset.theme === '{theme}'")
        assert await page.evaluate(ground) == by_system[theme]
    html = await page.evaluate("fetch('/events').then(r => r.text())")
    assert '<html lang="en" data-theme="dark">' in html
    await page.click("[data-theme-toggle]")
    await until(page, "document.documentElement.dataset.theme === ''")
