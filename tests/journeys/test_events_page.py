import asyncio
import json

import pytest

from journeys.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

IDS = "[...document.querySelectorAll('#rows .row')].map(row => +row.id.slice(2))"
SHOWN = "+document.querySelector('[data-event]').dataset.event"
FOCUS = "document.activeElement"
SETTLED = "!document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling, .htmx-added')"


async def test_walking_the_list_replaces_the_address_and_leaves_no_trail(site):
    for number in range(40):
        await site.send({"n": number})
    page = await site.page(motion=True)
    length = await page.evaluate("history.length")
    for _ in range(30):
        await page.keyboard.press("j")
    await until(page, f"{SHOWN} === 10 && location.pathname === '/events/10'")
    assert await page.evaluate("history.length") == length
    await until(page, f"{FOCUS}.closest('.row')?.id === 'e-10'")
    await page.keyboard.press("k")
    await until(page, f"{SHOWN} === 11")
    await page.keyboard.press("Enter")
    await until(page, f"{FOCUS}.id === 'detail-h'")
    await page.keyboard.press("3")
    await until(page, f"location.pathname === '/events/11/verification' && {SETTLED}")
    await page.keyboard.press("Escape")
    await until(page, f"{FOCUS}.closest('.row')?.id === 'e-11'")


async def test_a_row_is_fetched_when_the_pointer_goes_down_and_not_twice(site):
    for number in range(3):
        await site.send({"n": number})
    page = await site.page("/events/3")
    where = await page.evaluate(
        "(r => [r.x + 5, r.y + 5])(document.querySelector('#e-2 .type').getBoundingClientRect())"
    )
    await page.mouse.move(*where)
    site.requests.clear()
    url = f"{site.dashboard}/events/2"
    async with page.expect_request(url):
        await page.mouse.down()
    assert await page.evaluate(SHOWN) == 3
    await page.mouse.up()
    await until(page, f"{SHOWN} === 2")
    assert [asked.url for asked in site.requests if asked.url.endswith("/events/2")] == [url]


async def test_a_filter_that_cannot_be_read_leaves_the_list_and_its_address_as_they_were(site):
    for name in ("one", "two", "one"):
        await site.send(path=f"/webhooks/{name}")
    page = await site.page()
    await page.keyboard.press("/")
    await page.keyboard.insert_text("source:one")
    await until(page, f"{IDS}.join() === '3,1' && {SETTLED}")
    await page.keyboard.insert_text(" after:soon")
    await until(page, "document.querySelector('#problems').textContent.includes('is not a time')")
    assert await page.evaluate(IDS) == [3, 1]
    await page.keyboard.press("Enter")
    await until(page, "document.querySelector('.tok.bad')")
    assert await page.evaluate(IDS) == [3, 1]
    assert await page.evaluate("location.search") == "?q=source%3Aone"
    await page.click(".tok.bad a")
    await until(page, "!document.querySelector('.tok.bad') && !document.querySelector('#problems').textContent.trim()")
    assert await page.evaluate(IDS) == [3, 1]


async def test_a_filter_becomes_tokens_an_address_and_one_step_back(site):
    await site.stripe()
    await site.stripe(secret="whsec_other")
    await site.send()
    page = await site.page()
    await page.keyboard.press("/")
    for text, found in (("source:stripe ", "2,1"), ("verdict:invalid", "2")):
        await page.keyboard.insert_text(text)
        await until(page, f"{IDS}.join() === '{found}' && {SETTLED}")
    await page.keyboard.press("Enter")
    await until(page, "document.querySelectorAll('.tok').length === 2")
    await until(page, f"{IDS}.join() === '2'")
    assert await page.evaluate("new URLSearchParams(location.search).get('q')") == "source:stripe verdict:invalid"
    assert await page.evaluate(f"{FOCUS}.id") == "q"
    await until(page, "document.querySelector('#count').textContent.includes('1 matches')")
    await site.send()
    await site.stripe(secret="whsec_other")
    await until(page, f"{IDS}.join() === '5,2'")
    await page.goto(await page.evaluate("location.href"))
    assert await page.evaluate(IDS) == [5, 2]
    await page.evaluate("history.back()")
    await until(page, "location.search === ''")
    await until(page, f"{IDS}.length === 5")
    await page.keyboard.press("j")
    await until(page, "location.pathname !== '/events'")
    assert len(await page.evaluate("[...document.querySelectorAll('script[src]')].map(s => s.src)")) <= 4


async def test_escape_while_a_tab_is_on_its_way_goes_back_to_the_row(site):
    await site.send({"n": 1})
    page = await site.page("/events/1")
    asked, answered = asyncio.Event(), asyncio.Event()

    async def answer_late(route):
        asked.set()
        await answered.wait()
        await route.continue_()

    await page.route("**/events/1/verification", answer_late)
    await page.keyboard.press("3")
    await asyncio.wait_for(asked.wait(), 10)
    await page.keyboard.press("Escape")
    await until(page, f"{FOCUS}.closest('.row')?.id === 'e-1'")
    answered.set()
    await until(page, "location.pathname === '/events/1/verification'")
    await until(page, SETTLED)
    assert await page.evaluate(f"{FOCUS}.closest('.row')?.id") == "e-1"


async def test_a_deep_link_opens_that_tab_and_keeps_the_filter(site):
    await site.stripe()
    await site.send()
    page = await site.page("/events/1/verification?q=source:stripe")
    assert await page.evaluate(IDS) == [1]
    assert "Signature verified" in await page.evaluate("document.querySelector('#tab').innerText")
    assert await page.evaluate("document.querySelector('.tok').innerText") == "source:stripe"
    async with page.context.expect_page() as opened:
        await page.click(".row .go", modifiers=["Control"])
    await (await opened.value).wait_for_url("**/events/1?q=source%3Astripe")
    assert await page.evaluate("location.pathname") == "/events/1/verification"


async def test_the_result_of_a_replay_shows_a_long_address_whole(site):
    await site.stripe()
    page = await site.page("/events/1")
    await page.keyboard.press("r")
    await until(page, f"{FOCUS}.matches('dialog[open] [data-send]')")
    await page.fill("dialog input[name=url]", f"http://127.0.0.1:9/{'long' * 12}")
    await page.click("dialog [data-send]")
    await until(page, "document.querySelectorAll('.result .sent .link').length === 2")
    widths = await page.evaluate(
        "[...document.querySelectorAll('.sent .grow')].map(e => [e.scrollWidth, e.clientWidth])"
    )
    assert [shown for needed, shown in widths if needed > shown] == []


async def test_a_replay_sends_again_and_verifies_even_when_edited(site):
    await site.stripe()
    page = await site.page()
    await until(page, "document.querySelector('#hops').innerText.includes('200')")
    await page.keyboard.press("j")
    await page.keyboard.press("r")
    await until(page, f"{FOCUS}.matches('dialog[open] [data-send]')")
    await page.keyboard.press("Enter")
    await until(page, "document.querySelector('.result .sent')?.innerText.includes('200')")
    assert await page.evaluate(f"{FOCUS}.matches('[data-send]')")  # Enter sends it once more
    assert len(site.app.got) == 2
    assert site.app.got[0][2] == site.app.got[1][2]
    edit = "const b = document.querySelector('#rp-b'); b.value = b.value.replace('4800', '125000');"
    await page.evaluate(edit + " b.dispatchEvent(new Event('input', {bubbles: true}))")
    await until(page, "document.querySelector('#preview').innerText.includes('1 change')")
    assert "data.object.amount" in await page.evaluate("document.querySelector('#preview').innerText")
    await page.click("dialog [data-send]")
    await until(page, "document.querySelectorAll('.result .sent').length === 2")
    await until(page, "document.querySelector('.result .sent').innerText.includes('\"verified\": true')")
    assert json.loads(site.app.got[2][2])["data"]["object"]["amount"] == 125000
    await page.click("dialog input[value=original]")
    await until(page, "document.querySelector('#preview').innerText.includes('will fail')")
    await page.click("dialog [data-send]")
    await until(page, "document.querySelectorAll('.result .sent').length === 3")
    await until(page, "document.querySelector('.result .sent').innerText.includes('\"verified\": false')")
    await page.evaluate("document.querySelector('#rp-h2').value = 'no colon here'")
    site.allowed = ("422",)
    await page.click("dialog [data-send]")
    await until(page, "document.querySelector('#errors-replay').innerText.includes('Line 1 is not a header')")
    assert len(site.app.got) == 4
    await page.keyboard.press("Escape")
    await until(page, "!document.querySelector('dialog[open]')")
    await until(page, "document.querySelector('#tab-deliveries').textContent === '4'")
    assert await page.evaluate(IDS) == [1]


async def test_the_payload_is_walked_folded_copied_and_searched(site):
    body = json.dumps({"data": {"object": {"amount": 4800, "tags": ["a", "b"], "name": "x\ny"}}, "id": "e1"}).encode()
    await site.send(body)
    page = await site.page("/events/1")
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.dashboard)
    path = "document.querySelector('#path').textContent"
    await page.click(".tree .ln")
    assert not await page.evaluate("document.querySelector('.tree details').open")
    await page.keyboard.press("ArrowDown")
    assert await page.evaluate(path) == "id"
    for key in ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowDown"):
        await page.keyboard.press(key)
    assert await page.evaluate(path) == "data.object.amount"
    await page.click('.la [data-act="path"]')
    await until(page, "navigator.clipboard.readText().then(text => text === 'data.object.amount')")
    await page.keyboard.press("ArrowLeft")
    assert await page.evaluate(path) == "data.object"
    await page.keyboard.press("ArrowLeft")
    assert not await page.evaluate("document.querySelector('[data-path=\"data.object\"]').parentElement.open")
    await page.click("[data-copy-url$=body]")
    await until(page, f"navigator.clipboard.readText().then(text => text === {json.dumps(body.decode())})")
    await page.evaluate("document.querySelector('[data-path=\"data\"]').focus()")
    await page.keyboard.press("Control+f")
    assert await page.evaluate(f"{FOCUS}.id") == "pq"
    await page.keyboard.insert_text("a")
    await until(page, "document.querySelector('#hits').innerText.includes('1 of ')")
    first = await page.evaluate("document.querySelector('.ln.on').dataset.path")
    await page.keyboard.press("Enter")
    await until(page, "document.querySelector('#hits').innerText.includes('2 of ')")
    assert await page.evaluate("document.querySelector('.ln.on').dataset.path") != first
    await page.keyboard.press("Shift+Enter")
    await until(page, "document.querySelector('#hits').innerText.includes('1 of ')")


async def test_five_megabytes_stay_usable(site):
    big = {"rows": [{"id": number, "text": "x" * 90} for number in range(45_000)], "last": {"key": "needle"}}
    body = json.dumps(big).encode()
    assert len(body) > 4_900_000
    await site.send(body)
    page = await site.page("/events/1")
    assert await page.evaluate("document.querySelectorAll('*').length") < 6000
    await page.click("#pq")
    await page.keyboard.insert_text("needle")
    await until(page, "document.querySelector('.ln.on')?.dataset.path === 'last.key'")
    same = await page.evaluate("fetch('/events/1/body').then(r => r.arrayBuffer()).then(b => b.byteLength)")
    assert same == len(body)
    assert await page.evaluate("document.querySelectorAll('*').length") < 6000
    await page.click("[href='/events/1/raw']")
    await until(page, "document.querySelector('.lines')")
    assert "Showing bytes 0 to" in await page.evaluate("document.querySelector('#tab').innerText")


async def test_hostile_captures_are_shown_and_do_nothing(site):
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script></textarea></template><hx-partial hx-target=body>"
    sneaky = {"hx": '" hx-get="/events/1/body" hx-trigger="load', evil: {"a": evil, "b": "javascript:alert(3)"}}
    await site.send(sneaky, f"/webhooks/test?q={evil}", **{"X-Evil": evil})
    page = await site.page()
    dialogs = []

    async def dismiss(dialog):
        dialogs.append(dialog.message)
        await dialog.dismiss()

    page.on("dialog", dismiss)
    site.stack.callback(page.remove_listener, "dialog", dismiss)
    site.requests.clear()
    for path in ("", "/raw", "/headers", "/routing", "/deliveries", "/replay", "/email"):
        await site.visit(page, f"/events/1{path}")
    await site.visit(page, "/events/1")
    await site.send(sneaky, **{"X-Evil": evil})
    await until(page, f"{IDS}.length === 2")
    for key, path in (("k", ""), ("2", "/headers"), ("5", "/deliveries"), ("1", "")):
        await page.keyboard.press(key)
        await until(page, f"location.pathname === '/events/2{path}' && {SETTLED}")
    await page.keyboard.press("r")
    await until(page, "document.querySelector('#rp-b')")
    assert evil in await page.evaluate("document.querySelector('#rp-b').value")
    assert await page.evaluate("document.querySelectorAll('img, #payload script, #tab script').length") == 0
    assert dialogs == []
    wanted = [asked.url for asked in site.requests if "/body" in asked.url or asked.url.endswith("/x")]
    assert wanted == []


async def test_a_mail_is_previewed_in_a_sandbox_and_a_refusal_names_the_rule(site):
    site.allowed = ("422",)
    await site.send({"to": "someone@example.com"})
    page = await site.page("/events/1")
    await page.keyboard.press("e")
    await until(page, "document.querySelector('dialog[open] iframe.mail')")
    assert await page.evaluate("document.querySelector('iframe.mail').getAttribute('sandbox')") == ""
    assert "someone@example.com" in await page.evaluate("document.querySelector('dialog').innerText")
    await page.evaluate("document.querySelector('#em-to').value = 'other@elsewhere.test'")
    await page.click("dialog [data-send]")
    await until(page, "document.querySelector('#errors-email').innerText.includes('elsewhere.test')")
    await page.evaluate("document.querySelector('#em-to').value = ''")
    await page.click("dialog [data-send]")
    await until(page, "document.querySelector('.result .sent')")
