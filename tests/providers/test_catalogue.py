"""The catalogue as a whole: complete entries, and providers recognised by their headers."""

import re

import pytest

from cases import check_each
from relay.providers.catalogue import PROVIDERS, find_provider, recognise_provider
from relay.providers.provider import Provider
from relay.providers.samples import sample_types

ENTRIES = [pytest.param(entry, id=name) for name, entry in PROVIDERS.items()]


@check_each("entry", ENTRIES)
def test_an_entry_is_complete(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.name)
    assert len(entry.monogram) == 2
    assert entry.docs.startswith("https://")
    steps = entry.list_steps("https://relay.example/x")
    assert steps
    assert all(step.endswith(".") and step == step.strip() for step in steps)
    assert entry.schemes
    assert all(re.fullmatch(r"[A-Z0-9_]+", name) for name in entry.secret_env)
    assert entry.secret_env


@check_each("entry", ENTRIES)
def test_the_steps_say_what_to_paste_and_which_variable_to_set(entry):
    text = " ".join(entry.list_steps("{url}"))
    if not entry.name.endswith("-simple"):
        assert "{url}" in text
        assert any(name in text for name in entry.secret_env)
    assert not re.search(r"\{(?!url\})", text)


def test_find_knows_a_provider_by_its_name():
    assert find_provider("stripe") is PROVIDERS["stripe"]
    assert find_provider("Stripe") is None
    assert find_provider("custom") is None


@check_each(
    ("headers", "name"),
    [
        (("stripe-signature",), "stripe"),
        (("X-GitHub-Event", "X-Hub-Signature-256"), "github"),
        (("X-GitHub-Event", "X-Gogs-Event", "X-Gitea-Event"), "gitea"),
        (("X-GitHub-Event", "X-Gitea-Event", "X-Forgejo-Event"), "forgejo"),
        (("webhook-signature", "X-Gitlab-Event"), "gitlab"),
        (("webhook-signature",), "standard-webhooks"),
        (("svix-id", "svix-signature"), "svix"),
        (("X-Slack-Request-Timestamp",), "slack"),
        (("X-TWILIO-SIGNATURE",), "twilio"),
        (("shopify-hmac-sha256",), "shopify"),
        (("X-Hub-Signature", "X-Event-Key"), "bitbucket"),
        (("Authorization", "X-Signature", "Host"), None),
        ((), None),
    ],
)
def test_a_request_is_recognised_by_its_headers(headers, name, capture):
    found = recognise_provider(capture(headers=tuple((header, "x") for header in headers)))
    assert (found.name if found else None) == name


def test_no_two_providers_are_recognised_by_the_same_header():
    names = [header.lower() for entry in PROVIDERS.values() for header in entry.own_headers]
    assert len(names) == len(set(names))


def test_samples_lent_from_another_provider_exist():
    for entry in PROVIDERS.values():
        assert not entry.samples or sample_types(entry)


def test_a_provider_is_a_value():
    assert isinstance(PROVIDERS["stripe"], Provider)
    assert hash(PROVIDERS["stripe"].schemes[0]) == hash(PROVIDERS["stripe"].schemes[0])
    with pytest.raises(TypeError):
        PROVIDERS["stripe"] = None  # type: ignore[index]  # that is the claim
