"""Handshakes of specifications many senders follow, through a real relay: exact shapes only, delivered nowhere."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from urllib.parse import quote_plus

import pytest
from aiohttp import web

from cases import check_each

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CODE = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
VALIDATION = {
    "id": "1",
    "topic": "/subscriptions/1",
    "subject": "",
    "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    "eventTime": "2026-01-02T03:04:05Z",
    "data": {"validationCode": CODE, "validationUrl": "https://rp-eastus.eventgrid.azure.net/1"},
    "dataVersion": "2",
}
GRID = JSON | {"aeg-event-type": "SubscriptionValidation"}
CUSTOM = '[sources.mine]\nprovider = "custom"\nsecret = "env:MINE"\n[sources.mine.signature]\nheader = "X-Sign"\n'
TARGET = '[targets.app]\nforward = "{}"\n'


@pytest.fixture
async def app(aiohttp_server):
    got = asyncio.Queue()

    async def handle(request):
        got.put_nowait(await request.read())
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    server = await aiohttp_server(application)
    server.got = got
    return server


async def ask(at, path, method="POST", **more):
    async with at.session.request(method, at.ingress + path, allow_redirects=False, **more) as response:
        return response.status, response.headers, await response.read()


async def newest(at):
    return (await at.api("/api/events?limit=1"))[1]["events"][0]


ASKED = {
    "event grid": ("POST", "", [VALIDATION], GRID, {"validationResponse": CODE}),
    "websub": ("GET", "?hub.mode=subscribe&hub.topic=https%3A%2F%2Fa.example%2Ff&hub.challenge=c1", None, {}, b"c1"),
    "graph": ("POST", "?validationToken=Validation%3a+Testing+x", None, {}, b"Validation: Testing x"),
    "sharepoint": ("POST", "?validationtoken=t-1&tenant=a", None, {}, b"t-1"),
    "nylas": ("GET", "?challenge=c%201", None, {}, b"c 1"),
    "monday": ("POST", "", {"challenge": "c1"}, JSON, {"challenge": "c1"}),
    "lark": ("POST", "", {"challenge": "c1", "token": "t", "type": "url_verification"}, JSON, {"challenge": "c1"}),
    "smartsheet": (
        "POST",
        "",
        {"challenge": "c1", "webhookId": 7},
        JSON | {"Smartsheet-Hook-Challenge": "c1"},
        {"smartsheetHookResponse": "c1"},
    ),
}


@pytest.fixture(params=["", '[sources.hook]\nprovider = "custom"\n'], ids=["in the inbox", "of a source"])
async def with_target(start, app, request):
    return await start(request.param + TARGET.format(app.make_url("/")), {})


@check_each("name", ASKED)
async def test_what_is_asked_is_answered_and_not_delivered(with_target, app, name):
    method, query, body, headers, expected = ASKED[name]
    at = with_target
    data = None if body is None else json.dumps(body).encode()
    status, given, answer = await ask(at, f"/webhooks/hook{query}", method, data=data, headers=headers)
    assert status == 200
    assert (answer if isinstance(expected, bytes) else json.loads(answer)) == expected
    assert given["X-Content-Type-Options"] == "nosniff"
    if name == "smartsheet":
        assert given["Smartsheet-Hook-Response"] == "c1"
    kept = await newest(at)
    assert (kept["type"], kept["outcome"], kept["reason"]) == ("handshake", "accepted", "handshake")
    # What comes after it is delivered: the handshake was not merely late.
    ordinary = json.dumps({"after": name}).encode()
    await at.send("/webhooks/hook", ordinary, headers=JSON)
    async with asyncio.timeout(60):
        assert await app.got.get() == ordinary


async def test_the_origin_of_cloudevents_is_given_permission(start):
    at = await start("", {})
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}
    callback = {"WebHook-Request-Callback": f"{at.ingress}/webhooks/never"}
    status, given, body = await ask(at, "/webhooks/hook", "OPTIONS", headers=headers | callback)
    assert (status, body) == (200, b"")
    assert given["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert given["WebHook-Allowed-Rate"] == "*"
    assert given["Allow"] == "POST, OPTIONS"
    assert len((await at.api("/api/events"))[1]["events"]) == 1, "the callback is not called"


@pytest.fixture
async def without_secrets(start):
    return await start("", {})


@check_each("origin", ["", "*", "a b", "a.example, b.example", "a\tb"])
async def test_what_is_no_origin_gets_no_permission(without_secrets, origin):
    at = without_secrets
    status, given, _ = await ask(at, "/webhooks/hook", "OPTIONS", headers={"WebHook-Request-Origin": origin})
    assert status == 200
    assert "WebHook-Allowed-Origin" not in given
    assert (await newest(at))["type"] != "handshake"


ORDINARY = [
    ("POST", "", [VALIDATION, VALIDATION], GRID),
    ("POST", "", [VALIDATION], JSON),
    ("POST", "", VALIDATION, GRID),
    ("POST", "", [VALIDATION | {"eventType": "Contoso.Order"}], GRID),
    ("POST", "", [VALIDATION | {"data": {"validationCode": {"a": 1}}}], GRID),
    ("POST", "", {"challenge": "c1", "event": {"type": "x"}}, JSON),
    ("POST", "", {"challenge": 5}, JSON),
    ("POST", "", {"challenge": "c1\n<script>"}, JSON),
    ("POST", "", {"challenge": "c1", "token": "t", "type": "event_callback"}, JSON),
    ("POST", "", {"challenge": "other", "webhookId": 7}, JSON | {"Smartsheet-Hook-Challenge": "c1"}),
    ("PUT", "", {"challenge": "c1"}, JSON),
    ("GET", "?challenge=c1&action=delete", None, {}),
    ("GET", "?challenge=%0d%0aX", None, {}),
    ("GET", "?validationToken=a", None, {}),
    ("POST", "?validationToken=a", {"value": []}, JSON),
    ("POST", "?validationToken=%0d%0aX", None, {}),
    ("GET", "?hub.mode=unsubscribe&hub.topic=https%3A%2F%2Fa.example&hub.challenge=c1", None, {}),
    ("GET", "?hub.mode=subscribe&hub.challenge=c1", None, {}),
]


@check_each("number", range(len(ORDINARY)))
async def test_what_only_looks_like_one_is_an_ordinary_event(without_secrets, number):
    method, query, body, headers = ORDINARY[number]
    at = without_secrets
    data = None if body is None else json.dumps(body).encode()
    _, _, answer = await ask(at, f"/webhooks/hook{query}", method, data=data, headers=headers)
    assert json.loads(answer)["outcome"] == "accepted"
    assert (await newest(at))["type"] != "handshake"


@pytest.mark.parametrize("name", ["event grid", "monday", "lark", "smartsheet"])
async def test_a_source_that_checks_signatures_wants_a_signed_one(start, name):
    method, query, body, headers, expected = ASKED[name]
    at = await start(CUSTOM, {"MINE": "s3cr3t"})
    data = json.dumps(body).encode()
    status, given, answer = await ask(at, f"/webhooks/mine{query}", method, data=data, headers=headers)
    assert status == 401
    assert b"c1" not in answer
    assert CODE.encode() not in answer
    assert "Smartsheet-Hook-Response" not in given
    signed = headers | {"X-Sign": hmac.new(b"s3cr3t", data, hashlib.sha256).hexdigest()}
    status, _, answer = await ask(at, f"/webhooks/mine{query}", method, data=data, headers=signed)
    assert (status, json.loads(answer)) == (200, expected)
    assert (await newest(at))["verdict"] == "verified"


async def test_other_providers_keep_their_own_handshakes_alone(start):
    at = await start("", {"GITHUB_WEBHOOK_SECRET": "s"})
    for method, query, body, headers, _ in ASKED.values():
        data = None if body is None else json.dumps(body).encode()
        assert (await ask(at, f"/webhooks/github{query}", method, data=data, headers=headers))[0] == 401


def slack(body, secret="sl"):
    now = str(int(time.time()))
    text = b"v0:%s:%s" % (now.encode(), body)
    signature = "v0=" + hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return FORM | {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}


@pytest.mark.parametrize("body", [b"ssl_check=1&token=abc", b"token=abc&ssl_check=1", b"ssl_check=1"])
async def test_slack_looks_at_the_certificate_without_a_signature(start, app, body):
    at = await start("[sources.slack]\n" + TARGET.format(app.make_url("/")), {"SLACK_SIGNING_SECRET": "sl"})
    assert (await ask(at, "/webhooks/slack", data=body, headers=FORM))[0] == 200
    kept = await newest(at)
    assert (kept["type"], kept["outcome"], kept["verdict"]) == ("handshake", "accepted", "unsigned")
    assert sum(kept["deliveries"].values()) == 0
    assert (await ask(at, "/webhooks/slack", data=body, headers=slack(body)))[0] == 200
    kept = await newest(at)
    assert (kept["type"], kept["verdict"], sum(kept["deliveries"].values())) == ("handshake", "verified", 0)


@pytest.mark.parametrize(
    "body",
    [
        b"ssl_check=1&payload=%7B%22type%22%3A%22block_actions%22%7D",
        b"ssl_check=1&token=a&command=%2Fdeploy",
        b"ssl_check=0&token=a",
        b"ssl_check=1&ssl_check=0",
        b"ssl_check=1&token=a&token=b",
        b"ssl_check=11",
        b"token=a",
    ],
)
async def test_nothing_is_smuggled_in_with_slack_s_check(start, app, body):
    at = await start("[sources.slack]\n" + TARGET.format(app.make_url("/")), {"SLACK_SIGNING_SECRET": "sl"})
    assert (await ask(at, "/webhooks/slack", data=body, headers=FORM))[0] == 401
    assert (await ask(at, "/webhooks/slack", data=body, headers=slack(body, "another")))[0] == 401
    assert sum((await newest(at))["deliveries"].values()) == 0


@pytest.mark.parametrize(
    ("key", "verdict"), [("mandrill key", "verified"), ("test-webhook", "unsigned"), ("", "unsigned")]
)
@pytest.mark.parametrize("events", ["[]"])
async def test_mandrill_s_empty_list_is_verified_where_it_is_rightly_signed(start, app, key, verdict, events):
    toml = "[sources.mandrill]\n" + TARGET.format(app.make_url("/"))
    at = await start(toml, {"MANDRILL_WEBHOOK_KEY": "mandrill key"})
    text = f"{at.ingress}/webhooks/mandrill" + "mandrill_events" + events
    signature = base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode()
    headers = FORM | ({"X-Mandrill-Signature": signature} if key else {})
    body = f"mandrill_events={quote_plus(events)}".encode()
    assert (await ask(at, "/webhooks/mandrill", data=body, headers=headers))[0] == 200
    kept = await newest(at)
    assert (kept["type"], kept["verdict"], kept["outcome"]) == ("handshake", verdict, "accepted")
    assert sum(kept["deliveries"].values()) == 0


async def test_sharepoint_hears_its_token(start):
    at = await start("", {})
    status, _, body = await ask(at, "/webhooks/msgraph?validationtoken=a%20b")
    assert (status, body) == (200, b"a b")
