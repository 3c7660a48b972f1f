"""What the sender of an event that breaks a rule is told, and who is told nothing."""

import json
from datetime import UTC, datetime

import pytest

from builders import build_capture, build_new_event
from relay.model.admission import Problem
from relay.model.event import EventOutcome, Verdict, Verification
from relay.pipeline.responses import build_validation_response


def event(verdict, reason="", count=1):
    capture = build_capture("shop", received_at=datetime(2026, 1, 2, tzinfo=UTC))
    problems = tuple(
        Problem(rule="schema", field=f"private{n}", pointer=f"/private{n}", message="is missing") for n in range(count)
    )
    return build_new_event(
        capture,
        provider="custom",
        type="a",
        outcome=EventOutcome.REJECTED,
        verification=Verification(verdict=verdict, reason=reason),
        reason="schema",
        status=400,
        problems=problems,
    )


@pytest.mark.parametrize(
    ("verdict", "reason", "told"),
    [
        (Verdict.VERIFIED, "", True),
        (Verdict.UNSIGNED, "no_signature_expected", True),
        (Verdict.UNCHECKED, "secret_missing", True),
        (Verdict.UNCHECKED, "vault_locked", False),
        (Verdict.INVALID, "signature_mismatch", False),
    ],
)
def test_only_who_may_be_genuine_is_told_what_the_rules_are(verdict, reason, told):
    answered = build_validation_response(event(verdict, reason), 7)
    assert (answered.status, answered.event_id) == (400, 7)
    assert (b"private" in answered.body) is told


def test_the_message_names_some_and_the_list_names_all():
    error = json.loads(build_validation_response(event(Verdict.VERIFIED, count=12), 7).body)["error"]
    assert error["message"].endswith("private9 is missing; and 2 more")
    assert len(error["fields"]) == 12
