from datetime import timedelta

import pytest

from relay.dashboard.event_list import (
    format_event_summary,
    format_event_title,
    get_shield_kind,
    is_replayed,
    summarize_deliveries,
)
from relay.dashboard.events.detail import build_pipeline_bar
from relay.model.delivery import DeliveryReason, DeliveryState
from relay.model.event import EventOutcome, Verdict


def test_a_delivered_event_is_quiet(row_of, sent):
    event, chip = row_of(), summarize_deliveries(row_of(), [sent()])
    assert (format_event_title(event), format_event_summary(event)) == ("invoice.paid", "€48.00")
    assert (get_shield_kind(event), is_replayed([sent()])) == ("ok", False)
    assert (chip.kind, chip.text, chip.more) == ("ok", "200", "38 ms")


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"state": DeliveryState.FAILED, "status": 500}, "err", "500"),
        ({"state": DeliveryState.FAILED, "status": None}, "err", "Failed"),
        ({"state": DeliveryState.PENDING, "attempts": 2}, "retry", "Try 3"),
        ({"state": DeliveryState.PENDING, "attempts": 0}, "queued", "Queued"),
        ({"state": DeliveryState.RUNNING}, "sending", "Sending"),
        ({"state": DeliveryState.CANCELLED}, "dim", "Cancelled"),
        ({"status": None}, "ok", "Sent"),
    ],
)
def test_a_chip_says_where_the_delivery_stands(row_of, sent, changes, kind, text):
    shown = summarize_deliveries(row_of(), [sent(**changes)])
    assert (shown.kind, shown.text) == (kind, text)


def test_the_worst_target_shows_and_all_are_named(row_of, sent):
    shown = summarize_deliveries(
        row_of(), [sent(id=1), sent(id=2, target="ledger", state=DeliveryState.FAILED, status=500)]
    )
    assert shown.text == "500"
    assert shown.title == "app: 200, ledger: 500"


def test_a_replay_that_went_well_replaces_the_failure_before_it(row_of, sent):
    failed = sent(id=1, state=DeliveryState.FAILED, status=500)
    replayed = sent(id=2, reason=DeliveryReason.REPLAY)
    assert summarize_deliveries(row_of(), [failed, replayed]).kind == "ok"
    assert is_replayed([failed, replayed])


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"outcome": EventOutcome.REJECTED, "verdict": Verdict.INVALID}, "no", "Rejected"),
        ({"outcome": EventOutcome.DUPLICATE}, "dim", "Duplicate"),
        ({"outcome": EventOutcome.IGNORED}, "dim", "Ignored"),
        ({"verdict": Verdict.UNCHECKED, "reason": "vault_locked"}, "warn", "Unchecked"),
        ({}, "dim", "No target"),
    ],
)
def test_an_event_that_went_nowhere_says_why(row_of, changes, kind, text):
    shown = summarize_deliveries(row_of(**changes), [])
    assert (shown.kind, shown.text) == (kind, text)


def test_an_event_without_a_type_is_named_by_its_request(row_of):
    event = row_of(type="unknown", path="/webhooks/erp", summary="")
    assert (format_event_title(event), format_event_summary(event)) == ("POST /webhooks/erp", "json")


def test_captured_controls_are_made_visible(row_of):
    assert format_event_summary(row_of(summary="a\x1b[31m\u202eb")) == "a\\x1b[31m\\u202eb"


def test_the_hop_line_breaks_where_the_event_broke(row_of, sent, noon):
    rejected = row_of(outcome=EventOutcome.REJECTED, verdict=Verdict.INVALID, reason="signature_mismatch")
    addresses = {"ledger": ":4000", "app": ":3000/hooks"}
    for routed, target in ((["app", "ledger"], ("app", ":3000/hooks")), ([], ("Your app", ""))):
        checked, outs = build_pipeline_bar(rejected, [], addresses, routed, noon)
        assert (checked.kind, checked.text) == ("err", "Mismatch")
        assert [(wire.kind, wire.text, end, address) for wire, end, address, _ in outs] == [
            ("off", "Not sent", *target)
        ]


def test_the_hop_line_has_one_wire_for_each_target(row_of, sent, noon):
    waiting = sent(id=2, target="ledger", state=DeliveryState.PENDING, attempts=1, due_at=noon + timedelta(seconds=12))
    checked, outs = build_pipeline_bar(row_of(), [sent(), waiting], {"app": ":3000"}, [], noon)
    assert checked.kind == "ok"
    assert [(wire.kind, wire.text) for wire, *_ in outs] == [("ok", "200 · 38 ms"), ("warn", "Try 2 in 12 s")]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"outcome": EventOutcome.DUPLICATE, "duplicate_of": 3}, "Same as event 3"),
        ({"outcome": EventOutcome.DUPLICATE}, "Duplicate"),
        ({"outcome": EventOutcome.IGNORED}, "Not in events"),
        ({}, "No target"),
    ],
)
def test_the_hop_line_says_why_nothing_left(row_of, noon, changes, text):
    assert build_pipeline_bar(row_of(**changes), [], {}, [], noon)[1][0][0].text == text


def test_a_rejected_event_that_was_replayed_stays_rejected(row_of, sent):
    forged = row_of(outcome=EventOutcome.REJECTED, verdict=Verdict.INVALID)
    shown = summarize_deliveries(forged, [sent(reason=DeliveryReason.REPLAY)])
    assert (shown.kind, shown.text, shown.title) == ("no", "Rejected", "Replayed. app: 200")


def test_the_hop_line_marks_what_a_replay_sent(row_of, sent, noon):
    _, outs = build_pipeline_bar(
        row_of(), [sent(id=1), sent(id=2, target="b", reason=DeliveryReason.REPLAY)], {}, [], noon
    )
    assert [is_replay for *_, is_replay in outs] == [False, True]
