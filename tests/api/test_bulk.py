import asyncio

from aiohttp import web

from cases import check_each


async def until(at, holds):
    async with asyncio.timeout(60):
        while True:
            _, status = await at.api("/api/status")
            if holds(status):
                return status
            await asyncio.sleep(0.02)


TOML = '[targets.app]\nforward = "http://127.0.0.1:{port}/"\nconcurrency = 2\n'


async def test_a_target_that_refuses_is_down_at_once_and_its_queue_waits(start, unused_tcp_port):
    at = await start(TOML.format(port=unused_tcp_port))
    for _ in range(3):
        await at.send()
    # The last of them may still be on its way when the first is refused.
    status = await until(
        at, lambda status: status["targets"][0]["state"] == "down" and status["targets"][0]["waiting"] == 3
    )
    target = status["targets"][0]
    assert (target["detail"], target["concurrency"]) == ("connection refused", 2)


async def test_all_that_match_are_cancelled_and_retried_together(start, unused_tcp_port):
    at = await start(TOML.format(port=unused_tcp_port))
    for _ in range(3):
        await at.send()
    await until(at, lambda status: status["targets"][0]["state"] == "down")
    await until(at, lambda status: status["queue"]["running"] == 0)
    assert await at.api("/api/deliveries/cancel", "POST", json={"target": "other"}) == (200, {"cancelled": 0})
    assert await at.api("/api/deliveries/cancel", "POST", json={"target": "app"}) == (200, {"cancelled": 3})
    _, listed = await at.api("/api/deliveries?state=cancelled")
    assert len(listed["deliveries"]) == 3
    assert await at.api("/api/deliveries/retry", "POST", json={}) == (202, {"retried": 0})
    again = {"state": "cancelled", "target": "app"}
    assert await at.api("/api/deliveries/retry", "POST", json=again) == (202, {"retried": 3})


@check_each(
    "body", [{"state": "lost"}, {"state": "running"}, {"strange": 1}, {"target": 7}, {"batch": "1"}, {"batch": True}]
)
async def test_what_cannot_be_retried_together_is_named(at, body):
    status, answer = await at.api("/api/deliveries/retry", "POST", json=body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert answer["error"]["message"]


async def over(at, id_):
    async with asyncio.timeout(60):
        while True:
            _, batch = await at.api(f"/api/replays/{id_}")
            if batch["state"] != "running":
                return batch
            await asyncio.sleep(0.02)


async def test_a_bulk_replay_is_planned_begun_watched_and_ends(start, aiohttp_server):
    got = []

    async def handle(request):
        got.append((await request.read(), request.headers.get("X-Relay-Replay")))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handle)
    server = await aiohttp_server(app)
    at = await start(TOML.format(port=server.port))
    for n in range(5):
        await at.send(data=b"%d" % n)
    await until(at, lambda status: status["queue"]["succeeded"] == 5)
    got.clear()
    status, plan = await at.api("/api/replays", "POST", json={"q": "", "dry_run": True})
    assert (status, plan["count"], plan["targets"]) == (200, 5, [{"name": "app", "count": 5}])
    assert plan["oldest"] < plan["newest"]
    assert got == []
    status, begun = await at.api("/api/replays", "POST", json={"q": "", "target": "app", "rate": 200})
    assert (status, begun["total"], begun["rate"]) == (202, 5, 200.0)
    done = await over(at, begun["id"])
    assert (done["state"], done["counts"]["succeeded"]) == ("done", 5)
    assert done["finished_at"] > done["created_at"]
    assert got == [(b"%d" % n, "1") for n in range(5)]
    _, made = await at.api(f"/api/deliveries?batch={begun['id']}")
    assert {(one["batch"], one["reason"]) for one in made["deliveries"]} == {(begun["id"], "replay")}
    _, listed = await at.api("/api/replays")
    assert [one["id"] for one in listed["replays"]] == [begun["id"]]
    assert (await at.api(f"/api/replays/{begun['id']}/cancel", "POST"))[0] == 400
    assert (await at.api(f"/api/replays/{begun['id']}/resume", "POST"))[0] == 400


async def test_a_bulk_replay_is_cancelled_and_resumed(start, unused_tcp_port):
    at = await start(TOML.format(port=unused_tcp_port))
    for _ in range(4):
        await at.send()
    await until(at, lambda status: status["targets"][0]["state"] == "down")
    _, begun = await at.api("/api/replays", "POST", json={"q": ""})
    _, halted = await at.api(f"/api/replays/{begun['id']}/cancel", "POST")
    counts = halted["counts"]
    assert (halted["state"], counts["waiting"] + counts["cancelled"]) == ("cancelled", 4)
    status, resumed = await at.api(f"/api/replays/{begun['id']}/resume", "POST", json={"stop_on_failure": True})
    assert (status, resumed["state"], resumed["stop_on_failure"]) == (202, "running", True)


@check_each(
    ("body", "status"),
    [
        ({}, 400),
        ({"q": "", "rate": 0}, 400),
        ({"q": "", "rate": True}, 400),
        ({"q": "", "sign": "twice"}, 400),
        ({"q": "", "dry_run": "yes"}, 400),
        ({"q": "after:soon"}, 400),
        ({"q": "id:" + ",".join(map(str, range(1, 2000, 2)))}, 400),
        ({"q": "", "strange": 1}, 400),
        ({"q": ""}, 404),
        ({"q": "", "target": "nosuch"}, 404),
    ],
)
async def test_what_cannot_be_replayed_is_said(at, body, status):
    got, answer = await at.api("/api/replays", "POST", json=body)
    assert (got, bool(answer["error"]["message"])) == (status, True)
    assert (await at.api("/api/replays/99"))[0] == 404


async def page(at, path):
    return (await at.api(path))[1].decode()


FORGED = {"Stripe-Signature": "t=1,v1=" + "ab" * 32}


async def test_a_dry_run_counts_what_is_left_out_with_its_reason(start, unused_tcp_port):
    at = await start(TOML.format(port=unused_tcp_port) + "[sources.stripe]\nsecret = 'env:S'\n", {"S": "whsec_x"})
    for _ in range(2):
        assert (await at.send("/webhooks/stripe", b"{}", headers=FORGED))[0] == 401
    status, plan = await at.api("/api/replays", "POST", json={"q": "", "target": "app", "dry_run": True})
    (left,) = plan["left_out"]
    assert (status, plan["count"]) == (200, 0)
    assert (left["outcome"], left["reason"], left["count"]) == ("rejected", "signature_mismatch", 2)
    assert left["words"] == "2 failed verification (signature_mismatch)"
    status, answer = await at.api("/api/replays", "POST", json={"q": "", "target": "app"})
    assert (status, "left out: 2 failed verification" in answer["error"]["message"]) == (404, True)
    asked = {"q": "", "target": "app", "include": ["rejected"], "dry_run": True}
    assert (await at.api("/api/replays", "POST", json=asked))[1]["count"] == 2
    html = await page(at, "/replays?q=&target=app")
    assert "Include 2 that failed verification" in html
    html = await page(at, "/replays?q=&target=app&include_rejected=1")
    assert "2 deliveries of 2 events" in html


@check_each("include", ["rejected", ["forged"], [1], {"rejected": True}])
async def test_what_cannot_be_included_is_named(at, include):
    status, answer = await at.api("/api/replays", "POST", json={"q": "", "include": include})
    assert (status, "include" in answer["error"]["message"]) == (400, True)


async def test_a_replay_of_a_forged_event_says_so_and_signs_it_only_when_asked(start, unused_tcp_port):
    at = await start(TOML.format(port=unused_tcp_port) + "[sources.stripe]\nsecret = 'env:S'\n", {"S": "whsec_x"})
    await at.send("/webhooks/stripe", b"{}", headers=FORGED)
    _, made = await at.api("/api/events/1/replay", "POST", json={"target": "app"})
    assert made["warning"].startswith("event 1 failed verification, and is sent with the signature it came with.")
    _, made = await at.api("/api/events/1/replay", "POST", json={"target": "app", "sign": "fresh"})
    assert "signed again because you asked" in made["warning"]
    html = await page(at, "/events/1/replay")
    assert "This event failed verification. It goes out with the signature it came with." in html
