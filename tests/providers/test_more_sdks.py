"""The SDKs of further providers and relay agree, on every sample event and both ways where they can sign."""

import base64
import hashlib
import hmac
import types
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import Adyen.util
import discord_interactions
import pytest
import razorpay
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hubspot.utils.signature import Signature
from razorpay.errors import SignatureVerificationError
from square.utils.webhooks_helper import verify_signature

from builders import build_source
from relay.model.event import Verdict
from relay.model.payload import Payload
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import prepare_sample, sample_types

URL = "https://hooks.example/webhooks/test?a=1"
HMAC_KEY = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"


def trigger(name, type_, secret="s3cret", scheme=None):
    provider = PROVIDERS[name]
    selected = provider.select_scheme(scheme) if scheme else provider.scheme
    source = build_source(name, scheme=selected, secrets=(Secret("env:TEST", secret),))
    return prepare_sample(source, provider, type_, datetime.now(UTC), random=Random(3), url=URL)


def verdict(name, secret, made):
    return PROVIDERS[name].scheme.verify((Secret("env:TEST", secret),), made, datetime.now(UTC)).verdict


@pytest.mark.parametrize("type_", ["AUTHORISATION", "REFUND"])
def test_adyen_accepts_our_items_and_we_theirs(type_, capture):
    made = trigger("adyen", type_, HMAC_KEY)
    body: Any = Payload(made.body).json
    assert Adyen.util.is_valid_hmac_notification(body, HMAC_KEY)
    item = body["notificationItems"][0]["NotificationRequestItem"]
    del item["additionalData"]
    theirs = Adyen.util.generate_notification_sig(item, HMAC_KEY).decode()
    assert theirs.encode() in made.body


def test_adyen_accepts_our_platform_webhooks():
    made = trigger("adyen", "balancePlatform.transfer.created", HMAC_KEY)
    assert Adyen.util.is_valid_hmac_payload(made.header("HmacSignature"), HMAC_KEY, made.body)


def test_every_item_of_an_adyen_webhook_must_be_signed(capture):
    made = trigger("adyen", "AUTHORISATION", HMAC_KEY)
    assert verdict("adyen", HMAC_KEY, made) is Verdict.VERIFIED
    item = made.body.partition(b"[")[2].rpartition(b"]")[0]
    forged = item.replace(b'"value":4890', b'"value":1')
    assert forged != item
    assert verdict("adyen", HMAC_KEY, capture(b'{"notificationItems":[%s,%s]}' % (item, item))) is Verdict.VERIFIED
    for bad in (forged, b"{}", b"7"):
        both = capture(b'{"notificationItems":[%s,%s]}' % (item, bad))
        assert verdict("adyen", HMAC_KEY, both) is Verdict.INVALID


@pytest.mark.parametrize("type_", sample_types("square"))
def test_square_accepts_our_events(type_):
    made = trigger("square", type_)
    assert verify_signature(
        request_body=made.body.decode(),
        signature_header=made.header("x-square-hmacsha256-signature"),
        signature_key="s3cret",
        notification_url=URL,
    )


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize("type_", sample_types("hubspot"))
def test_hubspot_accepts_our_events_in_every_version(type_, version, capture):
    scheme: Any = PROVIDERS["hubspot"].select_scheme(version)
    made = capture(trigger("hubspot", type_).body, (scheme.only_if,) if scheme.only_if else (), url=URL)
    made = scheme.sign(Secret("env:TEST", "s3cret"), made, datetime.now(UTC))
    assert Signature.is_valid(
        made.header("X-HubSpot-Signature-v3" if version == "v3" else "X-HubSpot-Signature"),
        "s3cret",
        made.body.decode(),
        URL,
        "POST",
        version,
        made.header("X-HubSpot-Request-Timestamp"),
    )


def test_hubspot_signs_an_address_as_it_is_or_with_some_escapes_undone(capture):
    now = datetime.now(UTC)
    stamp = str(int(now.timestamp() * 1000))
    for signed_url in ("https://a.example/x?q=a%3Ab%20c", "https://a.example/x?q=a:b%20c"):
        signature = Signature.get_signature("s3cret", "[]", "v3", signed_url, "POST", stamp)
        headers = (("X-HubSpot-Signature-v3", signature), ("X-HubSpot-Request-Timestamp", stamp))
        made = capture(b"[]", headers, url="https://a.example/x?q=a%3Ab%20c")
        assert verdict("hubspot", "s3cret", made) is Verdict.VERIFIED


@pytest.mark.parametrize("type_", sample_types("paddle"))
def test_paddle_accepts_our_events(type_):
    from paddle_billing.Notifications import Secret, Verifier  # noqa: PLC0415 - slow to import, and needed here only

    made = trigger("paddle", type_)
    request = types.SimpleNamespace(body=made.body, headers=dict(made.headers))
    assert Verifier().verify(request, Secret("s3cret"))


@pytest.mark.parametrize("type_", sample_types("razorpay"))
def test_razorpay_accepts_our_events(type_):
    made = trigger("razorpay", type_)
    check = razorpay.Utility().verify_webhook_signature
    assert check(made.body.decode(), made.header("X-Razorpay-Signature"), "s3cret")
    with pytest.raises(SignatureVerificationError):
        check(made.body.decode(), made.header("X-Razorpay-Signature"), "other")


@pytest.mark.parametrize("type_", sample_types("discord"))
def test_discord_accepts_our_interactions(type_):
    key = Ed25519PrivateKey.from_private_bytes(b"d" * 32)
    public = key.public_key().public_bytes_raw()
    made = trigger("discord", type_, "whsk_" + base64.b64encode(b"d" * 32 + public).decode())
    signature, sent_at = made.header("X-Signature-Ed25519"), made.header("X-Signature-Timestamp")
    assert discord_interactions.verify_key(made.body, signature, sent_at, public.hex())
    assert verdict("discord", public.hex(), made) is Verdict.VERIFIED


@pytest.mark.parametrize("type_", sample_types("workos"))
def test_workos_accepts_our_events(type_):
    from workos.webhooks._verification import verify_header  # noqa: PLC0415 - slow to import, and needed here only

    made = trigger("workos", type_)
    verify_header(event_body=made.body, event_signature=made.header("WorkOS-Signature"), secret="s3cret")


@pytest.mark.parametrize("names", [("PRIMARY", "SECONDARY"), ("SECONDARY", "PRIMARY"), ("SECONDARY",)])
def test_box_s_new_signature_stands_where_the_primary_key_checks_it(names, capture, now):
    box, secret = PROVIDERS["box"].scheme, Secret("env:A", "primary")
    signed = box.sign(secret, capture(headers=[(f"BOX-SIGNATURE-{name}", "old") for name in names]), now)
    assert [name for name, _ in signed.headers if name.startswith("BOX-SIGNATURE")] == ["BOX-SIGNATURE-PRIMARY"]
    assert box.verify((secret,), signed, now).verdict is Verdict.VERIFIED


def test_box_accepts_either_key_and_nothing_from_the_future(capture):
    # boxsdk 10.18.0: HMAC of body and time, one header for each of the two keys.
    now = datetime.now(UTC)

    def made(sent_at, primary, secondary):
        stamp = sent_at.isoformat(timespec="seconds")
        text = b'{"trigger":"FILE.UPLOADED"}' + stamp.encode()
        values = (
            base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode() for key in (primary, secondary)
        )
        names = ("BOX-SIGNATURE-PRIMARY", "BOX-SIGNATURE-SECONDARY")
        extra = (("BOX-DELIVERY-TIMESTAMP", stamp), ("BOX-SIGNATURE-VERSION", "1"))
        return capture(b'{"trigger":"FILE.UPLOADED"}', (*zip(names, values, strict=True), *extra))

    assert verdict("box", "one", made(now - timedelta(minutes=9), b"one", b"two")) is Verdict.VERIFIED
    assert verdict("box", "two", made(now - timedelta(minutes=9), b"one", b"two")) is Verdict.VERIFIED
    assert verdict("box", "old", made(now, b"one", b"two")) is Verdict.INVALID
    assert verdict("box", "one", made(now - timedelta(minutes=11), b"one", b"two")) is Verdict.INVALID
    assert verdict("box", "one", made(now + timedelta(seconds=5), b"one", b"two")) is Verdict.INVALID
