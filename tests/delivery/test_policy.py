from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.delivery.health import FAILURES, LAST_KNOCK, Ward
from relay.delivery.policy import longest_wait, settle
from relay.model.delivery import (
    ActionResult,
    DeliveryState,
    Failed,
    ReceivedResponse,
    Retry,
    RetryPolicy,
    SentRequest,
    Succeeded,
)

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
    ],
)
def test_an_outcome_settles_by_the_policy(outcome, number, state, seconds):
    settled = settle(outcome, POLICY, number, NOW, middle)
    assert settled == (DeliveryState(state), NOW + timedelta(seconds=seconds))


@given(
    st.integers(1, 500),
    st.floats(0, 1),
    st.none() | st.floats(0, 1e12),
    st.builds(
        RetryPolicy,
        attempts=st.integers(1, 500),
        first=st.floats(0.01, 100),
        factor=st.floats(1, 10),
        max=st.floats(1, 86400),
        jitter=st.floats(0, 1),
    ),
)
def test_no_wait_is_longer_than_the_longest(number, spread, after, policy):
    _, due_at = settle(Retry("500", after=after), policy, number, NOW, lambda: spread)
    assert 0 <= (due_at - NOW).total_seconds() <= longest_wait([policy]) + 0.001


def refused():
    return ActionResult(outcome=Retry("connection refused", unreachable=True), request=SENT)


SENT = SentRequest(method="POST", url="http://localhost/")
ANSWERED = ActionResult(outcome=Retry("500"), request=SENT, response=ReceivedResponse(status=500))


def test_a_target_is_down_after_so_many_refusals_in_a_row():
    ward = Ward()
    for _ in range(FAILURES - 1):
        assert not ward.note("app", refused(), NOW, 0.0)
    assert ward.down == {}
    ward.note("app", ANSWERED, NOW, 0.0)
    for _ in range(FAILURES - 1):
        ward.note("app", refused(), NOW, 0.0)
    assert ward.down == {}
    ward.note("app", refused(), NOW, 0.0)
    assert ward.down == {"app": "connection refused"}
    assert ward.health["app"].seen_at == NOW
    assert ward.note("app", ANSWERED, NOW, 0.0)
    assert ward.down == {}
    assert not ward.note("app", ANSWERED, NOW, 0.0)


def test_a_target_that_is_down_is_asked_ever_more_rarely_and_once_at_a_time():
    ward = Ward()
    for _ in range(FAILURES):
        ward.note("app", refused(), NOW, 100.0)
    assert ward.next_knock() == 101.0
    assert ward.take_knocks(100.9) == ()
    assert ward.take_knocks(101.0) == ("app",)
    assert ward.take_knocks(500.0) == ()
    times = []
    for at in (101.0, 103.0, 107.0, 112.0):
        ward.knocked("app", answered=False, at=at)
        times.append(ward.next_knock() - at)
    assert times == [2.0, 4.0, LAST_KNOCK, LAST_KNOCK]


def test_a_target_that_takes_a_connection_is_on_probation():
    ward = Ward()
    for _ in range(FAILURES):
        ward.note("app", refused(), NOW, 0.0)
    ward.knocked("app", answered=True, at=5.0)
    assert ward.down == {}
    assert ward.next_knock() is None
    ward.note("app", refused(), NOW, 6.0)
    assert ward.down == {"app": "connection refused"}


def test_what_was_never_sent_says_nothing_about_a_target():
    ward = Ward()
    ward.note("app", ActionResult(outcome=Failed("not an allowed target")), NOW, 0.0)
    ward.note("app", ActionResult(outcome=Retry("relay stumbled")), NOW, 0.0)
    assert ward.health == {}
