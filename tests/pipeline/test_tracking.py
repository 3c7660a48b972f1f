"""What an event tells of messages counts where its sender may be believed, and nowhere else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from builders import build_capture, build_source
from relay.model.event import EventOutcome, Verdict, Verification, VerifyMode
from relay.model.message import Matching, MatchWay, MessageStatus, NewMessage
from relay.pipeline.classify import attach_status_reports, classify_event
from relay.providers.catalogue import PROVIDERS
from relay.store import open_store
from relay.store.pending_verification import build_checked_event

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAPTURE = build_capture(
    "twilio",
    headers=(("Content-Type", "application/x-www-form-urlencoded"),),
    body=b"MessageSid=SM1&MessageStatus=delivered&To=%2B491511",
    remote="203.0.113.7",
    received_at=NOW,
)


def source(**more):
    provider = PROVIDERS["twilio"]
    return build_source("twilio", **{"event_type": provider.event_type, "statuses": provider.message_status} | more)


def tracked(verdict, reason="", given=None, capture=CAPTURE):
    given = given or source()
    verification = Verification(verdict=verdict, reason=reason)
    return attach_status_reports(classify_event(given, capture, verification, sample=False), given).tracked


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.VERIFIED, ""),
        (Verdict.UNSIGNED, "no_signature_expected"),
        (Verdict.UNCHECKED, "secret_missing"),
        (Verdict.UNCHECKED, "verification_off"),
    ],
)
def test_whom_nothing_speaks_against_is_believed(verdict, reason):
    found = tracked(verdict, reason)
    assert [report.status for report in found.reports] == [MessageStatus.DELIVERED]


@pytest.mark.parametrize("mode", VerifyMode)
def test_a_forgery_is_not(mode):
    assert tracked(Verdict.INVALID, "signature_mismatch", source(verify=mode)) is None


def test_while_the_vault_is_locked_nobody_is():
    assert tracked(Verdict.UNCHECKED, "vault_locked") is None


def test_what_is_ignored_or_refused_moves_nothing():
    assert tracked(Verdict.VERIFIED, given=source(events=("message.failed",))) is None
    given = source()
    new = classify_event(given, CAPTURE, Verification(verdict=Verdict.VERIFIED), sample=False)
    assert attach_status_reports(new, given).tracked is not None
    assert attach_status_reports(replace(new, outcome=EventOutcome.REJECTED), given).tracked is None


def test_a_source_that_tells_nothing_and_a_request_of_another_kind_are_left_alone():
    assert tracked(Verdict.VERIFIED, given=source(statuses=None)) is None
    call = replace(CAPTURE, body=b"CallSid=CA1")
    assert tracked(Verdict.VERIFIED, capture=call) is None


def test_how_messages_are_found_comes_from_the_source():
    matching = Matching(ways=(MatchWay.TIMESTAMP,), window=5.0, unknown=404)
    assert tracked(Verdict.VERIFIED, given=source(matching=matching)).matching == matching


async def test_what_turns_out_to_be_genuine_is_followed_later(tmp_path):
    given = source()
    verification = Verification(verdict=Verdict.UNCHECKED, reason="vault_locked")
    new = NewMessage(
        channel="sms", provider="twilio", external_id="SM1", recipient="+491511", subject="", status=MessageStatus.SENT
    )
    async with open_store(tmp_path) as store:
        await store.messages.register(new, NOW)
        stored = await store.events.add(
            attach_status_reports(classify_event(given, CAPTURE, verification, sample=False), given)
        )
        assert (await store.messages.get(1)).status is MessageStatus.SENT
        late = attach_status_reports(
            classify_event(given, CAPTURE, Verification(verdict=Verdict.VERIFIED), sample=False), given
        )
        (checked,) = await store.unchecked.settle([build_checked_event(stored.id, late, ())], NOW)
        assert [moved.status for moved in checked.moved] == ["delivered"]
        assert (await store.messages.get(1)).status is MessageStatus.DELIVERED
        assert await store.unchecked.settle([build_checked_event(stored.id, late, ())], NOW) == ()
