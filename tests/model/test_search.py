"""The search language is read to the letter: what is not understood is a problem, never everything."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import UsageError
from relay.model.search import (
    KEYS,
    MAX_LENGTH,
    list_grammar,
    localize_moments,
    parse_moment,
    parse_query,
    parse_query_strictly,
)

NOW = datetime(2026, 11, 22, 16, 30, tzinfo=UTC)


@pytest.fixture
def tokyo(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shape(text):
    """Return the terms of a query, alternatives as lists."""

    def one(term):
        if term.any_of:
            return [one(part) for part in term.any_of]
        return f"{'-' if term.negated else ''}{f'{term.key}:' if term.key else ''}{term.value}"

    return [one(term) for term in parse_query(text, NOW).terms]


def test_or_joins_the_terms_beside_it_and_the_rest_must_all_hold():
    assert shape("a OR b c") == [["a", "b"], "c"]
    assert shape("source:stripe type:a OR -type:b OR x") == ["source:stripe", ["type:a", "-type:b", "x"]]
    assert shape('a or b "OR" OR:') == ["a", "or", "b", "OR", "or:"]


@pytest.mark.parametrize("text", ["OR", "OR a", "a OR", "a OR OR b", "-sorce:x OR a"])
def test_an_or_or_an_alternative_that_cannot_be_read_is_a_problem(text):
    assert parse_query(text, NOW).problems
    with pytest.raises(UsageError):
        parse_query_strictly(text, NOW)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("sorce:stripe", "did you mean source:?"),
        ("-sorce:stripe", "did you mean source:?"),
        ("paylod.a.b:1", "did you mean payload.a.b:?"),
        ("head.x:1", "did you mean header.x:?"),
        ("payload.:1", "did you mean payload.NAME:?"),
        ("foo:bar", "there are source, provider, type"),
    ],
)
def test_an_unknown_filter_is_a_problem_that_names_the_nearest(text, meant):
    query = parse_query(text, NOW)
    assert meant in query.problems[0]
    assert "in quotes it is looked for as text" in query.problems[0]


@pytest.mark.parametrize("text", ["(source:a OR source:b)", "-(source:a)", "--source:a", "!source:a", "x (payload.a:1"])
def test_a_filter_that_is_grouped_or_marked_otherwise_is_a_problem(text):
    # Read as text, -(source:a) would be every event.
    assert "is not a filter: write " in parse_query(text, NOW).problems[0]
    query = parse_query(text, NOW, lenient=True)
    assert (query.problems, len(query.notes)) == ((), 1)


def test_a_search_that_is_being_typed_notes_it_and_looks_for_the_text():
    query = parse_query('-sorce:stripe "', NOW, lenient=True)
    assert [(term.key, term.value, term.negated) for term in query.terms] == [("", "sorce:stripe", True)]
    assert query.notes == ('"sorce:" is not a filter, searched as text; did you mean source:?',)
    assert parse_query("a OR", NOW, lenient=True).problems == ()


@pytest.mark.parametrize(
    "text", ['"sorce:x"', "http://localhost:3000/x", "10:30", "+49:15", "(a", "-(http://x", '"(source:a"']
)
def test_what_only_looks_like_a_filter_is_text(text):
    query = parse_query(text, NOW)
    assert query.problems == ()
    assert query.terms[0].key == ""


@pytest.mark.parametrize(
    "text", ['""', '" "', "size:big", "size:>", "payload.a:>b", "query.a:<", "verdict:invald", "a" * (MAX_LENGTH + 1)]
)
def test_a_term_that_means_nothing_is_a_problem(text):
    assert parse_query(text, NOW).problems


def test_a_value_in_quotes_is_no_comparison():
    assert parse_query('payload.a:">b"', NOW).problems == ()


def test_a_time_without_a_zone_is_one_of_this_computer(tokyo):
    assert parse_moment("2026-11-23T01:15", NOW) == datetime(2026, 11, 22, 16, 15, tzinfo=UTC)
    assert parse_moment("2026-11-23", NOW) == datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    assert parse_moment("2026-11-22T16:15Z", NOW) == datetime(2026, 11, 22, 16, 15, tzinfo=UTC)


def test_a_time_without_a_day_is_the_last_such_time(tokyo):
    assert parse_moment("01:15:30", NOW) == datetime(2026, 11, 22, 16, 15, 30, tzinfo=UTC)
    assert parse_moment("01:45", NOW) == datetime(2026, 11, 21, 16, 45, tzinfo=UTC)
    assert parse_moment("25:00", NOW) is None


def test_the_command_line_says_its_zone_to_a_relay_in_another(tokyo):
    assert localize_moments("-after:01:15 a OR before:2h x", NOW) == "-after:2026-11-23T01:15:00+09:00 a OR before:2h x"


@given(st.text(max_size=60))
def test_a_query_without_problems_has_a_term_for_every_part(text):
    query = parse_query(text, NOW)
    assert bool(query.terms) == bool(text.strip())
    assert all(term.any_of or term.value or term.problem for term in query.terms)


def test_the_grammar_tells_every_filter():
    told = " ".join(term for term, _ in list_grammar())
    assert all(f"{key}:" in told for key in KEYS)
    assert timedelta(hours=2) == NOW - parse_query("after:2h", NOW).terms[0].moment
