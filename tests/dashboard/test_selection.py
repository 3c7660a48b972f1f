import re

import aiohttp
import pytest

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}


async def page(at, path, target=None, **more):
    headers = PARTIAL | {"HX-Target": f"div#{target}"} if target else {}
    status, body = await at.api(path, headers=headers, **more)
    return status, body.decode() if isinstance(body, bytes) else body


async def went(at, path, method="GET", **more):
    """Return where a browser without script is sent."""
    headers = {"Authorization": f"Bearer {at.token}"}
    url = at.dashboard + path
    async with at.session.request(method, url, headers=headers, allow_redirects=False, **more) as response:
        await response.read()
        return response.status, response.headers.get("Location")


async def left(at):
    _, answer = await at.api("/api/events?limit=500")
    return [event["id"] for event in answer["events"]]


async def test_every_row_can_be_ticked_and_the_form_says_what_for(at):
    await at.send("/webhooks/one")
    _, html = await page(at, "/events?q=source:one")
    assert '<input class="cb" type="checkbox" name="id" value="1" form="bulk"' in html
    form = re.search(r'<form class="bulk" id="bulk".*?</form>', html, re.DOTALL)[0]
    assert '<input type="hidden" name="q" value="source:one">' in form
    addresses = set(re.findall(r'formaction="([^"]+)"', form))
    assert addresses == {"/compare", "/events/export", "/events/pin", "/events/delete", "/replays"}
    for path in addresses - {"/events/pin"}:
        status, _ = await page(at, f"{path}?q=&ids=&id=1&id=2")
        assert status in (200, 404), path


async def test_two_that_are_ticked_are_compared_older_left(at):
    for _ in range(3):
        await at.send()
    assert await went(at, "/compare?q=&ids=&id=3&id=1") == (303, "/compare?a=1&b=3")
    assert await went(at, "/compare?q=&ids=3,1&id=3&id=1") == (303, "/compare?a=1&b=3")
    for wrong in ("?q=&ids=", "?id=1", "?id=1&id=2&id=3", "?id=x&id=1"):
        assert (await page(at, f"/compare{wrong}"))[0] == 400, wrong


async def test_what_is_ticked_is_exported_by_the_search_that_means_it(at):
    where = "/api/export?q=id%3A1%2C3-5&as=jsonl"
    assert await went(at, "/events/export?q=source:x&ids=&id=5&id=4&id=3&id=1") == (303, where)
    assert await went(at, "/events/export?q=source:x&ids=1&id=1&all=1") == (303, "/api/export?q=source%3Ax&as=jsonl")


async def test_what_is_ticked_is_pinned_and_said(at):
    for _ in range(3):
        await at.send()
    status, _ = await page(at, "/events/pin", "detail", method="POST", data={"q": "", "ids": "1,3"})
    assert status == 204
    pinned = (await at.api("/api/events?q=is:pinned"))[1]["events"]
    assert [event["id"] for event in pinned] == [3, 1]
    sent = {"q": "source:test", "ids": "", "all": "1"}
    assert await went(at, "/events/pin", "POST", data=sent) == (303, "/events?q=source%3Atest")
    assert len((await at.api("/api/events?q=is:pinned"))[1]["events"]) == 3


async def test_deleting_asks_once_and_takes_what_matched_then(at):
    for _ in range(3):
        await at.send("/webhooks/one")
    await at.send("/webhooks/two")
    _, html = await page(at, "/events/delete?q=source:one&ids=&all=1", "dialog")
    assert "Delete 3 events?" in html
    assert "This cannot be undone." in html
    assert await left(at) == [4, 3, 2, 1]
    fields = dict(re.findall(r'<input type="hidden" name="(q|upto|shown)" value="([^"]*)">', html))
    await at.send("/webhooks/one")
    assert await went(at, "/events/delete", "POST", data=fields) == (303, "/events?q=source%3Aone")
    assert await left(at) == [5, 4]


async def test_a_deletion_that_was_not_asked_for_takes_nothing(at):
    await at.send()
    for sent in ({}, {"q": ""}, {"q": "", "upto": "all"}, {"q": "after:soon", "upto": "9"}):
        assert (await page(at, "/events/delete", method="POST", data=sent))[0] == 400, sent
    assert await left(at) == [1]


async def test_everything_can_go_at_once(at):
    for _ in range(60):
        await at.send()
    _, html = await page(at, "/events/delete?q=")
    assert "Every event goes" in html
    upto = re.search(r'name="upto" value="(\d+)"', html)[1]
    await went(at, "/events/delete", "POST", data={"q": "", "upto": upto})
    assert await left(at) == []
    assert (await at.api("/api/status"))[1]["events"]["total"] == 0


@pytest.mark.parametrize("path", ["/events/export", "/events/delete", "/replays"])
async def test_a_form_without_a_tick_says_so(at, path):
    status, html = await page(at, f"{path}?q=&ids=")
    assert status == 400
    assert "No event is selected." in html


@pytest.mark.parametrize("ids", ["1,x", "1" * 30, "-1", ",".join(map(str, range(700)))])
async def test_a_selection_that_cannot_be_read_is_refused(at, ids):
    assert (await page(at, f"/events/delete?q=&ids={ids}"))[0] == 400


async def test_a_file_in_place_of_a_selection_is_no_selection(at):
    await at.send()
    form = aiohttp.FormData()
    for name in ("id", "ids", "q", "upto", "rate", "url"):
        form.add_field(name, b"1", filename="x.txt")
    for path, status in (("/events/pin", 400), ("/events/delete", 400), ("/replays", 422), ("/deliveries/retry", 200)):
        assert (await page(at, path, method="POST", data=form()))[0] == status, path
    assert await left(at) == [1]
