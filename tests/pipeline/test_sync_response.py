"""Sources that pass the target's own answer on to the provider."""

import asyncio
import json
import time

import pytest
from aiohttp import web

from relay.actions.base import LARGEST_RESPONSE
from relay.pipeline.sync_response import select_response_headers

TOML = """
[sources.slack]
provider = "custom"
answer = {{ mode = "wait", timeout = "{timeout}" }}
[targets.app]
forward = "http://127.0.0.1:{port}/"
retry = {{ attempts = 5, first = "50ms", max = "50ms" }}
"""


class App:
    """A target with an answer of its own, which it keeps back until it is `open`."""

    def __init__(self):
        self.port = 0
        self.answers = []
        self.open = asyncio.Event()
        self.open.set()
        self.got = 0

    async def handle(self, _):
        self.got += 1
        await self.open.wait()
        return self.answers.pop(0) if self.answers else web.Response(text="fine")


@pytest.fixture
async def app(aiohttp_server):
    it = App()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", it.handle)
    it.port = (await aiohttp_server(application)).port
    return it


async def test_the_provider_gets_the_targets_own_status_headers_and_body(start, app):
    twiml = web.Response(status=201, body=b"<Response/>", content_type="text/xml")
    twiml.headers.update({"X-Mine": "yes", "Keep-Alive": "timeout=9", "Server": "theirs"})
    twiml.headers.add("Set-Cookie", "a=1")
    twiml.headers.add("Set-Cookie", "b=2")
    app.answers = [twiml]
    at = await start(TOML.format(timeout="60s", port=app.port))
    async with at.session.post(at.ingress + "/webhooks/slack", data=b"{}") as response:
        assert (response.status, await response.read()) == (201, b"<Response/>")
        assert response.headers["Content-Type"] == "text/xml"
        assert (response.headers["X-Mine"], response.headers["Server"]) == ("yes", "theirs")
        assert response.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert "Keep-Alive" not in response.headers
    _, event = await at.api("/api/events/1")
    assert (event["status"], event["outcome"], event["deliveries"]["succeeded"]) == (201, "accepted", 1)


async def test_an_answer_that_takes_too_long_is_202_and_the_delivery_goes_on(start, app):
    app.open.clear()
    at = await start(TOML.format(timeout="200ms", port=app.port))
    began = time.monotonic()
    status, body = await at.send("/webhooks/slack")
    assert time.monotonic() - began >= 0.2
    assert (status, body) == (202, b'{"success": true, "event": 1, "outcome": "accepted"}')
    assert (await at.api("/api/deliveries/1"))[1]["state"] == "running"
    app.open.set()
    async with asyncio.timeout(60):
        while (await at.api("/api/deliveries/1"))[1]["state"] != "succeeded":  # noqa: ASYNC110 - relay is asked
            await asyncio.sleep(0.02)
    assert (await at.api("/api/events/1"))[1]["status"] == 202


async def test_a_refusal_of_the_app_is_passed_on_as_it_is(start, app):
    app.answers = [web.Response(status=422, text="no")]
    at = await start(TOML.format(timeout="60s", port=app.port))
    assert await at.send("/webhooks/slack") == (422, b"no")


async def test_a_target_that_is_down_gives_202_after_the_timeout(start, unused_tcp_port):
    at = await start(TOML.format(timeout="300ms", port=unused_tcp_port))
    assert (await at.send("/webhooks/slack"))[0] == 202


async def test_an_app_that_comes_up_in_time_still_answers(start, app, unused_tcp_port):
    at = await start(TOML.format(timeout="60s", port=unused_tcp_port))
    async with asyncio.TaskGroup() as group:
        sent = group.create_task(at.send("/webhooks/slack"))
        await asyncio.sleep(0.2)
        application = web.Application()
        application.router.add_post("/", app.handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    assert sent.result() == (200, b"fine")
    await runner.cleanup()


@pytest.mark.parametrize("length", [64 * 1024, 64 * 1024 + 1, 200_000, LARGEST_RESPONSE])
async def test_a_large_answer_is_passed_on_whole_and_kept_in_part(start, app, length):
    app.answers = [web.Response(body=b"x" * length)]
    at = await start(TOML.format(timeout="60s", port=app.port))
    assert await at.send("/webhooks/slack") == (200, b"x" * length)
    attempt = (await at.api("/api/deliveries/1"))[1]["attempts"][0]["response"]
    assert (len(attempt["body"]["text"]), attempt["cut"]) == (min(length, 64 * 1024), length > 64 * 1024)


async def test_an_answer_above_the_limit_is_502_and_says_why(start, app, caplog):
    app.answers = [web.Response(body=b"x" * (LARGEST_RESPONSE + 1))]
    at = await start(TOML.format(timeout="60s", port=app.port))
    status, body = await at.send("/webhooks/slack")
    assert (status, json.loads(body)["error"]["message"]) == (502, "the target's answer is larger than 5.0 MB")
    delivery = (await at.api("/api/deliveries/1"))[1]
    assert (delivery["state"], len(delivery["attempts"]), app.got) == ("succeeded", 1, 1)
    assert delivery["attempts"][0]["response"]["notes"] == [
        "larger than 5.0 MB, so the sender that waited for it got 502"
    ]
    assert "event 1 was answered with 502: the target's answer is larger than 5.0 MB" in caplog.text


@pytest.mark.parametrize("length", [100, 100_000])
async def test_an_answer_that_breaks_off_is_502(start, length):
    async def talk(reader, writer):
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * length)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        at = await start(TOML.format(timeout="60s", port=server.sockets[0].getsockname()[1]))
        status, body = await at.send("/webhooks/slack")
    assert (status, json.loads(body)["error"]["message"]) == (502, "the target's answer is cut short")


async def test_many_wait_at_the_same_time_and_each_gets_its_own(start, app):
    app.answers = [web.Response(text=str(n)) for n in range(20)]
    at = await start(TOML.format(timeout="60s", port=app.port))
    answers = await asyncio.gather(*(at.send("/webhooks/slack") for _ in range(20)))
    assert sorted(int(body) for _, body in answers) == list(range(20))


def test_what_frames_or_cannot_be_written_stays():
    type_, headers = select_response_headers(
        (
            ("Content-Type", "text/plain"),
            ("Connection", "close, X-Hop"),
            ("X-Hop", "1"),
            ("Transfer-Encoding", "chunked"),
            ("content-length", "5"),
            ("X-Odd", "caf\xe9"),
            ("Set-Cookie", "a=1"),
        )
    )
    assert (type_, headers) == ("text/plain", (("Set-Cookie", "a=1"),))
