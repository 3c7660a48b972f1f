"""`sign_url`: a fresh signature covers the address the app believes in, the target's or the public one."""

import asyncio
import hashlib
import hmac
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

TOKEN = "12345"
PUBLIC = "https://hooks.example.dev/webhooks/twilio"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def app(aiohttp_server):
    got = asyncio.Queue()

    async def handle(request):
        got.put_nowait((str(request.url), request.headers, (await request.read()).decode()))
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    server = await aiohttp_server(application)
    server.got = got
    return server


def accepts(url, headers, body):
    """Say whether an app that believes it is called at `url` takes the request."""
    params = dict(parse_qsl(body, keep_blank_values=True)) if headers["Content-Type"] == FORM else body
    return RequestValidator(TOKEN).validate(url, params, headers["X-Twilio-Signature"])


async def delivered(start, app, setting, public, path="/webhooks/twilio", media=FORM, body=b"Body=Hi&From=%2B1"):
    public = f'public_url = "{public}"\n' if public else ""
    at = await start(
        f'[sources.twilio]\nverify = "off"\n{public}'
        f'[targets.app]\nforward = "{app.make_url("/hooks")}"\nsign = "fresh"\n{setting}',
        {"TWILIO_AUTH_TOKEN": TOKEN},
    )
    await at.send(path, body, headers={"Content-Type": media, "X-Twilio-Signature": "old"})
    async with asyncio.timeout(60):
        return at, await app.got.get()


@pytest.mark.parametrize("setting", ["", 'sign_url = "target"\n'])
async def test_an_app_that_believes_in_its_own_address_takes_it(start, app, setting):
    _, (url, headers, body) = await delivered(start, app, setting, PUBLIC)
    assert accepts(url, headers, body)
    assert not accepts(PUBLIC, headers, body)


@pytest.mark.parametrize("tail", ["", "/sms", "?a=1", "/sms?a=%20b"])
async def test_an_app_that_believes_in_the_public_address_takes_it(start, app, tail):
    setting = 'sign_url = "public"\n'
    _, (url, headers, body) = await delivered(start, app, setting, PUBLIC, "/webhooks/twilio" + tail)
    assert accepts(PUBLIC + tail, headers, body)
    assert not accepts(url, headers, body)


async def test_without_a_public_url_of_the_source_it_is_the_one_that_was_called(start, app):
    at, (_, headers, body) = await delivered(start, app, 'sign_url = "public"\n', "")
    assert accepts(at.ingress + "/webhooks/twilio", headers, body)


async def test_a_body_hash_goes_into_the_forwarded_query_and_the_public_address_alike(start, app):
    body = b'{"a": 1}'
    _, (url, headers, got) = await delivered(
        start, app, 'sign_url = "public"\n', PUBLIC, media="application/json", body=body
    )
    query = url.partition("?")[2]
    assert query.startswith("bodySHA256=")
    assert accepts(f"{PUBLIC}?{query}", headers, got)


@pytest.mark.parametrize(("setting", "path"), [("target", "/hooks/x"), ("public", "/live/shop/x")])
async def test_a_declared_path_is_signed_as_the_app_believes_it(start, app, setting, path):
    declared = (
        '[sources.shop]\nprovider = "custom"\nsecret = "env:SECRET"\nverify = "off"\n'
        'public_url = "https://hooks.example.dev/live/shop"\n'
        '[sources.shop.signature]\nheader = "X-Signature"\ncontent = "{path}|{query}|{body}"\n'
        f'[targets.app]\nforward = "{app.make_url("/hooks")}"\nsign = "fresh"\nsign_url = "{setting}"\n'
    )
    at = await start(declared, {"SECRET": "s3cr3t"})
    await at.send("/webhooks/shop/x?a=1", b"{}", headers={"X-Signature": "old"})
    async with asyncio.timeout(60):
        _, headers, _ = await app.got.get()
    expected = hmac.new(b"s3cr3t", f"{path}|a=1|{{}}".encode(), hashlib.sha256).hexdigest()
    assert headers["X-Signature"] == expected
