"""Every provider's signatures forged on purpose: too old, or wrong, and in everything else as they should be."""

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_event, build_source
from cases import check_each
from relay.delivery.signing import SignatureForger, alter_secret
from relay.errors import SigningError
from relay.model.delivery import DeliveryChanges
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.platform import SystemClock
from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import prepare_sample, sample_types
from relay.providers.schemes.one_of import with_tolerance

SIGNING = [name for name, provider in PROVIDERS.items() if provider.schemes]
# Its signature stands in the body beside what it covers, so no other body's can be put in its place.
UNFORGEABLE = {"aws-sns"}


class Clock(SystemClock):
    def __init__(self, now):
        self._now = now

    def now(self):
        return self._now


@pytest.fixture
def forged(now, secret_for):
    """Return a provider's source, a sample of it, and what spoils its signatures."""

    def make(name, **fields):
        provider = PROVIDERS[name]
        secrets = (secret_for(provider.schemes[0]),)
        source = build_source(name, **{"title": provider.title, "scheme": provider.scheme, "secrets": secrets} | fields)
        url = f"https://relay.example/webhooks/{name}"
        type_ = sample_types(provider)[0] if sample_types(provider) else "test"
        signer = replace(source, secrets=source.secrets or secrets)
        capture = prepare_sample(signer, provider, type_, now, random=Random(1), url=url)
        return (
            source,
            build_event(capture, received_at=now, source=source.name, provider=source.provider),
            SignatureForger(lambda _: source, Clock(now)),
        )

    return make


@check_each("name", [name for name in SIGNING if name not in UNFORGEABLE])
def test_a_forged_request_has_a_signature_that_does_not_verify(name, forged, now):
    source, event, forger = forged(name)
    forger.check_forgeable(event)
    forged, notes = forger(event, event.capture, DeliveryChanges(forged=True))
    judged = source.scheme.verify(source.secrets, forged, now)
    assert (judged.verdict, judged.reason) == (Verdict.INVALID, "signature_mismatch")
    assert "with another secret" in notes[0]
    assert source.secrets[0].reveal() not in notes[0]


@check_each("name", sorted(UNFORGEABLE))
def test_where_no_wrong_signature_is_known_that_is_said(name, forged):
    _, event, forger = forged(name)
    with pytest.raises(SigningError, match="knows no wrong signature"):
        forger.check_forgeable(event)


@check_each("name", SIGNING)
def test_a_stale_request_verifies_but_for_its_age_or_the_provider_has_no_limit(name, forged, now):
    source, event, forger = forged(name)
    try:
        age = forger.age(event)
    except SigningError as error:
        strict = with_tolerance(source.scheme, 60.0, None)
        old = source.scheme.sign(source.secrets[0], event.capture, now - timedelta(days=1))
        has_time = strict.verify(source.secrets, old, now).reason == "timestamp_stale"
        assert ("sets no limit" if has_time else "does not sign a time") in error.message
        return
    stale, notes = forger(event, event.capture, DeliveryChanges(age=age))
    assert source.scheme.verify(source.secrets, stale, now).reason == "timestamp_stale"
    then = now - timedelta(seconds=age)
    assert source.scheme.verify(source.secrets, stale, then).verdict is Verdict.VERIFIED
    assert f"as of {age:,.0f} s ago" in notes[0]


def test_a_source_that_checks_no_age_is_taken_at_the_providers(forged):
    scheme = with_tolerance(PROVIDERS["stripe"].scheme, None, None)
    _, event, forger = forged("stripe", scheme=scheme)
    assert forger.age(event) == 900.0


def test_a_source_of_its_own_that_checks_no_age_has_no_limit(forged):
    scheme = with_tolerance(PROVIDERS["stripe"].scheme, None, None)
    _, event, forger = forged("stripe", scheme=scheme, provider="custom", title="")
    with pytest.raises(SigningError, match="custom signs a time, but sets no limit"):
        forger.age(event)


def test_a_secret_in_the_locked_vault_is_said_to_be_there(forged):
    _, event, forger = forged("stripe", secrets=(), locked_secrets=("vault:stripe",))
    assert forger.explain_unsignable(event) == "stripe has no secret to sign with (vault:stripe: the vault is locked)"


def test_without_a_secret_a_forgery_is_made_up_and_nothing_else_can_be(forged, now, secret_for):
    source, event, forger = forged("stripe", secrets=(), missing_secrets=("env:STRIPE",))
    forged, _ = forger(event, event.capture, DeliveryChanges(forged=True))
    genuine = (secret_for(PROVIDERS["stripe"].schemes[0]),)
    assert source.scheme.verify(genuine, forged, now).reason == "signature_mismatch"
    assert forger.explain_unsignable(event) == "stripe has no secret to sign with (env:STRIPE is not set)"
    with pytest.raises(SigningError, match="no secret to sign with"):
        forger.age(event)
    with pytest.raises(SigningError, match="no secret to sign with"):
        forger(event, event.capture, DeliveryChanges(age=900.0))


@given(st.text(min_size=1, max_size=60))
def test_an_altered_secret_is_another_one_of_the_same_form(text):
    other = alter_secret(text)
    assert len(other) == len(text)
    assert [a.isalnum() for a in other] == [b.isalnum() for b in text]
    if any(letter.isascii() and letter.isalnum() for letter in text):
        assert other != text
    assert Secret("x", other).reveal() == other
