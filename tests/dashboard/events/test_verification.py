"""What the verification panel claims of who sent an event."""

from dataclasses import replace

import pytest

from relay.dashboard.events.detail import describe_verification
from relay.model.event import Check, Verdict

IMPORTED = Check(name="Imported", passed=None, detail="what follows was checked by the relay that exported it")


@pytest.mark.parametrize(
    ("changes", "checks", "text"),
    [
        ({}, (), "Stripe sent this, and nothing was changed on the way."),
        ({"sample": True}, (), "relay made this sample and signed it as Stripe does. Stripe did not send it."),
        ({"recovered": True}, (), "relay fetched this from Stripe afterwards, and the signature of Stripe fits it."),
        ({}, (IMPORTED,), "This event was imported. The relay that exported it found its signature right."),
        ({"sample": True}, (IMPORTED,), "relay made this sample and signed it as Stripe does. Stripe did not send it."),
    ],
)
def test_the_provider_is_named_as_the_sender_only_where_it_was(event_of, changes, checks, text):
    event = event_of(verdict=Verdict.VERIFIED, **changes)
    event = replace(event, verification=replace(event.verification, checks=checks))
    assert describe_verification(event, "Stripe", None)[2] == text


def test_a_sample_is_answered_to_relay_itself(event_of, panel_of):
    assert panel_of(event_of(sample=True))[-1][1] == "Answer to relay trigger"
