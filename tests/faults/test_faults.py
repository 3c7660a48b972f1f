"""Whatever a target does: the attempt says what, retries are bounded, and nothing else is held up."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web

TARGETS = """
[targets.nasty]
forward = "{url}"
timeout = "{timeout}"
retry = {{ attempts = 2, first = "10ms", max = "10ms" }}
[targets.good]
forward = "{good}"
[[routes]]
to = ["nasty", "good"]
"""
# Nothing ends these but the target's time limit; the others say something, which a loaded machine may hear late.
ENDLESS = ("silence", "endless_continue", "trickled_body")


@pytest.fixture
async def good(aiohttp_server):
    """A target as it should be."""
    got = []

    async def handle(request):
        got.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handle)
    server = await aiohttp_server(app)
    server.got = got
    return server


@pytest.fixture
def settled():
    async def wait(at, id_, over=lambda shape: shape["state"] not in ("pending", "running")):
        async with asyncio.timeout(60):
            while True:
                _, shape = await at.api(f"/api/deliveries/{id_}")
                if over(shape):
                    return shape
                await asyncio.sleep(0.02)

    return wait


@pytest.mark.parametrize(
    ("fault", "state", "detail", "attempts"),
    [
        ("silence", "failed", "no answer in 1 s", 2),
        ("hang_up", "failed", "hung up without an answer", 2),
        ("reset_at_once", "failed", "connection reset", 2),
        ("garbage", "failed", "not HTTP", 2),
        ("ssh", "failed", "not HTTP", 2),
        ("trickled_head", "failed", "not HTTP", 2),
        ("endless_head", "succeeded", "200", 1),
        ("huge_header", "succeeded", "200", 1),
        ("endless_continue", "failed", "more than 20 interim answers (1xx) and no final one", 2),
        ("endless_body", "succeeded", "200", 1),
        ("trickled_body", "succeeded", "200", 1),
        ("reset_in_mid_body", "succeeded", "200", 1),
        ("short_body", "succeeded", "200", 1),
        ("broken_chunks", "succeeded", "200", 1),
        ("bomb", "succeeded", "200", 1),
        ("redirect_to_metadata", "failed", "307 (not followed)", 1),
        ("redirect_to_itself", "failed", "302 (not followed)", 1),
        ("loop_detected", "failed", "508 (loop)", 1),
    ],
)
async def test_a_target_that_misbehaves_is_told_apart_and_holds_up_nobody(
    start, nasty, good, settled, fault, state, detail, attempts
):
    target = await nasty(fault)
    timeout = "1s" if fault in ENDLESS else "60s"
    at = await start(TARGETS.format(url=target.url, good=good.make_url("/"), timeout=timeout))
    assert (await at.send(data=b"kept"))[0] == 200
    assert (await settled(at, 2))["state"] == "succeeded"
    shape = await settled(at, 1)
    assert (shape["state"], shape["detail"], shape["attempts_made"]) == (state, detail, attempts)
    assert good.got == [b"kept"]
    assert len(target.requests) == attempts
    for attempt in shape["attempts"]:
        assert len((attempt["response"] or {"body": {"text": ""}})["body"]["text"]) <= 100_000
    assert (await at.api("/healthz"))[0] == 200


async def test_a_target_that_asks_for_years_is_asked_again_in_a_minute(start, nasty, good, settled):
    target = await nasty("wait_for_years")
    at = await start(TARGETS.format(url=target.url, good=good.make_url("/"), timeout="60s"))
    await at.send()
    shape = await settled(at, 1, lambda shape: shape["attempts_made"])
    assert (shape["state"], shape["detail"]) == ("pending", "503")
    wait = datetime.fromisoformat(shape["due_at"]) - datetime.fromisoformat(shape["created_at"])
    assert 59 < wait.total_seconds() < 65
    assert target.connections == 1


async def test_an_answer_too_many_is_nobodys(start, nasty, good, settled):
    target = await nasty("two_answers")
    at = await start(TARGETS.format(url=target.url, good=good.make_url("/"), timeout="60s"))
    for _ in range(4):
        await at.send()
    shapes = [await settled(at, id_) for id_ in (1, 3, 5, 7)]
    assert {shape["status"] for shape in shapes} == {200}
    assert len(target.requests) == 4


async def test_a_forward_that_comes_back_is_stopped_at_the_first_hop(start, aiohttp_server, settled):
    at: Any = None
    seen = []

    async def back(request):
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        seen.append(request.headers["X-Relay-Hop"])
        status, body = await at.send("/webhooks/again", data=await request.read(), headers=headers)
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_post("/", back)
    proxy = await aiohttp_server(app)
    at = await start(f'[targets.app]\nforward = "{proxy.make_url("/")}"\n')
    await at.send(data=b"round")
    shape = await settled(at, 1)
    assert (shape["state"], shape["detail"], shape["attempts_made"]) == ("failed", "508 (loop)", 1)
    _, listed = await at.api("/api/events")
    assert [(event["outcome"], event["reason"]) for event in listed["events"]] == [
        ("rejected", "loop"),
        ("accepted", "no_source"),
    ]
    assert seen == ["1"]
    assert (await at.api("/api/status"))[1]["queue"]["pending"] == 0
