"""Where a message stands follows from what it was told, never from the order of telling."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.message import (
    DayCounts,
    MessageCounts,
    MessageStatus,
    add_up_counts,
    find_furthest,
    group_by_day,
    normalize_id,
    parse_addresses,
)
from relay.model.text import escape_unprintable

S = MessageStatus
told = st.lists(st.sampled_from(MessageStatus), min_size=1, max_size=12)


@given(told, st.randoms())
def test_any_order_and_any_repeats_give_the_same_status(statuses, random):
    again = [*statuses, *random.choices(statuses, k=5)]
    random.shuffle(again)
    assert find_furthest(again) is find_furthest(statuses)


@given(told, st.sampled_from(MessageStatus))
def test_one_more_status_never_moves_a_message_backwards(statuses, later):
    assert find_furthest([*statuses, later]).rank >= find_furthest(statuses).rank


@pytest.mark.parametrize(
    ("statuses", "stands"),
    [
        ((S.QUEUED, S.SENT, S.DELIVERED), S.DELIVERED),
        ((S.QUEUED, S.SENT, S.UNDELIVERED), S.UNDELIVERED),
        ((S.QUEUED, S.FAILED), S.FAILED),
        ((S.SENT, S.DELAYED, S.DELIVERED), S.DELIVERED),
        ((S.SENT, S.DELAYED, S.BOUNCED), S.BOUNCED),
        ((S.SENT, S.DELIVERED, S.BOUNCED), S.BOUNCED),
        ((S.DELIVERED, S.FAILED), S.DELIVERED),
        ((S.DELIVERED, S.UNDELIVERED), S.DELIVERED),
        ((S.SENT, S.DELIVERED, S.OPENED, S.CLICKED), S.CLICKED),
        ((S.BOUNCED, S.OPENED), S.OPENED),
        ((S.DELIVERED, S.CLICKED, S.COMPLAINED), S.COMPLAINED),
    ],
)
def test_what_comes_further_is_as_providers_mean_it(statuses, stands):
    assert find_furthest(statuses) is stands
    assert find_furthest(reversed(statuses)) is stands


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Ada <Ada@Example.com>", ("ada@example.com",)),
        ("ada@example.com, Bob <bob@example.com>, ADA@example.com", ("ada@example.com", "bob@example.com")),
        ("+49 151 23456789", ("4915123456789",)),
        ("+49 (151) 234-567", ("49151234567",)),
        ("0049151234567", ("49151234567",)),
        ("whatsapp:+14155550187", ("14155550187",)),
        ("client:Joe", ("joe",)),
        ("", ()),
        ("   ", ()),
    ],
)
def test_an_address_is_compared_in_one_form(text, known):
    assert parse_addresses(text) == known


@given(st.text(max_size=300))
def test_any_text_is_read_as_addresses_and_as_an_id(text):
    assert all(address == address.lower() for address in parse_addresses(text))
    assert escape_unprintable(normalize_id(text)) == normalize_id(text)


def test_angle_brackets_are_no_part_of_an_id():
    assert normalize_id(" <a@b> ") == normalize_id("a@b") == "a@b"


def test_rates_are_shares_of_what_was_sent_and_of_what_arrived():
    counts = MessageCounts(sent=10, delivered=8, failed=1, opened=4, clicked=2, complained=1)
    assert (counts.delivery_rate, counts.open_rate, counts.click_rate, counts.under_way) == (0.8, 0.5, 0.25, 1)
    nothing = MessageCounts()
    assert (nothing.delivery_rate, nothing.open_rate, nothing.click_rate) == (None, None, None)


def test_counts_add_up_by_channel_and_by_day():
    one = MessageCounts(sent=2, delivered=1)
    monday, tuesday = date(2026, 3, 2), date(2026, 3, 3)
    days = [
        DayCounts(day=monday, channel="email", counts=one),
        DayCounts(day=monday, channel="sms", counts=one),
        DayCounts(day=tuesday, channel="email", counts=one),
    ]
    assert add_up_counts(days).sent == 6
    assert add_up_counts(days, "email") == MessageCounts(sent=4, delivered=2)
    assert {day: counts.sent for day, counts in group_by_day(days).items()} == {monday: 4, tuesday: 2}
