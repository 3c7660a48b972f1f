"""An exported pytest module, run against an app that verifies with the providers' own SDKs."""

import asyncio
import os
import subprocess
import sys
from urllib.parse import parse_qsl

import pytest
import standardwebhooks
import stripe
from aiohttp import web
from gidgethub import sansio
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator
from yarl import URL

SHOP = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx"
TOML = """
[sources.stripe]
[sources.github]
[sources.slack]
[sources.twilio]
{twilio}
[sources.resend]
[sources.shop]
provider = "custom"
secret = "vault:shop.secret"
[sources.shop.signature]
scheme = "standard-webhooks"
[targets.app]
forward = "{url}/hooks"
[targets.other]
forward = "http://127.0.0.1:9/elsewhere"
[[routes]]
source = "*"
to = ["app"]
"""


class App:
    """What a user's own app does: verify with the SDK, else 400. `got` are method, path and headers."""

    def __init__(self, secrets):
        self.got = []
        self.url = ""
        self.signed_url = ""
        self.secrets = secrets

    async def take(self, request):
        body, headers = await request.read(), request.headers
        if "X-Relay-Event" not in headers:  # what relay itself forwards
            self.got.append((request.method, request.raw_path, request.raw_headers, body))
        try:
            self.verify(request, body, headers)
        except Exception as error:  # noqa: BLE001 - each SDK refuses with errors of its own
            return web.Response(status=400, text=repr(error))
        return web.Response(status=204)

    def verify(self, request, body, headers):
        if "Stripe-Signature" in headers:
            stripe.Webhook.construct_event(body, headers["Stripe-Signature"], self.secrets["STRIPE_WEBHOOK_SECRET"])
        elif "X-GitHub-Event" in headers:
            sansio.Event.from_http(headers, body, secret=self.secrets["GITHUB_WEBHOOK_SECRET"])
        elif "X-Slack-Signature" in headers:
            assert SignatureVerifier(self.secrets["SLACK_SIGNING_SECRET"]).is_valid_request(body, headers)
        elif "X-Twilio-Signature" in headers:
            url = self.signed_url or self.url + request.path_qs
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            signature = headers["X-Twilio-Signature"]
            assert RequestValidator(self.secrets["TWILIO_AUTH_TOKEN"]).validate(url, form, signature)
        elif "svix-id" in headers:
            from svix.webhooks import Webhook  # noqa: PLC0415 - slow to import, and needed here only

            Webhook(self.secrets["RESEND_WEBHOOK_SECRET"]).verify(body, dict(headers))
        else:
            standardwebhooks.Webhook(SHOP).verify(body, dict(headers))


@pytest.fixture
async def app(secrets):
    app = App(secrets)
    site = web.Application()
    site.router.add_route("*", "/{path:.*}", app.take)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    app.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield app
    await runner.cleanup()


async def run_exported(at, folder, environ, query="", **options):
    module = (await at.api("/api/export", params={"as": "pytest", "q": query, **options}))[1]
    (folder / "test_exported.py").write_bytes(module)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_exported.py", cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environ},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def trigger(at, *samples):
    for source, type_ in samples:
        status, made = await at.api("/api/triggers", "POST", json={"source": source, "type": type_})
        assert status < 300, made


SAMPLES = (
    ("stripe", "invoice.paid"),
    ("github", "push"),
    ("slack", "app_mention"),
    ("twilio", "message.received"),
    ("resend", "email.delivered"),
)


async def test_every_event_is_accepted_by_an_app_that_verifies_it(start, tmp_path, app, secrets):
    at = await start(TOML.format(url=app.url, twilio=""))
    await trigger(at, *SAMPLES)
    assert (await at.send("/webhooks/shop/below?a=1", b'{"type": "order.paid"}'))[0] == 200
    folder = tmp_path / "exported"
    folder.mkdir()
    code, out = await run_exported(at, folder, secrets | {"SHOP_SECRET": SHOP})
    assert (code, "6 passed" in out) == (0, True), out
    assert [path for _, path, _, _ in app.got[:1]] == ["/hooks"]
    assert app.got[-1][1] == "/hooks/below?a=1"


async def test_the_request_is_the_stored_one_apart_from_its_signature(start, tmp_path, app):
    at = await start(TOML.format(url=app.url, twilio=""))
    sent = {"X-Dup": "1", "x-empty": "", "Accept-Encoding": "br", "X-Byte": "caf\xe9", "Accept": "a/b"}
    body = b'{"amount": 10.50,  "amount": 1E5}'
    async with at.session.put(URL(f"{at.ingress}/webhooks/shop/a[1]/%7Bx%7D?b=%20&c", encoded=True),
                              data=body, headers=sent) as response:  # fmt: skip
        assert response.status == 200
    folder = tmp_path / "exported"
    folder.mkdir()
    await run_exported(at, folder, {"SHOP_SECRET": SHOP})
    method, path, headers, got = app.got[-1]
    stored = (await at.api("/api/events/1"))[1]["headers"]
    names = ("host", "content-length", "webhook-id", "webhook-timestamp", "webhook-signature", "connection")
    kept = [pair for pair in headers if pair[0].decode().lower() not in names]
    wanted = [(name.encode(), value.encode()) for name, value in stored if name.lower() not in names]
    assert (method, path, got) == ("PUT", "/hooks/a[1]/%7Bx%7D?b=%20&c", body)
    assert kept == wanted


async def test_target_url_names_another_app_and_with_a_path_the_very_address(start, tmp_path, app, secrets):
    at = await start(TOML.format(url="http://127.0.0.1:9", twilio=""))
    await trigger(at, ("stripe", "invoice.paid"), ("twilio", "message.received"))
    folder = tmp_path / "exported"
    folder.mkdir()
    for target, path in ((app.url, "/hooks"), (app.url + "/", "/hooks"), (app.url + "/api/in", "/api/in")):
        app.got.clear()
        code, out = await run_exported(at, folder, secrets | {"TARGET_URL": target})
        assert code == 0, out
        assert [got[1] for got in app.got] == [path, path]


@pytest.mark.parametrize("says", ['/hooks"', '/hooks"\nsign_url = "public"'])
async def test_the_url_that_is_signed_is_the_one_that_was_called(start, tmp_path, app, secrets, says):
    app.signed_url = "https://hooks.example.dev/webhooks/twilio"
    toml = TOML.format(url=app.url, twilio=f'public_url = "{app.signed_url}"')
    at = await start(toml.replace('/hooks"', says, 1))
    await trigger(at, ("twilio", "message.received"))
    folder = tmp_path / "exported"
    folder.mkdir()
    code, out = await run_exported(at, folder, secrets)
    assert code == 0, out


async def test_without_the_variable_the_test_says_which_to_set(start, tmp_path, app):
    at = await start(TOML.format(url=app.url, twilio=""))
    await trigger(at, ("stripe", "invoice.paid"))
    folder = tmp_path / "exported"
    folder.mkdir()
    code, out = await run_exported(at, folder, {})
    assert code == 1
    assert "set STRIPE_WEBHOOK_SECRET to the secret that the app verifies with" in out
    assert app.got == []


async def test_a_forgery_is_never_signed_and_the_app_has_to_refuse_it(start, tmp_path, app, secrets):
    at = await start(TOML.format(url=app.url, twilio=""))
    forged = {"Stripe-Signature": f"t=1,v1={'0' * 64}"}
    assert (await at.send("/webhooks/stripe", b'{"type": "invoice.paid"}', headers=forged))[0] == 401
    folder = tmp_path / "exported"
    folder.mkdir()
    for raw in ("0", "1"):
        code, out = await run_exported(at, folder, secrets, raw=raw)
        assert code == 0, out
    app.verify = lambda *_: None
    code, out = await run_exported(at, folder, secrets)
    assert code == 1, out


async def test_without_any_configuration_the_usual_variable_holds_the_secret(start, tmp_path, app, secrets):
    at = await start()
    await trigger(at, ("stripe", "invoice.paid"))
    folder = tmp_path / "exported"
    folder.mkdir()
    code, out = await run_exported(at, folder, secrets | {"TARGET_URL": app.url})
    assert code == 0, out
    assert app.got[-1][1] == "/webhooks/stripe"
