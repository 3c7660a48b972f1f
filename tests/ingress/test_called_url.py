"""Which URL was called, through a real ingress: a signature made for another address than relay's is no proof."""

import hashlib
import hmac
import time

import pytest
from twilio.request_validator import RequestValidator

from cases import check_each

TOKEN = "12345"
ENVIRON = {"TWILIO_AUTH_TOKEN": TOKEN, "SECRET": "s3cr3t", "CONTENTFUL_WEBHOOK_SECRET": "s" * 64}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TUNNEL = "https://quick-cat.example"
STATIC = f'[tunnel]\nprovider = "static"\npublic_url = "{TUNNEL}"\n'
PUBLIC = '[sources.twilio]\npublic_url = "https://hooks.example/twilio"\n'
THROUGH = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}


def twilio(url, **headers):
    return FORM | headers | {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(url, {"a": "1"})}


async def send(at, host, url, path="/webhooks/twilio", **headers):
    host = host.replace("INGRESS", at.ingress.removeprefix("http://"))
    url = url.replace("INGRESS", at.ingress.removeprefix("http://"))
    status, _ = await at.send(path, b"a=1", headers=twilio(url, Host=host, **headers))
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]
    assert newest["verdict"] == ("verified" if status == 200 else "invalid")
    return status


async def verify_again(at):
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]
    return (await at.api(f"/api/events/{newest['id']}/verify", "POST", json={}))[1]["verdict"]


@pytest.fixture
async def with_tunnel(start):
    return await start(STATIC, ENVIRON, no_tunnel=False)


@pytest.fixture(params=[True, False], ids=["tunnel", "no tunnel"])
async def with_public_url(start, request):
    return await start((STATIC if request.param else "") + PUBLIC, ENVIRON, no_tunnel=not request.param)


@check_each(
    ("host", "url", "headers", "status"),
    [
        ("quick-cat.example", f"{TUNNEL}/webhooks/twilio", THROUGH, 200),
        # Twilio signs some addresses with their port and some without, and its libraries take both.
        ("quick-cat.example", f"{TUNNEL}:443/webhooks/twilio", THROUGH, 200),
        ("INGRESS", "http://INGRESS/webhooks/twilio", {}, 200),
        ("INGRESS", "http://127.0.0.1/webhooks/twilio", {}, 200),
        ("INGRESS", f"{TUNNEL}/webhooks/twilio", {}, 200),
        # Another scheme is another address.
        ("quick-cat.example", "http://quick-cat.example/webhooks/twilio", THROUGH, 401),
        ("quick-cat.example", "https://quick-cat.example:80/webhooks/twilio", THROUGH, 401),
        ("INGRESS", "https://INGRESS/webhooks/twilio", {}, 401),
        # A Host that the caller chose, directly or through the tunnel.
        ("evil.example", "http://evil.example/webhooks/twilio", {}, 401),
        ("evil.example", "http://evil.example/webhooks/twilio", THROUGH, 401),
        ("evil.example", "https://evil.example/webhooks/twilio", THROUGH, 401),
        ("INGRESS", "http://INGRESS/webhooks/twilio", THROUGH, 401),
        ("INGRESS", "http://INGRESS/webhooks/twilio", {"X-Forwarded-Host": "INGRESS"}, 401),
        ("quick-cat.example", "https://evil.example/webhooks/twilio", {"X-Forwarded-Host": "evil.example"}, 401),
    ],
)
async def test_with_a_tunnel_its_url_counts_and_the_ingress_s_own_for_direct_callers(
    with_tunnel, host, url, headers, status
):
    assert await send(with_tunnel, host, url, **headers) == status
    assert await verify_again(with_tunnel) == ("verified" if status == 200 else "invalid")


@check_each(
    ("host", "url", "status"),
    [
        ("hooks.example", "https://hooks.example/twilio", 200),
        ("INGRESS", "https://hooks.example:443/twilio", 200),
        ("INGRESS", "http://INGRESS/webhooks/twilio", 401),
        ("evil.example", "http://evil.example/webhooks/twilio", 401),
        ("hooks.example", "http://hooks.example/twilio", 401),
        ("hooks.example", "http://hooks.example/webhooks/twilio", 401),
        ("quick-cat.example", f"{TUNNEL}/webhooks/twilio", 401),
    ],
)
async def test_a_public_url_counts_alone(with_public_url, host, url, status):
    assert await send(with_public_url, host, url) == status
    assert await verify_again(with_public_url) == ("verified" if status == 200 else "invalid")


@pytest.mark.parametrize(
    ("url", "status"), [("http://any.example/webhooks/twilio", 200), ("https://any.example/webhooks/twilio", 401)]
)
async def test_without_an_address_of_its_own_relay_takes_the_host_of_the_request_and_its_scheme(start, url, status):
    at = await start("", ENVIRON)
    assert await send(at, "any.example", url, **THROUGH) == status


async def test_a_tunnel_that_is_down_for_a_while_lets_no_host_in(start):
    at = await start(STATIC, ENVIRON, no_tunnel=False)
    at.relay.state.tunnel = type(at.relay.state.tunnel)("down", None, "gone")
    assert await send(at, "evil.example", "http://evil.example/webhooks/twilio") == 401


async def test_the_doctor_names_the_url_that_was_signed(start):
    at = await start(STATIC, ENVIRON, no_tunnel=False)
    for host, signed, differs in (
        ("evil.example", "http://evil.example/webhooks/twilio", "the protocol and the host differ"),
        ("quick-cat.example", "http://quick-cat.example/webhooks/twilio", "the protocol differs"),
    ):
        assert await send(at, host, signed, **THROUGH) == 401
        newest = (await at.api("/api/events?limit=1"))[1]["events"][0]["id"]
        _, event = await at.api(f"/api/events/{newest}")
        found = event["hints"][0]
        assert (found["cause"], found["title"]) == ("url_differs", f"Signed for another URL: {differs}")
        assert signed in found["sentence"]
        assert f"{TUNNEL}/webhooks/twilio" in found["sentence"]


@pytest.mark.parametrize(("toml", "tunnel"), [(STATIC, True), (STATIC + PUBLIC, True), (PUBLIC, False), ("", False)])
async def test_samples_verify_with_a_tunnel_and_with_a_public_url(start, toml, tunnel):
    at = await start(toml, ENVIRON, no_tunnel=not tunnel)
    wanted = {"source": "twilio", "type": "message.delivered"}
    status, made = await at.api("/api/triggers", "POST", json=wanted)
    assert (status, made["verdict"]) == (201, "verified")


DECLARED = (
    '[sources.shop]\nprovider = "custom"\nsecret = "env:SECRET"\n{public}'
    '[sources.shop.signature]\nheader = "X-Signature"\ncontent = "{content}"\n'
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{path}\\n{body}", "/hooks/shop/v1\n{}"),
        ("{path}\\n{query}\\n{body}", "/hooks/shop/v1\na=%20b&c\n{}"),
        ("{target}\\n{body}", "/hooks/shop/v1?a=%20b&c\n{}"),
        ("{method}{url}{body}", "POSThttps://hooks.example/hooks/shop/v1?a=%20b&c{}"),
    ],
)
async def test_a_declared_path_is_that_of_the_url_that_was_called(start, content, text):
    public = 'public_url = "https://hooks.example/hooks/shop"\n'
    at = await start(DECLARED.format(public=public, content=content), ENVIRON)
    for signed, status in ((text, 200), (text.replace("/hooks/shop", "/webhooks/shop"), 401)):
        headers = {"X-Signature": hmac.new(b"s3cr3t", signed.encode(), hashlib.sha256).hexdigest()}
        assert (await at.send("/webhooks/shop/v1?a=%20b&c", headers=headers))[0] == status


@pytest.mark.parametrize(
    ("content", "text"), [("{path}|{query}|{body}", "/webhooks/shop||{}"), ("{target}|{body}", "/webhooks/shop|{}")]
)
async def test_without_a_query_nothing_stands_for_it(start, content, text):
    at = await start(DECLARED.format(public="", content=content), ENVIRON)
    headers = {"X-Signature": hmac.new(b"s3cr3t", text.encode(), hashlib.sha256).hexdigest()}
    assert (await at.send("/webhooks/shop", headers=headers))[0] == 200


@pytest.mark.parametrize(("path", "status"), [("/hooks/contentful", 200), ("/webhooks/contentful", 401)])
async def test_contentful_signs_the_path_of_the_url_that_it_called(start, path, status):
    at = await start('[sources.contentful]\npublic_url = "https://hooks.example/hooks/contentful"\n', ENVIRON)
    stamp = str(int(time.time() * 1000))
    listed = "x-contentful-signed-headers,x-contentful-timestamp"
    text = f"POST\n{path}\nx-contentful-signed-headers:{listed};x-contentful-timestamp:{stamp}\n{{}}"
    headers = {
        "x-contentful-timestamp": stamp,
        "x-contentful-signed-headers": listed,
        "x-contentful-signature": hmac.new(b"s" * 64, text.encode(), hashlib.sha256).hexdigest(),
    }
    assert (await at.send("/webhooks/contentful", headers=headers))[0] == status


@pytest.mark.parametrize("header", ["X-Original-URI", "X-Forwarded-Uri", "X-Envoy-Original-Path"])
async def test_the_doctor_reads_the_path_that_a_proxy_has_rewritten(start, header):
    at = await start('[sources.twilio]\npublic_url = "https://hooks.example/webhooks/twilio"\n', ENVIRON)
    signed = "https://hooks.example/api/v2/incoming"
    assert await send(at, "INGRESS", signed, **{header: "/api/v2/incoming"}) == 401
    found = (await at.api("/api/events/1"))[1]["hints"][0]
    assert (found["cause"], found["line"]) == ("url_differs", f'public_url = "{signed}"')


async def test_the_doctor_names_the_address_of_the_source_where_a_path_lies_below_it(start):
    at = await start("", ENVIRON)
    signed = "https://any.example/webhooks/twilio/sms"
    assert await send(at, "any.example", signed, path="/webhooks/twilio/sms", **THROUGH) == 401
    found = (await at.api("/api/events/1"))[1]["hints"][0]
    assert found["title"] == "Signed for another URL: the protocol differs"
    assert found["line"] == 'public_url = "https://any.example/webhooks/twilio"'
