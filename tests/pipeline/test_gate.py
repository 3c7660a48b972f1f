"""The gate: a bucket for each source, addresses before it."""

from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_source
from relay.model.admission import Admission, Rate
from relay.pipeline.limits import RequestLimits


class Stood:
    """A clock that stands until it is moved."""

    def __init__(self):
        self.at = 1000.0

    def monotonic(self):
        return self.at


def source(name="any", **rules):
    return build_source(name, provider="custom", admission=Admission(**rules))


@pytest.fixture
def clock():
    return Stood()


@pytest.fixture
def gate(clock):
    return RequestLimits(clock)


def admitted(gate, source, times, caller="192.0.2.1"):
    return sum(gate.refuse(source, caller) is None for _ in range(times))


def test_without_rules_everything_comes_in(gate):
    assert admitted(gate, source(), 1000) == 1000


def test_a_burst_comes_in_and_no_more_until_time_has_passed(gate, clock):
    shop = source(rate=Rate(per_minute=60, burst=10))
    assert admitted(gate, shop, 25) == 10
    clock.at += 3.0
    assert admitted(gate, shop, 25) == 3
    clock.at += 3600.0
    assert admitted(gate, shop, 25) == 10


@pytest.mark.parametrize(("per_minute", "waits"), [(60, 1), (59, 2), (10, 6), (7, 9), (1, 60), (6000, 1)])
def test_whoever_waits_as_long_as_was_asked_for_comes_in(gate, clock, per_minute, waits):
    shop = source(rate=Rate(per_minute=per_minute, burst=1))
    assert admitted(gate, shop, 1) == 1
    for _ in range(50):
        turned = gate.refuse(shop, "192.0.2.1")
        assert (turned.status, turned.retry_after, turned.headers) == (429, waits, (("Retry-After", str(waits)),))
        clock.at += turned.retry_after
        assert gate.refuse(shop, "192.0.2.1") is None


def test_sources_have_buckets_of_their_own_and_callers_share_one(gate):
    one, two = (source(name, rate=Rate(per_minute=1, burst=2)) for name in ("one", "two"))
    assert admitted(gate, one, 5) == admitted(gate, two, 5) == 2
    assert gate.refuse(one, "198.51.100.9").status == 429


def test_an_address_that_may_not_come_uses_up_nobodys_rate(gate):
    shop = source(rate=Rate(per_minute=1, burst=2), networks=(ip_network("192.0.2.0/24"),))
    assert admitted(gate, shop, 50, "198.51.100.9") == 0
    assert gate.refuse(shop, "198.51.100.9").status == 403
    assert admitted(gate, shop, 5) == 2


@given(st.lists(st.floats(0, 30), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_no_pattern_of_calls_gets_more_than_burst_and_rate(pauses, per_minute, burst):
    clock: Any = Stood()
    gate, shop = RequestLimits(clock), source(rate=Rate(per_minute=per_minute, burst=burst))
    admitted_ = 0
    for pause in pauses:
        clock.at += pause
        admitted_ += gate.refuse(shop, "192.0.2.1") is None
    assert admitted_ <= burst + (clock.at - 1000.0) * per_minute / 60 + 1e-3
