"""Refusals and failures of the dashboard: JSON for programs, pages and messages in place for people."""

import sqlite3
from contextlib import closing

import pytest

from cases import check_each
from relay.dashboard.responses import safe_redirect_path

HTML = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"}
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial", "Sec-Fetch-Site": "same-origin"}


async def ask(at, path, *, token=True, method="GET", data=None, **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        given["Authorization"] = f"Bearer {at.token}"
    async with at.session.request(
        method, at.dashboard + path, headers=given, data=data, allow_redirects=False
    ) as response:
        return response.status, response.headers, await response.text(errors="replace")


async def test_somebody_not_signed_in_gets_a_page_that_says_how(at):
    status, headers, text = await ask(at, "/events/7?tab=headers", token=False, **HTML)
    assert (status, headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert "relay token" in text
    assert 'name="next" value="/events/7?tab=headers"' in text
    assert at.token not in text
    assert "Content-Security-Policy" in headers


@check_each("path", ["/api/events", "/metrics", "/stream", "/static/css/base.css", "/events"])
async def test_a_program_that_is_not_signed_in_gets_json(at, path):
    status, headers, _ = await ask(at, path, token=False, **({} if path == "/events" else HTML))
    assert (status, headers["Content-Type"]) == (401, "application/json")


async def test_the_sign_in_page_takes_a_token_or_the_whole_link_and_goes_on(at):
    for given in (at.token, f"  {at.token}\n", at.relay.login_url):
        status, headers, _ = await ask(
            at, "/login", token=False, method="POST", data={"token": given, "next": "/sources"}, **HTML
        )
        assert (status, headers["Location"]) == (303, "/sources")
        assert "HttpOnly" in headers["Set-Cookie"]
    for given in ("", "wrong", "token=", "x" * 5000):
        status, headers, text = await ask(at, "/login", token=False, method="POST", data={"token": given}, **HTML)
        assert (status, "Set-Cookie" in headers) == (401, False)
        assert "That is not the token of this relay." in text


async def test_a_sign_in_that_another_site_sends_is_refused(at):
    foreign = HTML | {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    status, headers, _ = await ask(at, "/login", token=False, method="POST", data={"token": at.token}, **foreign)
    assert (status, "Set-Cookie" in headers) == (403, False)


@pytest.mark.parametrize(
    "text",
    ["//evil.example", "/\\evil.example", "https://evil.example/x", "javascript:x", "", "events", "/a\nb", "/\u20ac"],
)
def test_signing_in_leads_nowhere_else(text):
    assert safe_redirect_path(text) == "/events"
    assert safe_redirect_path("/events/7?tab=raw#x") == "/events/7?tab=raw#x"


async def test_the_sign_in_page_shows_its_own_style_and_no_other_file_is_open(at):
    for name, status in (("css/base.css", 200), ("fonts/inter-latin-var.woff2", 200), ("favicon.svg", 200),
                         ("js/main.js", 404), ("vendor/htmx.min.js", 404)):  # fmt: skip
        assert (await ask(at, f"/login/static/{name}", token=False))[0] == status, name


async def test_a_session_that_has_ended_leads_htmx_to_the_sign_in_page(at):
    status, headers, text = await ask(at, "/events", token=False, **PARTIAL)
    assert (status, headers["HX-Redirect"], text) == (401, "/login", "")


@pytest.mark.parametrize("path", ["/nope", "/events/x/y", "/events/1/nope", "/static/nope.css"])
async def test_an_unknown_address_is_a_page_in_relays_own_hand(at, path):
    status, headers, text = await ask(at, path, **HTML)
    assert status == 404
    if not path.startswith("/static/"):
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert "There is nothing here." in text
    assert path not in text


async def test_an_address_on_another_host_says_where_the_dashboard_is(at):
    status, _, text = await ask(at, "/events", Host="evil.example", **HTML)
    assert status == 421
    assert "This dashboard answers only at its own address." in text
    assert "evil" not in text


async def test_a_dialog_that_cannot_open_is_a_dialog_that_says_why(at):
    status, _, text = await ask(at, "/events/99/replay", HX_Target="div#dialog", **PARTIAL)
    assert status == 404
    assert "<dialog" in text
    assert "data-open" in text
    assert "99" in text


async def test_a_server_error_is_a_page_or_a_message_in_place(at):
    await at.send()
    database = at.relay.config.server.data_dir / "relay.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE events RENAME TO gone")
    status, headers, text = await ask(at, "/events", **HTML)
    assert (status >= 500, headers["Content-Type"]) == (True, "text/html; charset=utf-8")
    assert "<h1>That did not work</h1>" in text
    status, _, text = await ask(at, "/events", HX_Target="div#list", **PARTIAL)
    assert status >= 500
    assert "banner err" in text
    status, headers, text = await ask(at, "/api/events")
    assert (status >= 500, headers["Content-Type"]) == (True, "application/json")
    assert "Traceback" not in text
