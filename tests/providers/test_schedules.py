import re

import pytest

from cases import check_each
from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import STANDARD_SCHEDULE

HOUR = 3600.0
SCHEDULES = {name: entry.schedule for name, entry in PROVIDERS.items() if entry.schedule}
ALL = {**SCHEDULES, "advice": STANDARD_SCHEDULE}


@check_each("name", ALL)
def test_a_schedule_is_one_that_can_be_followed(name):
    told = ALL[name]
    assert told.source.startswith("https://")
    assert all(wait >= 0 for wait in told.waits)
    assert list(told.waits) == sorted(told.waits)
    assert told.limit is None or told.limit >= 1
    assert not told.success_statuses & told.stop_statuses


def _hours(text):
    number, unit = re.search(r"(\d+) (s|min|h|d)", text).groups()
    return int(number) * {"s": 1 / HOUR, "min": 1 / 60, "h": 1.0, "d": 24.0}[unit]


@check_each("name", [name for name in SCHEDULES if PROVIDERS[name].answer])
def test_a_schedule_and_what_the_catalogue_says_of_it_agree(name):
    told, said = SCHEDULES[name], PROVIDERS[name].answer
    if within := re.search(r"within (\d+) s", said):
        assert told.limit == float(within[1])
    if count := re.search(r"retried (\d+) times", said):
        assert len(told.waits) in (int(count[1]), 76)
    if over := re.search(r"(?:for|over) (\d+ (?:s|min|h|d))", said.replace("days", "d")):
        assert told.span / HOUR == pytest.approx(_hours(over[1]), rel=0.15) or not told.waits
    if "never retried" in said or "not retried" in said:
        assert told.waits == ()


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("slack", (0, 60, 300)),
        ("zoom", (300, 1200, 3600)),
        ("lemonsqueezy", (5, 25, 125)),
        ("svix", (5, 300, 1800, 7200, 18000, 36000, 36000)),
        ("github", ()),
    ],
)
def test_published_waits_are_kept_to_the_second(name, waits):
    assert SCHEDULES[name].waits == waits
    assert SCHEDULES[name].published
