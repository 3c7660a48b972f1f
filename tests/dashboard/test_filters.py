from datetime import UTC, timedelta

import pytest

from relay.dashboard.events.body_tree import guess_meaning
from relay.dashboard.filters import (
    TIME_ZONE,
    format_count,
    format_day,
    format_due,
    format_duration,
    format_moment,
    format_status,
)
from relay.model.text import format_size


@pytest.fixture(autouse=True)
def utc():
    token = TIME_ZONE.set(UTC)
    yield
    TIME_ZONE.reset(token)


def test_a_moment_is_told_four_ways(noon):
    told = format_moment(noon)
    assert (told.clock, told.full) == ("12:00:00", "22 Nov 2026, 12:00:00.482")
    assert (told.iso, told.title) == ("2026-11-22T12:00:00.482Z", "22 Nov 2026, 12:00:00.482 UTC")


@pytest.mark.parametrize(
    ("ago", "word", "date"), [(0, "Today", "22 Nov"), (1, "Yesterday", "21 Nov"), (3, "Thursday", "19 Nov")]
)
def test_days_near_by_have_a_word(noon, ago, word, date):
    assert format_day(noon - timedelta(days=ago), noon) == (word, date)


def test_a_day_of_another_year_says_which(noon):
    assert format_day(noon - timedelta(days=400), noon)[1] == "18 Oct 2025"


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 B"), (912, "912 B"), (1234, "1.2 KB"), (5_000_000, "5.0 MB"), (10**10, "10.0 GB")]
)
def test_sizes_have_units(count, text):
    assert format_size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.0004, "1 ms"), (0.038, "38 ms"), (1.21, "1.21 s"), (120.0, "120 s")]
)
def test_durations_are_short(seconds, text):
    assert format_duration(seconds) == text


def test_numbers_have_their_noun():
    assert (format_count(1, "event"), format_count(1284, "event")) == ("1 event", "1,284 events")
    assert format_count(2, "delivery", "deliveries") == "2 deliveries"


@pytest.mark.parametrize(("wait", "text"), [(0, "now"), (12, "in 12 s"), (240, "in 4 min"), (7200, "in 2 h")])
def test_the_next_try_says_when(noon, wait, text):
    assert format_due(noon + timedelta(seconds=wait), noon) == text


def test_a_status_without_a_name_stands_alone():
    assert (format_status(500), format_status(299)) == ("500 Internal Server Error", "299")


@pytest.mark.parametrize(
    ("key", "value", "siblings", "text"),
    [
        ("amount", 4800, {"currency": "eur"}, "€48.00"),
        ("amount_due", 1900, {"currency": "usd"}, "$19.00"),
        ("total", 500, {"currency": "jpy"}, "¥500"),
        ("amount", 990, {"currency": "chf"}, "9.90 CHF"),
        ("tax", -500, {"currency": "eur"}, "-€5.00"),
        ("created", 1795356450, {}, "22 Nov 2026, 14:07:30 UTC"),
        ("created_ms", 1795356450000, {}, "22 Nov 2026, 14:07:30 UTC"),
        ("created", 10**400, {}, ""),
        ("amount", -(10**400), {"currency": "eur"}, ""),
        ("amount", 4800, {}, ""),
        ("amount", True, {"currency": "eur"}, ""),
        ("amount", "4800", {"currency": "eur"}, ""),
        ("port", 8400, {"currency": "eur"}, ""),
        ("amount", 4800, {"currency": ["eur"]}, ""),
    ],
)
def test_a_number_gets_a_hint_only_where_it_is_plain(key, value, siblings, text):
    assert guess_meaning(key, value, siblings) == text
