"""What a user may declare under [sources.NAME.signature], and how mistakes in it are named."""

import hmac
import json
from base64 import b64decode, urlsafe_b64encode
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from relay.errors import ConfigError, SigningError
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.custom_schemes import SCHEMES, build_custom_scheme
from relay.providers.schemes.content import template
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.locations import InHeader
from relay.providers.schemes.one_of import with_tolerance
from relay.providers.schemes.public_key import Ecdsa, Rsa

SECRET = Secret("env:BILLING", "s3cret")
PAIR = Secret(
    "env:PAIR", "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
)

BODY = b'{"auth":{"token":"old"},"signature":{"token":"t"},"items":[{}]}'

VALID = [
    ({"header": "X-Signature"}, SECRET),
    ({"header": "X-Signature", "digest": "sha512", "encoding": "base64", "prefix": "v1:"}, SECRET),
    ({"header": "X-Signature", "digest": "sha1", "prefix": "sha1="}, SECRET),
    ({"header": "X-Signature", "key": "base64"}, Secret("env:B", "c2VjcmV0")),
    ({"header": "X-Signature", "key": "hex"}, Secret("env:H", "00ff10")),
    ({"header": "X-Sig", "content": "{timestamp}.{body}", "timestamp": "header:X-Timestamp"}, SECRET),
    ({"header": "X-Sig", "content": "{body}|{ts}", "timestamp": "item:t"}, SECRET),
    ({"header": "X-Sig", "content": "{id}{method}{path}{url}{body}", "id": "header:X-Id"}, SECRET),
    ({"header": "X", "content": "{timestamp}{body}", "timestamp": "header:X-At", "timestamp_unit": "iso"}, SECRET),
    ({"scheme": "standard-webhooks"}, Secret("env:W", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
    ({"scheme": "standard-webhooks"}, PAIR),
    ({"scheme": "ed25519", "header": "X-Signature", "encoding": "base64"}, PAIR),
    ({"header": ["X-New", "X-Old"], "repeated": True}, SECRET),
    ({"json": "signature.value", "content": "{json:signature.token}"}, SECRET),
    ({"header": "X-Sig", "separator": ";", "equals": ":", "item": "h1"}, SECRET),
    ({"header": "X-Sig", "separator": " ", "equals": ",", "any_case": True, "key_prefix": "s3"}, SECRET),
    ({"header": "X-Sig", "content": "{body}", "timestamp": "json:sent", "timestamp_unit": "ms"}, SECRET),
    ({"header": "X-Sig", "content": "{url}", "body_hash": "query:hash", "urls": ["no_port", "with_port"]}, SECRET),
    ({"scheme": "digest", "header": "X-Sig", "content": "{secret}{body}", "digest": "sha512"}, SECRET),
    ({"scheme": "standard-webhooks", "item": "v1a"}, PAIR),
    ({"scheme": "standard-webhooks", "item": "v1"}, Secret("env:W", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
    ({"scheme": "token", "header": "Authorization", "prefix": "Bearer "}, SECRET),
    ({"scheme": "token", "json": "items[].token"}, SECRET),
    ({"scheme": "token", "query": "token"}, Secret("env:T", "a&b=ü /")),
    ({"scheme": "token", "json": "auth.token"}, SECRET),
    ({"scheme": "basic"}, Secret("env:U", "jürgen:pass:wörd")),
]


@pytest.mark.parametrize(("options", "secret"), VALID)
def test_a_declared_scheme_verifies_what_it_signs(options, secret, capture, now):
    scheme = build_custom_scheme(options)
    signed = scheme.sign(secret, capture(BODY), now)
    assert scheme.verify((secret,), signed, now).verdict is Verdict.VERIFIED
    wrong = Secret("env:OTHER", secret.reveal()[:-8] + "AAAAAAA=" if len(secret.reveal()) > 20 else "AAAA")
    assert scheme.verify((wrong,), signed, now).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"header": "X", "digest": "md5"}, "signature.digest: 'md5' is not a digest; use sha1, sha256 or sha512"),
        ({"scheme": "md5"}, f"signature.scheme: 'md5' is not a scheme; use {', '.join(SCHEMES[:-1])} or python"),
        (
            {"header": "X", "encoding": "HEX"},
            "signature.encoding: 'HEX' is not an encoding; use hex, base64 or base64url",
        ),
        (
            {"header": "X", "key": "pem"},
            "signature.key: 'pem' is not a form of key; use text, base64, base64url or hex",
        ),
        ({}, "signature.header: missing"),
        ({"header": "X Y"}, "signature.header: 'X Y' is not a header name"),
        ({"header": "X", "headr": "Y"}, "signature.headr: unknown key"),
        ({"header": 7}, "signature.header: must be text, not int"),
        ({"header": "X", "content": "{bodyy}"}, "signature.content: '{bodyy}' cannot be signed"),
        ({"header": "X", "content": "{body"}, "signature.content: '{body' has a brace without its partner"),
        (
            {"header": "X", "content": "{timestamp}.{body}"},
            "signature.timestamp: missing, though content has {timestamp}",
        ),
        (
            {"header": "X", "timestamp": "header:X-T"},
            "signature.content: leaves {timestamp} out, so anybody could change the time",
        ),
        (
            {"header": "X", "content": "{timestamp}{body}", "timestamp": "X-T"},
            "signature.timestamp: 'X-T' does not say where the time stands",
        ),
        ({"header": "X", "content": "{id}{body}"}, "signature.id: missing, though content has {id}"),
        ({"header": "X", "content": "fixed"}, "signature.content: without {body} anybody could change what arrives"),
        ({"header": "X", "content": "{secret}{body}"}, "signature.content: {secret} is never part of the content"),
        (
            {"scheme": "token", "header": "X", "query": "y"},
            "signature: a token belongs in exactly one place, not in header and query",
        ),
        ({"scheme": "token", "header": "X", "digest": "sha1"}, "signature.digest: has no use where scheme is 'token'"),
        ({"header": "X", "any_case": "yes"}, "signature.any_case: must be true or false, not str"),
        ({"header": "X", "past": "5m"}, 'signature.past: must be seconds or "off", not str'),
        ({"header": "X", "urls": "no_port"}, "signature.urls: must be a list of texts, not str"),
        (
            {"header": "X", "urls": ["https"]},
            "signature.urls: 'https' is not a spelling; use as_given, no_port, with_port or unescaped",
        ),
        ({"header": "X", "item": "v1", "prefix": "v1="}, "signature.prefix: a list of items has none"),
        ({"scheme": "digest", "header": "X"}, "signature.content: a digest without {secret} proves nothing"),
        (
            {"header": "X", "body_hash": "bodySHA256"},
            "signature.body_hash: 'bodySHA256' does not say where the hash stands",
        ),
        ({"scheme": "python"}, "signature.verifier: missing"),
        ({"scheme": "token"}, "signature: a token belongs in exactly one place, not in nothing"),
    ],
)
def test_a_mistake_is_named_with_its_key(options, sentence):
    with pytest.raises(ConfigError) as caught:
        build_custom_scheme(options)
    assert caught.value.message == sentence


def test_a_near_miss_is_pointed_out():
    with pytest.raises(ConfigError) as caught:
        build_custom_scheme({"header": "X", "digest": "sha-256"})
    assert caught.value.hint == "did you mean 'sha256'?"


def test_basic_takes_the_scheme_name_in_any_case(capture, now):
    made = capture(headers=(("authorization", "bAsIc czNjcmV0OnB3"),))
    result = build_custom_scheme({"scheme": "basic"}).verify((Secret("env:U", "s3cret:pw"),), made, now)
    assert result.verdict is Verdict.VERIFIED


@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "jwt"])
def test_a_public_key_checks_and_only_its_own_pair_signs(kind, capture, now, secret_for):
    scheme = build_custom_scheme({"scheme": kind, "header": "X-Signature"})
    sample = {"ecdsa": Ecdsa, "rsa": Rsa}.get(kind, Jwt)
    built = (
        sample(place=InHeader("X-Signature"))
        if sample is Jwt
        else sample(place=InHeader("X-Signature"), signed=template("{body}"))
    )
    pair = secret_for(built)
    signed = scheme.sign(pair, capture(), now)
    assert scheme.verify((public_half(pair),), signed, now).verdict is Verdict.VERIFIED
    assert scheme.verify((secret_for(built, 2),), signed, now).reason == "signature_mismatch"
    with pytest.raises(SigningError, match="Only the provider"):
        scheme.sign(public_half(pair), capture(), now)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256", "crit": ["b64"], "b64": True},
        {"alg": "ES256", "crit": ["exp"], "exp": 1},
        {"alg": "ES256", "crit": []},
        {"alg": "none"},
        {"alg": "HS256"},
        {},
    ],
)
def test_a_token_with_another_algorithm_or_critical_headers_is_refused(header, capture, now, secret_for):
    scheme = build_custom_scheme({"scheme": "jwt", "header": "X-Signature"})
    pair = secret_for(Jwt(place=InHeader("X-Signature")))
    _, claims, signature = scheme.sign(pair, capture(), now).header("X-Signature").split(".")
    changed = urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    result = scheme.verify((pair,), capture(headers=(("X-Signature", f"{changed}.{claims}.{signature}"),)), now)
    assert (result.verdict, result.reason) == (Verdict.INVALID, "header_malformed")


def public_half(pair):
    text = pair.reveal()
    if text.startswith("{"):
        return Secret("env:PUBLIC", json.dumps({**json.loads(text), "d": ""}))
    raw = text.encode()
    key = load_pem_private_key(raw, None) if text.startswith("---") else load_der_private_key(b64decode(raw), None)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    # As a variable in one line would hold it.
    return Secret("env:PUBLIC", pem.replace("\n", "\\n"))


def test_ed25519_takes_a_key_in_pem(capture, now):
    key = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    own = Secret("env:OWN", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    scheme = build_custom_scheme({"scheme": "ed25519", "header": "X-Signature"})
    signed = scheme.sign(own, capture(), now)
    assert scheme.verify((Secret("env:P", public),), signed, now).verdict is Verdict.VERIFIED


def test_a_token_in_a_form_field(capture, now):
    scheme = build_custom_scheme({"scheme": "token", "form": "token"})
    made = capture(b"a=1&token=s3cret", (("Content-Type", "application/x-www-form-urlencoded"),))
    assert scheme.verify((SECRET,), made, now).verdict is Verdict.VERIFIED
    assert scheme.verify((Secret("x", "other"),), made, now).verdict is Verdict.INVALID


def test_every_item_of_a_list_must_show_the_token(capture, now):
    scheme = build_custom_scheme({"scheme": "token", "json": "items[].token"})
    good = capture(b'{"items":[{"token":"s3cret"},{"token":"s3cret"}]}')
    assert scheme.verify((SECRET,), good, now).verdict is Verdict.VERIFIED
    for body in (
        b'{"items":[{"token":"s3cret"},{}]}',
        b'{"items":[{"token":"s3cret"},{"token":"x"}]}',
        b'{"items":[]}',
    ):
        assert scheme.verify((SECRET,), capture(body), now).verdict is Verdict.INVALID


def test_limits_of_age_are_the_user_s_and_off_still_tells_the_age(capture, now):
    options = {"header": "X", "content": "{timestamp}{body}", "timestamp": "header:X-At", "past": 10, "future": "off"}
    scheme = build_custom_scheme(options)
    signed = scheme.sign(SECRET, capture(), now)
    assert scheme.verify((SECRET,), signed, now + timedelta(seconds=11)).reason == "timestamp_stale"
    assert scheme.verify((SECRET,), signed, now - timedelta(hours=1)).reason == ""
    result = with_tolerance(scheme, None, None).verify((SECRET,), signed, now + timedelta(days=3))
    assert result.verdict is Verdict.VERIFIED
    assert "3 days old when received" in result.checks[1].detail


@pytest.mark.parametrize("name", ["twilio-simple", "resend-simple"])
def test_the_simplified_forms_of_guides_are_presets_and_can_be_declared(name, capture, now):
    header = {"twilio-simple": "X-Twilio-Signature", "resend-simple": "Resend-Signature"}[name]
    declared = build_custom_scheme({"header": header, "prefix": "sha256="})
    made = capture()
    value = "sha256=" + hmac.new(b"s3cret", made.body, "sha256").hexdigest()
    made = capture(headers=((header, value),))
    for scheme in (declared, PROVIDERS[name].scheme):
        assert scheme.verify((SECRET,), made, now).verdict is Verdict.VERIFIED
    assert PROVIDERS[name.removesuffix("-simple")].scheme.verify((SECRET,), made, now).verdict is Verdict.INVALID


TWINS = [
    ("stripe", {"header": "Stripe-Signature", "content": "{timestamp}.{body}", "timestamp": "item:t", "future": "off"}),
    ("slack", {
        "header": "X-Slack-Signature", "prefix": "v0=", "content": "v0:{timestamp}:{body}",
        "timestamp": "header:X-Slack-Request-Timestamp",
    }),
    ("paddle", {
        "header": "Paddle-Signature", "separator": ";", "item": "h1", "content": "{timestamp}:{body}",
        "timestamp": "item:ts", "past": 5, "future": 5,
    }),
    ("twilio", {
        "header": "X-Twilio-Signature", "digest": "sha1", "encoding": "base64", "content": "{url}{form_sorted}",
        "distinct": True, "urls": ["no_port", "with_port"], "body_hash": "query:bodySHA256",
    }),
    ("mailgun", {
        "json": "signature.signature", "content": "{json:signature.timestamp}{json:signature.token}",
        "timestamp": "json:signature.timestamp",
    }),
    ("linear", {"header": "Linear-Signature", "timestamp": "json:webhookTimestamp", "timestamp_unit": "ms"}),
    ("hubspot", {
        "header": "X-HubSpot-Signature-v3", "encoding": "base64", "content": "{method}{url}{body}{timestamp}",
        "timestamp": "header:X-HubSpot-Request-Timestamp", "timestamp_unit": "ms",
    }),
    ("twitch", {
        "header": "Twitch-Eventsub-Message-Signature", "prefix": "sha256=", "content": "{id}{timestamp}{body}",
        "id": "Twitch-Eventsub-Message-Id", "timestamp": "header:Twitch-Eventsub-Message-Timestamp",
        "timestamp_unit": "iso",
    }),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), TWINS, ids=[name for name, _ in TWINS])
def test_what_a_provider_signs_can_be_declared_by_hand(name, options, capture, now):
    body = b'{"signature":{"token":"t"},"webhookTimestamp":1}'
    signed = PROVIDERS[name].scheme.sign(SECRET, capture(body), now)
    assert build_custom_scheme(options).verify((SECRET,), signed, now).verdict is Verdict.VERIFIED
    again = build_custom_scheme(options).sign(SECRET, capture(body), now)
    assert PROVIDERS[name].scheme.verify((SECRET,), again, now).verdict is Verdict.VERIFIED
