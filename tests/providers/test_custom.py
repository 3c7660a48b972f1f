"""What a user may declare under [sources.NAME.signature], and how mistakes in it are named."""

import pytest

from relay.errors import ConfigError
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.custom import SignatureOptions, custom_scheme

SECRET = Secret("env:BILLING", "s3cret")
PAIR = Secret(
    "env:PAIR",
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
)

VALID = [
    ({"header": "X-Signature"}, SECRET),
    ({"header": "X-Signature", "digest": "sha512", "encoding": "base64", "prefix": "v1:"}, SECRET),
    ({"header": "X-Signature", "digest": "sha1", "prefix": "sha1="}, SECRET),
    ({"header": "X-Signature", "key": "base64"}, Secret("env:B", "c2VjcmV0")),
    ({"header": "X-Signature", "key": "hex"}, Secret("env:H", "00ff10")),
    ({"header": "X-Sig", "content": "{timestamp}.{body}", "timestamp": "header:X-Timestamp"}, SECRET),
    ({"header": "X-Sig", "content": "{body}|{ts}", "timestamp": "item:t"}, SECRET),
    ({"header": "X-Sig", "content": "{id}{method}{path}{url}{body}", "id": "header:X-Id"}, SECRET),
    (
        {"header": "X", "content": "{timestamp}{body}", "timestamp": "header:X-At", "timestamp_unit": "iso"},
        SECRET,
    ),
    ({"scheme": "standard-webhooks"}, Secret("env:W", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
    ({"scheme": "standard-webhooks"}, PAIR),
    ({"scheme": "ed25519", "header": "X-Signature", "encoding": "base64"}, PAIR),
    ({"scheme": "token", "header": "Authorization", "prefix": "Bearer "}, SECRET),
    ({"scheme": "token", "query": "token"}, Secret("env:T", "a&b=ü /")),
    ({"scheme": "token", "json": "auth.token"}, SECRET),
    ({"scheme": "basic"}, Secret("env:U", "jürgen:pass:wörd")),
]


@pytest.mark.parametrize(("options", "secret"), VALID)
def test_a_declared_scheme_verifies_what_it_signs(options, secret, capture, now):
    scheme = custom_scheme(options)
    assert scheme == custom_scheme(SignatureOptions(**options))
    signed = scheme.sign(secret, capture(b'{"auth":{"token":"old"}}'), now)
    assert scheme.verify((secret,), signed, now).verdict is Verdict.VERIFIED
    wrong = Secret("env:OTHER", secret.reveal()[:-8] + "AAAAAAA=" if len(secret.reveal()) > 20 else "AAAA")
    assert scheme.verify((wrong,), signed, now).verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"header": "X", "digest": "md5"},
            "signature.digest: 'md5' is not a digest; use sha1, sha256 or sha512",
        ),
        (
            {"scheme": "rsa"},
            "signature.scheme: 'rsa' is not a scheme; use hmac, standard-webhooks, ed25519, token or basic",
        ),
        (
            {"header": "X", "encoding": "HEX"},
            "signature.encoding: 'HEX' is not an encoding; use hex or base64",
        ),
        ({"header": "X", "key": "pem"}, "signature.key: 'pem' is not a form of key; use text, base64 or hex"),
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
        (
            {"header": "X", "content": "fixed"},
            "signature.content: without {body} anybody could change what arrives",
        ),
        (
            {"header": "X", "content": "{secret}{body}"},
            "signature.content: {secret} is never part of the content",
        ),
        (
            {"scheme": "token", "header": "X", "query": "y"},
            "signature: a token stands in exactly one place, not in header and query",
        ),
        ({"scheme": "token"}, "signature: a token stands in exactly one place, not in nothing"),
    ],
)
def test_a_mistake_is_named_with_its_key(options, sentence):
    with pytest.raises(ConfigError) as caught:
        custom_scheme(options)
    assert caught.value.sentence == sentence


def test_a_near_miss_is_pointed_out():
    with pytest.raises(ConfigError) as caught:
        custom_scheme({"header": "X", "digest": "sha-256"})
    assert caught.value.hint == "did you mean 'sha256'?"


def test_basic_takes_the_scheme_name_in_any_case(capture, now):
    made = capture(headers=(("authorization", "bAsIc czNjcmV0OnB3"),))
    result = custom_scheme({"scheme": "basic"}).verify((Secret("env:U", "s3cret:pw"),), made, now)
    assert result.verdict is Verdict.VERIFIED
