"""Every sample is what its provider sends: it reads, names its own type, and is fresh each time."""

import json
from datetime import timedelta
from random import Random

import pytest

from relay.errors import NotFoundError
from relay.model.payload import Payload
from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import Filler, load, plain, sample_types, value

SAMPLES = [(name, type_) for name, entry in PROVIDERS.items() for type_ in sample_types(entry)]


def filled(name, type_, now, seed=1):
    sample = load(name, type_)
    return value(
        sample, Filler(now=now, random=Random(seed), names={"type": type_, "event": "", "action": ""})
    )


@pytest.mark.parametrize(
    "name", ["stripe", "github", "slack", "twilio", "resend", "svix", "standard-webhooks", "shopify"]
)
def test_the_main_providers_have_at_least_four(name):
    assert len(sample_types(name)) >= 4


@pytest.mark.parametrize(("name", "type_"), SAMPLES)
def test_no_placeholder_is_left(name, type_, now):
    text = json.dumps(filled(name, type_, now))
    assert "${" not in text
    assert "#{" not in text


@pytest.mark.parametrize(("name", "type_"), SAMPLES)
def test_the_same_seed_gives_the_same_event_and_another_seed_another(name, type_, now):
    assert filled(name, type_, now) == filled(name, type_, now)
    different = filled(name, type_, now, seed=2), filled(name, type_, now + timedelta(hours=1))
    assert any(filled(name, type_, now) != other for other in different)


def test_a_named_id_is_the_same_wherever_it_stands(now):
    event = filled("stripe", "customer.subscription.updated", now)
    subscription = event["data"]["object"]
    assert subscription["items"]["data"][0]["subscription"] == subscription["id"]
    assert subscription["plan"]["id"] == subscription["items"]["data"][0]["price"]["id"]


def test_times_are_numbers_at_the_time_of_the_trigger(now):
    assert filled("stripe", "invoice.paid", now)["created"] == int(now.timestamp())
    assert filled("clerk", "user.created", now)["timestamp"] == int(now.timestamp() * 1000)


def test_a_type_without_its_action_finds_the_first_with_one():
    assert load("github", "pull_request").type == "pull_request.closed"
    assert load("github", "push").type == "push"


def test_an_unknown_type_points_to_the_nearest():
    with pytest.raises(NotFoundError) as caught:
        load("stripe", "invoice.payed")
    assert caught.value.hint == "did you mean invoice.paid?"


@pytest.mark.parametrize(
    "type_", ["../stripe/invoice.paid", "..", "/etc/passwd", "", "\x00", "invoice.paid\n"]
)
def test_a_type_is_no_path(type_):
    with pytest.raises(NotFoundError):
        load("stripe", type_)


def test_an_unknown_provider_has_no_samples_but_a_plain_event(now):
    assert sample_types("nobody") == ()
    names = {"type": 'odd"type\\', "event": "odd", "action": ""}
    event = value(plain('odd"type\\'), Filler(now=now, random=Random(1), names=names))
    assert event["type"] == 'odd"type\\'
    assert Payload(json.dumps(event).encode()).at("data", "status") == "ready"
