"""The same broken setups at every provider of the catalogue that signs with a shared secret."""

import binascii
import dataclasses
import itertools
from base64 import b64encode, urlsafe_b64encode
from datetime import timedelta

import pytest

from builders import build_source
from cases import check_each
from relay.providers.catalogue import PROVIDERS
from relay.providers.doctor import SignatureCase, diagnose
from relay.providers.schemes.locations import InEveryHeader, InHeader, with_header
from relay.providers.schemes.one_of import OneOf
from relay.providers.schemes.public_key import Ecdsa, Ed25519, Rsa
from relay.providers.schemes.shared_secret import Hmac
from relay.providers.schemes.vendor_schemes import Sns

BODY = b'{"id":"evt_1","webhookTimestamp":1,"type":"test","note":"a/b"}'
SIGNED = {
    scheme: pytest.param(provider, scheme, id=f"{provider.name}-{number}")
    for provider in PROVIDERS.values()
    for number, scheme in enumerate(provider.schemes)
    if isinstance(scheme, Hmac | Ed25519 | Ecdsa | Rsa) and type(scheme) is not Sns and "{body}" in scheme.signed.text
}
SHARED = [
    item
    for scheme, item in SIGNED.items()
    if type(scheme) is Hmac and isinstance(scheme.place, InHeader | InEveryHeader)
]
TIMED = [
    item
    for scheme, item in SIGNED.items()
    if scheme.time is not None
    and scheme.time.unit == "s"
    and scheme.time.place is not None
    and "{ts}" in scheme.signed.text
]


@pytest.fixture
def signed(capture, now, secret_for):
    def signed(scheme, body=BODY):
        request = capture(body, (scheme.only_if,) if scheme.only_if else ())
        return scheme.sign(secret_for(scheme), request, now)

    return signed


@pytest.fixture
def examine(secret_for):
    def examine(provider, scheme, capture):
        source = build_source(
            "here",
            provider=provider.name,
            title=provider.title,
            scheme=OneOf(schemes=(scheme,)),
            secrets=(secret_for(scheme),),
        )
        verification = source.scheme.verify(source.secrets, capture, capture.received_at)
        assert verification.reason
        case = SignatureCase(capture=capture, source=source, reason=verification.reason)
        trials = itertools.count()
        return diagnose(case, verification, lambda: next(trials) / 1000).findings[0]  # 1 ms each, until time is up

    return examine


def signature_of(scheme, capture):
    text = scheme.place.read(capture)[0]
    return scheme.layout.read(text).signatures[0].decode()


def with_signature(scheme, capture, value):
    text = scheme.place.read(capture)[0].decode()
    name = next(name for name, old in capture.headers if old == text)
    return with_header(capture, (name,), text.replace(signature_of(scheme, capture), value))


@check_each(("provider", "scheme"), SHARED)
def test_a_signature_that_was_cut_short(provider, scheme, signed, examine):
    whole = signed(scheme)
    cut = with_signature(scheme, whole, signature_of(scheme, whole)[:-9])
    assert examine(provider, scheme, cut).cause == "signature_cut"


@check_each(("provider", "scheme"), SHARED)
def test_a_signature_in_another_encoding(provider, scheme, signed, examine):
    whole = signed(scheme)
    text = signature_of(scheme, whole)
    raw = bytes.fromhex(text) if scheme.encoding == "hex" else binascii.a2b_base64(text)
    other = b64encode(raw).decode() if scheme.encoding == "hex" else raw.hex()
    found = examine(provider, scheme, with_signature(scheme, whole, other))
    assert found.cause == "signature_encoding", found
    url = urlsafe_b64encode(raw).decode()
    if scheme.encoding == "base64" and url != text:
        found = examine(provider, scheme, with_signature(scheme, whole, url))
        assert (found.cause, "on the way" in found.title) == ("signature_encoding", True)


@check_each(("provider", "scheme"), TIMED)
def test_a_time_that_was_replaced(provider, scheme, signed, examine):
    whole = signed(scheme)
    late = scheme.time.place.write(whole, str(int(whole.received_at.timestamp()) + 3).encode())
    found = examine(provider, scheme, late)
    assert found.cause == "timestamp_replaced"


@check_each(("provider", "scheme"), SIGNED.values())
def test_a_body_that_was_cut_in_the_middle(provider, scheme, signed, examine):
    whole = signed(scheme)
    assert examine(provider, scheme, dataclasses.replace(whole, body=whole.body[:30])).cause == "body_cut"


@check_each(("provider", "scheme"), SIGNED.values())
def test_a_body_whose_last_byte_is_missing(provider, scheme, signed, examine):
    whole = signed(scheme)
    found = examine(provider, scheme, dataclasses.replace(whole, body=whole.body[:-1]))
    assert found.cause in ("body_changed", "body_cut")
    assert "cut" in found.title


@check_each(("provider", "scheme"), SIGNED.values())
def test_keys_in_alphabetical_order(provider, scheme, signed, examine):
    whole = signed(scheme, b'{"type":"test","webhookTimestamp":1,"id":"evt_1","note":"a/b"}')
    pairs = sorted(whole.payload.json.items())
    text = ",".join(f'"{key}":{value if isinstance(value, int) else chr(34) + value + chr(34)}' for key, value in pairs)
    found = examine(provider, scheme, dataclasses.replace(whole, body=f"{{{text}}}".encode()))
    assert (found.cause, "another order" in found.title) == ("body_changed", True)


@check_each(("provider", "scheme"), SIGNED.values())
def test_a_body_that_did_not_arrive(provider, scheme, signed, examine):
    assert examine(provider, scheme, dataclasses.replace(signed(scheme), body=b"")).cause == "body_empty"


@check_each(("provider", "scheme"), SIGNED.values())
def test_a_body_in_an_envelope(provider, scheme, signed, examine):
    whole = signed(scheme)
    body = b'{"body":"%s","isBase64Encoded":true}' % b64encode(whole.body)
    assert "field body" in examine(provider, scheme, dataclasses.replace(whole, body=body)).title


@check_each(
    ("provider", "scheme"),
    [item for scheme, item in SIGNED.items() if scheme.time is not None and scheme.time.past is not None],
)
def test_a_request_that_is_late_is_late_and_nothing_else(provider, scheme, signed, examine):
    whole = signed(scheme)
    late = dataclasses.replace(whole, received_at=whole.received_at + timedelta(seconds=scheme.time.past + 60))
    found = examine(provider, scheme, late)
    assert (found.cause, found.line) == ("timestamp_stale", 'tolerance = "1h"')
