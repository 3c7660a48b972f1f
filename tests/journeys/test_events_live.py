import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from builders import build_capture, build_event
from journeys.waiting import until
from relay.transfer.records import event_to_record

pytestmark = pytest.mark.asyncio(loop_scope="session")

COUNT = "document.querySelectorAll('#rows .row').length"
IDS = "[...document.querySelectorAll('#rows .row')].map(row => +row.id.slice(2))"
SHOWN = "+document.querySelector('[data-event]').dataset.event"
PILL = "(p => p.hidden ? '' : p.textContent.trim())(document.querySelector('.pill-new'))"
LIVE = "document.querySelector('#live')._htmx?.sse?.reader != null"


async def test_the_first_event_replaces_the_welcome(site):
    page = await site.page(motion=True)
    assert "Waiting for the first webhook" in await page.evaluate("document.body.innerText")
    await until(page, LIVE)
    await site.send({"hello": "relay"})
    await until(page, f"location.pathname === '/events' && {COUNT} === 1")
    assert await page.evaluate(SHOWN) == 1


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
    page = await site.page("/events/38", motion=True)
    await until(page, LIVE)
    await page.evaluate(HEARD)
    for number in range(3):
        await site.send({"n": number})
    await until(page, f"{COUNT} === 43")
    await until(page, f"{IDS}.slice(0, 3).join() === '43,42,41'")
    assert await page.evaluate(SHOWN) == 38
    assert await page.evaluate("document.querySelector('.row:has([aria-current])').id") == "e-38"
    assert await page.evaluate("document.querySelectorAll('#rows .is-new').length") == 3
    # In one sentence, or in several where they came too far apart for one.
    await until(page, "heard.reduce((sum, text) => sum + parseInt(text), 0) === 3")
    assert await page.evaluate("heard.every(text => /^\\d new events?$/.test(text))")
    await until(page, "document.querySelector('#count').textContent === '43 events'")
    await until(page, "document.querySelector('#n-events').textContent === '43'")

    await page.evaluate("document.querySelector('[data-list]').scrollTop = 400")
    first = "[...document.querySelectorAll('.row')].find(r => r.getBoundingClientRect().top > 140).id"
    before = await page.evaluate(first)
    for number in range(5):
        await site.send({"n": number})
    await until(page, f"{PILL} === '5 new events'")
    assert await page.evaluate(first) == before
    await page.click(".pill-new")
    await until(page, f"{COUNT} === 48")
    assert await page.evaluate(IDS) == list(range(48, 0, -1))
    assert await page.evaluate("document.querySelector('[data-list]').scrollTop") == 0

    await page.keyboard.press("p")
    assert "Paused" in await page.evaluate("document.querySelector('[data-pause]').innerText")
    await site.send()
    await site.send()
    await until(page, f"{PILL} === '2 new events'")
    await settle()
    assert await page.evaluate(COUNT) == 48
    await page.keyboard.press("p")
    await until(page, f"{COUNT} === 50 && {PILL} === ''")


async def test_rows_kept_out_come_in_with_the_next_event(site):
    """Once nothing is read any more, the list has no gap below what arrives."""
    await site.send()
    page = await site.page(motion=True)
    await until(page, LIVE)
    await page.keyboard.press("r")
    await until(page, "document.querySelector('dialog[open]')")
    await site.send()
    await site.send()
    await until(page, f"{PILL} === '2 new events'")
    await page.keyboard.press("Escape")
    await until(page, "!document.querySelector('dialog[open]')")
    await site.send()
    await until(page, f"{COUNT} === 4 && {PILL} === ''")
    assert await page.evaluate(IDS) == [4, 3, 2, 1]

    await page.keyboard.press("p")
    await site.send()
    await until(page, f"{PILL} === '1 new event'")
    await page.keyboard.press("Home")
    await until(page, f"{COUNT} === 5")
    await until(page, "document.activeElement.closest('.row')?.id === 'e-5'")


def authorize(site):
    return {"Authorization": f"Bearer {site.relay.login_url.partition('token=')[2]}"}


async def import_event(site, *, days_ago):
    old = build_event(build_capture(received_at=datetime.now(UTC) - timedelta(days=days_ago)))
    headers = authorize(site) | {"Content-Type": "application/x-ndjson"}
    line = json.dumps(event_to_record(old)).encode()
    async with site.session.post(f"{site.dashboard}/api/import", data=line, headers=headers) as response:
        assert response.status == 200


async def delete_event(site, id_):
    async with site.session.delete(f"{site.dashboard}/api/events/{id_}", headers=authorize(site)) as response:
        assert response.status == 200


async def test_an_event_that_was_deleted_elsewhere_leaves_the_list_and_is_not_copied(site):
    site.allowed = ("404",)
    await site.send()
    await site.send()
    page = await site.page()
    await until(page, LIVE)
    await delete_event(site, 2)
    await until(page, f"{COUNT} === 1")
    await page.keyboard.press("c")
    await until(page, "document.querySelector('#toast').innerText.includes('Copy failed')")


async def test_the_first_event_of_a_day_stands_below_a_heading_of_its_own(site):
    await import_event(site, days_ago=2)
    page = await site.page()
    await until(page, LIVE)
    await page.focus("#e-1 .go")
    await site.send()
    days = "[...document.querySelectorAll('[data-list] .day')].map(day => day.innerText)"
    await until(page, f"{COUNT} === 2 && {days}.length === 2 && {days}[0].includes('Today')")
    await until(page, "document.activeElement.closest('#e-1')")
    await site.visit(page, "/events?q=source:later")
    await until(page, f"{LIVE} && document.querySelector('#list .nothing')")
    await site.send(path="/webhooks/later")
    await until(page, f"{COUNT} === 1 && {days}[0].includes('Today') && !document.querySelector('#list .nothing')")


async def test_older_events_stay_when_the_last_of_the_first_day_is_deleted(site, settle):
    site.allowed = ("404",)
    for days_ago in (5, 2):
        await import_event(site, days_ago=days_ago)
    await site.send()
    page = await site.page("/events?before=3")
    await until(page, f"{LIVE} && {COUNT} === 2")
    await delete_event(site, 2)
    await until(page, f"{COUNT} === 1")
    await settle()
    assert await page.evaluate(f"{COUNT} === 1 && Boolean(document.querySelector('#e-1'))")


async def test_a_search_while_paused_begins_to_count_again(site):
    await site.send()
    page = await site.page(motion=True)
    await until(page, LIVE)
    await page.keyboard.press("p")
    await site.send()
    await site.send()
    await until(page, f"{PILL} === '2 new events'")
    await page.fill("#q", "method:POST")
    await until(page, f"location.search && {COUNT} === 3 && {LIVE}")
    await site.send()
    await until(page, f"{PILL} === '1 new event'")
    assert await page.evaluate(COUNT) == 3


async def test_a_page_of_older_events_stays_and_counts_what_is_new(site):
    for number in range(4):
        await site.send({"n": number})
    page = await site.page("/events?before=3")
    await until(page, LIVE)
    await site.send()
    await until(page, f"{PILL} === '1 new event'")
    assert await page.evaluate(IDS) == [2, 1]
    await page.click(".pill-new")
    await until(page, f"!location.search && {COUNT} === 5")
    assert await page.evaluate(IDS) == [5, 4, 3, 2, 1]
    await page.go_back()
    await until(page, f"location.search && {COUNT} === 2")
    await page.keyboard.press("Home")
    await until(page, f"!location.search && {COUNT} === 5")


@pytest.mark.slow
async def test_a_burst_ends_with_the_newest_three_hundred_in_order(site):
    await site.send()
    page = await site.page()
    await until(page, LIVE)
    for _ in range(10):
        await asyncio.gather(*(site.send({"n": number}) for number in range(50)))
        await asyncio.sleep(0.05)
    await until(page, f"{IDS}[0] === 501")
    ids = await page.evaluate(IDS)
    assert ids == list(range(501, 501 - len(ids), -1))
    assert len(ids) <= 300
    await page.evaluate(
        "(async () => { for (let i = 0; i < 600 && !document.querySelector('[data-older]'); i++) {"
        " const l = document.querySelector('[data-list]'); l.scrollTop = l.scrollHeight;"
        " await new Promise(r => setTimeout(r, 100)); } })()"
    )
    await until(page, f"{IDS}.length === 300")
    assert await page.evaluate(IDS) == list(range(501, 201, -1))
    assert "Showing 300" in await page.evaluate("document.querySelector('#foot').innerText")
    assert (await page.evaluate("document.querySelector('[data-older]').href")).endswith("/events?before=202")


async def test_a_hidden_tab_holds_no_stream_and_catches_up_once(site):
    await site.send()
    page = await site.page()
    await until(page, LIVE)
    await site.hide(page)
    await until(page, f"!({LIVE})")
    for _ in range(4):
        await site.send()
    await site.hide(page, hidden=False)
    await until(page, f"{COUNT} === 5")
    assert await page.evaluate(IDS) == [5, 4, 3, 2, 1]


async def test_a_list_that_was_paused_while_its_tab_was_hidden_catches_up(site):
    await site.send()
    page = await site.page()
    await until(page, LIVE)
    await page.keyboard.press("p")
    await site.hide(page)
    await until(page, f"!({LIVE})")
    await site.send()
    await site.hide(page, hidden=False)
    await until(page, LIVE)
    assert await page.evaluate(COUNT) == 1
    await page.keyboard.press("p")
    await until(page, f"{COUNT} === 2")


async def test_results_of_deliveries_arrive_in_the_row_and_the_hop_line(site):
    site.app.status = 500
    await site.stripe()
    page = await site.page()
    await until(page, "/Try [2-9]/.test(document.querySelector('#d-1').innerText)")
    assert "Verified" in await page.evaluate("document.querySelector('#hops').innerText")
    site.app.status = 200
    await page.keyboard.press("5")
    await until(page, "document.querySelector('.delivery')")
    await page.evaluate("document.querySelector('.delivery form[action$=retry] button').click()")
    await until(page, "document.querySelector('#d-1').innerText.includes('200')")
    await until(page, "document.querySelector('#hops').innerText.includes('200')")


async def test_after_a_restart_the_page_catches_up_by_itself(site):
    site.allowed = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED", "htmx:sse:error", "Failed to fetch", "401")
    await site.send()
    page = await site.page()
    await until(page, LIVE)
    ingress, dashboard = (url.partition("://")[2] for url in (site.ingress, site.dashboard))
    await site.stop()
    await until(page, "!document.querySelector('#stopped').hidden")
    toml = (site.folder / "relay.toml").read_text()
    await site.start(toml, ingress=ingress, dashboard=dashboard)
    await site.send()
    await until(page, f"document.querySelector('#stopped').hidden && {COUNT} === 2")
    await until(page, "document.querySelector('#toast').innerText.includes('relay restarted')")
    await site.stop()
    (site.folder / ".relay" / "token").unlink()
    await site.start(toml, ingress=ingress, dashboard=dashboard)
    await until(page, "document.querySelector('h1')?.textContent === 'Sign in'")
