"""Searches on the command line: negated terms are no options, and what is not understood does nothing."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from relay.model.search import KEYS


@pytest.fixture(scope="module")
def sent(shared):
    """The numbers of a ping, of an order with a sign in it, and of a plain one."""
    texts = (("ping", "plain"), ("order.paid", "card declined 🎉"), ("order.sent", "declined card"))
    return [shared.send("shop", json.dumps({"type": name, "text": text}).encode())["event"] for name, text in texts]


@pytest.fixture
def ask(inside, shared):
    """Ask the shared relay."""
    return lambda *arguments: inside(*arguments, home=shared.home)


@pytest.fixture
def found(ask):
    """Give the numbers of the events that a command line finds."""
    return lambda *words: [event["id"] for event in ask("events", "--json", *words).objects]


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (["-type:ping"], [2, 1]),
        (["-type:ping", "-v", "declined"], [2, 1]),
        (["declined", "-vv", "-verdict:unsigned"], [2, 1]),
        (["-type:ping", "--", "-declined"], []),
        (["-declined"], [0]),
        (['"card declined"'], [1]),
        (['-"card declined"'], [2, 0]),
        (["plain", "OR", '"card declined"'], [1, 0]),
        (["type:ping OR type:order.sent"], [2, 0]),
        (["🎉"], [1]),
        (["--limit", "1", "-type:ping"], [2]),
        (["-type:ping", "--limit=1"], [2]),
    ],
)
def test_terms_are_told_from_options(found, sent, words, places):
    assert found(*words) == [sent[place] for place in places]


def test_a_time_as_it_is_listed_can_be_searched(ask, found, sent):
    early = (datetime.now(UTC).astimezone() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M")
    assert found(f"after:{early}") == sent[::-1]
    listed = ask("events", f"id:{sent[0]}").out.split()[1]
    assert found(f"after:{listed}") == sent[::-1]


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "--query", "-sorce:x", "--dry-run"),
        ("replay", "--query", '""', "--dry-run"),
        ("replay", "--query", "+++ OR", "--dry-run"),
        ("events", "sorce:stripe"),
        ("events", "-sorce:stripe"),
        ("wait", "sorce:stripe"),
        ("export", "-sorce:stripe"),
        ("lab", "duplicates", "--query", "-sorce:x"),
        ("email", "--dry-run", "--query", "-sorce:x"),
    ],
)
def test_a_search_that_is_not_understood_is_wrong_usage(ask, sent, words):
    done = ask(*words)
    assert (done.code, done.out) == (2, "")
    assert "sorce" not in "".join(words) or "did you mean source:?" in done.err
    assert "relay help search" in done.err


def test_a_replay_by_signs_sends_what_holds_them_and_nothing_else(ask, sent):
    nothing = ask("replay", "--query", "+++", "--dry-run")
    assert (nothing.code, nothing.out) == (4, "")
    assert "1 delivery of 1 event" in ask("replay", "--query", "🎉", "--dry-run", "--to", "app").err


def test_help_lists_the_grammar(ask, inside):
    for told in (ask("events", "--help").out, inside("help", "search").out):
        assert all(f"{key}:" in told for key in KEYS)
        assert "A OR B" in told
    assert "--dry-run" in inside("help", "replay").out
    assert inside("help", "serch").err.endswith("did you mean 'search'?\n")
    assert "type:" in [line["term"] for line in inside("help", "search", "--json").objects]


def test_an_option_that_is_misspelt_is_still_one(ask):
    for option in ("--limt", "-x"):
        done = ask("events", option)
        assert done.code == 2
        assert "no such option" in done.err
