"""Broken setups, each through a real relay: the doctor names the true cause, and names it first."""

import base64
import functools
import gzip
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook
from stripe import WebhookSignature
from twilio.request_validator import RequestValidator

from cases import check_each
from relay.app import run_relay
from relay.config.build import Overrides, load
from relay.platform import SystemClock

BODY = b'{"id":"evt_1","type":"invoice.paid","data":{"object":{"amount":4800,"url":"https://x.example/a","name":"Caf\xc3\xa9"}}}'
VALUE = json.loads(BODY)
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
STRIPE = {"STRIPE_WEBHOOK_SECRET": "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"}
GITHUB = "It's a Secret to Everybody"
RESEND = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class SlowClock(SystemClock):
    """The machine's clock with seconds that last a quarter of an hour: no examination runs out of time."""

    def monotonic(self):
        return super().monotonic() / 1000


@pytest.fixture
def start(start):
    return functools.partial(start, clock=SlowClock())


def stripe(secret, body=BODY, at=None):
    now = int(time.time()) if at is None else at
    signature = WebhookSignature._compute_signature(f"{now}.{body.decode()}", secret)
    return JSON | {"Stripe-Signature": f"t={now},v1={signature}"}


def github(secret, body=BODY):
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return JSON | {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "push"}


def resend(secret, body=BODY):
    now = datetime.now(UTC)
    signature = Webhook(secret).sign("msg_1", now, body.decode())
    return JSON | {"svix-id": "msg_1", "svix-timestamp": str(int(now.timestamp())), "svix-signature": signature}


def slack(secret, body, at=None, kind=FORM):
    now = str(int(time.time()) if at is None else at)
    signature = SignatureVerifier(secret).generate_signature(timestamp=now, body=body)
    return kind | {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": signature}


def twilio(secret, url):
    return FORM | {"X-Twilio-Signature": RequestValidator(secret).compute_signature(url, {"From": "+1", "Body": "hi"})}


async def hints(at, path="/webhooks/stripe", body=BODY, headers=()):
    async with at.session.post(
        at.ingress + path, data=body, headers=headers, skip_auto_headers=["Content-Type"]
    ) as done:
        made = await done.json()
    assert done.status in (200, 401), made
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]["id"]
    status, event = await at.api(f"/api/events/{newest}")
    assert status == 200
    assert event["verdict"] != "verified"
    return event["hints"]


async def delete_newest(at):
    newest = (await at.api("/api/events?limit=1"))[1]["events"][0]["id"]
    assert (await at.api(f"/api/events/{newest}", "DELETE"))[0] == 200


async def first(at, *arguments, **more):
    found = await hints(at, *arguments, **more)
    assert found, "there is a hint"
    assert set(found[0]) == {"cause", "title", "sentence", "fix", "line"}
    return found[0]


async def test_the_secret_of_another_source(start):
    toml = '[sources.stripe]\nsecret = "env:A"\n[sources.cli]\nprovider = "stripe"\nsecret = "env:B"\n'
    at = await start(toml, {"A": "whsec_dashboard", "B": "whsec_listen"})
    found = await first(at, headers=stripe("whsec_listen"))
    assert found["cause"] == "secret_of_other_source"
    assert found["title"] == "Signed with a different secret"
    assert found["sentence"] == "The signature fits B, the secret of source cli. Source stripe checks A."
    assert found["line"] == 'secret = ["env:A", "env:B"]'


@pytest.mark.parametrize(
    ("saved", "title"),
    [
        ("{} ", "extra spaces"),
        ("{}\n", "a line break"),
        ('"{}"', "quotes"),
        ("'{}'", "quotes"),
        ("STRIPE_WEBHOOK_SECRET={}", "begins with a variable's name"),
        ("whsec_{}", "has whsec_ in front"),
    ],
)
async def test_a_secret_that_was_spoiled_when_it_was_saved(start, saved, title):
    secret = STRIPE["STRIPE_WEBHOOK_SECRET"]
    at = await start("", {"STRIPE_WEBHOOK_SECRET": saved.format(secret)})
    found = await first(at, headers=stripe(secret))
    assert found["cause"] == "secret_spoiled"
    assert title in found["title"]
    assert secret not in json.dumps(found)


async def test_a_secret_without_its_prefix(start):
    at = await start("", {"STRIPE_WEBHOOK_SECRET": "5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH"})
    found = await first(at, headers=stripe(STRIPE["STRIPE_WEBHOOK_SECRET"]))
    assert (found["cause"], found["title"]) == ("secret_spoiled", "The saved secret lacks its whsec_ in front")


async def test_the_live_secret_where_test_events_come(start):
    environ = {"STRIPE_WEBHOOK_SECRET": "whsec_live", "STRIPE_TEST_WEBHOOK_SECRET": "whsec_test"}
    found = await first(await start("", environ), headers=stripe("whsec_test"))
    assert found["cause"] == "secret_of_other_mode"
    assert found["title"] == "Signed with the test mode secret"
    assert "STRIPE_TEST_WEBHOOK_SECRET" in found["line"]


async def test_a_retired_secret(start):
    environ = {"STRIPE_WEBHOOK_SECRET": "whsec_new", "STRIPE_WEBHOOK_SECRET_OLD": "whsec_old"}
    found = await first(await start("", environ), headers=stripe("whsec_old"))
    assert (found["cause"], found["title"]) == ("secret_retired", "Signed with a secret you replaced")


async def test_hex_saved_where_base64_is_given(start):
    key = base64.b64decode(RESEND.removeprefix("whsec_"))
    found = await first(
        await start("", {"RESEND_WEBHOOK_SECRET": key.hex()}), "/webhooks/resend", headers=resend(RESEND)
    )
    assert found["cause"] == "secret_spoiled"
    assert "hex, where the provider gives base64" in found["title"]


@pytest.mark.parametrize(
    ("saved", "title"),
    [(base64.b64encode(GITHUB.encode()).decode(), "is still base64"), (GITHUB.encode().hex(), "is still hex")],
)
async def test_a_secret_that_is_still_encoded(start, saved, title):
    at = await start("", {"GITHUB_WEBHOOK_SECRET": saved})
    found = await first(at, "/webhooks/github", headers=github(GITHUB))
    assert found["cause"] == "secret_spoiled"
    assert title in found["title"]


async def test_a_secret_that_was_decoded_but_signs_as_text(start):
    shown = base64.b64encode(b"only for testing").decode()
    at = await start("", {"GITHUB_WEBHOOK_SECRET": "only for testing"})
    found = await first(at, "/webhooks/github", headers=github(shown))
    assert found["cause"] == "secret_spoiled"
    assert "was decoded" in found["title"]


STRIPE_KEY = STRIPE["STRIPE_WEBHOOK_SECRET"]


@pytest.mark.parametrize(
    ("signing", "title"),
    [
        (STRIPE_KEY.removeprefix("whsec_"), "The sender signs with the secret in another form: whsec_ removed"),
        (
            base64.b64encode(STRIPE_KEY.encode()).decode(),
            "The sender signs with the secret in another form: encoded as base64",
        ),
        (f"{STRIPE_KEY}\n", "The sender's secret ends in a line break"),
    ],
)
async def test_a_sender_that_spoils_a_secret_which_is_saved_as_it_is_shown(start, signing, title):
    at = await start("", STRIPE)
    found = await first(at, headers=stripe(signing))
    assert (found["cause"], found["title"]) == ("secret_spoiled_by_sender", title)
    assert "Save" not in found["fix"], "what is saved verifies what Stripe sends"
    event = (await at.api("/api/events?limit=1"))[1]["events"][0]["id"]
    compared = (await at.api(f"/api/events/{event}/verify", "POST"))[1]["expected"]
    assert [row["secret"] for row in compared] == ["STRIPE_WEBHOOK_SECRET", "STRIPE_WEBHOOK_SECRET (changed)"]


@pytest.mark.parametrize("start_at", [0, len("whsec_")])
async def test_a_sender_that_does_not_decode_the_secret_of_svix(start, start_at):
    headers = resend("whsec_" + base64.b64encode(RESEND[start_at:].encode()).decode())
    found = await first(await start("", {"RESEND_WEBHOOK_SECRET": RESEND}), "/webhooks/resend", headers=headers)
    assert found["cause"] == "secret_spoiled_by_sender"
    assert found["title"] == "The sender signs with the secret as text, without decoding it"


async def test_a_sender_that_takes_hex_or_the_secret_of_openai_as_text(start):
    shown, at = "00112233445566778899aabbccddeeff", str(int(time.time()))
    relay = await start("", {"CLOSE_WEBHOOK_SIGNATURE_KEY": shown, "OPENAI_WEBHOOK_SECRET": RESEND})
    mac = hmac.new(shown.encode(), at.encode() + BODY, hashlib.sha256).hexdigest()
    found = await first(relay, "/webhooks/close", headers={"close-sig-timestamp": at, "close-sig-hash": mac})
    assert found["title"] == "The sender signs with the secret as text, without decoding it"
    text = base64.b64encode(hmac.digest(RESEND.encode(), f"1.{at}.".encode() + BODY, "sha256")).decode()
    sent = {"webhook-id": "1", "webhook-timestamp": at, "webhook-signature": f"v1,{text}"}
    found = await first(relay, "/webhooks/openai", headers=sent)
    assert found["title"] == "The sender signs with the secret as text, without decoding it"


async def test_an_older_signature_alone(start):
    environ = {"HUBSPOT_CLIENT_SECRET": "shh", "GITLAB_WEBHOOK_TOKEN": RESEND}
    at = await start("", environ)
    found = await first(at, "/webhooks/hubspot", headers={"X-HubSpot-Signature": "ab" * 32})
    assert found["title"] == "Only an older signature came: X-HubSpot-Signature-Version is missing"
    assert found["sentence"].startswith("Only X-HubSpot-Signature came, which does not count alone.")
    found = await first(at, "/webhooks/gitlab", headers={"X-Gitlab-Token": "a token", "X-Gitlab-Event": "Push Hook"})
    assert found["title"] == "Only the plain token came: webhook-signature is missing"


async def test_the_order_of_keys_is_no_cause_where_the_bytes_are_not_signed(start):
    item = {"NotificationRequestItem": {"additionalData": {"hmacSignature": "x"}, "eventCode": "A", "success": "true"}}
    body = {"live": "false", "notificationItems": [item], "other": 1, "some": 2}
    at = await start("", {"ADYEN_HMAC_KEY": "ab" * 32, "GITLAB_WEBHOOK_TOKEN": "token"})
    for path, headers in (("/webhooks/adyen", JSON), ("/webhooks/gitlab", {"X-Gitlab-Token": "other"})):
        found = await hints(at, path, json.dumps(body, sort_keys=True).encode(), headers)
        assert "body_reordered" not in [item["cause"] for item in found]


async def test_the_other_headers_of_svix_with_the_secret_of_the_source(start):
    renamed = {name.replace("svix-", "webhook-"): value for name, value in resend(RESEND).items()}
    found = await first(await start("", {"RESEND_WEBHOOK_SECRET": RESEND}), "/webhooks/resend", headers=renamed)
    assert (found["cause"], found["line"]) == ("other_provider", 'provider = "standard-webhooks"')
    assert "Paste the address" not in found["fix"], "the secret is that of this address"


async def test_base64_that_lost_its_padding(start):
    digest = base64.b64encode(hmac.digest(b"shh", BODY, "sha256")).decode()
    sent = JSON | {"X-Shopify-Hmac-Sha256": digest.rstrip("="), "X-Shopify-Topic": "orders/create"}
    found = await first(await start("", {"SHOPIFY_API_SECRET": "shh"}), "/webhooks/shopify", headers=sent)
    assert (found["cause"], found["title"]) == ("signature_encoding", "The signature lost the = at its end")


async def test_a_signature_header_without_a_value(start):
    at = await start("", {"GITHUB_WEBHOOK_SECRET": GITHUB})
    found = await first(at, "/webhooks/github", headers={"X-Hub-Signature-256": ""})
    assert (found["cause"], found["title"]) == ("signature_missing", "The signature header is empty")
    _, again = await at.api("/api/events/1/verify", "POST")
    assert again["checks"][0]["detail"] == "X-Hub-Signature-256 is empty"


async def test_a_time_of_another_type_is_not_said_to_be_missing(start):
    at = await start("", {"LINEAR_WEBHOOK_SECRET": "shh"})
    for body, detail in (
        (b'{"webhookTimestamp": "1796060000000"}', "webhookTimestamp is not a whole number"),
        (b'{"webhookTimestamp": 1.5}', "webhookTimestamp is not a whole number"),
        (b'{"webhookTimestamp": null}', "webhookTimestamp is missing"),
        (b"{}", "webhookTimestamp is missing"),
    ):
        mac = hmac.new(b"shh", body, hashlib.sha256).hexdigest()
        found = await first(at, "/webhooks/linear", body, JSON | {"Linear-Signature": mac})
        assert (found["cause"], found["sentence"].partition(".")[0]) == ("body_malformed", detail)


FIELDS = {"From": "+1", "Body": "hi", "FromCity": ""}


async def test_the_form_of_slack_that_became_json(start):
    form = urlencode(FIELDS)
    at = await start("", {"SLACK_SIGNING_SECRET": "shh"})
    found = await first(at, "/webhooks/slack", json.dumps(FIELDS).encode(), slack("shh", form, kind=JSON))
    assert (found["cause"], "its form became JSON" in found["title"]) == ("body_changed", True)


async def test_the_form_of_twilio_that_became_json(start):
    at = await start("", {"TWILIO_AUTH_TOKEN": "token"})
    url = f"{at.ingress}/webhooks/twilio"
    sent = JSON | {"X-Twilio-Signature": RequestValidator("token").compute_signature(url, FIELDS)}
    found = await first(at, "/webhooks/twilio", json.dumps(FIELDS).encode(), sent)
    assert (found["cause"], "its form became JSON" in found["title"]) == ("body_changed", True)


async def test_sorted_keys_of_a_body_that_was_sent_indented(start):
    value = {"type": "invoice.paid", "id": "evt_1", "object": "event", "created": 1, "data": {"object": {}}}
    at = await start("", STRIPE)
    sent = json.dumps(value, indent=2).encode()
    async with at.session.post(f"{at.ingress}/webhooks/stripe", data=sent, headers=stripe(STRIPE_KEY, sent)) as done:
        assert done.status == 200
    sent = json.dumps(value | {"id": "evt_2"}, indent=2).encode()
    arrived = json.dumps(json.loads(sent), sort_keys=True).encode()
    found = await first(at, body=arrived, headers=stripe(STRIPE_KEY, sent))
    assert found["title"] == "The body changed before it reached relay: its keys were put in another order"


async def test_an_api_key_where_the_signing_secret_belongs(start):
    found = await first(await start("", {"STRIPE_WEBHOOK_SECRET": "sk_test_51H"}), headers=stripe("whsec_x"))
    assert found["cause"] == "secret_is_another_credential"
    assert "an API key" in found["title"]


@pytest.mark.parametrize("environ", [STRIPE, STRIPE | {"GITHUB_WEBHOOK_SECRET": GITHUB}])
async def test_another_providers_request(start, environ):
    at = await start("", environ)
    found = await first(at, headers=github(GITHUB))
    assert (found["cause"], found["title"]) == ("other_provider", "This looks like a GitHub signature")
    assert found["line"] == f"{at.ingress}/webhooks/github"
    assert ("fits GITHUB_WEBHOOK_SECRET" in found["sentence"]) is ("GITHUB_WEBHOOK_SECRET" in environ)


async def test_the_simplified_scheme_of_a_guide(start):
    digest = hmac.new(b"12345", b"From=1", hashlib.sha256).hexdigest()
    headers = FORM | {"X-Twilio-Signature": f"sha256={digest}"}
    found = await first(await start("", {"TWILIO_AUTH_TOKEN": "12345"}), "/webhooks/twilio", b"From=1", headers)
    assert (found["cause"], found["line"]) == ("other_scheme", 'provider = "twilio-simple"')


async def test_no_signature_at_all(start):
    found = await first(await start("", STRIPE), headers=JSON)
    assert (found["cause"], found["title"]) == ("signature_missing", "No signature header")
    assert "this is not Stripe" in found["sentence"]


async def test_only_the_legacy_signature(start):
    headers = JSON | {"X-Hub-Signature": "sha1=ab", "X-GitHub-Event": "push"}
    found = await first(await start("", {"GITHUB_WEBHOOK_SECRET": GITHUB}), "/webhooks/github", headers=headers)
    assert found["cause"] == "signature_missing"
    assert "Only X-Hub-Signature came" in found["sentence"]


async def test_a_renamed_header(start):
    value = stripe(STRIPE["STRIPE_WEBHOOK_SECRET"])["Stripe-Signature"]
    found = await first(await start("", STRIPE), headers=JSON | {"X-Original-Stripe-Signature": value})
    assert found["cause"] == "header_renamed"


async def test_a_header_that_cannot_be_read_names_its_part(start):
    found = await first(await start("", STRIPE), headers=JSON | {"Stripe-Signature": "v1=abcdef0123456789"})
    assert (found["cause"], found["title"]) == ("header_malformed", "Signature header cannot be read")
    assert "has no t" in found["sentence"]
    assert "0123456789" not in found["sentence"]


@pytest.mark.parametrize(
    ("forger", "title"),
    [
        (lambda value: value.replace(",", ", "), "spaces were put in"),
        (lambda value: f'"{value}"', "quotes were put around it"),
        (lambda value: value.replace("=", "%3D").replace(",", "%2C"), "percent-encoded"),
    ],
)
async def test_a_header_that_was_rewritten(start, forger, title):
    headers = stripe(STRIPE["STRIPE_WEBHOOK_SECRET"])
    headers["Stripe-Signature"] = forger(headers["Stripe-Signature"])
    found = await first(await start("", STRIPE), headers=headers)
    assert found["cause"] == "header_malformed"
    assert title in found["title"]


def dumped(**more):
    return json.dumps(VALUE, **more).encode()


@pytest.fixture
async def with_github(start):
    return await start("", {"GITHUB_WEBHOOK_SECRET": GITHUB})


@check_each(
    ("sent", "arrived", "title"),
    [
        (dumped(indent=2, ensure_ascii=False), BODY, "two-space indented"),
        (dumped(indent=4), BODY, "four-space indented"),
        (dumped(ensure_ascii=False), BODY, "sent spaced"),
        (dumped(separators=(",", ":")), BODY, "u-escaped"),
        (BODY, dumped(indent=2), "sent compact"),
        (dumped(separators=(",", ":"), sort_keys=True, ensure_ascii=False), BODY, "keys sorted"),
        (BODY.replace(b"/", b"\\/"), BODY, "slashes escaped"),
        (b'{"total":12.50,"n":1e3}', b'{\n "total": 12.50,\n "n": 1e3\n}', "sent compact"),
        (BODY + b"\n", BODY, "its trailing newline was removed"),
        (BODY, BODY + b"\n", "a trailing newline was added"),
        (b'{"a":1}\r\n', b'{"a":1}\n', "its trailing CRLF became a newline"),
        (b'{\n"a":\n1}', b'{\r\n"a":\r\n1}', "LF to CRLF"),
        (b'{\r\n"a":\r\n1}', b'{\n"a":\n1}', "CRLF to LF"),
        (BODY, b"\xef\xbb\xbf" + BODY, "byte order mark was added"),
        (BODY, gzip.compress(BODY), "packed with gzip"),
        (BODY.decode().encode("latin-1"), BODY, "latin-1 to UTF-8"),
        (BODY, json.dumps(BODY.decode()).encode(), "not wrapped in a JSON text"),
        (BODY, base64.b64encode(BODY), "encoded as base64"),
    ],
)
async def test_a_body_that_changed_on_its_way(with_github, sent, arrived, title):
    found = await first(with_github, "/webhooks/github", arrived, github(GITHUB, sent))
    await delete_newest(with_github)  # it is not explained by the body of another case
    assert found["cause"] == "body_changed"
    assert title in found["title"]
    assert f"{len(sent):,} bytes" in found["sentence"]


async def test_a_form_that_was_encoded_anew(start):
    sent, arrived = (b"token=x&text=hello+world&url=https%3A%2F%2Fa", b"token=x&text=hello%20world&url=https%3a%2f%2fa")
    at = await start("", {"SLACK_SIGNING_SECRET": "s3cr3t"})
    found = await first(at, "/webhooks/slack", arrived, slack("s3cr3t", sent))
    assert found["cause"] == "body_changed"
    assert "form re-encoded" in found["title"]


@pytest.fixture
async def with_twilio(start):
    toml = '[sources.twilio]\npublic_url = "https://hooks.example/webhooks/twilio"\n'
    return await start(toml, {"TWILIO_AUTH_TOKEN": "12345"})


@check_each(
    ("url", "differs"),
    [
        ("http://hooks.example/webhooks/twilio?a=1", "the protocol"),
        ("https://hooks.example:8443/webhooks/twilio?a=1", "the port"),
        ("https://hooks.example/webhooks/twilio/?a=1", "the trailing slash"),
        ("https://hooks.example/twilio?a=1", "the path"),
        ("https://hooks.example/webhooks/twilio", "the query"),
        ("https://other.example/webhooks/twilio?a=1", "the host"),
    ],
)
async def test_a_signature_for_another_url(with_twilio, url, differs):
    forwarded = {"X-Forwarded-Host": "other.example"}
    if "8443" in url:
        forwarded["X-Forwarded-Host"] = "hooks.example:8443"
    headers = twilio("12345", url) | forwarded
    found = await first(with_twilio, "/webhooks/twilio?a=1", b"From=%2B1&Body=hi", headers)
    await delete_newest(with_twilio)
    assert found["cause"] == "url_differs"
    assert found["title"] == f"Signed for another URL: {differs} differs"
    # No public_url corrects a query: the one that came is taken.
    assert found["line"] == ("" if differs == "the query" else f'public_url = "{url.partition("?")[0]}"')


async def test_a_signature_that_is_too_old(start):
    headers = stripe(STRIPE["STRIPE_WEBHOOK_SECRET"], at=int(time.time()) - 840)
    found = await first(await start("", STRIPE), headers=headers)
    assert found["cause"] == "timestamp_stale"
    assert found["title"] == "Signature fits, but it is 14 min old (limit 5 min)"
    assert found["line"] == 'tolerance = "1h"'


async def test_a_clock_that_is_behind(start):
    at = await start("", {"SLACK_SIGNING_SECRET": "s3cr3t"})
    headers = slack("s3cr3t", BODY.decode(), at=int(time.time()) + 725, kind=JSON)
    found = await first(at, "/webhooks/slack", headers=headers)
    assert (found["cause"], found["title"]) == ("clock_behind", "Your clock is 12 min behind")


async def test_the_signature_of_an_earlier_event(start):
    at = await start("", STRIPE)
    earlier = b'{"id":"evt_0","type":"a"}'
    headers = stripe(STRIPE["STRIPE_WEBHOOK_SECRET"], earlier)
    assert (await at.send("/webhooks/stripe", earlier, headers=headers))[0] == 200
    found = await first(at, headers=headers)
    assert (found["cause"], found["title"]) == ("signature_of_another_event", "This is the signature of event 1")


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ('digest = "sha512"', 'digest = "sha256"'),
        ('encoding = "base64"', 'encoding = "hex"'),
        ('key = "base64"', 'key = "text"'),
        ('content = "{timestamp}{body}"\ntimestamp = "header:X-Time"', 'content = "{timestamp}.{body}"'),
    ],
)
async def test_a_scheme_of_ones_own_declared_not_quite_right(start, declared, line):
    mine = '[sources.mine]\nprovider = "custom"\nsecret = "env:MINE"\n[sources.mine.signature]'
    toml = f'{mine}\nheader = "X-Sign"\n{declared}\n'
    at = await start(toml, {"MINE": "c2VjcmV0c2VjcmV0"})
    now = str(int(time.time()))
    signed = now.encode() + b"." + BODY if "timestamp" in declared else BODY
    digest = hmac.new(b"c2VjcmV0c2VjcmV0", signed, hashlib.sha256).hexdigest()
    found = await first(at, "/webhooks/mine", headers=JSON | {"X-Sign": digest, "X-Time": now})
    assert (found["cause"], found["line"]) == ("other_declaration", line)


async def test_a_cause_that_nobody_knows_is_not_invented(start):
    found = await hints(await start("", STRIPE | {"GITHUB_WEBHOOK_SECRET": GITHUB}), headers=stripe("whsec_nobody"))
    assert [item["cause"] for item in found] == ["unknown"]
    assert found[0]["title"] == "Nothing that relay tried produces this signature"
    assert found[0]["fix"].startswith("Compare the body")
    assert "Ruled out: its secret as saved and misspelt, 1 other secret, " in found[0]["sentence"]
    assert "last four characters" in found[0]["fix"]


async def test_what_is_also_wrong_comes_second(start):
    toml = '[sources.stripe]\nsecret = "env:A"\n[sources.cli]\nprovider = "stripe"\nsecret = "env:B"\n'
    at = await start(toml, {"A": "whsec_dashboard", "B": "whsec_listen"})
    found = await hints(at, headers=stripe("whsec_listen", at=int(time.time()) - 900))
    assert [item["cause"] for item in found] == ["secret_of_other_source", "timestamp_stale"]
    assert found[1]["title"].startswith("Besides, it is 15 min old")


@pytest.mark.parametrize(
    ("environ", "cause", "line"),
    [
        ({}, "secret_missing", "STRIPE_WEBHOOK_SECRET="),
        ({"STRIPE_SIGNING_KEY": "whsec_x"}, "secret_elsewhere", 'secret = "env:STRIPE_SIGNING_KEY"'),
    ],
)
async def test_no_secret_for_the_source(start, environ, cause, line):
    found = await first(await start("", environ), headers=stripe("whsec_x"))
    assert (found["cause"], found["line"]) == (cause, line)


async def test_the_secret_of_a_later_handshake(start):
    at = await start("", {"ASANA_WEBHOOK_SECRET": "an older webhook's"})
    assert (await at.send("/webhooks/asana", b"", headers={"X-Hook-Secret": "the newer one's"}))[0] == 200
    digest = hmac.new(b"the newer one's", b'{"events":[]}', hashlib.sha256).hexdigest()
    found = await first(at, "/webhooks/asana", b'{"events":[]}', JSON | {"X-Hook-Signature": digest})
    assert found["cause"] == "secret_of_handshake"
    assert found["line"] == 'secret = ["env:ASANA_WEBHOOK_SECRET", "env:ASANA_WEBHOOK_SECRET_2"]'


async def test_the_secret_of_a_handshake_is_found_after_a_restart_too(at, tmp_path):
    ports: dict[str, Any] = {"ingress": "127.0.0.1:auto", "dashboard": "127.0.0.1:auto", "no_tunnel": True}
    config = load(None, Overrides(data_dir=str(tmp_path / "twice"), **ports), {})
    body = b'{"events":[]}'
    digest = hmac.new(b"given once", body, hashlib.sha256).hexdigest()
    async with run_relay(config) as relay:
        await type(at)(relay, at.session).send("/webhooks/asana", b"", headers={"X-Hook-Secret": "given once"})
    async with run_relay(config) as relay:
        again = type(at)(relay, at.session)
        found = await first(again, "/webhooks/asana", body, JSON | {"X-Hook-Signature": digest})
    assert (found["cause"], found["line"]) == ("secret_of_handshake", "ASANA_WEBHOOK_SECRET=")
    assert found["title"] == "Signed with the secret of handshake 1"


async def test_verified_events_need_no_hint_and_cost_no_search(start):
    at = await start("", STRIPE)
    await at.send("/webhooks/stripe", BODY, headers=stripe(STRIPE["STRIPE_WEBHOOK_SECRET"]))
    assert (await at.api("/api/events/1"))[1]["hints"] == []


async def test_checking_again_gives_what_each_secret_makes_of_it(start):
    toml = '[sources.stripe]\nsecret = "env:A"\n[sources.cli]\nprovider = "stripe"\nsecret = "env:B"\n'
    at = await start(toml, {"A": "whsec_dashboard_0001", "B": "whsec_listen_0002"})
    headers = stripe("whsec_listen_0002")
    await hints(at, headers=headers)
    status, again = await at.api("/api/events/1/verify", "POST")
    assert status == 200
    assert (again["verdict"], again["reason"]) == ("invalid", "signature_mismatch")
    assert again["received"] == [headers["Stripe-Signature"].partition("v1=")[2]]
    assert [(item["secret"], item["matches"], item["ends"]) for item in again["expected"]] == [
        ("A", False, "0001"),
        ("B", True, "0002"),
    ]
    assert again["expected"][1]["signature"] == again["received"][0]
    assert again["tried"][0] == {"secret": "env:B", "what": "As received", "matched": True}
    assert again["hints"][0]["cause"] == "secret_of_other_source"
    assert "signature" not in (await at.api("/api/events/1"))[1]


async def test_an_event_that_would_verify_today_says_so(start):
    at = await start("", {})
    digest = hmac.new(b"hook secret", b'{"events":[]}', hashlib.sha256).hexdigest()
    await hints(at, "/webhooks/asana", b'{"events":[]}', JSON | {"X-Hook-Signature": digest})
    await at.send("/webhooks/asana", b"", headers={"X-Hook-Secret": "hook secret"})
    assert (await at.api("/api/events/1/verify", "POST"))[1]["verdict"] == "verified"
    hint = (await at.api("/api/events/1"))[1]["hints"][0]
    assert hint["cause"] == "verifies_now"
    assert hint["sentence"].startswith("Nothing was checked when it came")


@pytest.mark.parametrize(
    ("path", "body", "headers", "line"),
    [
        ("/webhooks/asana", b"", {"X-Hook-Secret": "abc"}, "ASANA_WEBHOOK_SECRET="),
        ("/webhooks/notion", b'{"verification_token":"abc"}', JSON, "NOTION_WEBHOOK_VERIFICATION_TOKEN="),
    ],
)
async def test_a_handshake_says_what_is_left_to_do(start, path, body, headers, line):
    at = await start("", {})
    await at.send(path, body, headers=headers)
    found = (await at.api("/api/events/1"))[1]["hints"][0]
    assert (found["cause"], found["line"]) == ("handshake", line)


async def test_a_refused_verify_token_says_which_variable_to_set(start):
    at = await start("", {})
    await at.send("/webhooks/meta?hub.mode=subscribe&hub.challenge=1&hub.verify_token=x", b"", "GET")
    found = (await at.api("/api/events/1"))[1]["hints"][0]
    assert (found["cause"], found["line"]) == ("verify_token", "META_VERIFY_TOKEN=")


async def test_a_large_body_and_many_secrets_are_examined(start, monkeypatch):
    work = time.thread_time
    monkeypatch.setattr(time, "thread_time", lambda: work() * 5)  # as on a computer that is a fifth as fast
    at = await start("", {"GITHUB_WEBHOOK_SECRET": GITHUB} | {f"GITHUB_KEY_{n}": f"k{n}" for n in range(40)})
    body = json.dumps([{"n": n, "text": "x" * 80} for n in range(8_000)]).encode()
    found = await first(at, "/webhooks/github", body, github("nobody's", body))
    assert found["cause"] == "unknown"


async def test_the_verification_tab_shows_cause_evidence_and_fix(start):
    toml = '[sources.stripe]\nsecret = "env:A"\n[sources.cli]\nprovider = "stripe"\nsecret = "env:B"\n'
    at = await start(toml, {"A": "whsec_dashboard_0001", "B": "whsec_listen_0002"})
    headers = stripe("whsec_listen_0002")
    await hints(at, headers=headers)
    _, raw = await at.api("/events/1/verification")
    page = raw.decode()
    for words in (
        "Signed with a different secret",
        "The signature fits B, the secret of source cli.",
        "secret = [&#34;env:A&#34;, &#34;env:B&#34;]",
        "Also tried",
        "ends in 0002",
        headers["Stripe-Signature"].partition("v1=")[2],
    ):
        assert words in page
    assert "whsec_dash" not in page
    assert "whsec_listen" not in page
    assert page.count("Expected with") == 2


async def test_no_secret_and_no_expected_signature_reaches_the_log(start, caplog):
    at = await start("", STRIPE | {"STRIPE_TEST_WEBHOOK_SECRET": "whsec_test_0000000002"})
    headers = stripe("whsec_test_0000000002")
    caplog.set_level("DEBUG")
    await hints(at, headers=headers)
    await at.api("/api/events/1/verify", "POST")
    assert "whsec_" not in caplog.text
    assert headers["Stripe-Signature"].partition("v1=")[2] not in caplog.text


async def test_an_old_signature_that_fits_nothing_is_unknown_first_and_old_second(at):
    signed = {"Stripe-Signature": "t=1700000000,v1=" + "0" * 64}
    assert (await at.send("/webhooks/stripe", b'{"id": "evt_1"}', headers=signed))[0] == 401
    _, event = await at.api("/api/events/1")
    assert [hint["cause"] for hint in event["hints"]] == ["unknown", "timestamp_stale"]
