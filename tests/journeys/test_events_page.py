import asyncio
import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

CTRL, SHIFT = 2, 8
IDS = "[...document.querySelectorAll('#rows .row')].map(row => +row.id.slice(2))"
SHOWN = "+document.querySelector('[data-event]').dataset.event"
FOCUS = "document.activeElement"


async def test_walking_the_list_replaces_the_address_and_leaves_no_trail(site):
    for number in range(40):
        await site.send({"n": number})
    page = await site.page()
    length = await page.js("history.length")
    for _ in range(30):
        await page.key("j")
    await page.until(f"{SHOWN} === 10 && location.pathname === '/events/10'")
    assert await page.js("history.length") == length
    await page.until(f"{FOCUS}.closest('.row')?.id === 'e-10'")
    await page.key("k")
    await page.until(f"{SHOWN} === 11")
    await page.key("Enter")
    await page.until(f"{FOCUS}.id === 'detail-h'")
    await page.key("3")
    await page.until("location.pathname === '/events/11/verification'")
    await page.key("Escape")
    await page.until(f"{FOCUS}.closest('.row')?.id === 'e-11'")


async def test_a_row_is_fetched_when_the_pointer_goes_down_and_not_twice(site):
    for number in range(3):
        await site.send({"n": number})
    page = await site.page("/events/3")
    where = await page.js(
        "(r => [r.x + 5, r.y + 5])(document.querySelector('#e-2 .type').getBoundingClientRect())"
    )
    mouse = {"x": where[0], "y": where[1], "button": "left", "clickCount": 1}
    page.requests.clear()
    await page.command("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    asked = [f"{site.dashboard}/events/2"]
    for _ in range(100):
        if asked == [url for url in page.requests if url.endswith("/events/2")]:
            break
        await asyncio.sleep(0.02)
    await page.command("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    await page.until(f"{SHOWN} === 2")
    assert [url for url in page.requests if url.endswith("/events/2")] == asked


async def test_a_filter_becomes_tokens_an_address_and_one_step_back(site, settle):
    await site.stripe()
    await site.stripe(secret="whsec_other")
    await site.send()
    page = await site.page()
    await page.key("/")
    for text in ("source:stripe ", "verdict:invalid"):
        await page.write(text)
        await settle(0.3)
    await page.key("Enter")
    await page.until("document.querySelectorAll('.tok').length === 2")
    await page.until(f"{IDS}.join() === '2'")
    assert await page.js("new URLSearchParams(location.search).get('q')") == "source:stripe verdict:invalid"
    assert await page.js(f"{FOCUS}.id") == "q"
    await page.until("document.querySelector('#count').textContent.includes('1 matches')")
    await site.send()
    await site.stripe(secret="whsec_other")
    await page.until(f"{IDS}.join() === '5,2'")
    await page.goto(await page.js("location.href"))
    assert await page.js(IDS) == [5, 2]
    await page.js("history.back()")
    await page.until("location.search === ''")
    await page.until(f"{IDS}.length === 5")
    await page.key("j")
    await page.until("location.pathname !== '/events'")
    assert len(await page.js("[...document.querySelectorAll('script[src]')].map(s => s.src)")) <= 4


async def test_a_deep_link_opens_that_tab_and_keeps_the_filter(site):
    await site.stripe()
    await site.send()
    page = await site.page("/events/1/verification?q=source:stripe")
    assert await page.js(IDS) == [1]
    assert "Signature verified" in await page.js("document.querySelector('#tab').innerText")
    assert await page.js("document.querySelector('.tok').innerText") == "source:stripe"
    await page.click(".row .go", modifiers=CTRL)
    for _ in range(100):
        if any(target["url"].endswith("/events/1?q=source%3Astripe") for target in site.browser.opened):
            break
        await asyncio.sleep(0.02)
    else:
        pytest.fail("no new tab")
    assert await page.js("location.pathname") == "/events/1/verification"


async def test_a_replay_sends_again_and_verifies_even_when_edited(site):
    await site.stripe()
    page = await site.page()
    await page.until("document.querySelector('#hops').innerText.includes('200')")
    await page.key("j")
    await page.key("r")
    await page.until(f"{FOCUS}.matches('dialog[open] [data-send]')")
    await page.key("Enter")
    await page.until("document.querySelector('.result .sent')?.innerText.includes('200')")
    assert len(site.app.got) == 2
    assert site.app.got[0][2] == site.app.got[1][2]
    edit = "const b = document.querySelector('#rp-b'); b.value = b.value.replace('4800', '125000');"
    await page.js(edit + " b.dispatchEvent(new Event('input', {bubbles: true}))")
    await page.until("document.querySelector('#preview').innerText.includes('1 change')")
    assert "data.object.amount" in await page.js("document.querySelector('#preview').innerText")
    await page.click("dialog [data-send]")
    await page.until("document.querySelectorAll('.result .sent').length === 2")
    await page.until("document.querySelector('.result .sent').innerText.includes('\"verified\": true')")
    assert json.loads(site.app.got[2][2])["data"]["object"]["amount"] == 125000
    await page.click("dialog input[value=original]")
    await page.until("document.querySelector('#preview').innerText.includes('will fail')")
    await page.click("dialog [data-send]")
    await page.until("document.querySelectorAll('.result .sent').length === 3")
    await page.until("document.querySelector('.result .sent').innerText.includes('\"verified\": false')")
    await page.js("document.querySelector('#rp-h2').value = 'no colon here'")
    site.allowed = ("422",)
    await page.click("dialog [data-send]")
    await page.until("document.querySelector('#errors-replay').innerText.includes('Line 1 is not a header')")
    assert len(site.app.got) == 4
    await page.key("Escape")
    await page.until("!document.querySelector('dialog[open]')")
    await page.until("document.querySelector('#tab-deliveries').textContent === '4'")
    assert await page.js(IDS) == [1]


async def test_the_payload_is_walked_folded_copied_and_searched(site, settle):
    body = json.dumps(
        {"data": {"object": {"amount": 4800, "tags": ["a", "b"], "name": "x\ny"}}, "id": "e1"}
    ).encode()
    await site.send(body)
    origin = site.dashboard
    page = await site.page("/events/1")
    await site.browser.command(
        "Browser.grantPermissions",
        {"origin": origin, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]},
    )
    path = "document.querySelector('#path').textContent"
    await page.click(".tree .ln")
    assert not await page.js("document.querySelector('.tree details').open")
    await page.key("ArrowDown")
    assert await page.js(path) == "id"
    for key in ("ArrowUp", "ArrowRight", "ArrowDown", "ArrowDown"):
        await page.key(key)
    assert await page.js(path) == "data.object.amount"
    await page.click('.la [data-act="path"]')
    await page.until("navigator.clipboard.readText().then(text => text === 'data.object.amount')")
    await page.key("ArrowLeft")
    assert await page.js(path) == "data.object"
    await page.key("ArrowLeft")
    assert not await page.js("document.querySelector('[data-path=\"data.object\"]').parentElement.open")
    await page.click("[data-copy-url$=body]")
    await page.until(f"navigator.clipboard.readText().then(text => text === {json.dumps(body.decode())})")
    await page.js("document.querySelector('[data-path=\"data\"]').focus()")
    await page.key("f", CTRL)
    assert await page.js(f"{FOCUS}.id") == "pq"
    await page.write("a")
    await page.until("document.querySelector('#hits').innerText.includes('1 of ')")
    first = await page.js("document.querySelector('.ln.on').dataset.path")
    await page.key("Enter")
    await page.until("document.querySelector('#hits').innerText.includes('2 of ')")
    assert await page.js("document.querySelector('.ln.on').dataset.path") != first
    await page.key("Enter", SHIFT)
    await page.until("document.querySelector('#hits').innerText.includes('1 of ')")


async def test_five_megabytes_stay_usable(site):
    big = {"rows": [{"id": number, "text": "x" * 90} for number in range(45_000)], "last": {"key": "needle"}}
    body = json.dumps(big).encode()
    assert len(body) > 4_900_000
    await site.send(body)
    page = await site.page("/events/1")
    assert await page.js("document.querySelectorAll('*').length") < 6000
    await page.click("#pq")
    await page.write("needle")
    await page.until("document.querySelector('.ln.on')?.dataset.path === 'last.key'")
    same = await page.js("fetch('/events/1/body').then(r => r.arrayBuffer()).then(b => b.byteLength)")
    assert same == len(body)
    assert await page.js("document.querySelectorAll('*').length") < 6000
    await page.click("[href='/events/1/raw']")
    await page.until("document.querySelector('.lines')")
    assert "Showing bytes 0 to" in await page.js("document.querySelector('#tab').innerText")


async def test_hostile_captures_are_shown_and_do_nothing(site, settle):
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script></textarea></template><hx-partial hx-target=body>"
    sneaky = {
        "hx": '" hx-get="/events/1/body" hx-trigger="load',
        evil: {"a": evil, "b": "javascript:alert(3)"},
    }
    await site.send(sneaky, f"/webhooks/test?q={evil}", **{"X-Evil": evil})
    page = await site.page()
    dialogs = []
    page.browser.pages[page.session].requests.clear()
    for path in ("", "/raw", "/headers", "/routing", "/deliveries", "/replay", "/email"):
        await page.goto(f"{site.dashboard}/events/1{path}")
    await page.goto(site.dashboard + "/events/1")
    await site.send(sneaky, **{"X-Evil": evil})
    await page.until(f"{IDS}.length === 2")
    for key in ("k", "2", "5", "1", "r"):
        await page.key(key)
        await settle(0.15)
    assert evil in await page.js("document.querySelector('#rp-b').value")
    assert await page.js("document.querySelectorAll('img, #payload script, #tab script').length") == 0
    assert dialogs == []
    wanted = [url for url in page.requests if "/body" in url or url.endswith("/x")]
    assert wanted == []


async def test_a_mail_is_previewed_in_a_sandbox_and_a_refusal_names_the_rule(site):
    site.allowed = ("422",)
    await site.send({"to": "someone@example.com"})
    page = await site.page("/events/1")
    await page.key("e")
    await page.until("document.querySelector('dialog[open] iframe.mail')")
    assert await page.js("document.querySelector('iframe.mail').getAttribute('sandbox')") == ""
    assert "someone@example.com" in await page.js("document.querySelector('dialog').innerText")
    await page.js("document.querySelector('#em-to').value = 'other@elsewhere.test'")
    await page.click("dialog [data-send]")
    await page.until("document.querySelector('#errors-email').innerText.includes('elsewhere.test')")
    await page.js("document.querySelector('#em-to').value = ''")
    await page.click("dialog [data-send]")
    await page.until("document.querySelector('.result .sent')")
