"""Pages about many at once: bulk replays, deliveries, targets that are down."""

import asyncio
import re

import pytest
from aiohttp import web

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}
TOML = '[targets.app]\nforward = "{url}"\n[targets.b]\nforward = "{url}"\norder = "fifo"\n[[routes]]\nto = ["app"]\n'


async def page(at, path, target=None, **more):
    headers = PARTIAL | {"HX-Target": f"div#{target}"} if target else {}
    status, body = await at.api(path, headers=headers, **more)
    return status, body.decode() if isinstance(body, bytes) else body


async def went(at, path, **form):
    """Send a form as a browser without script does, and return where it leads."""
    headers = {"Authorization": f"Bearer {at.token}"}
    async with at.session.post(at.dashboard + path, headers=headers, allow_redirects=False, data=form) as response:
        await response.read()
        return response.status, response.headers.get("Location")


async def until(holds):
    async with asyncio.timeout(60):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


async def over(at, id_):
    async def ended():
        return (await at.api(f"/api/replays/{id_}"))[1]["state"] != "running"

    await until(ended)


async def settled(at, count):
    async def ended():
        queue = (await at.api("/api/status"))[1]["queue"]
        return queue["succeeded"] + queue["failed"] == count

    await until(ended)


@pytest.fixture
async def world(start, aiohttp_server):
    """A relay in front of an app that answers what `world.status` says."""
    got, answer = [], [200]

    async def take(request):
        got.append(await request.read())
        return web.Response(status=answer[0])

    app = web.Application()
    app.router.add_post("/", take)
    server = await aiohttp_server(app)
    at = await start(TOML.format(url=f"http://127.0.0.1:{server.port}/"))
    at.got, at.answer = got, answer
    return at


@pytest.fixture
async def lonely(start, unused_tcp_port):
    """A relay in front of an app that does not run."""
    at = await start(TOML.format(url=f"http://127.0.0.1:{unused_tcp_port}/"))
    for _ in range(3):
        await at.send()

    async def waits():
        status = (await at.api("/api/status"))[1]
        return status["targets"][0]["state"] == "down" and status["queue"]["pending"] == 3

    await until(waits)
    at.port = unused_tcp_port
    return at


async def test_a_bulk_replay_is_counted_before_it_is_begun(world):
    for n in range(3):
        await world.send(f"/webhooks/s{n}")
    await settled(world, 3)
    _, html = await page(world, "/replays?q=-source:s2")
    assert "2 deliveries of 2 events" in html
    assert '<input type="hidden" name="q" value="-source:s2">' in html
    _, html = await page(world, "/replays?q=-source:s2&target=b", "preview")
    assert "<dt>to b</dt><dd>2</dd>" in html
    assert "<form" not in html
    _, html = await page(world, "/replays?q=&ids=3&id=3", "dialog")
    assert html.lstrip().startswith("<dialog")
    assert "Sends events 3 again" in html
    assert len(world.got) == 3


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("target=nosuch", "no target"),
        ("url=ftp://x", "http"),
        ("rate=fast", "not a number of deliveries a second"),
        ("rate=nan", "not a number of deliveries a second"),
        ("rate=0", "not a number of deliveries a second"),
    ],
)
async def test_what_cannot_be_replayed_is_said_beside_the_form(world, asked, said):
    await world.send()
    _, html = await page(world, f"/replays?q=&{asked}")
    assert said in html
    name, _, value = asked.partition("=")
    status, html = await page(world, "/replays", method="POST", data={"q": "", name: value})
    assert (status, said in html) == (422, True)
    status, html = await page(world, "/replays", "dialog", method="POST", data={"q": "", name: value})
    assert (status, said in html, "<dialog" in html) == (422, True, False)
    assert (await world.api("/api/replays"))[1] == {"replays": []}


async def test_a_bulk_replay_shows_how_far_it_is_and_where_its_failures_are(world):
    for _ in range(4):
        await world.send()
    await settled(world, 4)
    world.answer[0] = 404
    assert await went(world, "/replays", q="", target="app", sign="original", rate="200") == (303, "/replays/1")
    await over(world, 1)
    _, html = await page(world, "/replays/1")
    assert "4 of 4, 4 failed" in html
    assert 'aria-valuenow="4"' in html
    assert 'href="/deliveries?batch=1&amp;state=failed"' in html
    assert "200 a second" in html
    _, html = await page(world, "/replays")
    assert "every event" in html
    assert "4 of 4, 4 failed" in html
    _, html = await page(world, "/deliveries?batch=1&state=failed")
    assert html.count('<tbody id="row-') == 4
    assert "Dead letters" in html
    assert 'Retry all <span id="failed-count">4</span> failed' in html
    assert '<input type="hidden" name="batch" value="1">' in html


async def test_a_watcher_gets_the_progress_alone_and_the_rest_at_the_end(world):
    for _ in range(3):
        await world.send()
    await settled(world, 3)
    _, begun = await page(world, "/replays", "dialog", method="POST", data={"q": "", "rate": "0.01"})
    assert 'hx-get="/replays/1" hx-trigger="load delay:500ms"' in begun
    await settled(world, 4)
    _, html = await page(world, "/replays/1", "progress-1")
    assert html.lstrip().startswith('<div class="field" id="progress-1"')
    assert "Cancel" not in html
    _, html = await page(world, "/replays/1/cancel", "replay-1", method="POST")
    assert "Resume" in html
    assert "Cancelled" in html
    assert "not sent" in html
    _, html = await page(world, "/replays/1", "progress-1")
    assert 'hx-target="#replay-1" hx-swap="outerHTML"' in html
    assert "hx-trigger" not in html
    assert await went(world, "/replays/1/resume") == (303, "/replays/1")
    assert (await world.api("/api/replays/1"))[1]["state"] == "running"
    for path, status in (("/replays/1/resume", 400), ("/replays/9/cancel", 404), ("/replays/9", 404)):
        method = "GET" if path == "/replays/9" else "POST"
        assert (await page(world, path, method=method))[0] == status


async def test_deliveries_are_seen_by_state_target_and_batch(world):
    world.answer[0] = 404
    await world.send("/webhooks/one")
    await settled(world, 1)
    world.answer[0] = 200
    await world.send("/webhooks/two")
    await world.api("/api/events/1/replay", "POST", json={"target": "b"})
    await settled(world, 3)
    shown = {"": [3, 2, 1], "?state=failed": [1], "?target=b": [3], "?target=app&state=succeeded": [2]}
    shown |= {"?event=1": [3, 1], "?batch=9": [], "?state=nosuch": [3, 2, 1], "?batch=x&event=-1": [3, 2, 1]}
    for query, ids in shown.items():
        status, html = await page(world, f"/deliveries{query}")
        found = [int(number) for number in re.findall(r'<tbody id="row-(\d+)"', html)]
        assert (status, found) == (200, ids), query
    _, html = await page(world, "/deliveries?target=app")
    assert re.findall(r'id="dv-(\w+)">([\d,]+)<', html) == [
        ("all", "2"),
        ("queued", "0"),
        ("failed", "1"),
        ("sent", "1"),
    ]
    assert 'href="/deliveries?state=failed&amp;target=app"' in html


async def test_a_row_opens_to_its_attempts_and_keeps_the_filter(world):
    world.answer[0] = 404
    for _ in range(2):
        await world.send()
    await settled(world, 2)
    _, html = await page(world, "/deliveries/1?state=failed")
    assert [int(number) for number in re.findall(r'<tbody id="row-(\d+)"', html)] == [1]
    assert "404 Not Found" in html
    assert "Send again" in html
    assert 'href="/events/1/replay?delivery=1"' in html
    _, row = await page(world, "/deliveries/1?state=failed&before=3", "row-1")
    assert row.lstrip().startswith('<tbody id="row-1"')
    assert 'href="/deliveries?state=failed&amp;before=3"' in row
    assert 'id="delivery-1"' in row
    _, row = await page(world, "/deliveries/1?closed=1", "row-1")
    assert 'id="delivery-1"' not in row


async def test_what_was_edited_can_be_edited_further(world):
    await world.send(data=b'{"n": 1}', headers={"Authorization": "Bearer canary", "X-A": "b"})
    edits = {"method": "PUT", "path": "/x", "query": "y=1", "body": '{"n": 2}', "sign": "original"}
    headers = [["Authorization", "Bearer canary"], ["X-A", "c"]]
    asked = {"target": "b", **edits, "headers": headers}
    _, made = await world.api("/api/events/1/replay", "POST", json=asked)
    _, html = await page(world, f"/events/1/replay?delivery={made['delivery']}")
    assert re.findall(r'name="target" value="(\w+)" checked', html) == ["b"]
    assert 'name="method" value="PUT"' in html
    assert 'name="path" value="/x?y=1"' in html
    assert "{&#34;n&#34;: 2}" in html
    assert "X-A: c" in html
    assert "canary" not in html
    assert re.findall(r'name="sign" value="(\w+)" checked', html) == ["original"]
    assert (await page(world, "/events/1/replay?delivery=99"))[0] == 404


async def test_all_that_failed_are_tried_again_of_one_batch_or_target_alone(world):
    world.answer[0] = 404
    for _ in range(2):
        await world.send()
    await settled(world, 2)
    await world.api("/api/replays", "POST", json={"q": "", "target": "b"})
    await over(world, 1)
    world.answer[0] = 200
    assert await went(world, "/deliveries/retry", batch="1") == (303, "/deliveries?batch=1")

    async def sent():
        found = (await world.api("/api/deliveries?state=succeeded"))[1]["deliveries"]
        return {one["batch"] for one in found} == {1} and len(found) == 2

    await until(sent)
    status, _ = await page(world, "/deliveries/retry", "x", method="POST", data={"target": "nosuch"})
    assert status == 204
    again = await world.api("/api/deliveries/retry", "POST", json={"batch": 1})
    assert again == (202, {"retried": 0})
    assert await went(world, "/deliveries/retry", target="app") == (303, "/deliveries?target=app")
    await settled(world, 4)


async def test_a_target_that_is_down_says_so_on_every_page_with_what_to_do(lonely):
    for path in ("/events", "/deliveries?state=pending", "/targets", "/replays", "/banners"):
        _, html = await page(lonely, path)
        text = re.sub(r"<[^>]+>", "", html)
        assert f"app is not answering on 127.0.0.1:{lonely.port}. 3 deliveries wait. " in text, path
        assert 'action="/deliveries/try"' in html
        assert 'action="/deliveries/drop"' in html
    _, html = await page(lonely, "/deliveries")
    assert "waiting" in html
    assert "Refused" in html


async def test_a_target_in_order_waits_in_order(start, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    at = await start(f'[targets.b]\nforward = "{url}"\norder = "fifo"\n')
    await at.send()

    async def down():
        return "1 delivery waits in order." in (await page(at, "/banners"))[1]

    await until(down)


async def test_try_now_tries_what_has_waited_longest(lonely):
    before = (await lonely.api("/api/deliveries/1"))[1]["attempts_made"]
    assert await went(lonely, "/deliveries/try", target="app") == (303, "/deliveries/1")

    async def tried():
        return (await lonely.api("/api/deliveries/1"))[1]["attempts_made"] > before

    await until(tried)
    assert await went(lonely, "/deliveries/try", target="nosuch") == (303, "/targets")
    for path, method in (("/deliveries/try", "POST"), ("/deliveries/drop", "POST"), ("/deliveries/drop", "GET")):
        assert (await page(lonely, path, method=method))[0] == 400


async def test_dropping_a_queue_asks_and_keeps_the_events(lonely):
    _, html = await page(lonely, "/deliveries/drop?target=app", "dialog")
    assert "Drop the queue of app?" in html
    assert "Drop 3 deliveries" in html
    assert (await lonely.api("/api/status"))[1]["queue"]["pending"] == 3
    where = "/deliveries?state=cancelled&target=app"
    assert await went(lonely, "/deliveries/drop", target="app") == (303, where)
    queue = (await lonely.api("/api/status"))[1]["queue"]
    assert (queue["pending"], queue["cancelled"]) == (0, 3)
    assert len((await lonely.api("/api/events"))[1]["events"]) == 3
    _, html = await page(lonely, "/banners")
    assert "Nothing waits for it." in html
    assert "/deliveries/drop" not in html


async def test_the_page_of_deliveries_is_kept_current(world):
    await world.send()
    await settled(world, 1)
    _, html = await page(world, "/deliveries")
    stream = re.search(r'hx-sse:connect="([^"]+)"', html)[1].replace("&amp;", "&")
    headers = {"Authorization": f"Bearer {world.token}"}
    async with world.session.get(world.dashboard + stream, headers=headers) as response:
        await response.content.readuntil(b"\n\n")
        await world.api("/api/events/1/replay", "POST", json={"target": "b"})
        text = ""
        async with asyncio.timeout(60):
            while not ("1 new delivery" in text and '#dc-2"' in text and "200" in text):
                text += (await response.content.readline()).decode()
        assert 'hx-target="#dv-sent"' in text


async def test_the_theme_goes_round_and_back_to_the_page(at):
    await at.send()
    headers = {"Authorization": f"Bearer {at.token}"}
    for theme, back in (("light", "/events/1?q=x"), ("dark", "//evil.test/"), ("", "/\\evil.test")):
        async with at.session.post(
            at.dashboard + "/theme", headers=headers, data={"back": back}, allow_redirects=False
        ) as response:
            wanted = back if theme == "light" else "/events"
            assert (response.status, response.headers["Location"]) == (303, wanted)
            assert response.cookies["relay_theme"].value == theme
        at.session.cookie_jar.update_cookies({"relay_theme": theme})


async def test_samples_and_replays_carry_their_marks_in_the_detail_and_among_the_deliveries(world):
    _, made = await world.api("/api/triggers", "POST", json={"source": "stripe", "type": "invoice.paid"})
    await settled(world, 1)
    _, html = await page(world, f"/events/{made['id']}")
    assert ("Made and signed by relay, not by the provider" in html, "Sent again by a replay" in html) == (True, False)
    _, html = await page(world, "/deliveries")
    assert ("Sample sent by relay trigger" in html, 'title="Replayed"' in html) == (True, False)
    await world.api(f"/api/events/{made['id']}/replay", "POST", json={"target": "app"})
    await settled(world, 2)
    _, html = await page(world, f"/events/{made['id']}")
    assert "Sent again by a replay" in html
    _, html = await page(world, "/deliveries")
    assert 'title="Replayed"' in html
