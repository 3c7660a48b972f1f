"""What is done to many events at once, in a real browser: select, compare, replay, and a target that is down."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
CTRL, SHIFT = 2, 8
FOCUS = "document.activeElement"
TICKED = "[...document.querySelectorAll('.row .cb:checked')].map(box => +box.value)"
BAR = "document.querySelector('#bulk').innerText"
SEEN = "document.querySelector('{}')?.checkVisibility() ?? false"
DIALOG = "(document.querySelector('dialog[open]')?.innerText ?? '')"
READY = "document.readyState === 'complete'"
LIVE = "document.querySelector('#live')._htmx?.sse?.reader != null"


async def api(site, path, method="GET", **more):
    token = site.relay.login_url.rpartition("=")[2]
    headers = {"Authorization": f"Bearer {token}"}
    async with site.session.request(method, site.dashboard + path, headers=headers, **more) as response:
        return await response.json()


async def still(site, path="/events"):
    """Open a page that does not fade: one that fades in takes no clicks."""
    page = await site.page()
    await page.media(motion="reduce")
    await page.goto(site.dashboard + path)
    return page


async def test_two_are_selected_by_keys_and_compared(site):
    for amount in (4800, 125000, 4800):
        await site.send({"type": "paid", "amount": amount, "currency": "eur"})
    page = await still(site)
    assert not await page.js(SEEN.format("#bulk"))
    await page.key("x")
    await page.until(SEEN.format("#bulk"))
    assert await page.js("document.querySelector('#two').disabled")
    await page.key("J", SHIFT)
    assert await page.js(TICKED) == [3, 2]
    assert "2 selected" in await page.js(BAR)
    await page.key("J", SHIFT)
    assert await page.js(TICKED) == [3, 2, 1]
    assert await page.js("document.querySelector('#two').disabled")
    await page.key("K", SHIFT)
    assert await page.js(TICKED) == [3, 2]
    await page.key("d")
    await page.until("location.pathname === '/compare'")
    assert await page.js("location.search") == "?a=2&b=3"
    await page.until("document.querySelector('.cmpt')")
    marked = "[...document.querySelectorAll('.cmpt del, .cmpt ins')].map(e => e.innerText)"
    assert {"125000", "4800"} <= set(await page.js(marked))
    assert "currency" not in await page.js("document.querySelector('.cmpt').innerText")
    await page.click(".seg a:last-child")
    await page.until("document.querySelector('.cmpt')?.innerText.includes('currency')")


async def test_one_is_compared_with_another_of_its_type(site):
    for n in range(3):
        await site.send({"n": n})
    page = await still(site, "/events/2")
    await page.key("d")
    await page.until(f"{FOCUS}.matches('dialog[open] .opt')")
    await page.key("ArrowDown")
    await page.until(f"{FOCUS}.querySelector('b').innerText === '1'")
    await page.key("Enter")
    await page.until("location.href.endsWith('/compare?a=1&b=2')")


async def test_three_are_selected_and_replayed(site):
    for n in range(4):
        await site.stripe({"id": f"evt_{n}", "type": "invoice.paid"})
    page = await still(site)
    await page.until(LIVE)
    await page.key("j")
    for key, modifiers in (("x", 0), ("J", SHIFT), ("J", SHIFT)):
        await page.key(key, modifiers)
    assert await page.js(TICKED) == [3, 2, 1]
    before = len(site.app.got)
    await page.click("#bulk .primary")
    await page.until(f"{DIALOG}.includes('3 deliveries of 3 events')")
    await page.until(f"{FOCUS}.matches('dialog[open] [data-send]')")
    await page.key("Enter")
    await page.until(f"{DIALOG}.includes('3 of 3')")
    assert len(site.app.got) == before + 3
    await page.key("Escape")
    await page.until("!document.querySelector('dialog[open]')")
    assert await page.js(TICKED) == [3, 2, 1]
    await page.until("document.querySelectorAll('.row [title=Replayed]').length === 3")
    assert (await api(site, "/api/replays/1"))["counts"]["succeeded"] == 3


async def test_a_selection_survives_what_arrives_and_goes_with_another_search(site):
    for n in range(3):
        await site.send({"n": n})
    page = await still(site)
    await page.until(LIVE)
    await page.click("#e-2 .cb")
    await page.click("#e-1 .cb")
    await site.send()
    await page.until("document.querySelector('#e-4')")
    assert await page.js(TICKED) == [2, 1]
    for _ in range(60):
        await site.send()
    await page.until("document.querySelector('#e-64')")
    await page.until(f"{BAR}.includes('2 selected')")
    assert await page.js("document.querySelector('#bulk').ids.value.split(',').sort().join()") == "1,2"
    await page.click("#bulk [name=all]")
    await page.until(f"{BAR}.includes('64 selected')")
    assert len(await page.js(TICKED)) == await page.js("document.querySelectorAll('.row').length")
    await page.click("#bulk [type=reset]")
    await page.until(f"!({SEEN.format('#bulk')})")
    await page.click("#e-64 .cb")
    await page.click("#e-60 .cb", SHIFT)
    assert await page.js(TICKED) == [64, 63, 62, 61, 60]
    await page.click("#views a:nth-child(3)")
    await page.until(f"location.search.includes('rejected') && !({SEEN.format('#bulk')})")


async def test_deleting_a_selection_asks_once(site):
    for n in range(3):
        await site.send({"n": n})
    page = await still(site)
    await page.click("#e-2 .cb")
    await page.click("#bulk [formaction='/events/delete']")
    await page.until(f"{DIALOG}.includes('Delete 1 event?')")
    loaded = site.browser.wait("Page.loadEventFired", page.session)
    await page.click("dialog[open] .primary")
    await loaded
    assert await page.js("[...document.querySelectorAll('.row')].map(row => row.id)") == ["e-3", "e-1"]


async def test_two_hundred_are_replayed_cancelled_half_way_and_resumed(site):
    for n in range(200):
        await site.send({"n": n}, "/webhooks/shop")
    await site.send({}, "/webhooks/other")
    page = await still(site, "/events?q=source:shop")
    await page.until("document.querySelector('#d-200').innerText.includes('200')")
    await page.click("#e-200 .cb")
    await page.click("#bulk [name=all]")
    assert "200 selected" in await page.js(BAR)
    await page.click("#bulk .primary")
    await page.until(f"{DIALOG}.includes('200 deliveries of 200 events')")
    await page.click("#bk-r")
    await page.write("100")
    await page.click("dialog[open] [data-send]")
    site.app.room = 201 + 70
    words = "document.querySelector('[id^=progress-]')?.innerText"
    await page.until(f"parseInt({words}) >= 60")
    await page.click("#act-1")
    await page.until(f"{DIALOG}.includes('Cancelled')")
    site.app.open.set()
    await page.until("!document.querySelector('[id^=progress-]').hasAttribute('hx-trigger')")
    halted = await api(site, "/api/replays/1")
    done = halted["counts"]["succeeded"]
    assert 60 <= done < 200
    assert await page.js(words) == f"{done} of 200, {200 - done} not sent"
    assert await page.js(f"{FOCUS}.id") == "act-1"
    await page.click("#act-1")
    await page.until(f"{DIALOG}.includes('Done')")
    assert await page.js(words) == "200 of 200"
    ended = await api(site, "/api/replays/1")
    assert (ended["state"], ended["counts"]["succeeded"], ended["counts"]["failed"]) == ("done", 200, 0)
    assert len(site.app.got) == 401
    await page.goto(site.dashboard + "/replays")
    assert "200 of 200" in await page.js("document.querySelector('.dtable').innerText")


async def test_a_target_that_is_down_is_tried_dropped_and_seen_to_come_back(site):
    port = int(site.app.url.rpartition(":")[2].partition("/")[0])
    await site.app.stop()
    page = await still(site, "/deliveries")
    await page.until(LIVE)
    for _ in range(3):
        await site.send()
    banner = "document.querySelector('#banners').innerText"
    await page.until(f"{banner}.includes('app is not answering on 127.0.0.1:{port}. 3 deliveries wait.')")
    await page.until("document.querySelector('#fresh').innerText.includes('3 new deliveries')")
    await page.click("#fresh a")
    await page.until("document.querySelectorAll('.dtable tbody').length === 3")
    await page.until(LIVE)
    first = "document.querySelectorAll('#da-1 .e').length"
    tried = await page.js(first)
    await page.click("#banners [action='/targets/try'] button")
    await page.until(f"{first} > {tried}")
    await page.until("document.querySelector('#toast').innerText.includes('Trying app')")
    await page.click("#banners [action='/targets/drop'] button")
    await page.until(f"{DIALOG}.includes('Drop 3 deliveries')")
    loaded = site.browser.wait("Page.loadEventFired", page.session)
    await page.click("dialog[open] .primary")
    await loaded
    assert await page.js("location.search") == "?state=cancelled&target=app"
    await page.until(f"{banner}.includes('Nothing waits for it.')")
    await page.goto(site.dashboard + "/deliveries")
    await page.until(LIVE)
    await site.send()
    await page.until(f"{banner}.includes('1 delivery waits.')")
    await site.app.start(port)
    await page.until(f"{banner} === ''")
    sent = "fetch('/api/status').then(r => r.json()).then(s => s.queue.succeeded === 1)"
    await page.until(sent)
    assert len(site.app.got) == 1
    await page.goto(site.dashboard + "/deliveries/1")
    await page.click("#open-1")
    await page.until("!document.querySelector('#delivery-1')")
    await page.click("#open-1")
    await page.until("document.querySelector('#delivery-1')")
    assert "refused" in (await page.js("document.querySelector('#delivery-1').innerText")).lower()


async def test_anything_is_found_by_keys_alone(site):
    await site.send({"type": "found.me"})
    await site.send()
    page = await still(site)
    await page.key("k", CTRL)
    await page.until(f"{FOCUS}.id === 'fa'")
    await page.write("dead")
    await page.until("document.querySelectorAll('.opt').length === 2")
    await page.key("ArrowDown")
    await page.until(f"{FOCUS}.matches('.opt')")
    await page.key("Enter")
    await page.until(f"location.href.endsWith('/deliveries?state=failed') && {READY}")
    await page.key("k", CTRL)
    await page.until(f"{FOCUS}.id === 'fa'")
    await page.write("1")
    await page.until(f"{DIALOG}.includes('found.me')")
    await page.key("Enter")
    await page.until(f"location.pathname === '/events/1' && {READY}")
    await page.key("k", CTRL)
    await page.until(f"{FOCUS}.id === 'fa'")
    await page.write("replay event")
    await page.until("document.querySelector('.opt')?.innerText.includes('Replay event 1')")
    await page.key("ArrowDown")
    await page.key("Enter")
    await page.until(f"{DIALOG}.includes('Send to')")
    await page.key("Escape")
    await page.key("g")
    await page.key("d")
    await page.until("location.pathname === '/deliveries'")


async def test_many_are_handled_without_script(site):
    for n in range(3):
        await site.send({"n": n})
    page = await still(site)
    await page.command("Emulation.setScriptExecutionDisabled", value=True)
    await page.goto(site.dashboard + "/events")

    async def follow(selector):
        loaded = site.browser.wait("Page.loadEventFired", page.session)
        await page.click(selector)
        await loaded

    assert await page.js(SEEN.format("#bulk"))
    assert await page.js(SEEN.format(".row .cb"))
    await page.click("#e-3 .cb")
    await page.click("#e-1 .cb")
    await follow("#two")
    assert await page.js("location.search") == "?a=1&b=3"
    await page.goto(site.dashboard + "/events")
    await page.click("#e-2 .cb")
    await follow("#bulk .primary")
    assert "1 delivery of 1 event" in await page.js("document.body.innerText")
    await follow("dialog .primary")
    assert await page.js("location.pathname") == "/replays/1"
    await follow("[href$='state=failed']")
    assert "Dead letters" in await page.js("document.body.innerText")
    await page.goto(site.dashboard + "/events")
    await page.click("#e-2 .cb")
    await follow("#bulk [formaction='/events/pin']")
    assert "pinned" in await page.js("document.querySelector('#v-2').textContent")
    await page.click("#e-2 .cb")
    await follow("#bulk [formaction='/events/delete']")
    await follow("dialog .primary")
    assert await page.js("[...document.querySelectorAll('.row')].map(row => row.id)") == ["e-3", "e-1"]
    await follow("[data-theme-toggle]")
    assert await page.js("document.documentElement.dataset.theme") == "light"
    assert json.loads(site.app.got[-1][2]) == {"n": 1}


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (900, 800), (390, 844)])
async def test_a_selection_and_a_target_that_is_down_can_be_read_at_every_width(site, width, height):
    await site.app.stop()
    for _ in range(2):
        await site.send()
    page = await site.page()
    await page.size(width, height)
    for scheme in ("light", "dark"):
        await page.media(scheme, "reduce")
        for path in ("/events", "/deliveries?state=pending", "/deliveries/1", "/targets/drop?target=app"):
            await page.goto(site.dashboard + path)
            if path == "/events":
                await page.js("document.querySelector('.row .cb').click()")
            found = await page.js(CONTRAST)
            assert (path, scheme, found["out"], found["wide"]) == (path, scheme, [], False)
        assert await page.js("document.documentElement.scrollWidth <= innerWidth")
