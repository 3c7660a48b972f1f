"""The doctor on its own: every provider of the catalogue, every kind of variant, and wild input."""

import base64
import dataclasses
import hmac
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_source
from cases import check_each
from relay.model.event import Verdict, Verification
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.doctor import KnownSecret, SignatureCase, diagnose
from relay.providers.doctor.bodies import list_body_variants
from relay.providers.doctor.request_head import list_header_variants
from relay.providers.doctor.secrets import list_secret_variants
from relay.providers.doctor.serialization import list_json_variants, minify_json
from relay.providers.schemes.one_of import OneOf
from relay.providers.schemes.shared_secret import header_hmac
from relay.providers.schemes.signed_text import SignedText

SHARED = {
    scheme: pytest.param(provider, scheme, id=f"{provider.name}-{number}")
    for provider in PROVIDERS.values()
    for number, scheme in enumerate(provider.schemes)
    if isinstance(scheme, SignedText) and "{body}" in scheme.signed.text and type(scheme).__name__ == "Hmac"
}


def source_of(provider, scheme, *secrets):
    return build_source(
        "here", provider=provider.name, title=provider.title, scheme=OneOf(schemes=(scheme,)), secrets=secrets
    )


def examine(source, capture, monotonic=lambda: 0.0, **more):
    verification = source.scheme.verify(source.secrets, capture, capture.received_at)
    case = SignatureCase(capture=capture, source=source, reason=verification.reason, **more)
    return diagnose(case, verification, monotonic)


def bare(scheme, capture):
    body = b'{"id":"evt_1","webhookTimestamp":1,"type":"test","note":"a/b"}'
    return capture(body, (scheme.only_if,) if scheme.only_if else ())


@pytest.mark.parametrize("body", [b'{"order": 7}', b'{"order": [1, 2', b"cut"])
def test_a_raw_message_of_sns_is_told_as_that_and_never_as_cut(body, capture, secret_for):
    provider = PROVIDERS["aws-sns"]
    source = source_of(provider, provider.scheme, secret_for(provider.scheme))
    found = examine(source, capture(body, (("x-amz-sns-rawdelivery", "true"),)))
    assert [finding.cause for finding in found.findings] == ["raw_delivery"]
    assert "raw_delivery" not in {finding.cause for finding in examine(source, capture(body)).findings}


@check_each(("provider", "scheme"), SHARED.values())
def test_of_every_provider_the_fitting_secret_of_another_source_is_named(provider, scheme, capture, now, secret_for):
    signed = scheme.sign(secret_for(scheme, 2), bare(scheme, capture), now)
    source = source_of(provider, scheme, secret_for(scheme, 1))
    other = KnownSecret(secret=secret_for(scheme, 2), source="there")
    found = examine(source, signed, others=(other,))
    assert found.findings[0].cause == "secret_of_other_source"
    assert "KEY2, the secret of source there" in found.findings[0].sentence
    assert [item.matches for item in found.compared] == [False, True]
    assert found.compared[1].expected in found.received


@check_each(("provider", "scheme"), SHARED.values())
def test_of_every_provider_an_unknown_secret_is_said_to_be_unknown(provider, scheme, capture, now, secret_for):
    signed = scheme.sign(secret_for(scheme, 3), bare(scheme, capture), now)
    found = examine(source_of(provider, scheme, secret_for(scheme, 1)), signed)
    assert [item.cause for item in found.findings] == ["unknown"]
    assert not found.cut


@check_each(("provider", "scheme"), SHARED.values())
def test_of_every_provider_a_changed_body_is_found(provider, scheme, capture, now, secret_for):
    secret = secret_for(scheme)
    signed = scheme.sign(secret, bare(scheme, capture), now)
    arrived = dataclasses.replace(signed, body=json.dumps(json.loads(signed.body)).encode())
    found = examine(source_of(provider, scheme, secret), arrived)
    assert found.findings[0].cause == "body_changed"
    assert "sent compact" in found.findings[0].title


@check_each(
    ("provider", "scheme"),
    [item for scheme, item in SHARED.items() if scheme.time is not None and scheme.time.past is not None],
)
def test_of_every_provider_that_limits_age_lateness_is_found(provider, scheme, capture, now, secret_for):
    secret = secret_for(scheme)
    late = timedelta(seconds=scheme.time.past + 840)
    signed = scheme.sign(secret, bare(scheme, capture), now - late)
    found = examine(source_of(provider, scheme, secret), signed)
    assert found.findings[0].cause == "timestamp_stale"
    assert found.findings[0].title.startswith("Signature fits, but it is")


@pytest.mark.parametrize("time", ["1795356346.25", "+1795356346"])
def test_a_time_that_is_none_is_not_blamed_on_the_signature_beside_it(time, capture):
    body, key = b'{"id":"evt_1"}', b"c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    digest = hmac.digest(base64.b64decode(key), b"msg_1.%s.%s" % (time.encode(), body), "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    named = {"webhook-id": "msg_1", "webhook-timestamp": time, "webhook-signature": signature}
    entry, secret = PROVIDERS["standard-webhooks"], Secret("env:A", f"whsec_{key.decode()}")
    (finding,) = examine(source_of(entry, entry.schemes[-1], secret), capture(body, list(named.items()))).findings
    assert (finding.cause, finding.title) == ("header_malformed", "webhook-timestamp cannot be read")
    assert finding.sentence == f"{time} is not a time."


def test_an_algorithm_that_is_not_known_is_not_blamed_on_the_signature_beside_it(capture, now):
    twilio, secret = PROVIDERS["twilio"], Secret("env:A", "token")
    signed = twilio.scheme.sign(secret, capture(), now)
    named = ("X-Twilio-Webhooks-Signature-Settings", "key=k,algorithm=HMAC_MD5")
    found = examine(
        source_of(twilio, twilio.scheme, secret), dataclasses.replace(signed, headers=(*signed.headers, named))
    )
    assert found.findings[0].title == "X-Twilio-Webhooks-Signature-Settings cannot be read"
    assert "It came as" not in found.findings[0].sentence
    assert found.compared == ()


@pytest.mark.parametrize("name", ["plaid", "twilio"])
def test_a_hash_of_the_body_tells_a_changed_body_from_another_key(name, capture, now, secret_for):
    entry = PROVIDERS[name]
    source = source_of(entry, entry.scheme, secret_for(entry.schemes[0], 1))
    signed = entry.scheme.sign(secret_for(entry.schemes[0], 1), capture(), now)
    (changed,) = examine(source, dataclasses.replace(signed, body=b'{"another": "body"}')).findings
    assert (changed.cause, changed.title) == ("body_changed", "The body is not the one that was signed")
    other = entry.scheme.sign(secret_for(entry.schemes[0], 2), capture(), now)
    (unknown,) = examine(source, other).findings
    assert unknown.cause == "unknown"
    assert "Compare the body" not in unknown.fix


def test_a_webhook_id_of_paypal_lacks_its_certificate(capture, now, secret_for):
    paypal = PROVIDERS["paypal"]
    signed = paypal.scheme.sign(secret_for(paypal.schemes[0]), capture(), now)
    (finding,) = examine(source_of(paypal, paypal.scheme, Secret("env:ID", "WH-1")), signed).findings
    assert (finding.title, finding.line) == ("ID holds no certificate", "relay providers paypal")


@pytest.mark.parametrize(("query", "cause"), [("CallSid=CA1&CallStatus=ringing", "unknown"), ("", "redirected")])
def test_a_get_that_says_something_came_from_no_redirect(query, cause, capture):
    twilio = PROVIDERS["twilio"]
    request = capture(b"", [("X-Twilio-Signature", "AAAA")], method="GET", query=query)
    (finding,) = examine(source_of(twilio, twilio.scheme, Secret("env:A", "token")), request).findings
    assert finding.cause == cause


@pytest.mark.parametrize(("query", "line"), [("utm=1", ""), ("", 'public_url = "https://relay.example/webhooks/test"')])
def test_no_other_address_corrects_a_query_that_was_added(query, line, capture, now):
    square, secret = PROVIDERS["square"], Secret("env:A", "key")
    signed = square.scheme.sign(secret, capture(), now)
    source = dataclasses.replace(source_of(square, square.scheme, secret), path="/webhooks/test")
    arrived = dataclasses.replace(signed, query=query, url=f"{signed.url}?{query or 'of=public_url'}")
    (finding,) = examine(source, arrived).findings
    assert (finding.cause, finding.line) == ("url_differs", line)


def test_an_algorithm_that_is_not_known_is_named(capture, now):
    twilio, secret = PROVIDERS["twilio"], Secret("env:A", "token")
    signed = twilio.scheme.sign(secret, capture(b"a=1", [("Content-Type", "application/x-www-form-urlencoded")]), now)
    settings = ("X-Twilio-Webhooks-Signature-Settings", "key=k1,algorithm=HMAC_SHA512")
    request = dataclasses.replace(signed, headers=(*signed.headers, settings))
    (finding,) = examine(source_of(twilio, twilio.scheme, secret), request).findings
    assert "names an algorithm that is not known" in finding.sentence


def test_minifying_keeps_numbers_and_texts_as_they_are_written():
    assert minify_json(b'{ "a" : 12.50,\n "b": "x  \\" y" }') == b'{"a":12.50,"b":"x  \\" y"}'


@given(st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)))
def test_every_layout_of_json_is_the_same_value(value):
    for _, body in list_json_variants(json.dumps(value).encode()):
        if not isinstance(value, str):
            assert json.loads(body) == value


@given(st.text(max_size=40))
def test_variants_of_a_secret_are_never_the_secret_itself_and_few(text):
    found = [variant[0] for variant in list_secret_variants(text)]
    assert text not in found
    assert len(found) == len(set(found)) < 60


@given(st.binary(max_size=200), st.booleans())
def test_changes_of_a_body_are_finite_and_never_errors(body, is_form):
    assert sum(1 for _ in list_body_variants(body, is_form=is_form)) < 200


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=80))
def test_variants_of_a_header_are_never_errors(value):
    assert all(isinstance(text, str) for text, _ in list_header_variants(value))


WILD = st.binary(max_size=60) | st.sampled_from([b"{", b"[" * 300, b"\x1f\x8b\x08", b"\xef\xbb\xbf{}", b'"\\ud800"'])


@given(
    provider=st.sampled_from(sorted(PROVIDERS)),
    body=WILD,
    value=st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40),
    secret=st.text(min_size=1, max_size=20),
)
def test_whatever_arrives_the_doctor_says_something_and_never_fails(provider, body, value, secret):
    entry = PROVIDERS[provider]
    names = [name for scheme in entry.schemes for name in getattr(getattr(scheme, "place", None), "names", ())]
    capture = made(body, tuple((name, value) for name in names))
    source = build_source(
        "x", provider=provider, title=entry.title, scheme=entry.scheme, secrets=(Secret("env:X", secret),)
    )
    if source.scheme is None:
        return
    verification = source.scheme.verify(source.secrets, capture, capture.received_at)
    case = SignatureCase(capture=capture, source=source, sender=entry, reason=verification.reason)
    ticks = itertools.count()
    found = diagnose(case, verification, lambda: next(ticks) / 1000)
    assert found.findings or verification.verdict is not Verdict.INVALID


def test_time_is_up_when_it_is_up(capture):
    scheme = header_hmac("X-Sign")
    source = source_of(PROVIDERS["github"], scheme, Secret("env:A", "a"))
    request = capture(b'{"a": 1}', (("X-Sign", "0" * 64),))
    verification = Verification(verdict=Verdict.INVALID, reason="signature_mismatch")
    seconds = iter([0.0, *[0.1] * 5, *[9.9] * 10_000])
    found = diagnose(SignatureCase(capture=request, source=source), verification, lambda: next(seconds))
    assert found.cut
    assert len(found.tried) <= 5
    assert "in time" in found.findings[0].sentence


def test_a_secret_too_short_shows_none_of_itself(capture, now):
    scheme = header_hmac("X-Sign")
    signed = scheme.sign(Secret("env:A", "short"), capture(), now)
    source = source_of(
        PROVIDERS["github"], scheme, Secret("env:A", "other short"), Secret("env:B", "long enough to end")
    )
    assert [item.tail for item in examine(source, signed).compared] == ["", " end"]


def made(body, headers):
    return build_capture(
        "x",
        headers=(("Content-Type", "application/json"), *headers),
        body=body,
        received_at=datetime(2026, 11, 22, tzinfo=UTC),
        url="https://relay.example/webhooks/x",
    )
