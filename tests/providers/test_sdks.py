"""The official SDKs and relay agree, both ways: what they sign verifies here, what relay signs verifies there."""

import dataclasses
import importlib
from datetime import UTC, datetime, timedelta
from random import Random
from urllib.parse import parse_qs

import gidgethub.sansio
import pytest
import slack_sdk.signature
import standardwebhooks
import stripe
from twilio.request_validator import RequestValidator, get_signature_algorithm

from builders import build_source
from cases import check_each
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import prepare_sample, sample_types

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "12345"
URL = "https://hooks.example/webhooks/test?a=1&b=%20x"


def trigger(name, type_, secret, **options):
    source = build_source(name, scheme=PROVIDERS[name].scheme, secrets=(Secret("env:TEST", secret),))
    options.setdefault("url", URL)
    return prepare_sample(source, PROVIDERS[name], type_, datetime.now(UTC), random=Random(3), **options)


def verdict(name, secret, capture, now=None):
    secrets = (Secret("env:TEST", secret),)
    return PROVIDERS[name].scheme.verify(secrets, capture, now or datetime.now(UTC)).verdict


def headers(capture):
    return {name.lower(): value for name, value in capture.headers}


@pytest.mark.parametrize("type_", sample_types("stripe"))
def test_stripe_constructs_our_events(type_):
    made = trigger("stripe", type_, WHSEC)
    event = stripe.Webhook.construct_event(made.body, made.header("Stripe-Signature"), WHSEC)
    assert event.type == type_


def test_what_stripe_signs_verifies_here(capture):
    body = '{"id":"evt_1","name":"Zoë"}'
    header = stripe.WebhookSignature.generate_signature_header(body, WHSEC)
    made = capture(body.encode(), (("Stripe-Signature", header),))
    assert verdict("stripe", WHSEC, made) is Verdict.VERIFIED


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.replace(",", ", "),
        lambda header: header.replace("v1=", "v1= "),
        lambda header: header.replace("v1=", "v0="),
        lambda header: header.split("v1=")[0] + "v1=" + header.split("v1=")[1].upper(),
        lambda header: header.split(",")[1],
        lambda header: header.split(",")[0],
        lambda header: header.replace("t=", "t=x"),
        lambda header: "",
    ],
)
def test_stripe_and_relay_refuse_the_same_headers(change, capture):
    header = change(stripe.WebhookSignature.generate_signature_header("{}", WHSEC))
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(b"{}", header, WHSEC, 300)
    made = capture(b"{}", (("Stripe-Signature", header),))
    assert verdict("stripe", WHSEC, made) is Verdict.INVALID


@pytest.mark.parametrize(
    "change",
    [
        lambda header: ",".join(reversed(header.split(","))),
        lambda header: header + ",v0=00,v1=00",
        lambda header: header.replace(",v1", ",v1=" + "0" * 64 + ",v1"),
        lambda header: "scheme," + header,
    ],
)
def test_stripe_and_relay_accept_the_same_headers(change, capture):
    header = change(stripe.WebhookSignature.generate_signature_header("{}", WHSEC))
    assert stripe.WebhookSignature.verify_header(b"{}", header, WHSEC, 300)
    made = capture(b"{}", (("Stripe-Signature", header),))
    assert verdict("stripe", WHSEC, made) is Verdict.VERIFIED


def test_stripe_and_relay_accept_a_time_in_the_future(capture):
    ahead = datetime.now(UTC) + timedelta(hours=1)
    header = stripe.WebhookSignature.generate_signature_header("{}", WHSEC, timestamp=int(ahead.timestamp()))
    assert stripe.WebhookSignature.verify_header(b"{}", header, WHSEC, 300)
    assert verdict("stripe", WHSEC, capture(b"{}", (("Stripe-Signature", header),))) is Verdict.VERIFIED


@pytest.mark.parametrize("type_", sample_types("github"))
def test_gidgethub_reads_our_events(type_):
    made = trigger("github", type_, TOKEN)
    event = gidgethub.sansio.Event.from_http(headers(made), made.body, secret=TOKEN)
    assert event.event == type_.partition(".")[0]


def test_github_sha1_alone_is_not_enough_here_though_gidgethub_takes_it(capture):
    signed = trigger("github", "push", TOKEN)
    sha1 = signed.header("X-Hub-Signature")
    gidgethub.sansio.validate_event(signed.body, signature=sha1, secret=TOKEN)
    made = capture(signed.body, (("X-Hub-Signature", sha1),))
    assert verdict("github", TOKEN, made) is Verdict.INVALID
    for value in (sha1, sha1.replace("sha1=", "sha256=")):
        made = capture(signed.body, (("X-Hub-Signature-256", value),))
        assert verdict("github", TOKEN, made) is Verdict.INVALID


@pytest.mark.parametrize("type_", sample_types("slack"))
def test_slack_accepts_our_requests(type_):
    made = trigger("slack", type_, TOKEN)
    assert slack_sdk.signature.SignatureVerifier(TOKEN).is_valid_request(made.body, dict(made.headers))


@pytest.mark.parametrize(("age", "expected"), [(0, True), (299, True), (-299, True), (302, False), (-302, False)])
def test_slack_and_relay_agree_on_age(age, expected, capture, now):
    verifier = slack_sdk.signature.SignatureVerifier(TOKEN)
    ts = str(int(now.timestamp()) - age)
    signature = verifier.generate_signature(timestamp=ts, body="{}")
    made = capture(b"{}", (("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", ts)))
    verifier.clock = type("Fixed", (), {"now": lambda _: now.timestamp()})()
    assert verifier.is_valid("{}", ts, signature) is expected
    assert (verdict("slack", TOKEN, made, now) is Verdict.VERIFIED) is expected


def twilio_params(capture):
    if capture.content_type == "application/json":
        return capture.body.decode()
    return {
        name: values if len(values) > 1 else values[0]
        for name, values in parse_qs(capture.body.decode(), keep_blank_values=True).items()
    }


@check_each("type_", sample_types("twilio"))
@check_each("url", [URL, "http://localhost:3000/hook", "https://user:pw@hooks.example:8443/"])
def test_twilio_accepts_our_requests(type_, url):
    made = trigger("twilio", type_, TOKEN, url=url)
    assert RequestValidator(TOKEN).validate(made.url, twilio_params(made), made.header("X-Twilio-Signature"))


@pytest.mark.parametrize(
    ("signed_for", "received_as"),
    [
        ("https://a.example/x", "https://a.example:443/x"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("https://a.example/x", "https://a.example:8443/x"),
        ("https://a.example:8443/x", "https://a.example/x"),
        ("https://a.example/x", "https://a.example/x/"),
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x?a=b", "https://a.example/x?a=%62"),
    ],
)
def test_twilio_and_relay_agree_on_spellings_of_the_url(signed_for, received_as, capture):
    validator = RequestValidator(TOKEN)
    signature = validator.compute_signature(signed_for, {"A": "1"})
    form = ("Content-Type", "application/x-www-form-urlencoded")
    made = capture(b"A=1", (form, ("X-Twilio-Signature", signature)), url=received_as)
    expected = validator.validate(received_as, {"A": "1"}, signature)
    assert (verdict("twilio", TOKEN, made) is Verdict.VERIFIED) is expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256", True),
        ("algorithm=hmac_sha256", True),
        ("key=webhooks_sharedkey_1", False),
        ("", False),
        ("key=k,algorithm=HMAC_SHA1", False),
        ("key=k,algorithm=NONE", False),
    ],
)
def test_twilio_shared_keys_announce_their_algorithm(settings, expected, capture):
    validator = RequestValidator(TOKEN)
    signature = validator.compute_signature(URL, {"A": "1"}, "HMAC_SHA256")
    made = capture(
        b"A=1",
        (
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("X-Twilio-Signature", signature),
            ("X-Twilio-Webhooks-Signature-Settings", settings),
        ),
        url=URL,
    )
    algorithm = get_signature_algorithm(settings)
    assert validator.validate(URL, {"A": "1"}, signature, algorithm) is expected
    assert (verdict("twilio", TOKEN, made) is Verdict.VERIFIED) is expected


def test_twilio_requests_without_a_body_sign_the_url_alone(capture):
    signature = RequestValidator(TOKEN).compute_signature(URL, {})
    made = capture(b"", (("X-Twilio-Signature", signature),), url=URL, method="GET")
    assert verdict("twilio", TOKEN, made) is Verdict.VERIFIED
    smuggled = dataclasses.replace(made, method="POST", body=b'{"paid": true}')
    assert verdict("twilio", TOKEN, smuggled) is Verdict.INVALID


@pytest.mark.parametrize("library", ["standardwebhooks", "svix"])
@pytest.mark.parametrize("name", ["svix", "standard-webhooks", "resend", "clerk", "openai", "gitlab"])
def test_standard_webhooks_libraries_accept_our_requests(library, name):
    made = trigger(name, "any", WHSEC, body='{"type":"any","name":"Zoë"}'.encode())
    renamed = {key.replace("svix-", "webhook-"): value for key, value in headers(made).items()}
    importlib.import_module(library).Webhook(WHSEC).verify(made.body, renamed)


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_what_the_libraries_sign_verifies_here(family, capture):
    sent_at = datetime.now(UTC)
    signature = standardwebhooks.Webhook(WHSEC).sign("msg_1", sent_at, "{}")
    made = capture(
        b"{}",
        (
            (f"{family}-id", "msg_1"),
            (f"{family}-timestamp", str(int(sent_at.timestamp()))),
            (f"{family}-signature", f"v1,AAAA {signature} v2,x v1a,y nonsense"),
        ),
    )
    assert verdict("svix", WHSEC, made) is Verdict.VERIFIED


@pytest.mark.parametrize("type_", sample_types("resend"))
def test_resend_accepts_our_events(type_):
    import resend  # noqa: PLC0415 - slow to import, and needed here only

    made = trigger("resend", type_, WHSEC)
    event = resend.Webhooks.verify(
        {
            "payload": made.body.decode(),
            "headers": {
                "id": made.header("svix-id"),
                "timestamp": made.header("svix-timestamp"),
                "signature": made.header("svix-signature"),
            },
            "webhook_secret": WHSEC,
        }
    )
    assert event["type"] == type_


def test_resend_reads_only_its_own_headers(capture):
    sent_at = datetime.now(UTC)
    signature = standardwebhooks.Webhook(WHSEC).sign("msg_1", sent_at, "{}")
    made = capture(
        b"{}",
        (
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", str(int(sent_at.timestamp()))),
            ("webhook-signature", signature),
        ),
    )
    assert verdict("resend", WHSEC, made) is Verdict.INVALID


def test_a_real_provider_refuses_the_simplified_form_that_its_own_name_has(capture):
    simple = trigger("twilio-simple", "message.received", TOKEN)
    assert simple.header("X-Twilio-Signature").startswith("sha256=")
    assert verdict("twilio-simple", TOKEN, simple) is Verdict.VERIFIED
    assert verdict("twilio", TOKEN, simple) is Verdict.INVALID
