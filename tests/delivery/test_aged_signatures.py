"""What waited for its target goes out so that the app's own library still takes it."""

import asyncio
import base64
import hashlib
import hmac
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from builders import build_capture, build_source
from relay.actions.outgoing_request import ForwardOptions
from relay.model.delivery import DeliveryChanges, DeliveryReason, RetryPolicy, SignMode
from relay.model.event import EventOutcome, Verdict
from relay.platform import SystemClock
from relay.providers.catalogue import find_provider
from relay.providers.schemes.one_of import with_tolerance

BODY = b'{"id":"evt_1","amount":10.50}'
SVIX = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class LateClock(SystemClock):
    """The machine's clock, `late` behind."""

    def __init__(self, **late):
        self.late = timedelta(**late)

    def now(self):
        return super().now() - self.late

    async def sleep(self, seconds):
        await asyncio.sleep(min(seconds, 0.02))


def by_stripe(headers, body, secret):
    stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret)


def by_slack(headers, body, secret):
    assert SignatureVerifier(secret).is_valid_request(body, headers)


def by_svix(headers, body, secret):
    from svix.webhooks import Webhook  # noqa: PLC0415 - slow to import, and needed here only

    Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})


SDKS = [("stripe", "whsec_x", by_stripe), ("slack", "8f742231b10e", by_slack), ("svix", SVIX, by_svix)]


def make_source(name, secret, **fields):
    return build_source(name, secret, **{"scheme": find_provider(name).scheme} | fields)


def sign(source, when, body=BODY):
    """Return the headers that the provider sends at that time."""
    capture = build_capture(source.name, path="/", body=body, received_at=when)
    return source.scheme.sign(source.secrets[0], capture, when).headers


@pytest.mark.parametrize(("name", "secret", "check"), SDKS)
async def test_an_app_that_was_down_for_six_minutes_takes_what_waited(world, app, name, secret, check):
    source, clock = make_source(name, secret), LateClock(minutes=6)
    async with world(clock=clock, source=source) as it, it.running():
        await app.stop()
        old = sign(source, clock.now())
        stored = await it.event("app", body=BODY, source=name, headers=old)
        await it.until(stored.deliveries[0], lambda one: one.attempts == 1)
        clock.late = timedelta(0)
        await app.start()
        await it.settled(stored.deliveries[0])
        *_, last = await it.store.deliveries.attempts(stored.deliveries[0])
    _, _, headers, body = app.got[-1]
    assert body == BODY
    check(headers, body, secret)
    assert last.request.notes[0].startswith("signed again: the original signature was 6 min old (")
    assert not set(old) <= set(last.request.headers)


@pytest.mark.parametrize(("name", "secret", "check"), SDKS)
async def test_a_second_attempt_within_the_limit_is_byte_for_byte(world, app, name, secret, check):
    source, clock = make_source(name, secret), LateClock(minutes=4)
    app.answers = [500]
    patient = RetryPolicy(attempts=4, first=3600.0, factor=1.0, max=3600.0, jitter=0.0)
    async with world({"app": {"retry": patient}}, clock=clock, source=source) as it, it.running():
        old = sign(source, clock.now())
        stored = await it.event("app", body=BODY, source=name, headers=old)
        await it.until(stored.deliveries[0], lambda one: one.attempts == 1)
        clock.late = timedelta(0)
        await it.replays.retry_delivery(stored.deliveries[0])
        await it.settled(stored.deliveries[0])
        attempts = await it.store.deliveries.attempts(stored.deliveries[0])
    assert [one.request.notes for one in attempts] == [(), ()]
    for _, _, headers, body in app.got:
        check(headers, body, secret)
        assert set(old) <= set(headers.items())


async def test_a_failed_delivery_that_is_retried_is_signed_at_that_time(world, app):
    source, clock = make_source("stripe", "whsec_x"), LateClock(hours=2)
    app.answers = [400]
    async with world(clock=clock, source=source) as it, it.running():
        stored = await it.event("app", body=BODY, headers=sign(source, clock.now()))
        await it.settled(stored.deliveries[0])
        clock.late = timedelta(0)
        await it.replays.retry_delivery(stored.deliveries[0])
        delivery = await it.settled(stored.deliveries[0])
        *_, last = await it.store.deliveries.attempts(stored.deliveries[0])
    assert delivery.state == "succeeded"
    by_stripe(app.got[-1][2], app.got[-1][3], "whsec_x")
    assert last.request.notes[0].startswith("signed again: the original signature was 2 h old")


@pytest.fixture
def notes_of(world, app):
    """Deliver an event signed `late` ago; return the notes of its attempt and the headers the app got."""

    async def deliver(source, *, options=None, changes=None, headers=None, late=None, body=BODY, **fields):
        when = SystemClock().now() - (late or timedelta(0))
        headers = sign(source, when) if headers is None else headers
        target = {"options": ForwardOptions(url=app.url, **options or {})}
        async with world({"app": target}, source=source) as it, it.running():
            stored = await it.event(body=body, source=source.name, headers=headers, **fields)
            reason = DeliveryReason.REPLAY if changes else DeliveryReason.ROUTED
            id_ = await it.owe(stored.id, "app", reason=reason, changes=changes or DeliveryChanges())
            await it.settled(id_)
            (attempt,) = await it.store.deliveries.attempts(id_)
        assert app.got[-1][3] == body
        return attempt.request.notes, app.got[-1][2]

    return deliver


@pytest.mark.parametrize("tolerance", [None, 3600.0])
async def test_the_limit_is_the_librarys_whatever_tolerance_the_source_has(notes_of, tolerance):
    source = make_source("stripe", "whsec_x")
    source = replace(source, scheme=with_tolerance(source.scheme, tolerance, tolerance))
    notes, headers = await notes_of(source, late=timedelta(minutes=6))
    assert notes == ("signed again: the original signature was 6 min old (Stripe-Signature changed)",)
    by_stripe(headers, BODY, "whsec_x")


async def test_a_shorter_tolerance_of_the_source_counts(notes_of):
    source = make_source("stripe", "whsec_x")
    source = replace(source, scheme=with_tolerance(source.scheme, 30.0, 30.0))
    notes, _ = await notes_of(source, late=timedelta(seconds=50))
    assert re.fullmatch(r"signed again: the original signature was 5\d s old \(Stripe-.* changed\)", notes[0])


async def test_a_scheme_without_a_time_keeps_the_original(notes_of):
    source = make_source("github", "hush")
    notes, headers = await notes_of(source, late=timedelta(days=3))
    assert notes == ()
    assert set(sign(source, SystemClock().now())) <= set(headers.items())


FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


async def test_a_live_request_keeps_the_signature_for_the_address_the_provider_called(notes_of):
    source = make_source("twilio", "hush")
    capture = build_capture(
        "twilio",
        headers=FORM,
        body=b"From=%2B1",
        received_at=SystemClock().now(),
        url="https://hooks.example/webhooks/twilio",
    )
    signature = source.scheme.sign(source.secrets[0], capture, capture.received_at).header("X-Twilio-Signature")
    sent = {"headers": (("X-Twilio-Signature", signature),), "body": capture.body, "media": FORM[0][1]}
    assert (await notes_of(source, **sent))[0] == ()
    for how in ({"options": {"sign_url": "target"}}, {"changes": DeliveryChanges(sign=SignMode.AUTO)}):
        (note,), headers = await notes_of(source, **sent, **how)
        assert note.startswith("signed again: ")
        assert headers["X-Twilio-Signature"] != signature


FORGED = (("Stripe-Signature", "t=1,v1=" + "ab" * 32),)
NOT_GENUINE = "original signature: relay did not find this event genuine"


@pytest.mark.parametrize(
    ("verdict", "how"),
    [
        (Verdict.INVALID, {}),
        (Verdict.INVALID, {"changes": DeliveryChanges(sign=SignMode.AUTO)}),
        (Verdict.INVALID, {"options": {"sign": SignMode.FRESH}}),
        (Verdict.UNCHECKED, {}),
        (Verdict.UNCHECKED, {"changes": DeliveryChanges(sign=SignMode.AUTO)}),
    ],
)
async def test_what_did_not_verify_is_never_signed_unasked(notes_of, verdict, how):
    source = make_source("stripe", "whsec_x")
    (note,), headers = await notes_of(source, headers=FORGED, verdict=verdict, **how)
    assert note.startswith(NOT_GENUINE)
    assert headers["Stripe-Signature"] == FORGED[0][1]


async def test_a_person_who_asks_for_a_fresh_signature_of_a_forgery_gets_it(notes_of):
    source = make_source("stripe", "whsec_x")
    asked = {"changes": DeliveryChanges(sign=SignMode.FRESH), "outcome": EventOutcome.REJECTED}
    notes, headers = await notes_of(source, headers=FORGED, verdict=Verdict.INVALID, **asked)
    assert notes == ("signed again for stripe: Stripe-Signature changed",)
    by_stripe(headers, BODY, "whsec_x")


async def test_an_event_that_verifies_by_todays_secrets_counts_as_genuine(notes_of):
    source = make_source("stripe", "whsec_x")
    notes, headers = await notes_of(source, verdict=Verdict.INVALID)
    assert notes == ()
    by_stripe(headers, BODY, "whsec_x")


async def test_a_stale_signature_that_only_the_provider_could_make_is_kept_and_said(notes_of):
    source = make_source("discord", "ab" * 32)
    headers = (("X-Signature-Ed25519", "00" * 64), ("X-Signature-Timestamp", "1"))
    (note,), got = await notes_of(source, headers=headers)
    assert note.startswith("original signature: only the provider has the key to sign (")
    assert got["X-Signature-Ed25519"] == "00" * 64


async def test_a_live_event_of_a_source_without_a_secret_goes_out_as_it_came(notes_of):
    source = make_source("stripe", "x", secrets=(), missing_secrets=("env:STRIPE_WEBHOOK_SECRET",))
    notes, headers = await notes_of(source, headers=FORGED, verdict=Verdict.UNCHECKED)
    assert (notes, headers["Stripe-Signature"]) == ((), FORGED[0][1])


HOOK = "https://hooks.example.dev/webhooks/hubspot"


def hubspot(secret, when, url=HOOK, body=BODY):
    """Return HubSpot's headers of version 3, as its documentation makes them."""
    at = str(int(when.timestamp() * 1000))
    digest = hmac.new(secret.encode(), f"POST{url}".encode() + body + at.encode(), hashlib.sha256).digest()
    return (("X-HubSpot-Request-Timestamp", at), ("X-HubSpot-Signature-v3", base64.b64encode(digest).decode()))


@pytest.fixture
async def aged(start, aiohttp_server):
    """Let an event of HubSpot age, replay it, and return the headers that the app got by it."""
    got = asyncio.Queue()

    async def handle(request):
        got.put_nowait(request.headers)
        await request.read()
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    server = await aiohttp_server(application)

    async def replayed(public, setting=""):
        clock = LateClock(minutes=6)
        at = await start(
            f'[sources.hubspot]\n{public}[targets.app]\nforward = "{server.make_url("/hooks")}"\n{setting}',
            {"HUBSPOT_CLIENT_SECRET": "hush"},
            clock=clock,
        )
        called = HOOK if public else f"{at.ingress}/webhooks/hubspot"
        headers = dict(hubspot("hush", clock.now(), called))
        assert (await at.send("/webhooks/hubspot", BODY, headers=headers))[0] == 200
        async with asyncio.timeout(60):
            live = await got.get()
        assert live["X-HubSpot-Signature-v3"] == headers["X-HubSpot-Signature-v3"]
        clock.late = timedelta(0)
        again = {}
        for way, path, asked in (
            ("retry", "/api/deliveries/1/retry", {}),
            ("replay", "/api/events/1/replay", {"target": "app"}),
        ):
            status, answer = await at.api(path, "POST", json=asked)
            assert status == 202, answer
            async with asyncio.timeout(60):
                again[way] = await got.get()
        return called, str(server.make_url("/hooks")), again

    return replayed


def signed_for(headers, *urls):
    """Return which of the addresses a HubSpot signature is for."""
    when = datetime.fromtimestamp(int(headers["X-HubSpot-Request-Timestamp"]) / 1000, UTC)
    assert SystemClock().now() - when < timedelta(minutes=4)
    name = "X-HubSpot-Signature-v3"
    return [url for url in urls if dict(hubspot("hush", when, url))[name] == headers[name]]


async def test_an_aged_signature_is_made_anew_for_the_address_of_the_live_one(aged):
    called, _, again = await aged(f'public_url = "{HOOK}"\n')
    assert signed_for(again["retry"], called) == [called]
    assert signed_for(again["replay"], called) == [called]


async def test_without_a_public_url_a_replay_is_signed_for_the_apps_own_address(aged):
    called, own, again = await aged("")
    assert signed_for(again["retry"], called, own) == [called]
    assert signed_for(again["replay"], called, own) == [own]


async def test_a_target_that_says_which_address_counts_is_believed(aged):
    called, own, again = await aged(f'public_url = "{HOOK}"\n', 'sign_url = "public"\n')
    assert [signed_for(headers, called, own) for headers in again.values()] == [[called], [called]]
