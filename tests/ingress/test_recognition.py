"""Requests to a name that no source has, known by their headers for what they are, and unchecked all the same."""

import hashlib
import hmac
import json
import time

import pytest

BODY = b'{"id":"evt_7","type":"invoice.paid","data":{"object":{"id":"in_1Rk2","amount_due":4800,"currency":"eur"}}}'


def stripe(secret="whsec_x"):
    now = int(time.time())
    digest = hmac.new(secret.encode(), f"{now}.".encode() + BODY, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "Stripe-Signature": f"t={now},v1={digest}"}


async def sent(at, path="/webhooks/payments", headers=None):
    status, _ = await at.send(path, BODY, headers=stripe() if headers is None else headers)
    assert status == 200
    return (await at.api("/api/events/1"))[1]


async def test_type_key_and_summary_are_those_of_the_provider_its_headers_name(start):
    event = await sent(await start("", {}))
    assert (event["source"], event["provider"]) == ("payments", "stripe")
    assert (event["type"], event["idempotency_key"]) == ("invoice.paid", "evt_7")
    assert "€48.00" in event["summary"]


async def test_a_recognised_request_is_still_unchecked_and_says_what_to_set(start):
    at = await start("", {})
    event = await sent(at)
    assert (event["verdict"], event["reason"]) == ("unchecked", "no_source")
    hint = event["hints"][0]
    assert hint["title"] == "Looks like Stripe, not verified: set STRIPE_WEBHOOK_SECRET"
    assert f"{at.ingress}/webhooks/stripe" in hint["fix"]
    assert hint["line"] == '[sources.payments]\nprovider = "stripe"\nsecret = "env:STRIPE_WEBHOOK_SECRET"'


async def test_a_secret_that_is_set_does_not_check_another_path_but_the_fix_is_named(start):
    event = await sent(await start("", {"STRIPE_WEBHOOK_SECRET": "whsec_x"}))
    assert event["verdict"] == "unchecked"
    hint = event["hints"][0]
    assert hint["title"] == "Looks like Stripe, not verified: the path is not Stripe's"
    assert "Its signature fits STRIPE_WEBHOOK_SECRET" in hint["sentence"]
    assert 'provider = "stripe"' in hint["line"]


async def test_a_secret_that_does_not_fit_is_not_said_to(start):
    event = await sent(await start("", {"STRIPE_WEBHOOK_SECRET": "whsec_other"}))
    assert "fits" not in event["hints"][0]["sentence"]


@pytest.mark.parametrize("name", ["payments", "pay.eu", "a%20b%22c", "caf%C3%A9", "%E6%97%A5"])
async def test_the_lines_of_the_fix_make_the_next_one_verified(start, tmp_path, name):
    environ, path = {"STRIPE_WEBHOOK_SECRET": "whsec_x"}, f"/webhooks/{name}"
    lines = (await sent(await start(f'[server]\ndata_dir = "{tmp_path}/a"\n', environ), path))["hints"][0]["line"]
    at = await start(f'[server]\ndata_dir = "{tmp_path}/b"\n{lines}\n', environ)
    assert (await sent(at, path))["verdict"] == "verified"


async def test_a_request_of_nobody_is_not_ascribed(start):
    event = await sent(await start("", {}), headers={"Content-Type": "application/json"})
    assert event["provider"] == "unknown"
    assert event["hints"][0]["title"] == "No source is configured for this path"


@pytest.mark.parametrize("environ", [{}, {"STRIPE_WEBHOOK_SECRET": "whsec_other"}])
async def test_the_verification_tab_says_the_same(start, environ):
    at = await start("", environ)
    event = await sent(at)
    status, html = await at.api("/events/1/verification")
    assert status == 200
    page = html.decode()
    assert "Looks like Stripe, not verified" in page
    assert "provider = &#34;stripe&#34;" in page
    assert json.dumps(event["hints"][0]["cause"]) == '"no_source"'
