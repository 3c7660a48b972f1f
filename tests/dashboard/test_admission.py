"""Rules and refusals in words."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from builders import build_source
from relay.dashboard import sources as page
from relay.dashboard.events.detail import build_pipeline_bar, describe_verification
from relay.dashboard.filters import TIME_ZONE
from relay.model.admission import Admission, Problem, Rate
from relay.model.event import EventOutcome
from relay.model.signals import RequestRefused
from relay.pipeline.limits import RefusalCounts

AT = datetime(2026, 11, 22, 14, 2, 12, tzinfo=UTC)
SHOP = build_source("shop", provider="custom", admission=Admission(rate=Rate(per_minute=60, burst=10)))
PROBLEM = Problem(rule="schema", field="data.amount", pointer="/data/amount", message="is missing")


@pytest.fixture
def utc():
    token = TIME_ZONE.set(UTC)
    yield
    TIME_ZONE.reset(token)


def counted(*refusals):
    kept = RefusalCounts()
    for status, count in refusals:
        for _ in range(count):
            kept.note(RequestRefused("shop", status, "x", "203.0.113.7", AT))
    return kept


def test_refusals_are_counted_beyond_any_number_and_the_most_frequent_comes_first():
    kinds = counted((403, 1), (429, 1200)).of("shop")
    assert page.summarize_refusals(kinds) == "1,200 too fast, 1 address not allowed"


@pytest.mark.parametrize(
    ("status", "count", "line"),
    [
        (413, 3, "3 requests were too large (limit 25 MB). The latest: 14:02:12 from 203.0.113.7"),
        (413, 1, "1 request was too large (limit 25 MB). The latest: 14:02:12 from 203.0.113.7"),
        (429, 2, "2 requests came too fast (limit 60 a minute, 10 at once). The latest: 14:02:12 from 203.0.113.7"),
        (403, 2, "2 requests came from addresses that are not allowed. The latest: 14:02:12 from 203.0.113.7"),
        (408, 1, "1 request did not send its body in time. The latest: 14:02:12 from 203.0.113.7"),
        (418, 2, "2 refused with 418. The latest: 14:02:12 from 203.0.113.7"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("utc")
def test_a_refusal_is_a_sentence_with_its_limit_and_the_latest(status, count, line):
    assert page.describe_refusals(counted((status, count)).of("shop"), SHOP, 25_000_000) == [line]


def test_the_inbox_cannot_fill_the_memory_with_names():
    kept = RefusalCounts()
    for n in range(5000):
        kept.note(RequestRefused(f"name{n}", 413, "x"))
    names = list(kept)
    assert len(names) == 1001
    assert sum(kind.count for name in names for kind in kept.of(name)) == 5000


def rejected(row_of, **changes):
    return row_of(outcome=EventOutcome.REJECTED, reason="schema", summary="data.amount is missing", **changes)


def test_the_hop_line_names_the_field(row_of, noon):
    checked, _ = build_pipeline_bar(rejected(row_of), [], {}, [], noon)
    assert (checked.kind, checked.text) == ("err", "Schema: data.amount is missing")


def test_a_long_reason_is_cut_on_the_line_and_whole_in_its_title(row_of, noon):
    summary = "data." + "very_" * 40 + "long is missing"
    checked, _ = build_pipeline_bar(replace(rejected(row_of), summary=summary), [], {}, [], noon)
    assert len(checked.text) <= 40
    assert summary in checked.title


def test_the_panel_names_every_field_and_what_it_lacks(event_of, panel_of):
    event = event_of(outcome=EventOutcome.REJECTED, reason="schema", status=400)
    other = Problem(rule="invalid_recipient", field="X-Mail", message="is missing")
    event = replace(event, problems=(PROBLEM, other))
    _, title, text = describe_verification(event, "Shop", None)
    assert title == "Refused: the body does not fit the schema"
    assert text == "The body does not fit the source's schema. Data.amount is missing; 1 more problem below."
    assert panel_of(event)[1:-1] == [
        ("err", "Schema", "data.amount is missing", "/data/amount"),
        ("err", "Mail address", "X-Mail is missing", ""),
    ]


def test_what_would_come_in_today_is_said(event_of):
    event = replace(event_of(outcome=EventOutcome.REJECTED, reason="schema", status=400), problems=(PROBLEM,))
    assert describe_verification(event, "Shop", None, ())[1] == "With today's rules the request would come in"
    assert describe_verification(event, "Shop", None, (PROBLEM,))[0] == "err"
