"""Every scheme of every provider keeps the same promises, the moment it stands in the catalogue."""

import dataclasses
from datetime import timedelta

import pytest

from cases import check_each
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.schemes.content import template
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.locations import InEach, InEveryHeader, InForm, InHeader, InJson
from relay.providers.schemes.one_of import choose_scheme, with_tolerance
from relay.providers.schemes.signed_text import SignedText
from relay.providers.schemes.vendor_schemes import AdyenItems, Sns

# A scheme that several providers share is tested once.
SCHEMES = {
    scheme: pytest.param(scheme, id=f"{provider.name}-{scheme.name or number}")
    for provider in PROVIDERS.values()
    for number, scheme in enumerate(provider.schemes)
}
EMPTY = ["", " ", "\n", "whsec_", "v1,whsec_", "whpk_", "whsk_", "{}", "-----BEGIN CERTIFICATE-----"]
GARBLED = [" ", "x", "sha256=", "v1,", "t=,v1=", "=", ",,,", "\xff\x00", "v0=" + "0" * 64, "a.b.c", "e30.e30.AA"]
BODIES = [b"", b"\x00\xff\xfe\x80", b"\xed\xa0\x80", b"caf\xc3\xa9\r\n"]
IN_BODY = (InJson, InEach, InForm)
SNS = (
    b'{"Type":"Notification","MessageId":"m-1","TopicArn":"arn:aws:sns:x:1:t","Message":"hi\\n","Signature":"",'
    b'"SignatureVersion":"2","Timestamp":"2026-11-22T10:00:00.000Z",'
    b'"SigningCertURL":"https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-x.pem"}'
)
ADYEN = (
    b'{"live":"false","notificationItems":[{"NotificationRequestItem":{"pspReference":"7914073381342284",'
    b'"amount":{"value":1130,"currency":"EUR"},"eventCode":"AUTHORISATION","success":"true"}},'
    b'{"NotificationRequestItem":{"pspReference":"2","additionalData":{"hmacSignature":"old"}}}]}'
)
PLAIN = (
    b'{"id":"evt_1","signature":{"token":"abc"},"webhookTimestamp":1,"type":"test",'
    b'"value":[{"id":"1"},{"id":"2","clientState":"old"}]}'
)


for_each_scheme = check_each("scheme", SCHEMES.values())


@pytest.fixture
def sign(capture, now, secret_for):
    return lambda scheme: scheme.sign(secret_for(scheme), bare(scheme, capture), now)


def bare(scheme, capture):
    """Return an unsigned request of the kind that the scheme signs."""
    if isinstance(scheme.place, InForm) or "{form_sorted}" in getattr(scheme, "signed", template("")).text:
        return capture(b"token=abc&event=opened", (("Content-Type", "application/x-www-form-urlencoded"),))
    if isinstance(scheme, AdyenItems | Sns):
        return capture(ADYEN if isinstance(scheme, AdyenItems) else SNS)
    return capture(PLAIN, (scheme.only_if,) if getattr(scheme, "only_if", None) else ())


def covers_body(scheme):
    if isinstance(scheme, SignedText):
        return any(token in scheme.signed.text for token in ("{body}", "{form_sorted}", "{crc32}"))
    return isinstance(scheme, Jwt)


def takes_any_body(scheme):
    """Say whether the scheme signs whatever the body is, needing no field of it."""
    places = (scheme.place, getattr(getattr(scheme, "time", None), "place", None))
    return "{body}" in getattr(scheme, "signed", template("")).text and not any(
        isinstance(place, IN_BODY) for place in places
    )


def reason(scheme, secrets, capture, now):
    result = scheme.verify(tuple(secrets), capture, now)
    assert (result.verdict is Verdict.VERIFIED) == (result.reason == "")
    return result.reason


@for_each_scheme
def test_what_it_signs_it_verifies_and_so_does_the_provider_as_a_whole(scheme, sign, now, secret_for):
    signed = sign(scheme)
    secret = secret_for(scheme)
    assert reason(scheme, [secret], signed, now) == ""
    for provider in PROVIDERS.values():
        if scheme in provider.schemes:
            assert choose_scheme(provider.schemes, signed, (secret,)) == scheme
            assert reason(provider.scheme, [secret], signed, now) == ""
            if scheme.name:
                assert reason(provider.select_scheme(scheme.name), [secret], signed, now) == ""


@for_each_scheme
def test_one_flipped_bit_in_the_body_is_invalid(scheme, sign, flip, now, secret_for):
    signed = sign(scheme)
    if covers_body(scheme):
        assert reason(scheme, [secret_for(scheme)], flip(signed), now) != ""


@for_each_scheme
def test_a_stale_signature_is_invalid_but_not_without_an_age_limit(scheme, sign, now, secret_for):
    signed = sign(scheme)
    late = now + timedelta(days=2)
    limited = getattr(scheme, "time", None) is not None and scheme.time.past is not None
    expected = "timestamp_stale" if limited else ""
    assert reason(scheme, [secret_for(scheme)], signed, late) == expected
    result = with_tolerance(scheme, None, None).verify((secret_for(scheme),), signed, late)
    assert result.verdict is Verdict.VERIFIED
    if getattr(scheme, "time", None) is not None:
        assert any("2 days old" in check.detail for check in result.checks)


@for_each_scheme
def test_a_signature_from_the_future_is_invalid_where_that_is_limited(scheme, sign, now, secret_for):
    signed = sign(scheme)
    limited = getattr(scheme, "time", None) is not None and scheme.time.future is not None
    expected = "timestamp_future" if limited else ""
    assert reason(scheme, [secret_for(scheme)], signed, now - timedelta(days=2)) == expected


@for_each_scheme
def test_another_secret_is_a_mismatch_and_any_of_several_may_match(scheme, sign, now, secret_for):
    signed = sign(scheme)
    assert reason(scheme, [secret_for(scheme, 2)], signed, now) == "signature_mismatch"
    assert reason(scheme, [secret_for(scheme, 2), secret_for(scheme)], signed, now) == ""


@for_each_scheme
def test_no_secret_is_unchecked(scheme, sign, now):
    signed = sign(scheme)
    assert scheme.verify((), signed, now).verdict is Verdict.UNCHECKED


@for_each_scheme
def test_an_empty_secret_never_verifies_and_never_signs(scheme, sign, now):
    signed = sign(scheme)
    for empty in EMPTY:
        found = reason(scheme, [Secret("env:EMPTY", empty)], signed, now)
        if found in ("signature_mismatch", "certificate_missing"):
            assert empty.strip()
        else:
            assert found == "secret_unusable"


@for_each_scheme
def test_without_its_signature_it_is_missing(scheme, capture, now, secret_for):
    expected = "body_malformed" if isinstance(scheme.place, IN_BODY) else "signature_missing"
    assert reason(scheme, [secret_for(scheme)], bare(scheme, capture), now) == expected


@for_each_scheme
def test_an_empty_or_garbled_signature_is_invalid(scheme, sign, now, secret_for):
    signed = sign(scheme)
    if isinstance(scheme, AdyenItems):
        return
    for value in GARBLED:
        garbled = scheme.place.write(signed, value.encode("latin-1"))
        assert reason(scheme, [secret_for(scheme)], garbled, now) != ""


@for_each_scheme
def test_a_signature_given_twice_with_different_values_is_malformed(scheme, sign, now, secret_for):
    signed = sign(scheme)
    if not isinstance(scheme.place, InHeader | InEveryHeader):
        return
    names = {name.lower() for name, _ in scheme.place.write(dataclasses.replace(signed, headers=()), b"x").headers}
    twice = dataclasses.replace(signed, headers=(*signed.headers, (names.pop(), "sha256=another")))
    several = isinstance(scheme.place, InEveryHeader)
    assert reason(scheme, [secret_for(scheme)], twice, now) == ("" if several else "header_malformed")


@for_each_scheme
def test_any_bytes_can_be_signed_and_verified(scheme, capture, now, secret_for):
    for body in BODIES if takes_any_body(scheme) else ():
        made = dataclasses.replace(bare(scheme, capture), body=body)
        again = scheme.sign(secret_for(scheme), made, now)
        assert again.body == body
        assert reason(scheme, [secret_for(scheme)], again, now) == ""


@for_each_scheme
def test_signing_again_replaces_the_old_signature_where_it_stood(scheme, sign, now, secret_for):
    signed = sign(scheme)
    again = scheme.sign(secret_for(scheme, 2), signed, now + timedelta(days=1))
    assert [name for name, _ in again.headers] == [name for name, _ in signed.headers]
    assert reason(scheme, [secret_for(scheme, 2)], again, now + timedelta(days=1)) == ""
    if isinstance(scheme, SignedText) and scheme.ident is not None:
        assert scheme.ident.read(again) == scheme.ident.read(signed)


@for_each_scheme
def test_no_step_tells_the_secret_or_the_right_signature(scheme, sign, now, secret_for):
    signed = sign(scheme)
    if isinstance(scheme, AdyenItems):
        return
    wrong = scheme.place.write(signed, b"wrong")
    for made in (signed, wrong):
        result = scheme.verify((secret_for(scheme),), made, now)
        told = " ".join(f"{check.name} {check.detail} {check.result}" for check in result.checks)
        assert secret_for(scheme).reveal() not in told
        for value in scheme.place.read(signed) if not isinstance(scheme.place, IN_BODY) else ():
            assert value.decode("latin-1")[-20:] not in told
