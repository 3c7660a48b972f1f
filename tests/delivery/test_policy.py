from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.health import KNOCK_SECONDS, LONGEST_KNOCK, Ward
from relay.delivery.pace import AHEAD, QUICK, STAGGER, Pace
from relay.delivery.policy import longest_wait, settle
from relay.model.delivery import (
    NO_CHANGES,
    ActionResult,
    Delivery,
    DeliveryReason,
    DeliveryState,
    Failed,
    ReceivedResponse,
    Retry,
    RetryPolicy,
    SentRequest,
    Succeeded,
)
from relay.store import Claimed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RetryPolicy()


def middle():
    return 0.5


@pytest.mark.parametrize(
    ("outcome", "number", "state", "seconds"),
    [
        (Succeeded("200"), 1, "succeeded", 0),
        (Failed("404"), 1, "failed", 0),
        (Retry("500"), 1, "pending", 2),
        (Retry("500"), 2, "pending", 6),
        (Retry("500"), 5, "pending", 162),
        (Retry("500"), 6, "failed", 0),
        (Retry("500"), 7, "failed", 0),
        (Retry("429", after=1.0), 1, "pending", 2),
        (Retry("429", after=30.0), 1, "pending", 30),
        (Retry("429", after=999_999.0), 1, "pending", 60),
        (Retry("429", after=999_999.0), 5, "pending", 324),
        (Retry("429", after=30.0), 6, "failed", 0),
        (Retry("later", after=5000.0, firm=True), 1, "pending", 5000),
        (Retry("later", after=999_999.0, firm=True), 1, "pending", 7200),
        (Retry("later", after=0.0, firm=True), 2, "pending", 6),
        (Retry("later", after=5000.0, firm=True), 6, "failed", 0),
    ],
)
def test_an_outcome_settles_by_the_policy(outcome, number, state, seconds):
    settled = settle(outcome, POLICY, number, NOW, middle)
    assert settled == (DeliveryState(state), NOW + timedelta(seconds=seconds))


@given(
    st.integers(1, 500),
    st.floats(0, 1),
    st.none() | st.floats(0, 1e12),
    st.booleans(),
    st.builds(
        RetryPolicy,
        attempts=st.integers(1, 500),
        first=st.floats(0.01, 100),
        factor=st.floats(1, 10),
        max=st.floats(1, 86400),
        jitter=st.floats(0, 1),
    ),
)
def test_no_wait_is_longer_than_the_longest(number, spread, after, firm, policy):
    _, due_at = settle(Retry("500", after=after, firm=firm), policy, number, NOW, lambda: spread)
    assert 0 <= (due_at - NOW).total_seconds() <= longest_wait([policy]) + 0.001


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 1))
def test_jitter_never_goes_beyond_the_longest_wait_of_the_policy(number, spread, jitter):
    policy = RetryPolicy(attempts=500, max=30.0, jitter=jitter)
    assert 0 <= policy.wait_after(number, lambda: spread) <= 30.0 + 1e-9


def refused():
    return ActionResult(outcome=Retry("connection refused", unreachable=True), request=SENT)


SENT = SentRequest(method="POST", url="http://localhost/")
ANSWERED = ActionResult(outcome=Retry("500"), request=SENT, response=ReceivedResponse(status=500))


def test_a_target_is_down_at_its_first_refusal_and_up_at_its_first_answer():
    ward = Ward()
    assert not ward.note("app", ANSWERED, NOW, 0.0)
    assert not ward.note("app", refused(), NOW, 0.0)
    assert ward.down == {"app": "connection refused"}
    assert ward.health["app"].seen_at == NOW
    assert ward.note("app", ANSWERED, NOW, 0.0)
    assert ward.down == {}
    assert not ward.note("app", ANSWERED, NOW, 0.0)


def test_a_target_that_is_down_is_asked_once_at_a_time_and_at_most_a_second_apart():
    ward = Ward()
    for _ in range(4):
        ward.note("app", refused(), NOW, 100.0)
    assert ward.next_knock() == 100.0 + KNOCK_SECONDS
    assert ward.take_knocks(100.0) == ()
    assert ward.take_knocks(101.0) == ("app",)
    assert ward.take_knocks(500.0) == ()
    for at in (101.0, 103.0, 1000.0):
        ward.knocked("app", answered=False, at=at)
        assert 0 < ward.next_knock() - at <= 1.0
    ward.knocked("app", answered=True, at=1001.0)
    assert (ward.down, ward.next_knock()) == ({}, None)


def test_a_target_that_takes_connections_but_no_request_is_asked_ever_more_rarely():
    ward, pauses = Ward(), []
    ward.note("app", refused(), NOW, 0.0)
    for _ in range(9):
        ward.knocked("app", answered=True, at=0.0)
        ward.note("app", refused(), NOW, 0.0)
        pauses.append(ward.next_knock())
    assert pauses[:3] == [2 * KNOCK_SECONDS, 4 * KNOCK_SECONDS, 8 * KNOCK_SECONDS]
    assert pauses[-1] == LONGEST_KNOCK
    ward.note("app", ANSWERED, NOW, 0.0)
    ward.note("app", refused(), NOW, 0.0)
    assert ward.next_knock() == KNOCK_SECONDS


def test_a_410_marks_its_target_until_another_answer():
    ward = Ward()
    gone = ActionResult(outcome=Failed("410 (gone)"), request=SENT, response=ReceivedResponse(status=410))
    ward.note("app", gone, NOW, 0.0)
    assert (ward.gone, ward.down) == ({"app": "410 (gone)"}, {})
    ward.note("app", ANSWERED, NOW, 0.0)
    assert ward.gone == {}


def owed(number, target="app"):
    delivery = Delivery(
        id=number,
        event_id=number,
        source="stripe",
        target=target,
        action="forward",
        reason=DeliveryReason.ROUTED,
        changes=NO_CHANGES,
        state=DeliveryState.RUNNING,
        created_at=NOW,
        due_at=NOW,
    )
    return Claimed(delivery=delivery, event=None)


def lined_up(pace, *numbers, target="app"):
    for number in numbers:
        pace.line_up(owed(number, target))


def started(pace, at):
    return [one.delivery.id for one in pace.start(at)]


def test_what_waited_starts_one_by_one_and_what_came_later_as_many_as_the_target_takes():
    pace = Pace({"app": 3}, each=4, at_once=16)
    pace.drain("app", 0)
    assert pace.most(0.0) == {"app": 3}
    pace.drain("app", 2)
    assert pace.most(10.0) == {"app": 1}
    lined_up(pace, 1, 2, 3, 4, 5)
    assert started(pace, 10.0) == [1]
    assert pace.next_start() == 10.0 + STAGGER
    assert started(pace, 10.0 + STAGGER) == [2]
    pace.ended("app", QUICK)
    assert started(pace, 10.0 + STAGGER) == []
    pace.ended("app", QUICK)
    assert started(pace, 10.3) == [3, 4, 5]
    assert pace.next_start() is None


def test_a_slow_target_never_gets_more_at_once_than_it_takes_while_its_queue_drains():
    pace = Pace({"app": 2}, each=4, at_once=16)
    pace.drain("app", 99)
    lined_up(pace, 1, 2, 3)
    assert [started(pace, at) for at in (0.0, 1.0, 5.0)] == [[1], [2], []]
    assert (pace.most(5.0), pace.next_start()) == ({"app": 2}, None)


def test_only_a_quick_target_has_deliveries_claimed_ahead():
    pace = Pace({"app": 2}, each=4, at_once=16)
    lined_up(pace, 1, 2, 3)
    assert started(pace, 0.0) == [1, 2]
    assert pace.ended("app", QUICK / 2)
    assert pace.most(0.0) == {"app": 2 + AHEAD}
    pace.ended("app", QUICK)
    assert pace.most(0.0) == {"app": 2}


def test_a_target_that_hangs_does_not_keep_the_others_out_and_no_more_run_than_may_in_all():
    pace = Pace({}, each=4, at_once=6)
    lined_up(pace, 1, 2, 3, 4, 5, target="hangs")
    assert started(pace, 0.0) == [1, 2, 3, 4]
    lined_up(pace, 6, 7, 8, target="good")
    assert started(pace, 0.0) == [6, 7]
    assert (pace.taken, pace.room) == ({"hangs": 5, "good": 3}, 6 - 8)


def test_the_line_of_a_target_that_is_down_is_given_back():
    pace = Pace({}, each=1, at_once=6)
    lined_up(pace, 1, 2, 3)
    assert started(pace, 0.0) == [1]
    assert [one.delivery.id for one in pace.dismiss("app")] == [2, 3]
    assert pace.dismiss("app") == ()
    assert pace.taken == {"app": 1}


def test_what_was_never_sent_says_nothing_about_a_target():
    ward = Ward()
    ward.note("app", ActionResult(outcome=Failed("not an allowed target")), NOW, 0.0)
    ward.note("app", ActionResult(outcome=Retry("relay stumbled")), NOW, 0.0)
    assert ward.health == {}
