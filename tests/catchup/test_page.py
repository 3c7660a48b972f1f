"""Catching up on a source's page: in place, without JavaScript, and how a recovered event is shown."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#catch-up"}
PUSH = {"ref": "refs/heads/main", "repository": {"id": 1, "name": "cat"}}


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


@pytest.fixture
def browse():
    """Ask a relay for a page, or post a form to it, as a browser does: `status, where it leads, html`."""

    async def go(at, path, form=None, headers=()):
        known = {"Authorization": f"Bearer {at.token}", "Origin": at.dashboard, **dict(headers)}
        method = "GET" if form is None else "POST"
        if form is not None:
            _, _, html = await go(at, "/sources")
            form = {"csrf": re.search(r'name="csrf" value="([^"]+)"', html)[1], **form}
        async with at.session.request(
            method, at.dashboard + path, data=form, headers=known, allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Location"), (await response.text())

    return go


FORM = {"since": "2h", "forward": "1"}


async def test_without_javascript_the_page_tells_what_came_of_it(start, github, tables, environ, browse):
    guid = github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github), environ)
    _, _, html = await browse(at, "/sources/github")
    assert "Catch up" in html
    assert f"Asks 127.0.0.1:{github.port} with env:GITHUB_TOKEN" in html
    assert environ["GITHUB_TOKEN"] not in html
    status, where, _ = await browse(at, "/sources/github/catch-up", FORM)
    assert (status, where) == (303, "/sources/github#catch-up")
    _, _, html = await browse(at, "/sources/github")
    assert "Found 1, 0 were here, 1 recovered" in html
    assert '<a class="strong" href="/events/1">push</a>' in html
    assert guid in html
    assert 'href="/events?q=source%3Agithub%20is%3Arecovered"' in html


async def test_in_place_the_section_alone_comes_back(start, stripe, tables, environ, browse):
    stripe.happen("charge.failed", ago(minutes=5))
    at = await start(tables(stripe), environ)
    status, _, html = await browse(at, "/sources/stripe/catch-up", FORM | {"look": "1"}, PARTIAL)
    assert (status, html.count('id="catch-up"')) == (200, 1)
    assert html.lstrip().startswith('<div class="sec" id="catch-up">')
    assert "Found 1, 0 were here, 1 would be recovered" in html
    assert "/events/" not in html
    assert (await at.api("/api/events"))[1]["events"] == []


async def test_while_it_runs_the_section_asks_again(start, github, tables, environ, browse):
    github.deliver("push", PUSH, ago(minutes=5))
    github.gate.clear()
    at = await start(tables(github), environ)
    _, _, html = await browse(at, "/sources/github/catch-up", FORM, PARTIAL)
    assert 'hx-get="/sources/github/catch-up?since=2h&amp;forward=1" hx-trigger="load delay:700ms"' in html
    assert "Listing: found 0" in html
    assert "disabled" in html
    github.gate.set()
    async with asyncio.timeout(60):
        while "hx-trigger" in html:
            _, _, html = await browse(at, "/sources/github/catch-up", headers=PARTIAL)
    assert "1 recovered" in html
    assert (await browse(at, "/sources/github/catch-up"))[:2] == (303, "/sources/github#catch-up")


async def test_what_went_wrong_stands_there(start, github, tables, environ, browse):
    github.token = "another"
    at = await start(tables(github), environ)
    _, _, html = await browse(at, "/sources/github/catch-up", FORM, PARTIAL)
    assert "Stopped: found 0" in html
    assert "GitHub refuses the credential env:GITHUB_TOKEN." in html
    status, _, html = await browse(at, "/sources/github/catch-up", {"since": "<b>"}, PARTIAL)
    assert status == 422
    assert "since is not a time" in html
    assert (await browse(at, "/sources/none/catch-up", FORM))[0] == 404


async def test_a_source_that_cannot_be_asked_yet_says_what_is_missing(start, tables, secrets, browse):
    at = await start("[sources.stripe]\n[sources.github]\n[sources.slack]\n", secrets)
    _, _, html = await browse(at, "/sources/stripe")
    assert "STRIPE_API_KEY is not set" in html
    assert "<code>STRIPE_API_KEY=</code>" in html
    _, _, html = await browse(at, "/sources/github")
    assert "<code>[sources.github.catch_up]</code>" in html
    assert 'action="/sources/github/catch-up"' not in html
    _, _, html = await browse(at, "/sources/slack")
    assert "Catch up" not in html


async def test_a_recovered_event_says_so(start, stripe, tables, environ, browse, catch_up):
    stripe.happen("charge.failed", ago(minutes=5), id="<script>alert(1)</script>")
    at = await start(tables(stripe), environ)
    await catch_up(at, "stripe")
    _, _, html = await browse(at, "/events")
    assert '<span class="vh">recovered</span>' in html
    assert "Recovered, sent <time" in html
    assert "<script>alert" not in html
    _, _, html = await browse(at, "/events/1/verification")
    assert "Recovered, not checked" in html
    assert "relay fetched it afterwards" in html
    assert f"from 127.0.0.1:{stripe.port} without TLS, asked with env:STRIPE_API_KEY" in html
    _, _, html = await browse(at, "/events/1/headers")
    assert "no one: fetched afterwards" in html
    assert "<dt>Sent</dt>" in html
    _, _, html = await browse(at, "/events?q=is:recovered")
    assert 'id="e-1"' in html
