import asyncio

import pytest


async def until(at, holds):
    async with asyncio.timeout(10):
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
    status = await until(at, lambda status: status["targets"][0]["state"] == "down")
    target = status["targets"][0]
    assert (target["detail"], target["waiting"], target["concurrency"]) == ("connection refused", 3, 2)


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


@pytest.mark.parametrize("body", [{"state": "lost"}, {"state": "running"}, {"strange": 1}, {"target": 7}])
async def test_what_cannot_be_retried_together_is_named(at, body):
    status, answer = await at.api("/api/deliveries/retry", "POST", json=body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert answer["error"]["message"]
