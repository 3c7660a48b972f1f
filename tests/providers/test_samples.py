"""Every sample is what its provider sends: it reads, names its own type, and is fresh each time."""

import json
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from builders import build_source
from cases import check_each
from relay.errors import NotFoundError
from relay.model.event import Verdict, Verification
from relay.model.payload import Payload
from relay.pipeline.classify import classify_event
from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import Filler, fill_sample, load_sample, plain_sample, prepare_sample, sample_types

# What these send has nothing that tells one delivery from another.
KEYLESS = {
    ("discord", "APPLICATION_AUTHORIZED"),
    ("discord", "ENTITLEMENT_CREATE"),
    ("adyen", "balancePlatform.transfer.created"),
    ("supabase", "INSERT.orders"),
}
OWN_SAMPLES = [(name, type_) for name, entry in PROVIDERS.items() if not entry.samples for type_ in sample_types(entry)]


def filled(name, type_, now, seed=1):
    sample = load_sample(name, type_)
    return fill_sample(sample, Filler(now=now, random=Random(seed), names={"type": type_, "event": "", "action": ""}))


MAIN = {
    "stripe": "checkout.session.completed payment_intent.succeeded payment_intent.payment_failed charge.refunded "
    "invoice.paid invoice.payment_failed customer.subscription.created customer.subscription.updated "
    "customer.subscription.deleted",
    "github": "push pull_request issues issue_comment release workflow_run check_run ping",
    "slack": "app_mention message reaction_added team_join app_home_opened channel_created command block_actions "
    "view_submission",
    "twilio": "message.received message.queued message.sent message.delivered message.undelivered message.failed "
    "call.ringing call.completed recording.completed onMessageAdded",
    "resend": "email.sent email.delivered email.bounced email.complained email.opened email.clicked "
    "email.delivery_delayed email.received email.scheduled email.failed email.suppressed",
    "shopify": "orders/create orders/paid orders/updated orders/cancelled products/update customers/create "
    "app/uninstalled customers/redact customers/data_request shop/redact",
    "linear": "Issue.create Issue.update Issue.remove Comment.create Comment.update Comment.remove Project.create "
    "Project.update Project.remove Cycle.create Cycle.update Cycle.remove IssueLabel.create IssueLabel.update "
    "IssueLabel.remove Reaction.create Reaction.update Reaction.remove AgentSessionEvent",
    "clerk": "user.created user.updated user.deleted session.created session.ended organization.created "
    "organizationMembership.created email.created",
    "sendgrid": "processed delivered open click bounce dropped deferred spamreport unsubscribe",
    "mailgun": "accepted delivered failed opened clicked complained",
    "postmark": "Delivery Bounce Open Click SpamComplaint",
    "discord": "ping command component modal autocomplete APPLICATION_AUTHORIZED ENTITLEMENT_CREATE",
    "paddle": "transaction.completed transaction.payment_failed subscription.created subscription.activated "
    "subscription.updated subscription.canceled subscription.past_due customer.created adjustment.created",
}
GITLAB = ("Push", "Tag Push", "Merge Request", "Issue", "Note", "Pipeline", "Job", "Release")
EVENTS = [(name, type_) for name, types in MAIN.items() for type_ in types.split()]
EVENTS += [("gitlab", f"{kind} Hook") for kind in GITLAB]


def test_the_main_providers_have_a_sample_of_every_event_people_use():
    for name, type_ in EVENTS:
        assert load_sample(name, type_).type.startswith(type_)


@check_each("name", PROVIDERS)
def test_no_provider_falls_back_to_the_plain_event(name):
    assert sample_types(name)


@check_each(("name", "type_"), OWN_SAMPLES)
def test_every_sample_verifies_and_is_identified(name, type_, now, secret_for):
    provider = PROVIDERS[name]
    scheme = next((scheme for scheme in provider.schemes if scheme.name != "platform"), provider.schemes[0])
    source = build_source(name, scheme=provider.scheme, secrets=(secret_for(scheme),))
    url = f"https://hooks.example/webhooks/{name}"
    made = prepare_sample(source, provider, type_, now, random=Random(7), url=url)
    payload = Payload(made.body, made.content_type)
    assert provider.scheme.verify(source.secrets, made, now).verdict is Verdict.VERIFIED
    named = replace(source, event_type=provider.event_type, items=provider.items)
    verified = Verification(verdict=Verdict.VERIFIED)
    assert classify_event(named, made, verified, sample=True).type == type_
    keyless = (name, type_) in KEYLESS or provider.idempotency_key is None
    assert keyless or provider.idempotency_key(made, payload)
    assert provider.summary is None or provider.summary(made, payload)


@check_each(("name", "type_"), OWN_SAMPLES)
def test_no_placeholder_is_left(name, type_, now):
    text = json.dumps(filled(name, type_, now))
    assert "${" not in text
    assert "#{" not in text


@check_each(("name", "type_"), OWN_SAMPLES)
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
    assert load_sample("github", "pull_request").type == "pull_request.closed"
    assert load_sample("github", "push").type == "push"


def test_an_unknown_type_points_to_the_nearest():
    with pytest.raises(NotFoundError) as caught:
        load_sample("stripe", "invoice.payed")
    assert caught.value.hint == "did you mean invoice.paid?"


@pytest.mark.parametrize("type_", ["../stripe/invoice.paid", "..", "/etc/passwd", "", "\x00", "invoice.paid\n"])
def test_a_type_is_no_path(type_):
    with pytest.raises(NotFoundError):
        load_sample("stripe", type_)


def test_an_unknown_provider_has_no_samples_but_a_plain_event(now):
    assert sample_types("nobody") == ()
    names = {"type": 'odd"type\\', "event": "odd", "action": ""}
    event: Any = fill_sample(plain_sample('odd"type\\'), Filler(now=now, random=Random(1), names=names))
    assert event["type"] == 'odd"type\\'
    assert Payload(json.dumps(event).encode()).at("data", "status") == "ready"
