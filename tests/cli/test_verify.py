"""`relay verify`: the cause, its evidence, and the line that mends it."""

import hashlib
import hmac
import time

import pytest

BODY = b'{"id":"evt_9","type":"invoice.paid"}'


def stripe(secret):
    now = int(time.time())
    return f"t={now},v1={hmac.new(secret, f'{now}.'.encode() + BODY, hashlib.sha256).hexdigest()}"


@pytest.fixture
def ask(inside, shared):
    return lambda *arguments: inside(*arguments, home=shared.home)


def test_a_request_that_no_source_names_is_recognised_and_says_what_to_set(ask, shared):
    made = shared.send("payments", BODY, Stripe_Signature=stripe(b"x"))["event"]
    done = ask("verify", str(made))
    assert done.code == 5
    assert "Looks like Stripe, not verified" in done.out
    assert '    provider = "stripe"' in done.out


def test_json_holds_cause_evidence_and_what_was_tried(ask, shared):
    with pytest.raises(OSError, match="401"):
        shared.send("stripe", BODY, Stripe_Signature=stripe(b"nobody's"))
    rejected = ask("events", "--json", "verdict:invalid source:stripe").objects[0]["id"]
    found = ask("verify", str(rejected), "--json").objects[0]
    assert (found["verdict"], found["stored_verdict"]) == ("invalid", "invalid")
    assert found["hints"][0]["cause"] == "unknown"
    assert len(found["received"]) == 1
    assert found["expected"][0]["secret"] == "STRIPE_WEBHOOK_SECRET"
    assert {"secret": "env:STRIPE_WEBHOOK_SECRET", "what": "As received", "matched": False} in found["tried"]


def test_received_and_expected_stand_below_each_other_for_a_person(ask, shared):
    with pytest.raises(OSError, match="401"):
        shared.send("stripe", BODY, Stripe_Signature=stripe(b"nobody else's"))
    rejected = ask("events", "--json", "verdict:invalid source:stripe").objects[0]["id"]
    out = ask("verify", str(rejected)).out
    assert "  received  " in out
    assert "with STRIPE_WEBHOOK_SECRET" in out
    assert "Also tried" in out
