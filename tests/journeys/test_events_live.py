import asyncio

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNT = "document.querySelectorAll('#rows .row').length"
IDS = "[...document.querySelectorAll('#rows .row')].map(row => +row.id.slice(2))"
SHOWN = "+document.querySelector('[data-event]').dataset.event"
PILL = "(p => p.hidden ? '' : p.textContent.trim())(document.querySelector('.pill-new'))"
LIVE = "document.querySelector('#live')._htmx?.sse?.reader != null"


async def test_the_first_event_replaces_the_welcome(site):
    page = await site.page()
    assert "Waiting for the first webhook" in await page.js("document.body.innerText")
    await page.until(LIVE)
    await site.send({"hello": "relay"})
    await page.until(f"location.pathname === '/events' && {COUNT} === 1")
    assert await page.js(SHOWN) == 1


HEARD = """
window.heard = [];
new MutationObserver(() => {
  const text = document.querySelector('#announce').textContent;
  if (text) heard.push(text);
}).observe(document.querySelector('#announce'), { childList: true, characterData: true, subtree: true });
"""


async def test_new_rows_never_move_what_is_looked_at(site, settle):
    for number in range(40):
        await site.send({"n": number})
    page = await site.page("/events/38")
    await page.until(LIVE)
    await page.js(HEARD)
    for number in range(3):
        await site.send({"n": number})
    await page.until(f"{COUNT} === 43")
    await page.until(f"{IDS}.slice(0, 3).join() === '43,42,41'")
    assert await page.js(SHOWN) == 38
    assert await page.js("document.querySelector('.row:has([aria-current])').id") == "e-38"
    assert await page.js("document.querySelectorAll('#rows .is-new').length") == 3
    # In one sentence, or in several where they came too far apart for one.
    await page.until("heard.reduce((sum, text) => sum + parseInt(text), 0) === 3")
    assert await page.js("heard.every(text => /^\\d new events?$/.test(text))")
    await page.until("document.querySelector('#count').textContent === '43 events'")
    await page.until("document.querySelector('#n-events').textContent === '43'")

    await page.js("document.querySelector('[data-list]').scrollTop = 400")
    first = "[...document.querySelectorAll('.row')].find(r => r.getBoundingClientRect().top > 140).id"
    before = await page.js(first)
    for number in range(5):
        await site.send({"n": number})
    await page.until(f"{PILL} === '5 new events'")
    assert await page.js(first) == before
    await page.click(".pill-new")
    await page.until(f"{COUNT} === 48")
    assert await page.js(IDS) == list(range(48, 0, -1))
    assert await page.js("document.querySelector('[data-list]').scrollTop") == 0

    await page.key("p")
    assert "Paused" in await page.js("document.querySelector('[data-pause]').innerText")
    await site.send()
    await site.send()
    await page.until(f"{PILL} === '2 new events'")
    await settle()
    assert await page.js(COUNT) == 48
    await page.key("p")
    await page.until(f"{COUNT} === 50 && {PILL} === ''")


async def test_a_burst_ends_with_the_newest_three_hundred_in_order(site):
    await site.send()
    page = await site.page()
    await page.until(LIVE)
    for _ in range(10):
        await asyncio.gather(*(site.send({"n": number}) for number in range(50)))
        await asyncio.sleep(0.05)
    await page.until(f"{IDS}[0] === 501")
    ids = await page.js(IDS)
    assert ids == list(range(501, 501 - len(ids), -1))
    assert len(ids) <= 300
    await page.js(
        "(async () => { for (let i = 0; i < 600 && !document.querySelector('[data-older]'); i++) {"
        " const l = document.querySelector('[data-list]'); l.scrollTop = l.scrollHeight;"
        " await new Promise(r => setTimeout(r, 100)); } })()"
    )
    await page.until(f"{IDS}.length === 300")
    assert await page.js(IDS) == list(range(501, 201, -1))
    assert "Showing 300" in await page.js("document.querySelector('#foot').innerText")
    assert (await page.js("document.querySelector('[data-older]').href")).endswith("/events?before=202")


async def test_a_hidden_tab_holds_no_stream_and_catches_up_once(site):
    await site.send()
    page = await site.page()
    await page.until(LIVE)
    hide = (
        "Object.defineProperty(document, 'hidden', {{get: () => {}, configurable: true}});"
        " document.dispatchEvent(new Event('visibilitychange'))"
    )
    await page.js(hide.format("true"))
    await page.until(f"!({LIVE})")
    for _ in range(4):
        await site.send()
    await page.js(hide.format("false"))
    await page.until(f"{COUNT} === 5")
    assert await page.js(IDS) == [5, 4, 3, 2, 1]


async def test_results_of_deliveries_arrive_in_the_row_and_the_hop_line(site):
    site.app.status = 500
    await site.stripe()
    page = await site.page()
    await page.until("/Try [2-9]/.test(document.querySelector('#d-1').innerText)")
    assert "Verified" in await page.js("document.querySelector('#hops').innerText")
    site.app.status = 200
    await page.key("5")
    await page.until("document.querySelector('.delivery')")
    await page.js("document.querySelector('.delivery form[action$=retry] button').click()")
    await page.until("document.querySelector('#d-1').innerText.includes('200')")
    await page.until("document.querySelector('#hops').innerText.includes('200')")


async def test_after_a_restart_the_page_catches_up_by_itself(site):
    site.allowed = (
        "ERR_CONNECTION_REFUSED",
        "ERR_INCOMPLETE_CHUNKED",
        "htmx:sse:error",
        "Failed to fetch",
        "401",
    )
    await site.send()
    page = await site.page()
    await page.until(LIVE)
    ingress, dashboard = (url.partition("://")[2] for url in (site.ingress, site.dashboard))
    await site.stop()
    await page.until("!document.querySelector('#stopped').hidden")
    toml = (site.folder / "relay.toml").read_text()
    await site.start(toml, ingress=ingress, dashboard=dashboard)
    await site.send()
    await page.until(f"document.querySelector('#stopped').hidden && {COUNT} === 2")
    await page.until("document.querySelector('#toast').innerText.includes('relay restarted')")
