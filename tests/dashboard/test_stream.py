import asyncio
import json
import re
import time
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from jinja2 import Environment
from jinja2.meta import find_referenced_templates

from relay.app import run_relay
from relay.config.build import Overrides, load
from relay.dashboard.assets import Assets, find_resource_folder
from relay.dashboard.live import LIVE_TEMPLATES, MAX_ROWS, PAGE_STREAMS, PageViewer
from relay.dashboard.render import RENDERER, Renderer, TemplateLines
from relay.http.event_stream import MAX_VIEWERS, EventStreams, FrameCache, make_frame
from relay.http.responses import RELAY
from relay.model.signals import DeliveryChanged, EventStored
from relay.platform import SystemClock


class ManualClock(SystemClock):
    seconds = 1000.0

    def monotonic(self):
        return self.seconds


class Reader:
    """Reads one stream message by message, as a browser would."""

    def __init__(self, response):
        self.response = response

    async def next(self, seconds=60):
        message: dict[str, Any] = {"event": "", "data": [], "id": None, "retry": None, "comment": None}
        async with asyncio.timeout(seconds):
            while True:
                line = (await self.response.content.readline()).decode().rstrip("\n")
                assert line or self.response.content.at_eof() is False, "the stream ended"
                if not line:
                    message["data"] = "\n".join(message["data"])
                    return message
                name, _, value = line.partition(": ")
                if name == "data":
                    message["data"].append(value)
                else:
                    message[name or "comment"] = value

    async def row(self):
        while True:
            message = await self.next()
            if '<li class="row"' in message["data"]:
                return message


@asynccontextmanager
async def watching(at, path="/stream?q=", **headers):
    headers = {"Authorization": f"Bearer {at.token}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    async with at.session.get(at.dashboard + path, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield Reader(response)


def ids(message):
    return [int(number) for number in re.findall(r'id="e-(\d+)"', message["data"])]


async def test_the_first_message_says_who_is_there_and_how_soon_to_return(at):
    async with watching(at) as stream:
        first = await stream.next()
    assert (first["event"], first["retry"]) == ("status", "500")
    said = json.loads(first["data"])
    assert said == {"boot": at.relay.boot_id, "version": at.relay.version, "tunnel": "none"}


async def test_a_new_event_comes_as_the_row_that_the_page_itself_would_show(at):
    async with watching(at) as stream:
        await stream.next()
        await at.send("/webhooks/test")
        message = await stream.row()
    assert (ids(message), message["id"], message["event"]) == ([1], "1", "")
    assert message["data"].startswith('<hx-partial hx-target="#rows" hx-swap="afterbegin">')
    _, page = await at.api("/events")
    row = re.search(r'<li class="row" id="e-1">.*?</li>', page.decode(), re.DOTALL)[0]
    plain = row.replace(' aria-current="true"', "").replace('tabindex="0"', 'tabindex="-1"')
    assert plain in message["data"]


async def test_only_what_fits_the_search_arrives(at):
    async with watching(at, "/stream?q=source:two") as stream:
        await stream.next()
        await at.send("/webhooks/one")
        await at.send("/webhooks/two")
        message = await stream.row()
    assert ids(message) == [2]
    assert 'href="/events/2?q=source%3Atwo"' in message["data"]


async def test_a_page_without_a_list_gets_counts_and_no_rows(at):
    async with watching(at, "/stream") as stream:
        await stream.next()
        await at.send()
        message = await stream.next()
    assert 'hx-target="#n-events"' in message["data"]
    assert "<li" not in message["data"]


async def test_a_viewer_that_returns_gets_what_it_missed(at):
    for _ in range(3):
        await at.send()
    async with watching(at, Last_Event_ID="1") as stream:
        await stream.next()
        message = await stream.next()
    assert (ids(message), message["id"]) == ([3, 2], "3")


async def test_a_viewer_that_missed_a_crowd_is_told_to_ask(at):
    for _ in range(MAX_ROWS + 3):
        await at.send()
    async with watching(at, Last_Event_ID="1") as stream:
        await stream.next()
        message = await stream.next()
    assert message["event"] == "event"
    assert json.loads(message["data"])["n"] > MAX_ROWS


async def test_a_burst_is_gathered_into_a_few_messages(at):
    async with watching(at) as stream:
        await stream.next()
        began = time.monotonic()
        await asyncio.gather(*(at.send() for _ in range(30)))
        seen, messages = [], 0
        while len(seen) < 30:
            seen += ids(await stream.row())
            messages += 1
        took = time.monotonic() - began
    assert sorted(seen) == list(range(1, 31))
    assert messages <= 5 + took / 0.25


async def test_events_that_come_one_by_one_are_due_at_once_and_a_crowd_a_moment_later(at, monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr(at.relay, "clock", clock)
    app = web.Application()
    app[RELAY], app[RENDERER], app[PAGE_STREAMS] = at.relay, Renderer("", Assets(), ""), EventStreams("")
    viewer = PageViewer(make_mocked_request("GET", "/stream?q=", app=app))

    async def arrive(seconds):
        clock.seconds += seconds
        viewer.take([EventStored(1)], lost=0)
        is_due = viewer.wait() == 0.0
        async for _ in viewer.frames():
            pass
        return is_due

    # Twenty a second, one of which is late: the next one follows on its heels.
    assert [await arrive(seconds) for seconds in (0.05, 0.05, 0.05, 0.095, 0.005, 0.05)] == [True] * 6
    crowd = [await arrive(0.001) for _ in range(200)]
    assert crowd[:2] == [True, True]
    assert sum(crowd) <= 5
    assert await arrive(1)


async def test_what_became_of_an_event_replaces_its_cells(start):
    at = await start("[targets.gone]\nforward = 'http://127.0.0.1:9/'\n")
    async with watching(at) as stream:
        await stream.next()
        await at.send()
        text, told = "", []
        while not re.search(r"Try \d", text) or not told:
            message = await stream.next()
            text += message["data"]
            if message["event"] == "delivery":
                told.append(json.loads(message["data"]))
    assert 'hx-target="#d-1" hx-swap="outerHTML"' in text
    assert {"event": 1, "delivery": 1, "state": told[0]["state"]} == told[0]


async def test_there_is_room_for_sixty_four_viewers_and_no_more(at):
    headers = {"Authorization": f"Bearer {at.token}"}
    open_ = [await at.session.get(at.dashboard + "/stream", headers=headers) for _ in range(MAX_VIEWERS)]
    async with at.session.get(at.dashboard + "/stream", headers=headers) as response:
        assert response.status == 503
    for response in open_:
        response.close()
    status = 503
    async with asyncio.timeout(60):
        while status == 503:  # until relay has noticed that they left
            async with at.session.get(at.dashboard + "/stream", headers=headers) as response:
                status = response.status
    assert status == 200


async def test_stopping_does_not_wait_for_those_who_watch(tmp_path):
    (tmp_path / "relay.toml").write_text("")
    ports = Overrides(ingress="127.0.0.1:auto", dashboard="127.0.0.1:auto", no_tunnel=True)
    async with aiohttp.ClientSession() as session:
        async with run_relay(load(tmp_path / "relay.toml", ports, {})) as relay:
            token = relay.login_url.rpartition("=")[2]
            headers = {"Authorization": f"Bearer {token}"}
            response = await session.get(relay.dashboard_url + "/stream?q=", headers=headers)
            assert response.status == 200
        # The viewer is still there, and relay has cut it off.
        async with asyncio.timeout(60):
            with suppress(aiohttp.ClientPayloadError):
                await response.content.read()
        response.close()


async def test_fifty_viewers_see_every_event_of_a_quiet_stream(at):
    headers = {"Authorization": f"Bearer {at.token}"}
    responses = [await at.session.get(at.dashboard + "/stream?q=", headers=headers) for _ in range(50)]
    readers = [Reader(response) for response in responses]
    await asyncio.gather(*(reader.next() for reader in readers))
    async with asyncio.timeout(60):
        for _ in range(6):
            await at.send()
            # How soon is measured in bench/: these readers share one loop and one processor with relay.
            await asyncio.gather(*(reader.row() for reader in readers))
    for response in responses:
        response.close()


async def test_what_is_drawn_for_one_is_given_to_all():
    drawings, drawn = FrameCache(), []

    async def draw():
        drawn.append(1)
        await asyncio.sleep(0)
        return b"row"

    signal, same = DeliveryChanged(1, 2, "failed"), DeliveryChanged(1, 2, "failed")
    got = await asyncio.gather(*(drawings.get(signal, ("cells",), draw) for _ in range(20)))
    assert (got, len(drawn)) == ([b"row"] * 20, 1)
    await drawings.get(same, ("cells",), draw)
    assert len(drawn) == 2, "an equal signal may stand for a later commit"


async def test_a_viewer_that_leaves_while_it_draws_takes_nobody_along():
    drawings, drawn = FrameCache(), []

    async def draw():
        drawn.append(1)
        await asyncio.sleep(0.01)
        return b"row"

    signal = DeliveryChanged(1, 2, "failed")
    first, second = (asyncio.ensure_future(drawings.get(signal, (), draw)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"row"
    assert len(drawn) == 2


async def test_a_drawing_that_fails_is_tried_again():
    drawings = FrameCache()
    signal = DeliveryChanged(1, 2, "failed")

    async def fail():
        raise ValueError("no store")

    async def draw():
        return b"row"

    with pytest.raises(ValueError, match="no store"):
        await drawings.get(signal, (), fail)
    assert await drawings.get(signal, (), draw) == b"row"


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n"])
def test_no_kind_of_line_break_starts_a_field_of_its_own(line_break):
    message = make_frame(f"a{line_break}event: evil{line_break}{line_break}id: 9", id_=3)
    assert message == b"id: 3\ndata: a\ndata: event: evil\ndata: id: 9\n\n"


@pytest.mark.parametrize("query", ["", "has:luck", "after:soon"])
async def test_what_settled_between_a_page_and_its_stream_is_told_first(at, query):
    await at.send()
    async with watching(at, f"/stream?q={query}") as stream:
        await stream.next()
        message = await stream.next()
        assert 'hx-target="#d-1" hx-swap="outerHTML"' in message["data"]
        assert "No target" in message["data"]
        await at.send()
        assert ids(await stream.row()) == [2]


def test_whatever_the_live_parts_import_is_compiled_when_the_first_page_listens():
    environment = Environment(extensions=[TemplateLines, "jinja2.ext.do"])
    folder = find_resource_folder("ui")
    parsed = [environment.parse((folder / name).read_text()) for name in LIVE_TEMPLATES]
    assert {name for tree in parsed for name in find_referenced_templates(tree)} <= set(LIVE_TEMPLATES)
