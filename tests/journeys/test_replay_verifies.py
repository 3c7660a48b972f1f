"""A week-old event, replayed, is accepted by an app that checks with the provider's own SDK."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
import stripe
from aiohttp import web
from gidgethub.sansio import Event as GitHubEvent
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator


class LateClock:
    """The machine's clock, some time behind."""

    def __init__(self, late):
        self.late = late

    def now(self):
        return datetime.now(UTC) - self.late

    def monotonic(self):
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


def check_stripe(secret, url, headers, body):
    stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret)


def check_github(secret, url, headers, body):
    GitHubEvent.from_http(headers, body, secret=secret)


def check_slack(secret, url, headers, body):
    assert SignatureVerifier(secret).is_valid_request(body, dict(headers))


def check_resend(secret, url, headers, body):
    import svix.webhooks  # noqa: PLC0415 - slow to import, and needed here only

    svix.webhooks.Webhook(secret).verify(body, dict(headers))


def check_standard(secret, url, headers, body):
    Webhook(secret).verify(body, dict(headers))


def check_shopify(secret, url, headers, body):
    # As Shopify's own libraries for Node and Ruby do; there is none for Python that checks webhooks.
    made = base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
    assert hmac.compare_digest(made, headers["X-Shopify-Hmac-Sha256"])


def check_linear(secret, url, headers, body):
    # As LinearWebhookClient of @linear/sdk does: the age stands in the body, and may be a minute.
    made = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(made, headers["Linear-Signature"])
    assert abs(time.time() * 1000 - json.loads(body)["webhookTimestamp"]) < 60_000


def check_twilio(secret, url, headers, body):
    fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    assert RequestValidator(secret).validate(url, fields, headers["X-Twilio-Signature"])


@pytest.fixture
def secrets(secrets):
    return secrets | {
        "STANDARD_WEBHOOKS_SECRET": secrets["RESEND_WEBHOOK_SECRET"],
        "SHOPIFY_API_SECRET": "hush",
        "LINEAR_WEBHOOK_SECRET": "lin_wh_hush",
    }


@pytest.mark.parametrize(
    ("source", "type_", "variable", "check"),
    [
        ("stripe", "payment_intent.succeeded", "STRIPE_WEBHOOK_SECRET", check_stripe),
        ("github", "push", "GITHUB_WEBHOOK_SECRET", check_github),
        ("slack", "app_mention", "SLACK_SIGNING_SECRET", check_slack),
        ("resend", "email.delivered", "RESEND_WEBHOOK_SECRET", check_resend),
        ("twilio", "message.delivered", "TWILIO_AUTH_TOKEN", check_twilio),
        ("standard-webhooks", "invoice.paid", "STANDARD_WEBHOOKS_SECRET", check_standard),
        ("shopify", "orders/paid", "SHOPIFY_API_SECRET", check_shopify),
        ("linear", "Issue.create", "LINEAR_WEBHOOK_SECRET", check_linear),
    ],
)
async def test_a_week_old_event_replays_into_an_app_that_uses_the_sdk(
    start, secrets, aiohttp_server, source, type_, variable, check
):
    async def handle(request):
        body = await request.read()
        try:
            check(secrets[variable], str(request.url), request.headers, body)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is its refusal
            return web.Response(status=400, text=repr(error))
        return web.Response(text="verified")

    app = web.Application()
    app.router.add_route("*", "/hooks", handle)
    server = await aiohttp_server(app)
    clock = LateClock(timedelta(days=7))
    at = await start(environ=secrets, clock=clock)
    status, event = await at.api("/api/triggers", "POST", json={"source": source, "type": type_})
    assert (status, event["verdict"]) == (201, "verified")
    clock.late = timedelta(0)
    _, made = await at.api(f"/api/events/{event['id']}/replay", "POST", json={"url": str(server.make_url("/hooks"))})
    async with asyncio.timeout(60):
        while (shape := (await at.api(f"/api/deliveries/{made['delivery']}"))[1])["state"] != "succeeded":
            assert shape["state"] in ("pending", "running"), shape["attempts"]
            await asyncio.sleep(0.02)
    assert shape["attempts"][0]["response"]["body"]["text"] == "verified"
