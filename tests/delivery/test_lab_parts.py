"""The parts of the lab that compute: new ids, orders, latencies, and what sentences say of many events."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_event
from relay.delivery.lab import EXPERIMENTS
from relay.delivery.lab.experiment import select_worst_verdict
from relay.delivery.lab.fresh_ids import find_event_ids, find_object_id, renew_ids
from relay.delivery.lab.report import max_concurrency, summarise_latency
from relay.delivery.lab.retries import format_span
from relay.delivery.lab.sequence import Burst, Duplicates, Shuffle
from relay.model.delivery import DeliveryChanges
from relay.model.event import Verdict
from relay.model.lab import LabFinding, LabSend, LabSettings, TrialVerdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def event(key, body, headers=(), id_=1):
    capture = build_capture("test", path="/", headers=headers, body=body, received_at=NOW)
    return build_event(capture, id=id_, type="test", idempotency_key=key, verdict=Verdict.UNSIGNED)


def renew(one, seed="1", changes=None):
    return renew_ids(changes or DeliveryChanges(), one, find_event_ids(one), seed)


def test_a_new_id_stands_wherever_the_old_one_stood_and_nowhere_else():
    body = json.dumps({"id": "evt_1PabcDEF23", "same": "evt_1PabcDEF23", "other": "evt_1PabcDEF23x"}).encode()
    changes = renew(event("evt_1PabcDEF23", body))
    got = json.loads(changes.body)
    assert got["id"] == got["same"] != "evt_1PabcDEF23"
    assert got["id"].startswith("evt_1P")
    assert got["other"] == "evt_1PabcDEF23x"
    assert changes.headers is None


def test_an_id_in_a_header_is_renewed_there_and_keeps_its_form():
    key = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    headers = (("X-GitHub-Delivery", key), ("X-Other", "kept"))
    changes = renew(event(key, b"{}", headers))
    assert changes.body is None
    (name, fresh), other = changes.headers
    assert (name, other) == ("X-GitHub-Delivery", ("X-Other", "kept"))
    assert fresh[:28] == key[:28]
    assert fresh != key
    assert set(fresh) <= set("0123456789abcdef-")


def test_a_key_of_several_parts_has_those_renewed_that_are_ids_and_stand_in_the_request():
    body = b'{"event": "envelope-completed2", "envelopeId": "4b728be4-4c6e", "recipientId": "30011007"}'
    one = event("4b728be4-4c6e:test:30011007:absent-77", body)
    got = json.loads(renew(one).body)
    assert got["event"] == "envelope-completed2"
    assert got["envelopeId"] != "4b728be4-4c6e"
    assert got["recipientId"] != "30011007"


def test_ids_are_renewed_in_what_an_experiment_has_changed_already():
    one = event("evt_12345678", b'{"id": "evt_12345678", "more": true}', (("X-Id", "evt_12345678"),))
    changes = renew(one, changes=DeliveryChanges(body=b'{"id": "evt_12345678"', headers=(("X-Id", "evt_12345678"),)))
    assert changes.body.startswith(b'{"id": "evt_')
    assert b"evt_12345678" not in changes.body
    assert b"more" not in changes.body
    assert dict(changes.headers)["X-Id"] != "evt_12345678"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"id": "evt_123456", "data": {"object": {"id": "in_123456"}}}, "in_123456"),
        ({"id": "evt_123456", "data": {"id": "sub_123456"}}, "sub_123456"),
        ({"id": 5612345678, "total": 3}, "5612345678"),
        ({"id": "evt_123456"}, None),
        ({"data": {"id": "short"}}, None),
        ({"data": {"id": True}}, None),
        ([1], None),
    ],
)
def test_the_object_that_an_event_is_about_is_found_by_its_id(body, found):
    assert find_object_id(event("evt_123456", json.dumps(body).encode())) == found


@pytest.mark.parametrize("key", [None, "", "7", "not-in-the-body"])
def test_an_id_that_stands_nowhere_or_may_be_another_number_stays(key):
    assert renew(event(key, b'{"id": 12345, "n": 7}')) == DeliveryChanges()


@pytest.mark.parametrize(
    ("key", "body", "changed", "kept"),
    [
        ("evt_1", {"id": "evt_1", "user_id": "evt_1", "n": "evt_1"}, {"id"}, {"user_id", "n"}),
        ("12345", {"id": 12345, "amount": 12345}, {"id"}, {"amount"}),
        ("7", {"event_id": 7, "user_id": 7, "n": 7}, {"event_id"}, {"user_id", "n"}),
        ("a1", {"ref": "a1", "n": 1}, {"ref"}, {"n"}),
        ("paid:7", {"type": "paid", "changeId": "7", "n": 7}, {"changeId"}, {"type", "n"}),
        (None, {"event_id": "e1", "id": 7}, {"event_id"}, {"id"}),
        (None, {"id": "evt_1", "order": {"id": "o1"}}, {"id"}, {"order"}),
    ],
)
def test_a_short_id_is_renewed_at_the_place_of_an_id_alone(key, body, changed, kept):
    got = json.loads(renew(event(key, json.dumps(body).encode())).body)
    assert {name for name in body if got[name] != body[name]} == changed
    assert {name for name in body if got[name] == body[name]} == kept
    assert all(type(got[name]) is type(body[name]) for name in body)
    assert len(str(got[next(iter(changed))])) > 8, "so long that the app cannot have seen it"


def test_a_short_id_in_a_header_a_form_or_a_query_is_renewed():
    headers = renew(event("d0", b"{}", (("X-GitHub-Delivery", "d0"), ("X-Other", "d"))))
    assert headers.body is None
    assert headers.headers[0][1] not in ("d0", "")
    assert headers.headers[1] == ("X-Other", "d")
    form = renew(event("m1", b"id=m1&body=m1"))
    assert form.body != b"id=m1&body=m1"
    assert form.body.endswith(b"&body=m1")
    asked = event("q1", b"")
    query = renew(replace(asked, capture=replace(asked.capture, query="a=1&id=q1")))
    assert query.query.startswith("a=1&id=q1")
    assert len(query.query) > len("a=1&id=q1")


@given(st.text(min_size=6, max_size=40), st.text(max_size=8))
def test_the_same_seed_renews_alike_and_nothing_is_ever_raised(key, seed):
    body = f'{{"id": "{key}"}}'.encode("utf-8", "replace")
    one = event(key.encode("utf-8", "replace").decode(), body)
    assert renew(one, seed) == renew(one, seed)


@given(st.integers(2, 12), st.integers(2, 50), st.integers(0, 2**53))
def test_orders_are_all_different_none_is_their_own_and_a_seed_repeats_them(count, times, seed):
    rows = [event(None, b"", id_=id_).row for id_ in range(1, count + 1)]
    settings = LabSettings(times=times, seed=seed)
    rounds = Shuffle().plan_rounds(rows, settings)
    own, *orders = [tuple(shot.event_id for shot in one.shots) for one in rounds]
    assert own == tuple(range(1, count + 1))
    assert own not in orders
    assert len(set(orders)) == len(orders) >= min(times, 1)
    assert all(sorted(order) == list(own) for order in orders)
    assert Shuffle().plan_rounds(rows, settings) == rounds


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_latencies_are_some_of_those_that_were_measured_and_in_order(took):
    found = summarise_latency(took)
    assert found.least == min(took)
    assert found.most == max(took)
    assert found.least <= found.median <= found.p95 <= found.most
    assert {found.median, found.p95} <= set(took)


def test_no_answer_has_no_latency():
    assert summarise_latency([]) is None


def test_sends_that_overlap_are_counted_together():
    def send(place, starts, took):
        return LabSend(
            place=place,
            trial=0,
            round=0,
            role="copy",
            label="",
            event_id=1,
            started_at=NOW + timedelta(seconds=starts),
            took=took,
        )

    sends = [send(1, 0, 2), send(2, 1, 2), send(3, 1.5, 1), send(4, 4, 1)]
    assert max_concurrency(sends) == 3
    assert max_concurrency([*sends, replace(sends[0], place=5, started_at=None)]) == 3


def test_what_many_events_came_to_is_the_worst_of_them_in_its_own_words():
    judged = [
        (1, TrialVerdict(LabFinding.PASSED, "fine")),
        *((event, TrialVerdict(LabFinding.FAILED, f"#{event} broke")) for event in (2, 3, 4, 5, 6, 7)),
    ]
    assert select_worst_verdict(judged).sentence == "#2 broke; the same with #3, #4, #5 and 2 more"
    assert select_worst_verdict(judged[:1]).sentence == "fine"
    assert select_worst_verdict([]).finding is LabFinding.SKIPPED


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.05, "0.1 s"), (5, "5 s"), (60, "1 min"), (300, "5 min"), (3600, "60 min"), (7200, "2 h"), (259200, "3 d")],
)
def test_a_wait_reads_as_people_say_it(seconds, said):
    assert format_span(seconds) == said


def test_every_experiment_says_what_it_finds_and_what_is_good():
    assert len(EXPERIMENTS) == 8
    for experiment in EXPERIMENTS.values():
        assert "finds" in experiment.finds
        assert experiment.good
        assert not experiment.finds.endswith(".")


def test_copies_of_a_burst_that_are_asked_to_come_again_fail_nothing():
    def judge(experiment, *statuses):
        sends = [
            LabSend(
                place=number, trial=0, round=0, role="copy", label="", event_id=1, good=status == 200, status=status,
                answer="new" if number == 1 else str(status),
            )
            for number, status in enumerate(statuses, start=1)
        ]  # fmt: skip
        return experiment.judge_event(1, sends)

    asked = judge(Burst(), 200, 503, 409, 503, 200)
    assert asked.finding is LabFinding.UNCLEAR
    assert asked.sentence.startswith("3 of 5 copies of #1 got 503 or 409, which asks")
    assert judge(Burst(), 200, 503, 200, 500).finding is LabFinding.FAILED
    assert judge(Burst(), 503, 503).finding is LabFinding.FAILED
    assert judge(Duplicates(), 200, 503, 200).finding is LabFinding.FAILED
