from dataclasses import replace
from datetime import timedelta

import pytest
import stripe
from twilio.request_validator import RequestValidator

from builders import build_capture, build_source
from relay.actions.outgoing_request import ForwardOptions
from relay.model.delivery import DeliveryChanges, DeliveryReason, SignMode
from relay.platform import SystemClock
from relay.providers.catalogue import find_provider

SECRET = "whsec_of_these_tests"


def source(name, *secrets, **fields):
    scheme = find_provider(name).scheme
    return build_source(name, *secrets, **{"scheme": scheme} | fields)


@pytest.fixture
def forwarded(world, app):
    """Replay an event of `source` to the app; return its headers, body and path, and the attempt's notes."""

    async def forward(source, headers=(), body=b'{"id": "evt_1"}', changes=None, **more):
        async with world(source=source) as it, it.running():
            name = source.name if source else "gone"
            stored = await it.event(body=body, headers=headers, source=name, **more)
            changes = changes or DeliveryChanges(sign=SignMode.AUTO)
            id_ = await it.owe(stored.id, "app", reason=DeliveryReason.REPLAY, changes=changes)
            await it.settled(id_)
            (attempt,) = await it.store.deliveries.attempts(id_)
        _, path, got, sent = app.got[-1]
        return got, sent, path, attempt.request.notes

    return forward


def signed(source, clock, **fields):
    """Return the headers of a request as its sender would have signed it at that time."""
    made = {"path": "/", "body": b'{"id": "evt_1"}', "received_at": clock}
    capture = build_capture(source.name, **made | fields)
    return source.scheme.sign(source.secrets[0], capture, clock).headers


async def test_a_stale_signature_is_made_anew_and_the_official_library_takes_it(forwarded):
    stripe_source = source("stripe", SECRET, "whsec_older")
    old = signed(stripe_source, SystemClock().now() - timedelta(days=2))
    headers, body, _, notes = await forwarded(stripe_source, old)
    assert stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], SECRET, 300)
    assert headers["Stripe-Signature"] != dict(old)["Stripe-Signature"]
    assert notes == ("signed again: the original signature was 2 days old (Stripe-Signature changed)",)


async def test_an_edited_body_is_signed_as_it_goes_out(forwarded):
    stripe_source = source("stripe", SECRET)
    old = signed(stripe_source, SystemClock().now())
    changes = DeliveryChanges(sign=SignMode.AUTO, body=b'{"id": "evt_2"}')
    headers, body, _, notes = await forwarded(stripe_source, old, changes=changes)
    assert body == b'{"id": "evt_2"}'
    assert stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], SECRET, 300)
    assert notes == ("body edited: 15 to 15 bytes", "signed again: the request was edited (Stripe-Signature changed)")


async def test_a_signature_that_still_verifies_is_kept_as_received(forwarded):
    stripe_source = source("stripe", SECRET)
    old = signed(stripe_source, SystemClock().now() - timedelta(seconds=30))
    headers, _, _, notes = await forwarded(stripe_source, old)
    assert headers["Stripe-Signature"] == dict(old)["Stripe-Signature"]
    assert notes == ()


async def test_original_means_as_received_and_fresh_means_now(forwarded):
    stripe_source = source("stripe", SECRET)
    stale = signed(stripe_source, SystemClock().now() - timedelta(days=2))
    headers, _, _, notes = await forwarded(stripe_source, stale, changes=DeliveryChanges(sign=SignMode.ORIGINAL))
    assert (headers["Stripe-Signature"], notes) == (dict(stale)["Stripe-Signature"], ())
    recent = signed(stripe_source, SystemClock().now() - timedelta(seconds=30))
    headers, _, _, notes = await forwarded(stripe_source, recent, changes=DeliveryChanges(sign=SignMode.FRESH))
    assert headers["Stripe-Signature"] != dict(recent)["Stripe-Signature"]
    assert notes == ("signed again for stripe: Stripe-Signature changed",)


FORM = {"media": "application/x-www-form-urlencoded"}


async def test_a_scheme_that_signs_the_url_signs_the_targets(forwarded, app):
    twilio, old = source("twilio", "token"), (("X-Twilio-Signature", "old"),)
    headers, _, path, notes = await forwarded(twilio, old, b"Body=Hi&From=%2B1", **FORM)
    url, params = f"http://127.0.0.1:{app.port}{path}", {"Body": "Hi", "From": "+1"}
    assert RequestValidator("token").validate(url, params, headers["X-Twilio-Signature"])
    assert notes == ("signed again: the original signature does not verify any more (X-Twilio-Signature changed)",)


async def test_a_scheme_that_signs_inside_the_query_sends_that_query(forwarded, app):
    twilio, old = source("twilio", "token"), (("X-Twilio-Signature", "old"),)
    headers, body, path, _ = await forwarded(twilio, old)
    url = f"http://127.0.0.1:{app.port}{path}"
    assert "bodySHA256=" in path
    assert RequestValidator("token").validate(url, body.decode(), headers["X-Twilio-Signature"])


async def test_without_a_secret_the_original_goes_out_and_says_so(forwarded):
    nameless = source("stripe", missing_secrets=("env:STRIPE_WEBHOOK_SECRET",))
    headers, _, _, notes = await forwarded(nameless, (("Stripe-Signature", "t=1,v1=ab"),))
    assert headers["Stripe-Signature"] == "t=1,v1=ab"
    assert notes == ("original signature: stripe has no secret to sign with (env:STRIPE_WEBHOOK_SECRET)",)


async def test_a_key_that_only_verifies_cannot_sign_and_says_so(forwarded):
    discord = source("discord", "ab" * 32)
    _, _, _, notes = await forwarded(discord, (("X-Signature-Ed25519", "00"), ("X-Signature-Timestamp", "1")))
    assert notes == (
        (
            "original signature: only the provider has the key to sign (the original signature does not verify "
            "any more); a fresh signature would be made with relay's local key"
        ),
    )


async def test_a_source_that_signs_nothing_or_is_gone_is_left_alone(forwarded):
    plain = replace(source("stripe", SECRET), scheme=None)
    for one in (plain, None):
        assert (await forwarded(one))[3] == ()
    _, _, _, notes = await forwarded(None, changes=DeliveryChanges(sign=SignMode.FRESH))
    assert notes == ("not signed: gone has no signature scheme",)


async def test_a_target_may_always_get_what_verifies(world, app):
    stripe_source = source("stripe", SECRET)
    stale = signed(stripe_source, SystemClock().now() - timedelta(days=2))
    targets = {"app": {"options": ForwardOptions(url=app.url, sign=SignMode.AUTO)}}
    async with world(targets, source=stripe_source) as it, it.running():
        stored = await it.event("app", body=b'{"id": "evt_1"}', headers=stale)
        await it.settled(stored.deliveries[0])
        (attempt,) = await it.store.deliveries.attempts(stored.deliveries[0])
    _, _, headers, body = app.got[0]
    assert stripe.WebhookSignature.verify_header(body.decode(), headers["Stripe-Signature"], SECRET, 300)
    assert attempt.request.notes == ("signed again: the original signature was 2 days old (Stripe-Signature changed)",)
