from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_delivery
from relay.delivery.attempts import longest_wait, next_state
from relay.delivery.circuit_breaker import LONGEST_PROBE_WAIT, PROBE_SECONDS, CircuitBreaker
from relay.delivery.scheduler import LINE_LENGTH, QUICK_SECONDS, STAGGER, Scheduler
from relay.model.delivery import (
    ActionResult,
    AttemptFailed,
    AttemptRetry,
    AttemptSucceeded,
    DeliveryState,
    ReceivedResponse,
    RetryPolicy,
    SentRequest,
)
from relay.store import ClaimedDelivery

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = RetryPolicy()


def middle():
    return 0.5


@pytest.mark.parametrize(
    ("outcome", "number", "state", "seconds"),
    [
        (AttemptSucceeded("200"), 1, "succeeded", 0),
        (AttemptFailed("404"), 1, "failed", 0),
        (AttemptRetry("500"), 1, "pending", 2),
        (AttemptRetry("500"), 2, "pending", 6),
        (AttemptRetry("500"), 5, "pending", 162),
        (AttemptRetry("500"), 6, "failed", 0),
        (AttemptRetry("500"), 7, "failed", 0),
        (AttemptRetry("429", after=1.0), 1, "pending", 2),
        (AttemptRetry("429", after=30.0), 1, "pending", 30),
        (AttemptRetry("429", after=999_999.0), 1, "pending", 60),
        (AttemptRetry("429", after=999_999.0), 5, "pending", 324),
        (AttemptRetry("429", after=30.0), 6, "failed", 0),
        (AttemptRetry("later", after=5000.0, firm=True), 1, "pending", 5000),
        (AttemptRetry("later", after=999_999.0, firm=True), 1, "pending", 7200),
        (AttemptRetry("later", after=0.0, firm=True), 2, "pending", 6),
        (AttemptRetry("later", after=5000.0, firm=True), 6, "failed", 0),
    ],
)
def test_an_outcome_settles_by_the_policy(outcome, number, state, seconds):
    settled = next_state(outcome, POLICY, number, NOW, middle)
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
    _, due_at = next_state(AttemptRetry("500", after=after, firm=firm), policy, number, NOW, lambda: spread)
    assert 0 <= (due_at - NOW).total_seconds() <= longest_wait([policy]) + 0.001


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 1))
def test_jitter_never_goes_beyond_the_longest_wait_of_the_policy(number, spread, jitter):
    policy = RetryPolicy(attempts=500, max=30.0, jitter=jitter)
    assert 0 <= policy.wait_after(number, lambda: spread) <= 30.0 + 1e-9


def refused():
    return ActionResult(outcome=AttemptRetry("connection refused", unreachable=True), request=SENT)


SENT = SentRequest(method="POST", url="http://localhost/")
ANSWERED = ActionResult(outcome=AttemptRetry("500"), request=SENT, response=ReceivedResponse(status=500))


def test_a_target_is_down_at_its_first_refusal_and_up_at_its_first_answer():
    circuit_breaker = CircuitBreaker()
    assert not circuit_breaker.note("app", ANSWERED, 0.0)
    assert not circuit_breaker.note("app", refused(), 0.0)
    assert circuit_breaker.down == {"app": "connection refused"}
    assert circuit_breaker.note("app", ANSWERED, 0.0)
    assert circuit_breaker.down == {}
    assert not circuit_breaker.note("app", ANSWERED, 0.0)


def test_a_target_that_is_down_is_asked_once_at_a_time_and_at_most_a_second_apart():
    circuit_breaker = CircuitBreaker()
    for _ in range(4):
        circuit_breaker.note("app", refused(), 100.0)
    assert circuit_breaker.next_probe() == 100.0 + PROBE_SECONDS
    assert circuit_breaker.take_probes(100.0) == ()
    assert circuit_breaker.take_probes(101.0) == ("app",)
    assert circuit_breaker.take_probes(500.0) == ()
    for at in (101.0, 103.0, 1000.0):
        circuit_breaker.note_probe("app", answered=False, at=at)
        assert 0 < circuit_breaker.next_probe() - at <= 1.0
    circuit_breaker.note_probe("app", answered=True, at=1001.0)
    assert (circuit_breaker.down, circuit_breaker.next_probe()) == ({}, None)


def test_a_target_that_takes_connections_but_no_request_is_asked_ever_more_rarely():
    circuit_breaker, pauses = CircuitBreaker(), []
    circuit_breaker.note("app", refused(), 0.0)
    for _ in range(9):
        circuit_breaker.note_probe("app", answered=True, at=0.0)
        circuit_breaker.note("app", refused(), 0.0)
        pauses.append(circuit_breaker.next_probe())
    assert pauses[:3] == [2 * PROBE_SECONDS, 4 * PROBE_SECONDS, 8 * PROBE_SECONDS]
    assert pauses[-1] == LONGEST_PROBE_WAIT
    circuit_breaker.note("app", ANSWERED, 0.0)
    circuit_breaker.note("app", refused(), 0.0)
    assert circuit_breaker.next_probe() == PROBE_SECONDS


def test_a_410_marks_its_target_until_another_answer():
    circuit_breaker = CircuitBreaker()
    gone = ActionResult(outcome=AttemptFailed("410 (gone)"), request=SENT, response=ReceivedResponse(status=410))
    circuit_breaker.note("app", gone, 0.0)
    assert (circuit_breaker.gone, circuit_breaker.down) == ({"app": "410 (gone)"}, {})
    circuit_breaker.note("app", ANSWERED, 0.0)
    assert circuit_breaker.gone == {}


def owed(number, target="app"):
    delivery = build_delivery(
        id=number, event_id=number, target=target, state=DeliveryState.RUNNING, created_at=NOW, due_at=NOW
    )
    return ClaimedDelivery(delivery=delivery, event=None)


def lined_up(pace, *numbers, target="app"):
    for number in numbers:
        pace.line_up(owed(number, target))


def started(pace, at):
    return [one.delivery.id for one in pace.start(at)]


def test_what_waited_starts_one_by_one_and_what_came_later_as_many_as_the_target_takes():
    pace = Scheduler({"app": 3}, each=4, at_once=16)
    pace.drain("app", 0)
    assert pace.most(0.0) == {"app": 3}
    pace.drain("app", 2)
    assert pace.most(10.0) == {"app": 1}
    lined_up(pace, 1, 2, 3, 4, 5)
    assert started(pace, 10.0) == [1]
    assert pace.next_start() == 10.0 + STAGGER
    assert started(pace, 10.0 + STAGGER) == [2]
    pace.ended("app", QUICK_SECONDS)
    assert started(pace, 10.0 + STAGGER) == []
    pace.ended("app", QUICK_SECONDS)
    assert started(pace, 10.3) == [3, 4, 5]
    assert pace.next_start() is None


def test_a_slow_target_never_gets_more_at_once_than_it_takes_while_its_queue_drains():
    pace = Scheduler({"app": 2}, each=4, at_once=16)
    pace.drain("app", 99)
    lined_up(pace, 1, 2, 3)
    assert [started(pace, at) for at in (0.0, 1.0, 5.0)] == [[1], [2], []]
    assert (pace.most(5.0), pace.next_start()) == ({"app": 2}, None)


def test_only_a_quick_target_has_deliveries_claimed_ahead():
    pace = Scheduler({"app": 2}, each=4, at_once=16)
    lined_up(pace, 1, 2, 3)
    assert started(pace, 0.0) == [1, 2]
    assert pace.ended("app", QUICK_SECONDS / 2)
    assert pace.most(0.0) == {"app": 2 + LINE_LENGTH}
    pace.ended("app", QUICK_SECONDS)
    assert pace.most(0.0) == {"app": 2}


def test_a_target_that_hangs_does_not_keep_the_others_out_and_no_more_run_than_may_in_all():
    pace = Scheduler({}, each=4, at_once=6)
    lined_up(pace, 1, 2, 3, 4, 5, target="hangs")
    assert started(pace, 0.0) == [1, 2, 3, 4]
    lined_up(pace, 6, 7, 8, target="good")
    assert started(pace, 0.0) == [6, 7]
    assert (pace.taken, pace.free_slots) == ({"hangs": 5, "good": 3}, 0)


def test_the_line_of_a_target_that_was_slow_twice_is_given_back_but_for_what_it_takes_at_once():
    pace = Scheduler({}, each=2, at_once=6)
    lined_up(pace, *range(1, 10))
    assert started(pace, 0.0) == [1, 2]
    for took, given_back in ((QUICK_SECONDS, []), (0.01, []), (QUICK_SECONDS, []), (QUICK_SECONDS, [8, 9])):
        pace.ended("app", took)
        assert [one.delivery.id for one in pace.trim_line("app")] == given_back
        assert len(started(pace, 0.0)) == 1
    assert pace.trim_line("app") == ()
    assert pace.taken == {"app": 3}


def test_the_line_of_a_target_that_is_down_is_given_back():
    pace = Scheduler({}, each=1, at_once=6)
    lined_up(pace, 1, 2, 3)
    assert started(pace, 0.0) == [1]
    assert [one.delivery.id for one in pace.clear_line("app")] == [2, 3]
    assert pace.clear_line("app") == ()
    assert pace.taken == {"app": 1}


def test_what_was_never_sent_says_nothing_about_a_target():
    circuit_breaker = CircuitBreaker()
    circuit_breaker.note("app", ActionResult(outcome=AttemptFailed("not an allowed target")), 0.0)
    circuit_breaker.note("app", ActionResult(outcome=AttemptRetry("relay stumbled")), 0.0)
    assert circuit_breaker.health == {}
