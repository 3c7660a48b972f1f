"""The schemes that are code, held against what their providers do: SNS, Contentful, PayPal, Plaid, Graph."""

import base64
import dataclasses
import gzip
import hashlib
import hmac
import json
import zlib
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.x509.oid import NameOID

from relay.errors import SigningError
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS

SNS = PROVIDERS["aws-sns"].scheme
PAYPAL = PROVIDERS["paypal"].scheme
PLAID = PROVIDERS["plaid"].scheme
CONTENTFUL = PROVIDERS["contentful"].scheme
TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem"


@pytest.fixture(scope="module")
def pair():
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.fixture(scope="module")
def certificate(pair):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(pair.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=900))
        .sign(pair, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM).decode()


def message(pair, version="2", **changes):
    """Return a notification signed as Amazon signs it: name and value, a line each."""
    fields = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": "order 1042\nplaced, für Zoë",
        "Timestamp": "2026-11-22T10:00:00.000Z",
        **changes,
    }
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if fields["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields).encode()
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = base64.b64encode(pair.sign(text, PKCS1v15(), digest)).decode()
    return fields | {"SignatureVersion": version, "Signature": signature, "SigningCertURL": CERTIFICATE_URL}


def judge(scheme, secret, made, now):
    return scheme.verify((Secret("env:TEST", secret),), made, now)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Subject": "Order placed"},
        {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?x"},
        {"Type": "UnsubscribeConfirmation", "Token": "t", "SubscribeURL": "https://sns.eu-central-1.amazonaws.com/?x"},
    ],
)
def test_sns_messages_of_every_type_verify_with_the_certificate(version, changes, pair, certificate, capture, now):
    body = message(pair, version, **changes)
    for text in (certificate, certificate.replace("\n", "\\n")):
        assert judge(SNS, text, capture(json.dumps(body).encode()), now).verdict is Verdict.VERIFIED
    for name in ("Message", "MessageId", "Timestamp", "TopicArn"):
        forged = capture(json.dumps(body | {name: "2026-11-22T10:00:01.000Z"}).encode())
        assert judge(SNS, certificate, forged, now).reason == "signature_mismatch"


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com/x.txt",
        "https://sns.eu-central-1.amazonaws.com.evil.example/x.pem",
        "https://evil.example/sns.eu-central-1.amazonaws.com/x.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/x.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/x.pem",
        "https://snsxeu.amazonaws.com/x.pem",
        "https://[/x.pem",
        "",
        None,
        7,
    ],
)
def test_a_certificate_from_elsewhere_is_refused(url, pair, certificate, capture, now):
    body = message(pair) | {"SigningCertURL": url}
    result = judge(SNS, certificate, capture(json.dumps(body).encode()), now)
    assert (result.reason, result.checks[-1].name) == ("body_malformed", "Certificate")


def test_without_a_certificate_sns_is_unchecked_and_another_is_a_mismatch(pair, capture, now, secret_for):
    made = capture(json.dumps(message(pair)).encode())
    assert SNS.verify((), made, now).verdict is Verdict.UNCHECKED
    other = judge(SNS, secret_for(SNS).reveal(), made, now)
    assert other.reason == "signature_mismatch"
    assert any("signed with SimpleNotificationService-1.pem" in check.detail for check in other.checks)
    assert judge(SNS, "no certificate", made, now).reason == "secret_unusable"
    wrong = capture(json.dumps(message(pair) | {"SignatureVersion": "3"}).encode())
    assert judge(SNS, secret_for(SNS).reveal(), wrong, now).reason == "body_malformed"


def paypal(pair, capture, **changes):
    body = '{"id":"WH-1","name":"Zoë"}'.encode()
    sent = "2026-11-22T10:00:00Z"
    text = f"69cd13f0|{sent}|WH-ID|{zlib.crc32(body)}".encode()
    headers = {
        "PAYPAL-TRANSMISSION-ID": "69cd13f0",
        "PAYPAL-TRANSMISSION-TIME": sent,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(pair.sign(text, PKCS1v15(), hashes.SHA256())).decode(),
        "PAYPAL-CERT-URL": "https://api.paypal.com/v1/notifications/certs/CERT-1",
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }
    return capture(body, tuple((headers | changes).items()))


def test_paypal_verifies_with_webhook_id_and_certificate(pair, certificate, capture, now):
    made = paypal(pair, capture)
    assert judge(PAYPAL, f"WH-ID\n{certificate}", made, now).verdict is Verdict.VERIFIED
    one_line = f"WH-ID\n{certificate}".replace("\n", "\\n")
    assert judge(PAYPAL, one_line, made, now).verdict is Verdict.VERIFIED
    assert judge(PAYPAL, f"WH-ID {certificate}", made, now).verdict is Verdict.VERIFIED
    assert judge(PAYPAL, f"WH-OTHER {certificate}", made, now).reason == "signature_mismatch"
    forged = dataclasses.replace(made, body=made.body.replace(b"WH-1", b"WH-2"))
    assert judge(PAYPAL, f"WH-ID {certificate}", forged, now).reason == "signature_mismatch"


def test_paypal_without_the_certificate_is_unchecked_and_a_spoiled_one_is_not(pair, certificate, capture, now):
    made = paypal(pair, capture)
    result = judge(PAYPAL, "WH-ID", made, now)
    assert (result.verdict, result.reason) == (Verdict.UNCHECKED, "certificate_missing")
    bare = dataclasses.replace(made, headers=())
    assert judge(PAYPAL, "WH-ID", bare, now).reason == "signature_missing", "that is known without a certificate"
    assert judge(PAYPAL, f"WH-ID {certificate[:200]}", made, now).reason == "secret_unusable"
    assert judge(PAYPAL, certificate, made, now).reason == "secret_unusable"


@pytest.mark.parametrize(
    "change",
    [
        {"PAYPAL-CERT-URL": "https://evil.example/paypal.com/cert"},
        {"PAYPAL-CERT-URL": "https://evilpaypal.com/cert"},
        {"PAYPAL-CERT-URL": "http://api.paypal.com/cert"},
        {"PAYPAL-CERT-URL": "https://api.paypal.com@evil.example/"},
        {"PAYPAL-AUTH-ALGO": "NONE"},
    ],
)
def test_paypal_headers_that_lead_elsewhere_are_refused(change, pair, certificate, capture, now):
    result = judge(PAYPAL, f"WH-ID {certificate}", paypal(pair, capture, **change), now)
    assert result.reason == "header_malformed"


def test_plaid_tokens_are_es256_and_nothing_else(capture, now, secret_for):
    own = secret_for(PLAID)
    made = PLAID.sign(own, capture(b'{\n  "a": 1\n}'), now)
    public = {name: value for name, value in json.loads(own.reveal()).items() if name != "d"}
    wrapped = json.dumps({"key": public, "request_id": "r"})
    for text in (json.dumps(public), wrapped):
        assert judge(PLAID, text, made, now).verdict is Verdict.VERIFIED
    with pytest.raises(SigningError, match="Only the provider"):
        PLAID.sign(Secret("env:P", json.dumps(public)), made, now)
    assert judge(PLAID, json.dumps(public), made, now + timedelta(seconds=301)).reason == "timestamp_stale"
    other = json.dumps(public | {"kid": "another"})
    result = judge(PLAID, other, made, now)
    assert (result.reason, result.checks[-1].detail) == ("signature_mismatch", "no key has the id key-1")
    assert judge(PLAID, json.dumps(public), dataclasses.replace(made, body=b'{"a":1}'), now).reason


@pytest.mark.parametrize("alg", ["none", "HS256", "RS256", None])
def test_a_token_that_names_another_algorithm_never_verifies(alg, capture, now, secret_for):
    own = secret_for(PLAID)
    claims = {"iat": int(now.timestamp()), "request_body_sha256": hashlib.sha256(b"{}").hexdigest()}
    text = b".".join(url64(json.dumps(part).encode()) for part in ({"alg": alg, "kid": "key-1"}, claims))
    for signature in (b"", hmac.digest(own.reveal().encode(), text, "sha256")):
        made = capture(b"{}", (("Plaid-Verification", (text + b"." + url64(signature)).decode()),))
        assert judge(PLAID, own.reveal(), made, now).reason == "header_malformed"


def url64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


@pytest.mark.parametrize("escaped", [True, False])
def test_contentful_signs_a_canonical_request(escaped, capture, now):
    stamp = str(int(now.timestamp() * 1000))
    listed = "x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic"
    headers = (("X-Contentful-Topic", " ContentManagement.Entry.publish "), ("X-Contentful-Timestamp", stamp))
    query = quote(quote("a=1&b=%C3%BC", safe=""), safe="") if escaped else "a=1&b=%C3%BC"
    path = f"/webhooks/test?{query}"
    text = (
        f"POST\n{path}\nx-contentful-signed-headers:{listed};x-contentful-timestamp:{stamp};"
        'x-contentful-topic:ContentManagement.Entry.publish\n{"a":1}'
    )
    signature = hmac.new(b"s" * 64, text.encode(), hashlib.sha256).hexdigest()
    made = capture(
        b'{"a":1}',
        (*headers, ("x-contentful-signed-headers", listed), ("x-contentful-signature", signature)),
        query="a=1&b=%C3%BC",
        url="https://relay.example/webhooks/test?a=1&b=%C3%BC",
    )
    assert judge(CONTENTFUL, "s" * 64, made, now).verdict is Verdict.VERIFIED
    assert judge(CONTENTFUL, "s" * 64, made, now + timedelta(seconds=31)).reason == "timestamp_stale"
    for name, value in (("X-Contentful-Topic", "x"), ("X-Contentful-Timestamp", str(int(stamp) + 1))):
        other = tuple((key, value if key == name else old) for key, old in made.headers)
        assert judge(CONTENTFUL, "s" * 64, dataclasses.replace(made, headers=other), now).reason


def test_an_unlisted_time_is_signed_all_the_same(capture, now):
    made = CONTENTFUL.sign(Secret("env:S", "s" * 64), capture(headers=(("x-contentful-signed-headers", "host"),)), now)
    assert judge(CONTENTFUL, "s" * 64, made, now).verdict is Verdict.VERIFIED
    later = str(int((now + timedelta(hours=1)).timestamp() * 1000))
    other = tuple((key, later if key == "x-contentful-timestamp" else old) for key, old in made.headers)
    moved = dataclasses.replace(made, headers=other)
    assert judge(CONTENTFUL, "s" * 64, moved, now).reason == "signature_mismatch"


def test_adyen_publishes_this_signature(capture, now):
    key = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
    item = {
        "pspReference": "7914073381342284",
        "merchantAccountCode": "TestMerchant",
        "merchantReference": "TestPayment-1407325143704",
        "amount": {"value": 1130, "currency": "EUR"},
        "eventCode": "AUTHORISATION",
        "success": "true",
        "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
    }
    body = json.dumps({"notificationItems": [{"NotificationRequestItem": item}]}).encode()
    assert judge(PROVIDERS["adyen"].scheme, key, capture(body), now).verdict is Verdict.VERIFIED
    spaced = body.replace(b"true", b"false")
    assert judge(PROVIDERS["adyen"].scheme, key, capture(spaced), now).reason == "signature_mismatch"


def test_every_notification_of_a_graph_batch_shows_the_client_state(capture, now):
    scheme = PROVIDERS["msgraph"].scheme
    good = b'{"value":[{"clientState":"s3cret"},{"clientState":"s3cret"}]}'
    assert judge(scheme, "s3cret", capture(good), now).verdict is Verdict.VERIFIED
    for bad in (b'{"value":[{"clientState":"s3cret"},{}]}', b'{"value":[]}', b"[]", b'{"value":[{"clientState":7}]}'):
        assert judge(scheme, "s3cret", capture(bad), now).verdict is Verdict.INVALID


def test_one_of_mollie_s_repeated_headers_may_match(capture, now):
    scheme = PROVIDERS["mollie"].scheme
    signed = scheme.sign(Secret("env:NEW", "new"), capture(), now)
    several = dataclasses.replace(
        signed,
        headers=(("X-Mollie-Signature", "sha256=" + "0" * 64), ("X-Mollie-Signature", "nonsense"), *signed.headers),
    )
    assert judge(scheme, "new", several, now).verdict is Verdict.VERIFIED
    assert judge(scheme, "other", several, now).reason == "signature_mismatch"
    assert judge(scheme, "new", capture(b"id=tr_1"), now).reason == "signature_missing"


@pytest.mark.parametrize(("secret", "header", "expected"), [
    ("user:pa:ss", "Basic dXNlcjpwYTpzcw==", Verdict.VERIFIED),
    ("token", "Bearer token", Verdict.VERIFIED),
    ("token", "token", Verdict.INVALID),
    ("token", "Basic dG9rZW4=", Verdict.INVALID),
])  # fmt: skip
def test_brevo_shows_a_token_or_a_user_and_password(secret, header, expected, capture, now):
    made = capture(headers=(("Authorization", header),))
    assert judge(PROVIDERS["brevo"].scheme, secret, made, now).verdict is expected


def test_a_supabase_token_never_stands_in_for_an_auth_hook_s_signature(capture, now):
    scheme, hook = PROVIDERS["supabase"].scheme, "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    for value in (hook, f"Bearer {hook}"):
        shown = capture(headers=(("Authorization", value),))
        assert judge(scheme, hook, shown, now).reason == "signature_missing"
    both = (Secret("env:HOOK", hook), Secret("env:TOKEN", "t0ken"))
    plain = capture(headers=(("Authorization", "Bearer t0ken"),))
    assert scheme.verify(both, plain, now).reason == "signature_missing"
    assert judge(scheme, "t0ken", plain, now).verdict is Verdict.VERIFIED


MULTIPART = (
    b'--sep\r\nContent-Disposition: form-data; name="%s"\r\n\r\n1\r\n' * 3
    + b'--sep\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n\xff\x00\r\n--sep--\r\n'
) % (b"timestamp", b"token", b"signature")


def test_a_mail_with_attachments_is_signed_anew_in_the_parts_of_its_form(capture, now):
    mailgun, secret = PROVIDERS["mailgun"].scheme, Secret("env:KEY", "key")
    signed = mailgun.sign(secret, capture(MULTIPART, [("Content-Type", "multipart/form-data; boundary=sep")]), now)
    assert mailgun.verify((secret,), signed, now).verdict is Verdict.VERIFIED
    assert [name for name, _ in signed.payload.fields] == ["timestamp", "token", "signature"]
    assert signed.body.endswith(b"\xff\x00\r\n--sep--\r\n")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(b"timestamp=1&token=1&signature=1", mtime=0), [("Content-Encoding", "gzip")]),
        (MULTIPART.replace(b"timestamp", b"time"), [("Content-Type", "multipart/form-data; boundary=sep")]),
        (MULTIPART, [("Content-Type", "multipart/form-data; boundary=other")]),
    ],
)
def test_what_is_no_form_to_write_in_is_not_signed_and_stays_whole(capture, now, body, headers):
    typed = [("Content-Type", "application/x-www-form-urlencoded"), *headers]
    form = next(scheme for scheme in PROVIDERS["mailgun"].schemes if scheme.name == "form")
    with pytest.raises(SigningError, match="The body has no place for timestamp"):
        form.sign(Secret("env:KEY", "key"), capture(body, list(dict(typed).items())), now)


def test_linear_s_copy_of_the_time_is_as_new_as_the_one_that_is_signed(capture, now):
    linear, secret = PROVIDERS["linear"].scheme, Secret("env:KEY", "key")
    signed = linear.sign(secret, capture(b'{"webhookTimestamp": 1}', [("linear-timestamp", "1")]), now)
    assert list(signed.header_values("Linear-Timestamp")) == [str(signed.payload.json_at("webhookTimestamp"))] != ["1"]
    other = dataclasses.replace(signed, headers=tuple(one for one in signed.headers if one[0] != "linear-timestamp"))
    assert linear.verify((secret,), other, now).verdict is Verdict.VERIFIED
