"""A recovered event reaches an app that checks signatures with its provider's own SDK, and the app takes it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import gidgethub
import gidgethub.sansio
import pytest
import stripe as stripe_sdk
from aiohttp import web

PUSH = {"ref": "refs/heads/main", "repository": {"id": 1, "name": "cat"}, "head": "Zoë <&>"}
FETCHED = "signed again: this event was fetched from the provider's API ({})"


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


@pytest.fixture
async def app(serve):
    """An app that checks every request: `go(check)` returns its [targets] table and what it took and refused."""

    async def go(check, options=""):
        took, refused = [], []

        async def handle(request):
            body = await request.read()
            try:
                took.append(check(request, body))
            except Exception as error:  # noqa: BLE001 - the SDKs raise what they like; the test looks at it
                refused.append(error)
                return web.Response(status=401)
            return web.Response()

        port = await serve(handle)
        return f'[targets.app]\nforward = "http://127.0.0.1:{port}/"\n{options}\n', took, refused

    return go


async def delivered(at, count=1, attempts=1):
    async with asyncio.timeout(60):
        while True:
            _, page = await at.api("/api/deliveries")
            over = [one for one in page["deliveries"] if one["state"] in ("succeeded", "failed")]
            if len(over) == count and all(one["attempts_made"] == attempts for one in over):
                return [(await at.api(f"/api/deliveries/{one['id']}"))[1] for one in over[::-1]]
            await asyncio.sleep(0.01)


def by_stripe(request, body):
    header = request.headers["Stripe-Signature"]
    event = stripe_sdk.Webhook.construct_event(body, header, "whsec_test_stripe_secret")
    return event.id, event.type, event.data.object.amount


def by_gidgethub(request, body):
    event = gidgethub.sansio.Event.from_http(request.headers, body, secret="It's a Secret to Everybody")
    return event.delivery_id, event.event, event.data


def by_svix(request, body):
    from svix.webhooks import Webhook  # noqa: PLC0415 - slow to import, and needed here only

    Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").verify(body, dict(request.headers))
    return request.headers["svix-id"], json.loads(body)


@pytest.mark.parametrize("options", ["", 'sign = "fresh"', 'sign = "auto"'])
async def test_stripe(start, stripe, tables, environ, catch_up, app, options):
    ids = [stripe.happen("payment_intent.succeeded", ago(hours=1, minutes=-n), amount=100 + n) for n in range(3)]
    target, took, refused = await app(by_stripe, f'{options}\norder = "fifo"')
    at = await start(tables(stripe, target), environ)
    await catch_up(at, "stripe")
    made = await delivered(at, 3)
    assert refused == []
    assert took == [(id_, "payment_intent.succeeded", 100 + n) for n, id_ in enumerate(ids)]
    assert made[0]["reason"] == "routed"
    (note,) = made[0]["attempts"][0]["request"]["notes"]
    asked = "signed again for stripe: Stripe-Signature added"
    assert note == (asked if "fresh" in options else FETCHED.format("Stripe-Signature added"))


async def test_github_whose_bytes_fit_goes_out_as_it_came(start, github, tables, environ, catch_up, app):
    guid = github.deliver("push", PUSH, ago(hours=1))
    target, took, refused = await app(by_gidgethub)
    at = await start(tables(github, target), environ)
    await catch_up(at, "github")
    (made,) = await delivered(at)
    assert (took, refused) == ([(guid, "push", PUSH)], [])
    assert made["attempts"][0]["request"]["notes"] == []


async def test_github_whose_bytes_do_not_fit_is_signed_anew(start, github, tables, environ, catch_up, app):
    guid = github.deliver("push", PUSH, ago(hours=1), signed=json.dumps(PUSH).encode())
    target, took, refused = await app(by_gidgethub)
    at = await start(tables(github, target), environ)
    await catch_up(at, "github")
    (made,) = await delivered(at)
    assert (took, refused) == ([(guid, "push", PUSH)], [])
    (note,) = made["attempts"][0]["request"]["notes"]
    assert note == FETCHED.format("X-Hub-Signature-256 changed, X-Hub-Signature added")


async def test_svix(start, svix, tables, environ, catch_up, app):
    payload = {"type": "user.created", "data": {"name": "Zoë"}}
    id_ = svix.message("user.created", ago(hours=1), payload)
    target, took, refused = await app(by_svix)
    at = await start(tables(svix, target), environ)
    await catch_up(at, "svix")
    await delivered(at)
    assert (took, refused) == ([(id_, payload)], [])


async def test_a_provider_that_sends_through_svix(start, svix, tables, environ, catch_up, app):
    payload = {"type": "email.sent", "data": {"to": ["a@example.com"]}}
    id_ = svix.message("email.sent", ago(hours=1), payload)
    target, took, refused = await app(by_svix)
    table = f'[sources.resend.catch_up]\napi = "svix"\nbase_url = "{svix.url}"\napp = "app_1"\nendpoint = "ep_1"\n'
    at = await start(table + target, environ)
    await catch_up(at, "resend")
    await delivered(at)
    assert (took, refused) == ([(id_, payload)], [])


async def test_what_was_missed_of_a_message_moves_it_and_asks_nobody_for_it(start, svix, environ, catch_up):
    data = {"email_id": "e-1", "to": ["a@example.com"]}
    svix.message("email.delivered", ago(hours=1), {"type": "email.delivered", "data": data})
    svix.message("email.bounced", ago(hours=1), {"type": "email.bounced", "data": data | {"email_id": "e-2"}})
    at = await start(
        f'[sources.resend.catch_up]\napi = "svix"\nbase_url = "{svix.url}"\napp = "app_1"\nendpoint = "ep_1"\n'
        "[sources.resend.messages]\nunknown = 404\n",
        environ,
    )
    new = {"channel": "email", "provider": "resend", "external_id": "e-1", "recipient": "a@example.com"}
    await at.api("/api/messages", "POST", json=new)
    await catch_up(at, "resend")
    assert (await at.api("/api/messages/1"))[1]["status"] == "delivered"
    events = (await at.api("/api/events"))[1]["events"]
    assert [event["status"] for event in events] == [None, None]


async def test_without_a_secret_it_goes_out_unsigned_and_says_so(start, stripe, tables, environ, catch_up, app):
    stripe.happen("charge.failed", ago(hours=1))
    target, took, refused = await app(by_stripe)
    known = {name: value for name, value in environ.items() if name != "STRIPE_WEBHOOK_SECRET"}
    at = await start(tables(stripe, target), known)
    await catch_up(at, "stripe")
    (made,) = await delivered(at)
    assert (took, len(refused), made["state"]) == ([], 1, "failed")
    assert made["attempts"][0]["request"]["notes"] == [
        "original signature: stripe has no secret to sign with (env:STRIPE_WEBHOOK_SECRET)"
    ]


async def test_it_is_replayed_and_tried_again_so_that_it_verifies(start, stripe, tables, environ, catch_up, app):
    id_ = stripe.happen("charge.failed", ago(days=1))
    target, took, refused = await app(by_stripe)
    at = await start(tables(stripe, target), environ)
    await catch_up(at, "stripe", "2d", forward=False)
    assert (await at.api("/api/events/1/replay", "POST", json={"target": "app"}))[0] == 202
    (made,) = await delivered(at)
    await at.api(f"/api/deliveries/{made['id']}/retry", "POST")
    await delivered(at, attempts=2)
    assert (took, refused) == ([(id_, "charge.failed", 1999)] * 2, [])
