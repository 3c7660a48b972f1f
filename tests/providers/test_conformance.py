"""Every scheme of every provider keeps the same promises, the moment it stands in the catalogue."""

import base64
import dataclasses
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.schemes import (
    Basic,
    Ecdsa,
    Ed25519,
    InForm,
    InJson,
    SignedText,
    Token,
    choose,
    template,
    with_tolerance,
)

SCHEMES = [
    pytest.param(scheme, id=f"{provider.name}-{number}")
    for provider in PROVIDERS.values()
    for number, scheme in enumerate(provider.schemes)
]


def secret_for(scheme, number=1):
    """Return a secret in the form the scheme takes, another for each number."""
    if isinstance(scheme, Ed25519):
        pair = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        raw = bytes([number]) * 32 + pair.public_key().public_bytes_raw()
        return Secret(f"env:KEY{number}", f"whsk_{b64(raw)}")
    if isinstance(scheme, Ecdsa):
        pair = derive_private_key(number, SECP256R1())
        der = pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return Secret(f"env:KEY{number}", b64(der))
    if isinstance(scheme, Token):
        return Secret(
            f"env:KEY{number}", f"user{number}:pass:word" if isinstance(scheme, Basic) else f"t{number}"
        )
    raw = bytes(range(number, number + 24))
    text = {"text": f"secret number {number}", "hex": raw.hex(), "base64": b64(raw)}[scheme.key.form]
    return Secret(f"env:KEY{number}", (scheme.key.strip[0] if scheme.key.strip else "") + text)


def b64(raw):
    return base64.b64encode(raw).decode()


@pytest.fixture(params=SCHEMES)
def scheme(request):
    return request.param


@pytest.fixture
def signed(scheme, capture, now):
    return scheme.sign(secret_for(scheme), bare(scheme, capture), now)


def bare(scheme, capture):
    """Return an unsigned request of the kind that the scheme signs."""
    if isinstance(scheme.place, InForm) or "{form_sorted}" in getattr(scheme, "signed", template("")).text:
        return capture(b"token=abc&event=opened", (("Content-Type", "application/x-www-form-urlencoded"),))
    return capture(
        b'{"id":"evt_1","signature":{"token":"abc"},"webhookTimestamp":1,"type":"test"}',
        (scheme.only_if,) if getattr(scheme, "only_if", None) else (),
    )


def covers_body(scheme):
    return isinstance(scheme, SignedText) and (
        "{body}" in scheme.signed.text or "{form_sorted}" in scheme.signed.text
    )


def reason(scheme, secrets, capture, now):
    result = scheme.verify(tuple(secrets), capture, now)
    assert (result.verdict is Verdict.VERIFIED) == (result.reason == "")
    return result.reason


def test_what_it_signs_it_verifies(scheme, signed, now):
    assert reason(scheme, [secret_for(scheme)], signed, now) == ""


def test_the_provider_as_a_whole_verifies_it_too(scheme, signed, now):
    provider = next(entry for entry in PROVIDERS.values() if scheme in entry.schemes)
    assert choose(provider.schemes, signed, (secret_for(scheme),)) == scheme
    assert provider.scheme.verify((secret_for(scheme),), signed, now).verdict is Verdict.VERIFIED


def test_one_flipped_bit_in_the_body_is_invalid(scheme, signed, flip, now):
    if covers_body(scheme):
        assert reason(scheme, [secret_for(scheme)], flip(signed), now) != ""


def test_a_stale_signature_is_invalid_but_not_without_an_age_limit(scheme, signed, now):
    late = now + timedelta(days=2)
    limited = isinstance(scheme, SignedText) and scheme.time is not None and scheme.time.past is not None
    expected = "timestamp_stale" if limited else ""
    assert reason(scheme, [secret_for(scheme)], signed, late) == expected
    result = with_tolerance(scheme, None, None).verify((secret_for(scheme),), signed, late)
    assert result.verdict is Verdict.VERIFIED
    if limited:
        assert any("2 days old" in check.detail for check in result.checks)


def test_another_secret_is_a_mismatch(scheme, signed, now):
    assert reason(scheme, [secret_for(scheme, 2)], signed, now) == "signature_mismatch"


def test_any_of_several_secrets_may_match(scheme, signed, now):
    assert reason(scheme, [secret_for(scheme, 2), secret_for(scheme)], signed, now) == ""


def test_no_secret_is_unchecked(scheme, signed, now):
    assert scheme.verify((), signed, now).verdict is Verdict.UNCHECKED


@pytest.mark.parametrize("empty", ["", " ", "\n", "whsec_", "v1,whsec_", "whpk_", "whsk_"])
def test_an_empty_secret_never_verifies_and_never_signs(scheme, empty, signed, now):
    if reason(scheme, [Secret("env:EMPTY", empty)], signed, now) == "signature_mismatch":
        assert empty.strip()
    else:
        assert reason(scheme, [Secret("env:EMPTY", empty)], signed, now) == "secret_unusable"


def test_without_its_signature_it_is_missing(scheme, capture, now):
    expected = "body_malformed" if isinstance(scheme.place, InJson | InForm) else "signature_missing"
    assert reason(scheme, [secret_for(scheme)], bare(scheme, capture), now) == expected


@pytest.mark.parametrize(
    "value", [" ", "x", "sha256=", "v1,", "t=,v1=", "=", ",,,", "\xff\x00", "v0=" + "0" * 64]
)
def test_an_empty_or_garbled_signature_is_invalid(scheme, value, signed, now):
    garbled = scheme.place.write(signed, value.encode("latin-1"))
    assert reason(scheme, [secret_for(scheme)], garbled, now) != ""


def test_a_signature_given_twice_with_different_values_is_malformed(scheme, signed, now):
    name = next((name for name in getattr(scheme.place, "names", ()) if signed.header(name)), None)
    if name:
        twice = dataclasses.replace(signed, headers=(*signed.headers, (name, "another")))
        assert reason(scheme, [secret_for(scheme)], twice, now) == "header_malformed"


@pytest.mark.parametrize("body", [b"", b"\x00\xff\xfe\x80", b"\xed\xa0\x80", b"caf\xc3\xa9\r\n"])
def test_any_bytes_can_be_signed_and_verified(scheme, body, capture, now):
    if isinstance(scheme, SignedText) and "{body}" not in scheme.signed.text:
        return
    if isinstance(scheme.place, InJson | InForm) or (
        getattr(scheme, "time", None) and isinstance(scheme.time.place, InJson)
    ):
        return
    made = dataclasses.replace(bare(scheme, capture), body=body)
    again = scheme.sign(secret_for(scheme), made, now)
    assert again.body == body
    assert reason(scheme, [secret_for(scheme)], again, now) == ""


def test_signing_again_replaces_the_old_signature_where_it_stood(scheme, signed, now):
    again = scheme.sign(secret_for(scheme, 2), signed, now + timedelta(days=1))
    assert [name for name, _ in again.headers] == [name for name, _ in signed.headers]
    assert reason(scheme, [secret_for(scheme, 2)], again, now + timedelta(days=1)) == ""
    if isinstance(scheme, SignedText) and scheme.ident is not None:
        assert scheme.ident.read(again, None) == scheme.ident.read(signed, None)


def test_no_step_tells_the_secret_or_the_right_signature(scheme, signed, now):
    wrong = scheme.place.write(signed, b"wrong")
    for made in (signed, wrong):
        result = scheme.verify((secret_for(scheme),), made, now)
        told = " ".join(f"{check.name} {check.detail} {check.result}" for check in result.checks)
        assert secret_for(scheme).reveal() not in told
        for value in scheme.place.read(signed, None) if not isinstance(scheme.place, InJson | InForm) else ():
            assert value.decode("latin-1")[-20:] not in told
