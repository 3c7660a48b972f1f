"""Whatever carries a request, a receiver says the same, and its handlers run once."""

import hashlib
import hmac
import json
import time
from datetime import UTC, datetime

import pytest
from slack_sdk.signature import SignatureVerifier
from twilio.request_validator import RequestValidator


async def test_what_stripe_signed_is_handled_once_and_called_a_duplicate_after_that(put, project, paid):
    body, headers = paid()
    first = await put("/webhooks/stripe", body, headers)
    assert (first.status, first.json) == (200, {"success": True, "event": None, "outcome": "accepted"})
    assert [call[:3] for call in project.calls] == [
        ["plain", "stripe", "invoice.paid"],
        ["async", "stripe", "invoice.paid"],
    ]
    assert project.calls[0][3].encode("latin-1") == body
    again = await put("/webhooks/stripe", body, headers)
    assert (again.status, again.json["outcome"]) == (200, "duplicate")
    assert len(project.calls) == 2


@pytest.mark.parametrize("wrong", ["secret", "body", "stale", "missing", "garbage"])
async def test_a_forgery_gets_401_learns_nothing_and_reaches_nobody(put, project, paid, wrong):
    body, headers = paid(secret="whsec_other" if wrong == "secret" else "whsec_test_stripe_secret",
                         age=3600 if wrong == "stale" else 0)  # fmt: skip
    if wrong == "body":
        body = body.replace(b"invoice.paid", b"invoice.PAID")
    if wrong == "missing":
        headers = {}
    if wrong == "garbage":
        headers = {"Stripe-Signature": "t=x,v1=\xff"}
    told = await put("/webhooks/stripe", body, headers)
    assert told.status == 401
    assert told.json["error"]["code"] == "signature_not_valid"
    assert project.calls == []


async def test_the_sdks_of_other_providers_are_understood(put, project, secrets, host):
    from svix.webhooks import Webhook  # noqa: PLC0415 - slow to import, and needed here only

    body = b'{"type": "event_callback", "event": {"type": "app_mention"}, "event_id": "Ev1"}'
    stamp = str(int(time.time()))
    signed = SignatureVerifier(secrets["SLACK_SIGNING_SECRET"]).generate_signature(timestamp=stamp, body=body)
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signed}
    assert (await put("/webhooks/slack", body, headers)).status == 200

    push = b'{"ref": "refs/heads/main"}'
    digest = hmac.new(secrets["GITHUB_WEBHOOK_SECRET"].encode(), push, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "push", "X-GitHub-Delivery": "g1"}
    assert (await put("/webhooks/github", push, headers)).status == 200

    fields = {"MessageSid": "SM1", "MessageStatus": "delivered", "Body": "caf\u00e9 & co"}
    form = b"MessageSid=SM1&MessageStatus=delivered&Body=caf%C3%A9+%26+co"
    url = f"http://{host}/webhooks/twilio?a=1&b=%20x"
    signed = RequestValidator(secrets["TWILIO_AUTH_TOKEN"]).compute_signature(url, fields)
    headers = {"X-Twilio-Signature": signed, "Content-Type": "application/x-www-form-urlencoded"}
    assert (await put("/webhooks/twilio?a=1&b=%20x", form, headers)).status == 200

    mail, now = b'{"type":"email.delivered","data":{}}', datetime.now(UTC)
    signed = Webhook(secrets["RESEND_WEBHOOK_SECRET"]).sign("msg_1", now, mail.decode())
    headers = {"svix-id": "msg_1", "svix-timestamp": str(int(now.timestamp())), "svix-signature": signed}
    assert (await put("/webhooks/resend", mail, headers)).status == 200
    assert [call[1] for call in project.calls] == ["slack", "github", "twilio", "resend"]
    assert project.calls[2][3] == form.decode()


async def test_slack_is_shaken_hands_with_and_no_handler_hears_of_it(put, project, secrets):
    body = json.dumps({"type": "url_verification", "challenge": "c-1"}).encode()
    stamp = str(int(time.time()))
    signed = SignatureVerifier(secrets["SLACK_SIGNING_SECRET"]).generate_signature(timestamp=stamp, body=body)
    told = await put("/webhooks/slack", body, {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signed})
    assert told.status == 200
    assert b"c-1" in told.body
    assert told.headers["X-Content-Type-Options"] == "nosniff"
    assert project.calls == []


async def test_what_breaks_the_rules_is_told_every_field(put, project):
    told = await put("/webhooks/orders", b'{"id": "x"}')
    assert told.status == 400
    error = told.json["error"]
    assert {one["field"] for one in error["fields"]} == {"id", "total", "Idempotency-Key"}
    good = await put("/webhooks/orders", b'{"id": 1, "total": 2}', {"Idempotency-Key": "k1"})
    assert good.status == 200
    assert len(project.calls) == 1


async def test_address_rate_size_path_and_listed_events(put, project, paid):
    assert (await put("/webhooks/inner", b"{}")).status == 403
    assert [(await put("/webhooks/slow", b"{}")).status for _ in range(3)] == [200, 200, 429]
    assert int((await put("/webhooks/slow", b"{}")).headers["Retry-After"]) > 0
    assert (await put("/webhooks/stripe", b"x" * 65_000)).status == 413
    told = await put("/webhooks/nobody", b"{}")
    assert (told.status, told.json["error"]["code"]) == (404, "not_found")
    told = await put("/webhooks/", b"{}")
    assert (told.status, told.json["error"]["code"]) == (404, "not_found")
    ignored = await put("/webhooks/stripe", *paid("charge.failed"))
    assert (ignored.status, ignored.json["outcome"]) == (200, "ignored")
    assert [call[1] for call in project.calls] == ["slow", "slow"]


@pytest.mark.parametrize(("mood", "status", "wait"), [("retry", 503, "7"), ("failed", 500, None), ("raise", 500, "5")])
async def test_a_handler_that_fails_lets_the_provider_try_again(put, project, paid, mood, status, wait):
    body, headers = paid(mood=mood)
    first = await put("/webhooks/stripe", body, headers)
    assert (first.status, first.headers.get("Retry-After")) == (status, wait)
    assert b"a secret of the app" not in first.body
    count = len(project.calls)
    (project.folder / "calls").unlink()
    second = await put("/webhooks/stripe", body, headers)
    assert second.status == status
    assert len(project.calls) == count


async def test_health_names_the_endpoints(put):
    told = await put("/webhooks/health", method="GET")
    assert told.status == 200
    assert told.json["service"] == "relay"
    assert told.json["endpoints"]["stripe"] == "/webhooks/stripe"


async def test_a_path_that_is_odd_is_a_path(put, project):
    assert (await put("/webhooks/slow/a%2Fb/c%20d%C3%A9", b"{}")).status == 200
    assert (await put("/webhooks/slow/%E6%97%A5", b"{}")).status == 200
    assert (await put("/webhooks/w%C3%A4g", b"{}")).status == 200
    assert [call[1] for call in project.calls] == ["slow", "slow", "road"]


async def test_the_dict_that_a_handler_returns_is_the_answer(put, paid):
    told = await put("/webhooks/stripe", *paid(mood="reply"))
    assert (told.status, told.headers["Content-Type"]) == (200, "application/json")
    assert told.json == {"text": "Zo\u00eb", "type": "invoice.paid"}
