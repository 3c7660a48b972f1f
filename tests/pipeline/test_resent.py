"""What a sender sends again because its first try failed, or because it was not listed then: it is delivered."""

import asyncio
import json

import pytest
from aiohttp import web

TOML = """
[sources.in]
provider = "custom"
idempotency_key = "body:/id"
answer = {{ mode = "wait", timeout = "{timeout}" }}
[targets.app]
forward = "http://127.0.0.1:{port}/"
retry = {{ attempts = 5, first = "{first}", max = "{first}" }}
"""
EVENT = b'{"id": "e1"}'


class App:
    """A target that answers in turn, and waits before each answer until `go` is set."""

    def __init__(self):
        self.port = 0
        self.answers = []
        self.got = []
        self.go = asyncio.Event()
        self.go.set()
        self.called = asyncio.Event()

    async def handle(self, request):
        self.got.append(await request.read())
        self.called.set()
        status = self.answers.pop(0) if self.answers else 200
        await self.go.wait()
        return web.Response(status=status, text=f"{status}")


@pytest.fixture
async def app(aiohttp_server):
    it = App()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", it.handle)
    it.port = (await aiohttp_server(application)).port
    yield it
    it.go.set()


async def outcomes(at):
    found = (await at.api("/api/events"))[1]["events"]
    return [(event["outcome"], event["duplicate_of"], event["status"]) for event in reversed(found)]


async def stored(at, count):
    while len(await outcomes(at)) < count:  # noqa: ASYNC110 - the store is what is asked
        await asyncio.sleep(0.01)


async def test_what_the_target_refused_is_delivered_again(start, app):
    app.answers = [400, 422]
    at = await start(TOML.format(timeout="60s", first="50ms", port=app.port))
    assert [await at.send("/webhooks/in", EVENT) for _ in range(3)] == [(400, b"400"), (422, b"422"), (200, b"200")]
    assert len(app.got) == 3
    status, body = await at.send("/webhooks/in", EVENT)
    assert (status, json.loads(body)["outcome"], len(app.got)) == (200, "duplicate", 3)
    assert await outcomes(at) == [
        ("accepted", None, 400),
        ("accepted", 1, 422),
        ("accepted", 2, 200),
        ("duplicate", 3, 200),
    ]


async def test_a_try_during_the_wait_between_attempts_is_made_at_once_and_answered(start, app):
    app.answers = [500]
    at = await start(TOML.format(timeout="60s", first="1h", port=app.port))
    assert await at.send("/webhooks/in", EVENT) == (500, b"500")
    assert await at.send("/webhooks/in", EVENT) == (200, b"200")
    assert len(app.got) == 2
    assert await outcomes(at) == [("accepted", None, 500), ("duplicate", 1, 200)]
    assert (await at.api("/api/deliveries/1"))[1]["state"] == "succeeded"


@pytest.mark.parametrize("status", [200, 400])
async def test_tries_at_the_same_time_are_one_delivery_and_get_its_answer(start, app, status):
    app.answers = [status]
    app.go.clear()
    at = await start(TOML.format(timeout="60s", first="1h", port=app.port))
    sent = [asyncio.create_task(at.send("/webhooks/in", EVENT)) for _ in range(4)]
    await app.called.wait()
    sent.append(asyncio.create_task(at.send("/webhooks/in", EVENT)))
    await stored(at, 5)
    app.go.set()
    assert await asyncio.gather(*sent) == [(status, str(status).encode())] * 5
    assert len(app.got) == 1


async def test_a_sender_that_hangs_up_and_tries_again_gets_the_answer_of_what_runs(start, app):
    app.go.clear()
    at = await start(TOML.format(timeout="60s", first="1h", port=app.port))
    lost = asyncio.create_task(at.send("/webhooks/in", EVENT))
    await app.called.wait()
    lost.cancel()
    again = asyncio.create_task(at.send("/webhooks/in", EVENT))
    await stored(at, 2)
    app.go.set()
    assert await again == (200, b"200")


async def test_a_try_after_202_waits_for_the_delivery_that_goes_on(start, app):
    app.go.clear()
    at = await start(TOML.format(timeout="100ms", first="1h", port=app.port))
    assert (await at.send("/webhooks/in", EVENT))[0] == 202
    assert (await at.send("/webhooks/in", EVENT))[0] == 202
    app.go.set()
    while (await at.api("/api/deliveries/1"))[1]["state"] != "succeeded":  # noqa: ASYNC110 - the store is what is asked
        await asyncio.sleep(0.01)
    status, body = await at.send("/webhooks/in", EVENT)
    assert (status, json.loads(body)["outcome"], len(app.got)) == (200, "duplicate", 1)


async def test_a_delivery_that_was_given_up_is_no_answer_and_the_next_try_is_delivered(start, app):
    app.answers = [500]
    at = await start(TOML.format(timeout="60s", first="1h", port=app.port))
    assert (await at.send("/webhooks/in", EVENT))[0] == 500
    assert (await at.api("/api/deliveries/1/cancel", "POST"))[0] == 200
    assert await at.send("/webhooks/in", EVENT) == (200, b"200")
    assert (await outcomes(at))[1] == ("accepted", 1, 200)


async def test_a_delivery_cancelled_while_its_sender_waits_is_502(start, refusing_port):
    at = await start(TOML.format(timeout="60s", first="1h", port=refusing_port))
    sent = asyncio.create_task(at.send("/webhooks/in", EVENT))
    while (await at.api("/api/deliveries/1/cancel", "POST"))[0] != 200:  # noqa: ASYNC110 - it may run at this moment
        await asyncio.sleep(0.01)
    status, body = await sent
    assert (status, json.loads(body)["error"]["code"]) == (502, "not_delivered")


async def test_only_what_failed_is_delivered_again(start, app):
    """A mail that went out for the first try does not go out for every further one."""
    app.answers = [400, 400]
    toml = TOML.format(timeout="60s", first="1h", port=app.port)
    mail = """
[targets.mail]
email = "note"
[emails.note]
to = "a@example.com"
subject = "Hello"
text = "Hello"
[[routes]]
to = ["app", "mail"]
"""
    at = await start(toml + mail)
    assert [(await at.send("/webhooks/in", EVENT))[0] for _ in range(3)] == [400, 400, 200]
    found = (await at.api("/api/deliveries"))[1]["deliveries"]
    assert sorted(one["target"] for one in found) == ["app", "app", "app", "mail"]
