"""How schemes read, judge and explain a request: reasons, steps, ages, several secrets, wild input."""

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_capture
from cases import check_each
from relay.errors import SigningError
from relay.model.admission import REASONS
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS
from relay.providers.schemes.base import SteppedScheme
from relay.providers.schemes.content import template
from relay.providers.schemes.encoding import KeyFormat, Prefix
from relay.providers.schemes.locations import InEveryHeader, InHeader, InJson
from relay.providers.schemes.one_of import choose_scheme, with_tolerance
from relay.providers.schemes.shared_secret import Hmac, header_hmac
from relay.providers.schemes.timestamps import Time

SECRET = Secret("env:STRIPE_WEBHOOK_SECRET", "whsec_one")
STRIPE = PROVIDERS["stripe"].scheme
GITLAB = PROVIDERS["gitlab"]
SIGNING = Secret("env:GITLAB_SIGNING", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NOW = datetime.fromtimestamp(1_795_356_346, UTC)
PLAIN = Secret("env:GITLAB_TOKEN", "plain-token")


def signed(capture, now, secret=SECRET):
    return STRIPE.sign(secret, capture(), now)


def steps(result):
    return [(check.name, check.passed, check.detail, check.result) for check in result.checks]


def test_a_good_signature_explains_itself(capture, now):
    result = STRIPE.verify((SECRET,), signed(capture, now), now + timedelta(seconds=1))
    assert steps(result) == [
        ("Signature header", True, "Stripe-Signature with t and one v1", "Present"),
        ("Timestamp", True, "1 s old when received, limit 300 s", "In time"),
        ("Signed content", True, "1795356346. and 28 body bytes as received", "Built"),
        ("HMAC-SHA256", True, "env:STRIPE_WEBHOOK_SECRET fits", "Match"),
    ]


def test_another_secret_is_named_as_giving_another_signature(capture, now):
    other = Secret("env:OTHER", "whsec_two")
    result = STRIPE.verify((other,), signed(capture, now), now)
    assert steps(result)[-1] == ("HMAC-SHA256", False, "env:OTHER gives another signature", "No match")
    assert result.reason == "signature_mismatch"


@pytest.mark.parametrize(
    ("age", "reason", "words"),
    [
        (299, "", "299 s old when received, limit 300 s"),
        (301, "timestamp_stale", "301 s old when received, limit 300 s"),
        (840, "timestamp_stale", "14 min old when received, limit 300 s"),
        (86_400 * 3, "timestamp_stale", "3 days old when received, limit 300 s"),
        (-3600 * 5, "", "5 h ahead of this clock, limited only the other way"),
    ],
)
def test_an_age_is_told_in_words(age, reason, words, capture, now):
    result = STRIPE.verify((SECRET,), signed(capture, now), now + timedelta(seconds=age))
    assert result.reason == reason
    assert result.checks[1].detail == words


def test_a_stale_forgery_is_a_mismatch_first(capture, now):
    result = STRIPE.verify((Secret("x", "wrong"),), signed(capture, now), now + timedelta(days=1))
    assert result.reason == "signature_mismatch"


def test_without_a_limit_the_age_is_still_told(capture, now):
    lenient = with_tolerance(STRIPE, None, None)
    result = lenient.verify((SECRET,), signed(capture, now), now + timedelta(days=3))
    assert result.verdict is Verdict.VERIFIED
    assert steps(result)[1] == ("Timestamp", None, "3 days old when received, which is not limited", "Not checked")


def test_a_tolerance_of_ones_own_replaces_the_provider_s(capture, now):
    made = signed(capture, now)
    assert with_tolerance(STRIPE, 10, 10).verify((SECRET,), made, now + timedelta(seconds=11)).reason
    assert with_tolerance(STRIPE, 10, 10).verify((SECRET,), made, now - timedelta(seconds=11)).reason
    both: Any = with_tolerance(PROVIDERS["svix"].scheme, 10, 10)
    assert all(scheme.time.past == 10 for scheme in both.schemes)


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ("", "signature_missing", "Stripe-Signature is empty"),
        ("t=1", "header_malformed", "Stripe-Signature has no v1"),
        ("v1=ab", "header_malformed", "Stripe-Signature has no t"),
        ("t=now,v1=ab", "header_malformed", "now is not a time"),
        ("t=\x1b[2J,v1=ab", "header_malformed", "\\x1b[2J is not a time"),
        ("t=nan,v1=ab", "header_malformed", "nan is not a time"),
        ("t=" + "9" * 400 + ",v1=ab", "header_malformed", "9" * 39 + "… is not a time"),
    ],
)
def test_what_cannot_be_read_says_why(value, reason, detail, capture, now):
    made = capture(headers=(("Stripe-Signature", value),))
    result = STRIPE.verify((SECRET,), made, now)
    assert (result.verdict, result.reason) == (Verdict.INVALID, reason)
    assert result.checks[-1].detail == detail


def test_a_repeated_header_counts_when_it_says_the_same(capture, now):
    made = signed(capture, now)
    header = ("stripe-signature", made.header("Stripe-Signature"))
    same = dataclasses.replace(made, headers=(*made.headers, header))
    assert STRIPE.verify((SECRET,), same, now).verdict is Verdict.VERIFIED


def test_a_timestamp_is_signed_as_it_was_written(capture, now):
    scheme = PROVIDERS["slack"].scheme
    made = scheme.sign(SECRET, capture(), now)
    for text in ("01795356346", "+1795356346", "1795356346.0", " 1795356346"):
        other = InHeader("X-Slack-Request-Timestamp").write(made, text.encode())
        assert scheme.verify((SECRET,), other, now).verdict is Verdict.INVALID


def test_a_secret_that_cannot_be_decoded_is_unusable_not_an_error(capture, now):
    scheme = PROVIDERS["resend"].scheme
    good = Secret("env:GOOD", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    bad = Secret("env:BAD", "whsec_not base64!")
    made = scheme.sign(good, capture(), now)
    result = scheme.verify((bad,), made, now)
    assert (result.verdict, result.reason) == (Verdict.INVALID, "secret_unusable")
    assert result.checks[-1].detail == "env:BAD cannot be read as a key of this scheme"
    assert scheme.verify((bad, good), made, now).verdict is Verdict.VERIFIED
    with pytest.raises(SigningError):
        scheme.sign(bad, made, now)


def test_a_public_key_as_text_is_no_hmac_secret(capture, now):
    public = Secret("env:KEY", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
    scheme = PROVIDERS["standard-webhooks"].scheme
    for form in ("text", "base64"):
        known: Any = PROVIDERS["standard-webhooks"].schemes[1]
        forger = dataclasses.replace(known, key=KeyFormat(form=form, strip=("whpk_",)))
        forged = forger.sign(public, capture(), now)
        assert scheme.verify((public,), forged, now).verdict is Verdict.INVALID


def test_only_the_provider_can_sign_with_its_public_key(capture, now):
    public = Secret("env:KEY", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=")
    with pytest.raises(SigningError, match="Only the provider"):
        PROVIDERS["standard-webhooks"].scheme.sign(public, capture(), now)


def test_a_signing_secret_rules_the_plain_token_out(capture, now):
    token = capture(headers=(("X-Gitlab-Token", PLAIN.reveal()),))
    assert GITLAB.scheme.verify((PLAIN,), token, now).verdict is Verdict.VERIFIED
    assert GITLAB.scheme.verify((SIGNING, PLAIN), token, now).reason == "signature_missing"
    shown = capture(headers=(("X-Gitlab-Token", SIGNING.reveal()),))
    assert GITLAB.scheme.verify((SIGNING,), shown, now).reason == "signature_missing"


def test_the_scheme_whose_signature_is_there_is_chosen(capture, now):
    made = GITLAB.scheme.sign(SIGNING, capture(), now)
    assert choose_scheme(GITLAB.schemes, made) == GITLAB.schemes[0]
    assert choose_scheme(GITLAB.schemes, capture(headers=(("X-Gitlab-Token", "x"),))) == GITLAB.schemes[1]
    assert choose_scheme(GITLAB.schemes, capture(), (PLAIN,)) == GITLAB.schemes[1]


def test_a_time_in_the_body_is_renewed_and_every_other_byte_stays(capture, now):
    scheme = Hmac(
        signed=template("{body}"),
        place=InHeader("X-Sig"),
        time=Time(place=InJson(("webhookTimestamp",), number=True), unit="ms", past=60, future=60),
    )
    body = b'{"a": 1.0,\r\n "webhookTimestamp" : 5 ,"b":"\xc3\xa9\\u00e9", "n":1e5}\n'
    made = scheme.sign(SECRET, capture(body, (("Content-Length", "62"),)), now)
    assert made.body == body.replace(b": 5 ", b": 1795356346000 ")
    assert made.header("Content-Length") == str(len(made.body))
    assert scheme.verify((SECRET,), made, now).verdict is Verdict.VERIFIED
    assert scheme.verify((SECRET,), made, now + timedelta(seconds=61)).reason == "timestamp_stale"
    text = dataclasses.replace(made, body=b'{"webhookTimestamp":"1795356346000"}')
    assert scheme.verify((SECRET,), text, now).reason == "body_malformed"
    with pytest.raises(SigningError):
        scheme.sign(SECRET, capture(b"[1]"), now)


def test_a_number_sign_counts_in_the_name_of_numbered_headers_alone():
    assert (InHeader("X-Sig#").title, InEveryHeader("X-Sig-#").title) == ("X-Sig#", "X-Sig-N")


def test_any_of_numbered_headers_may_match(capture, now):
    scheme = Hmac(signed=template("{body}"), place=InEveryHeader("X-DocuSign-Signature-#"))
    made = scheme.sign(SECRET, capture(), now)
    value = made.header("X-DocuSign-Signature-1")
    several = capture(headers=(("x-docusign-signature-1", "zz"), ("X-DocuSign-Signature-2", value)))
    assert scheme.verify((SECRET,), several, now).verdict is Verdict.VERIFIED
    again = scheme.sign(SECRET, several, now)
    assert [value for name, value in again.headers if "docusign" in name.lower()] == [value]


def test_a_header_of_many_signatures_costs_one_hmac(capture, now):
    made = signed(capture, now)
    header = made.header("Stripe-Signature").replace(",v1", "," + "v1=00," * 2000 + "v1")
    many = capture(headers=(("Stripe-Signature", header),))
    result = STRIPE.verify((SECRET,), many, now)
    assert result.verdict is Verdict.VERIFIED
    assert result.checks[0].detail == "Stripe-Signature with t and 2001 v1"


def test_the_parts_of_a_request_fill_a_template(capture, now):
    text = "{method} {path} {url} {header:Host} {json:data.id} {crc32} {body}"
    scheme = Hmac(signed=template(text), place=InHeader("X-Sig"))
    made = scheme.sign(SECRET, capture(b'{"data":{"id":"\xc3\xa9"}}', query="a=1"), now)
    result = scheme.verify((SECRET,), made, now)
    assert result.verdict is Verdict.VERIFIED
    without = capture(b"{}", (("X-Sig", made.header("X-Sig")),))
    assert scheme.verify((SECRET,), without, now).reason == "body_malformed"


HEADER_NAMES = sorted(
    {
        name
        for provider in PROVIDERS.values()
        for scheme in provider.schemes
        for place in (
            getattr(scheme, "place", None),
            getattr(scheme, "ident", None),
            getattr(getattr(scheme, "time", None), "place", None),
        )
        for name in getattr(place, "names", ())
    }
)
WILD = st.text(st.characters(max_codepoint=255), max_size=60) | st.sampled_from(
    [
        "e30.e30.e30",
        "eyJhbGciOiJFUzI1NiJ9.eyJpYXQiOlsxXX0." + "A" * 86,
        "t=1795356346,v1=",
        "v1,",
        "sha256=",
        "v0=",
        "Basic !!!!",
        "1795356346",
        "algorithm=X",
        "a=b,c=d",
    ]
)


WILD_BODIES = [
    b'{"value":[{"clientState":1},7,{}]}',
    b'{"value":{"clientState":"x"}}',
    b'{"notificationItems":[{"NotificationRequestItem":{"amount":7,"additionalData":{"hmacSignature":"\\ud800"}}}]}',
    b'{"notificationItems":{"0":1}}',
    (
        b'{"Type":"Notification","Message":"\\ud800","MessageId":"","Timestamp":"0000-00-00T00:00:00Z","TopicArn":"",'
        b'"Signature":"AAAA","SignatureVersion":"1","SigningCertURL":"https://sns.eu-x-1.amazonaws.com/a.pem"}'
    ),
    b'{"Type":["Notification"],"Signature":"x","Timestamp":"2026-11-22T10:00:00Z"}',
]


@settings(max_examples=150)
@given(
    body=st.binary(max_size=60)
    | st.sampled_from([b"{}", b"a=%FF&&=%ED%A0%80", b'{"webhookTimestamp":1e400}', *WILD_BODIES]),
    headers=st.lists(st.tuples(st.sampled_from([*HEADER_NAMES, "Content-Type", "Authorization"]), WILD), max_size=6),
    query=st.text(st.characters(max_codepoint=255), max_size=30),
    secret=st.text(max_size=20),
    name=st.sampled_from(sorted(PROVIDERS)),
)
def test_wild_requests_are_judged_and_never_raise(body, headers, query, secret, name):
    made = build_capture(
        "wild",
        path="/",
        query=query,
        headers=tuple(headers),
        body=body,
        received_at=NOW,
        url=f"https://x.example/?{query}",
    )
    provider = PROVIDERS[name]
    for scheme in filter(None, (provider.scheme, *provider.schemes)):
        result = scheme.verify((Secret("env:WILD", secret),), made, NOW)
        assert result.verdict in (Verdict.INVALID, Verdict.VERIFIED) or result.reason == "certificate_missing"
        assert not result.reason or result.reason in REASONS
        if not secret.strip():
            assert result.verdict is Verdict.INVALID


def test_where_nobody_said_the_url_it_comes_from_the_host_header(capture, now):
    scheme = PROVIDERS["square"].scheme
    made = scheme.sign(SECRET, capture(url="https://relay.example/webhooks/test?a=1"), now)
    unsaid = dataclasses.replace(made, url="", query="a=1")
    assert scheme.verify((SECRET,), unsaid, now).verdict is Verdict.VERIFIED
    assert scheme.verify((SECRET,), dataclasses.replace(unsaid, query="a=2"), now).reason


def test_a_body_hmac_may_be_compared_in_any_case(capture, now):
    scheme = header_hmac("X-Notion-Signature", layout=Prefix(b"sha256="), any_case=True)
    made = scheme.sign(SECRET, capture(), now)
    upper = made.header("X-Notion-Signature").upper().replace("SHA256=", "sha256=")
    assert scheme.verify((SECRET,), InHeader("X-Notion-Signature").write(made, upper.encode()), now).reason == ""


USUAL = {
    f"{provider.name}-{number}": scheme
    for provider in PROVIDERS.values()
    for number, scheme in enumerate(provider.schemes)
    if isinstance(scheme, Hmac) and scheme._usual
}


@check_each("name", [name for name, scheme in USUAL.items() if scheme.ident])
@check_each("ident", [None, "", " "])
def test_without_an_id_a_signature_over_its_placeholder_is_not_genuine(name, ident):
    scheme = USUAL[name]
    key = Secret("env:KEY", next(iter(scheme.key.claims), "") + "abcdef01" * 4)
    made = scheme.sign(key, build_capture("any"), NOW)
    assert isinstance(scheme.ident, InHeader)
    id_header = scheme.ident.names[0].lower()
    others = tuple((header, value) for header, value in made.headers if header.lower() != id_header)
    made = dataclasses.replace(made, headers=others if ident is None else (*others, (id_header, ident)))
    signed_id = "{id}" if ident is None else ident
    start = scheme.signed.text.replace("{ts}", scheme.time.write(NOW).decode()).replace("{id}", signed_id)
    signature = scheme.make(scheme.read_key(key), start.removesuffix("{body}").encode() + made.body, made)
    made = scheme.place.write(made, scheme.layout.write(signature, b""))
    result = scheme.verify((key,), made, NOW)
    assert (result.verdict, result.reason) == (Verdict.INVALID, "signature_missing")


def test_a_scheme_without_steps_cannot_be_made():
    class Unfinished(SteppedScheme):
        title = "unfinished"
        sign = presented = usable = None

    with pytest.raises(TypeError, match="check"):
        Unfinished()  # type: ignore[abstract]  # which is what is tested


def test_the_page_names_the_class_of_a_scheme_that_needs_code_and_all_that_one_has():
    page = (Path(__file__).parents[2] / "docs/add-a-provider.md").read_text(encoding="utf-8")
    section = page.partition("### A scheme that needs code\n")[2].partition("\n## ")[0]
    assert f"a subclass of `{SteppedScheme.__name__}`" in section
    named = set(re.findall(r"`(\w+)(?:\([^`]*\))?`", section.partition("\n- ")[2]))
    assert named >= SteppedScheme.__abstractmethods__


def test_most_hmacs_are_judged_at_once():
    assert {"github-0", "stripe-0", "slack-0", "paddle-0", "twitch-0", "zoom-0", "shopify-0"} <= USUAL.keys()
    assert len(USUAL) >= 40


@check_each("scheme", [pytest.param(scheme, id=name) for name, scheme in USUAL.items()])
def test_a_usual_hmac_is_judged_at_once_as_it_is_step_by_step(scheme):
    prefix = next(iter(scheme.key.claims), "")
    own, other = (Secret(f"env:{digits}", prefix + digits * 8) for digits in ("abcdef01", "12345678"))
    sent = build_capture("any", body=b"\xff{}", headers=())
    genuine = scheme.sign(own, sent, NOW)

    def check(capture, *secrets, now=NOW):
        at_once = scheme.verify(secrets, capture, now)
        assert at_once == SteppedScheme.verify(scheme, secrets, capture, now)
        return at_once

    assert check(genuine, other, own).verdict is Verdict.VERIFIED
    for seconds in (-1000, -20, 20, 1000):
        check(genuine, own, now=NOW + timedelta(seconds=seconds))
    for place, (name, value) in enumerate(genuine.headers):
        presented = [(), (value,), (value, value), (value, "x"), (f" {value}",), (value[:-1],), (value.upper(),), ("",)]
        for values in (*presented, (value[:3],), ("{id}",), (f"{value},{value}",), (f"{value} {value}",)):
            changed = tuple((name.upper(), text) for text in values)
            headers = (*genuine.headers[:place], *changed, *genuine.headers[place + 1 :])
            for body in (sent.body, sent.body + b" "):
                capture = dataclasses.replace(sent, headers=headers, body=body)
                for secrets in ((own,), (other, own), (other,), ()):
                    check(capture, *secrets)
