"""What is done to many events at once, in a real browser: select, compare, replay, and a target that is down."""

import json

import pytest

from journeys.contrast import check_pages
from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

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


async def test_two_are_selected_by_keys_and_compared(site):
    for amount in (4800, 125000, 4800):
        await site.send({"type": "paid", "amount": amount, "currency": "eur"})
    page = await site.page()
    assert not await page.evaluate(SEEN.format("#bulk"))
    await page.keyboard.press("x")
    await until(page, SEEN.format("#bulk"))
    assert await page.evaluate("document.querySelector('#two').disabled")
    await page.keyboard.press("Shift+J")
    assert await page.evaluate(TICKED) == [3, 2]
    assert "2 selected" in await page.evaluate(BAR)
    await page.keyboard.press("Shift+J")
    assert await page.evaluate(TICKED) == [3, 2, 1]
    assert await page.evaluate("document.querySelector('#two').disabled")
    await page.keyboard.press("Shift+K")
    assert await page.evaluate(TICKED) == [3, 2]
    await page.keyboard.press("d")
    await until(page, "location.pathname === '/compare'")
    assert await page.evaluate("location.search") == "?a=2&b=3"
    await until(page, "document.querySelector('.cmpt')")
    marked = "[...document.querySelectorAll('.cmpt del, .cmpt ins')].map(e => e.innerText)"
    assert {"125000", "4800"} <= set(await page.evaluate(marked))
    assert "currency" not in await page.evaluate("document.querySelector('.cmpt').innerText")
    await page.click(".seg a:last-child")
    await until(page, "document.querySelector('.cmpt')?.innerText.includes('currency')")


async def test_one_is_compared_with_another_of_its_type(site):
    for n in range(3):
        await site.send({"n": n})
    page = await site.page("/events/2")
    await page.keyboard.press("d")
    await until(page, f"{FOCUS}.matches('dialog[open] .opt')")
    await page.keyboard.press("ArrowDown")
    await until(page, f"{FOCUS}.querySelector('b').innerText === '1'")
    await page.keyboard.press("Enter")
    await until(page, "location.href.endsWith('/compare?a=1&b=2')")


async def test_three_are_selected_and_replayed(site):
    for n in range(4):
        await site.stripe({"id": f"evt_{n}", "type": "invoice.paid"})
    page = await site.page()
    await until(page, LIVE)
    await page.keyboard.press("j")
    for key in ("x", "Shift+J", "Shift+J"):
        await page.keyboard.press(key)
    assert await page.evaluate(TICKED) == [3, 2, 1]
    before = len(site.app.got)
    await page.click("#bulk .primary")
    await until(page, f"{DIALOG}.includes('3 deliveries of 3 events')")
    await until(page, f"{FOCUS}.matches('dialog[open] [data-send]')")
    await page.keyboard.press("Enter")
    await until(page, f"{DIALOG}.includes('3 of 3')")
    assert len(site.app.got) == before + 3
    await page.keyboard.press("Escape")
    await until(page, "!document.querySelector('dialog[open]')")
    assert await page.evaluate(TICKED) == [3, 2, 1]
    await until(page, "document.querySelectorAll('.row [title=Replayed]').length === 3")
    assert (await api(site, "/api/replays/1"))["counts"]["succeeded"] == 3


async def test_a_selection_survives_what_arrives_and_goes_with_another_search(site):
    for n in range(3):
        await site.send({"n": n})
    page = await site.page()
    await until(page, LIVE)
    await page.click("#e-2 .cb")
    await page.click("#e-1 .cb")
    await site.send()
    await until(page, "document.querySelector('#e-4')")
    assert await page.evaluate(TICKED) == [2, 1]
    for _ in range(60):
        await site.send()
    await until(page, "document.querySelector('#e-64')")
    await until(page, f"{BAR}.includes('2 selected')")
    assert await page.evaluate("document.querySelector('#bulk').ids.value.split(',').sort().join()") == "1,2"
    await page.click("#bulk [name=all]")
    await until(page, f"{BAR}.includes('64 selected')")
    assert len(await page.evaluate(TICKED)) == await page.evaluate("document.querySelectorAll('.row').length")
    await page.click("#bulk [type=reset]")
    await until(page, f"!({SEEN.format('#bulk')})")
    await page.click("#e-64 .cb")
    await page.click("#e-60 .cb", modifiers=["Shift"])
    assert await page.evaluate(TICKED) == [64, 63, 62, 61, 60]
    await page.click("#views a:nth-child(3)")
    await until(page, f"location.search.includes('rejected') && !({SEEN.format('#bulk')})")


async def test_deleting_a_selection_asks_once(site):
    for n in range(3):
        await site.send({"n": n})
    page = await site.page()
    await page.click("#e-2 .cb")
    await page.click("#bulk [formaction='/events/delete']")
    await until(page, f"{DIALOG}.includes('Delete 1 event?')")
    async with page.expect_event("load"):
        await page.click("dialog[open] .primary")
    assert await page.evaluate("[...document.querySelectorAll('.row')].map(row => row.id)") == ["e-3", "e-1"]


@pytest.mark.slow
async def test_two_hundred_are_replayed_cancelled_half_way_and_resumed(site):
    for n in range(200):
        await site.send({"n": n}, "/webhooks/shop")
    await site.send({}, "/webhooks/other")
    page = await site.page("/events?q=source:shop")
    await until(page, "document.querySelector('#d-200').innerText.includes('200')")
    await page.click("#e-200 .cb")
    await page.click("#bulk [name=all]")
    assert "200 selected" in await page.evaluate(BAR)
    await page.click("#bulk .primary")
    await until(page, f"{DIALOG}.includes('200 deliveries of 200 events')")
    await page.click("#bk-r")
    await page.keyboard.insert_text("100")
    await page.click("dialog[open] [data-send]")
    site.app.room = 201 + 70
    words = "document.querySelector('[id^=progress-]')?.innerText"
    await until(page, f"parseInt({words}) >= 60")
    await page.click("#act-1")
    await until(page, f"{DIALOG}.includes('Cancelled')")
    site.app.release()
    await until(page, "!document.querySelector('[id^=progress-]').hasAttribute('hx-trigger')")
    halted = await api(site, "/api/replays/1")
    done = halted["counts"]["succeeded"]
    assert 60 <= done < 200
    assert await page.evaluate(words) == f"{done} of 200, {200 - done} not sent"
    assert await page.evaluate(f"{FOCUS}.id") == "act-1"
    await page.click("#act-1")
    await until(page, f"{DIALOG}.includes('Done')")
    assert await page.evaluate(words) == "200 of 200"
    ended = await api(site, "/api/replays/1")
    assert (ended["state"], ended["counts"]["succeeded"], ended["counts"]["failed"]) == ("done", 200, 0)
    assert len(site.app.got) == 401
    await site.visit(page, "/replays")
    assert "200 of 200" in await page.evaluate("document.querySelector('.dtable').innerText")


async def test_a_target_that_is_down_is_tried_dropped_and_seen_to_come_back(site):
    port = int(site.app.url.rpartition(":")[2].partition("/")[0])
    await site.app.stop()
    page = await site.page("/deliveries")
    await until(page, LIVE)
    for _ in range(3):
        await site.send()
    banner = "document.querySelector('#banners').innerText"
    await until(page, f"{banner}.includes('app is not answering on 127.0.0.1:{port}. 3 deliveries wait.')")
    await until(page, "document.querySelector('#fresh').innerText.includes('3 new deliveries')")
    await page.click("#fresh a")
    await until(page, "document.querySelectorAll('.dtable tbody').length === 3")
    await until(page, LIVE)
    first = "document.querySelectorAll('#da-1 .e').length"
    tried = await page.evaluate(first)
    await page.click("#banners [action='/deliveries/try'] button")
    await until(page, f"{first} > {tried}")
    await until(page, "document.querySelector('#toast').innerText.includes('Trying app')")
    await page.click("#banners [action='/deliveries/drop'] button")
    await until(page, f"{DIALOG}.includes('Drop 3 deliveries')")
    async with page.expect_event("load"):
        await page.click("dialog[open] .primary")
    assert await page.evaluate("location.search") == "?state=cancelled&target=app"
    await until(page, f"{banner}.includes('Nothing waits for it.')")
    await site.visit(page, "/deliveries")
    await until(page, LIVE)
    await site.send()
    await until(page, f"{banner}.includes('1 delivery waits.')")
    await site.app.start(port)
    await until(page, f"{banner} === ''")
    sent = "fetch('/api/status').then(r => r.json()).then(s => s.queue.succeeded === 1)"
    await until(page, sent)
    assert len(site.app.got) == 1
    await site.visit(page, "/deliveries/1")
    await page.click("#open-1")
    await until(page, "!document.querySelector('#delivery-1')")
    await page.click("#open-1")
    await until(page, "document.querySelector('#delivery-1')")
    assert "refused" in (await page.evaluate("document.querySelector('#delivery-1').innerText")).lower()


async def test_anything_is_found_by_keys_alone(site):
    await site.send({"type": "found.me"})
    await site.send()
    page = await site.page()
    await page.keyboard.press("Control+k")
    await until(page, f"{FOCUS}.id === 'fa'")
    await page.keyboard.insert_text("dead")
    await until(page, "document.querySelectorAll('.opt').length === 2")
    await page.keyboard.press("ArrowDown")
    await until(page, f"{FOCUS}.matches('.opt')")
    await page.keyboard.press("Enter")
    await until(page, f"location.href.endsWith('/deliveries?state=failed') && {READY}")
    await page.keyboard.press("Control+k")
    await until(page, f"{FOCUS}.id === 'fa'")
    await page.keyboard.insert_text("1")
    await until(page, f"{DIALOG}.includes('found.me')")
    await page.keyboard.press("Enter")
    await until(page, f"location.pathname === '/events/1' && {READY}")
    await page.keyboard.press("Control+k")
    await until(page, f"{FOCUS}.id === 'fa'")
    await page.keyboard.insert_text("replay event")
    await until(page, "document.querySelector('.opt')?.innerText.includes('Replay event 1')")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await until(page, f"{DIALOG}.includes('Send to')")
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("d")
    await until(page, "location.pathname === '/deliveries'")


async def test_many_are_handled_without_script(site):
    for n in range(3):
        await site.send({"n": n})
    page = await site.page(script=False)

    async def follow(selector):
        async with page.expect_event("load"):
            await page.click(selector)

    assert await page.evaluate(SEEN.format("#bulk"))
    assert await page.evaluate(SEEN.format(".row .cb"))
    await page.click("#e-3 .cb")
    await page.click("#e-1 .cb")
    await follow("#two")
    assert await page.evaluate("location.search") == "?a=1&b=3"
    await site.visit(page, "/events")
    await page.click("#e-2 .cb")
    await follow("#bulk .primary")
    assert "1 delivery of 1 event" in await page.evaluate("document.body.innerText")
    await follow("dialog .primary")
    assert await page.evaluate("location.pathname") == "/replays/1"
    await follow("[href$='state=failed']")
    assert "Dead letters" in await page.evaluate("document.body.innerText")
    await site.visit(page, "/events")
    await page.click("#e-2 .cb")
    await follow("#bulk [formaction='/events/pin']")
    assert "pinned" in await page.evaluate("document.querySelector('#v-2').textContent")
    await page.click("#e-2 .cb")
    await follow("#bulk [formaction='/events/delete']")
    await follow("dialog .primary")
    assert await page.evaluate("[...document.querySelectorAll('.row')].map(row => row.id)") == ["e-3", "e-1"]
    await follow("[data-theme-toggle]")
    assert await page.evaluate("document.documentElement.dataset.theme") == "light"
    assert json.loads(site.app.got[-1][2]) == {"n": 1}


async def test_a_selection_and_a_target_that_is_down_can_be_read_at_every_width(site):
    await site.app.stop()
    for _ in range(2):
        await site.send()
    paths = ("/events", "/deliveries?state=pending", "/deliveries/1", "/deliveries/drop?target=app")
    select = "location.pathname === '/events' && document.querySelector('.row .cb').click()"
    await check_pages(site, paths, ((1280, 800), (900, 800), (390, 844)), prepare=select)


TWO_TARGETS = """
[targets.app]
forward = "{url}"
retry = {{ attempts = 1 }}
[targets.other]
forward = "{url}"
retry = {{ attempts = 1 }}
[[routes]]
to = ["app", "other"]
"""
NUMBERS = "['all', 'failed', 'sent'].map(name => document.querySelector('#dv-' + name).textContent).join()"
RETRY_ALL = "(form => form?.checkVisibility() ? form.innerText.trim() : '')(document.querySelector('.retry-all'))"


async def test_a_narrowed_page_of_deliveries_counts_what_it_shows(site):
    await site.stop()
    site.app.status = 400
    await site.start(TWO_TARGETS.format(url=site.app.url))
    page = await site.page("/deliveries?target=app")
    assert await page.evaluate(RETRY_ALL) == ""
    await site.send()
    await until(page, f"{NUMBERS} === '1,1,0' && {RETRY_ALL} === 'Retry all 1 failed'")
    site.app.status = 200
    await page.click(".retry-all button")
    await until(page, f"{NUMBERS} === '1,0,1' && {RETRY_ALL} === ''")

    await site.visit(page, "/deliveries")
    await until(page, f"{NUMBERS} === '2,1,1' && {RETRY_ALL} === 'Retry all 1 failed'")
    # All that failed is more than an event's.
    await site.visit(page, "/deliveries?event=1")
    await until(page, f"{NUMBERS} === '2,1,1' && {RETRY_ALL} === ''")
