"""Who may use the dashboard, as tables of requests."""

import asyncio
import json
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from cases import check_each
from relay.api.routes import API_ROUTES
from relay.http.guard import Guard, make_guard_middleware, own_hosts
from relay.http.server import serve_app
from relay.http.token import load_token


async def ask(at, method="GET", path="/api/status", *, token=True, host=None, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if token:
        sent["Authorization"] = f"Bearer {at.token}"
    if host:
        sent["Host"] = host
    data = sent.pop("body", None)
    async with at.session.request(
        method, at.dashboard + path, headers=sent, data=data, allow_redirects=False
    ) as response:
        await response.read()
        return response


def port(at):
    return at.dashboard.rpartition(":")[2]


async def test_every_route_asks_for_the_token(at):
    for route in API_ROUTES:
        path = route.path.replace("{id}", "1").replace("{name}", "x")
        response = await ask(at, route.method if route.method != "*" else "GET", path, token=False)
        expected = {200} if path == "/healthz" else {401, 403}
        assert response.status in expected, route.path


@check_each("token", ["", "x", "\xff", "Basic x", "null"])
async def test_a_wrong_token_opens_nothing(at, token):
    response = await ask(at, token=False, Authorization=f"Bearer {token}")
    assert response.status == 401


@check_each("name", ["evil.example", "127.0.0.1.evil.example", "localhost", "127.0.0.1:1", "[::1]", "10.0.0.1", ""])
async def test_another_host_name_is_421(at, name):
    assert (await ask(at, host=name or "evil")).status == 421


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LOCALHOST"])
async def test_its_own_names_with_its_own_port_are_answered(at, name):
    assert (await ask(at, host=f"{name}:{port(at)}")).status == 200


@pytest.mark.parametrize("header", ["X_Forwarded_For", "X_Forwarded_Host", "X_Forwarded_Proto", "Forwarded"])
async def test_what_came_through_a_proxy_is_refused(at, header):
    assert (await ask(at, **{header: "1.2.3.4"})).status == 403


@check_each(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
        ({"Sec_Fetch_Site": "none"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 200),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
async def test_a_read_from_another_site_is_refused(at, headers, status):
    assert (await ask(at, **headers)).status == status


@check_each(
    ("headers", "status"),
    [
        ({}, 400),
        ({"Origin": "http://127.0.0.1:{port}"}, 400),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "https://127.0.0.1:{port}"}, 403),
        ({"Origin": "http://localhost:{port}"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
    ],
)
async def test_a_change_from_another_site_is_refused(at, headers, status):
    filled = {name: value.replace("{port}", port(at)) for name, value in headers.items()}
    sent = {"Content_Type": "application/json", **filled, "body": "{}"}
    assert (await ask(at, "POST", "/api/triggers", **sent)).status == status


async def test_the_link_is_exchanged_for_a_cookie_and_a_clean_address(at):
    response = await ask(at, path=f"/login?token={at.token}", token=False)
    assert (response.status, response.headers["Location"]) == (303, "/events")
    cookie = response.headers["Set-Cookie"]
    assert f"relay-{port(at)}={at.token}" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert (await ask(at, token=False, Cookie=cookie.partition(";")[0])).status == 200
    assert (await ask(at, path="/login?token=wrong", token=False)).status == 401


async def test_a_change_by_cookie_needs_the_token_of_the_form(at):
    cookie = f"relay-{port(at)}={at.token}"
    json = {"Cookie": cookie, "Content_Type": "application/json", "body": "{}"}
    assert (await ask(at, "POST", "/api/triggers", token=False, **json)).status == 403
    assert (await ask(at, "POST", "/api/triggers", token=False, X_Relay_CSRF="wrong", **json)).status == 403


@check_each("path", ["/api/status", "/healthz", "/nothing", "/login", "/api/events/abc"])
async def test_every_answer_carries_the_policy(at, path):
    headers = (await ask(at, path=path)).headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Server"] == "relay"
    assert not any(name.lower().startswith("access-control") for name in headers)


async def test_a_page_that_is_not_there_echoes_nothing(at):
    async with at.session.get(
        at.dashboard + "/<script>alert(1)</script>", headers={"Authorization": f"Bearer {at.token}"}
    ) as response:
        assert response.status == 404
        assert b"script" not in await response.read()


@check_each(
    "sent",
    [
        b"\x16\x03\x01\x02\x00canary\r\n\r\n",
        b"GET /canary\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /canary HTTP/9.1\r\nHost: localhost\r\n\r\n",
        b"GET /canary HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n",
        b"GET /canary HTTP/1.1\r\nHost: localhost\r\nX Canary: canary\r\n\r\n",
    ],
)
async def test_what_cannot_be_read_is_refused_as_json_and_not_quoted(at, sent):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port(at)))
    writer.write(sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.0 400 ")
    assert b"Server: relay\r\n" in head
    assert b"Content-Security-Policy: default-src 'none'; " in head
    assert b"Cache-Control: no-store\r\n" in head
    assert json.loads(body)["error"]["code"] == "bad_request"
    assert b"canary" not in head + body


async def test_a_failure_outside_of_the_guard_is_one_of_relay_and_not_of_the_request():
    async def fail(_):
        raise RuntimeError

    app = web.Application()  # without the guard, which has an answer for whatever is raised below it
    app.router.add_get("/", fail)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        async with serve_app(listening, app), aiohttp.ClientSession() as session, session.get(url) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (500, "internal")
            assert response.headers["X-Frame-Options"] == "DENY"


async def test_a_method_that_is_not_served_says_which_are(at):
    response = await ask(at, "PUT", "/api/status", Content_Type="application/json", body="{}")
    assert response.status == 405
    assert "GET" in response.headers["Allow"]


async def test_without_authentication_the_other_checks_stay(start):
    at = await start('[server]\ndashboard_auth = "off"\n')
    assert (await ask(at, token=False)).status == 200
    assert (await ask(at, token=False, host="evil.example")).status == 421
    assert (await ask(at, token=False, Sec_Fetch_Site="cross-site")).status == 403
    form = {"Content_Type": "application/x-www-form-urlencoded", "body": "csrf=x"}
    assert (await ask(at, "POST", "/api/triggers", token=False, **form)).status == 403


def test_the_token_is_kept_for_the_owner_alone_and_can_be_changed(tmp_path):
    token = load_token(tmp_path)
    assert len(token) >= 32
    assert load_token(tmp_path) == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert load_token(tmp_path, rotate=True) != token


def test_allowed_hosts_are_answered_with_the_port():
    hosts = own_hosts(8401, ("box.lan", "box.lan:9000"), "10.0.0.5")
    assert {"box.lan:8401", "box.lan:9000", "10.0.0.5:8401", "localhost:8401"} <= hosts


@pytest.mark.parametrize(("raised", "status"), [(TimeoutError(), 503), (KeyError("canary"), 500)])
async def test_a_handler_that_stumbles_is_a_sentence_and_no_traceback(aiohttp_client, raised, status):
    async def stumble(request):
        raise raised

    hosts: Any = set()
    app = web.Application(middlewares=[make_guard_middleware(Guard(token=None, port=0, hosts=hosts))])
    app.router.add_get("/stumble", stumble)
    client = await aiohttp_client(app)
    hosts.add(f"127.0.0.1:{client.port}")
    response = await client.get("/stumble")
    body = await response.text()
    assert response.status == status
    assert (await response.json())["error"]["hint"]
    assert "canary" not in body
    assert "Traceback" not in body


async def test_a_caller_who_leaves_in_the_middle_of_an_answer_is_no_fault_of_relays(caplog):
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        request.transport.abort()  # closing: that the connection is gone is not known yet
        await response.write(b"more")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        guard = Guard(token=None, port=port, hosts=own_hosts(port, (), "127.0.0.1"))
        app = web.Application(middlewares=[make_guard_middleware(guard)])
        app.router.add_get("/", answer)
        async with serve_app(listening, app), aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/") as response:
                    await response.read()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
