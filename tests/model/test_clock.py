"""Times as APIs and webhooks write them, read into one form."""

from datetime import UTC, datetime

import pytest

from relay.model.clock import parse_time


@pytest.mark.parametrize(
    ("value", "read_as"),
    [
        ("1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
        ("1700000000.5", datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)),
        ("2024-11-22T23:41:12.126Z", datetime(2024, 11, 22, 23, 41, 12, 126_000, tzinfo=UTC)),
        ("2014-08-01T13:28:10.2735393-04:00", datetime(2014, 8, 1, 17, 28, 10, 273_539, tzinfo=UTC)),
        ("2024-11-22T23:41:12", datetime(2024, 11, 22, 23, 41, 12, tzinfo=UTC)),
        ("inf", None),
        ("nan", None),
        ("1e300", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("soon", None),
        ("", None),
        ("2026-13-01", None),
        (1772366400, datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (1e300, None),
        (-(10**30), None),
        (float("inf"), None),
        (True, None),
        ([], None),
        (None, None),
    ],
)
def test_a_time_is_read_in_either_form(value, read_as):
    assert parse_time(value) == read_as
