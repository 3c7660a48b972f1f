"""`[sources.NAME.messages]`: what may stand there, and what each mistake is called."""

from pathlib import Path

import pytest

from relay.config.build import load
from relay.config.source_tables import MessagesTable
from relay.errors import ConfigError
from relay.model.message import Matching, MatchWay, MessageStatus


def loaded(folder, toml):
    path = folder / "relay.toml"
    path.write_text(toml)
    return load(path, environ={})


def problems(folder, toml):
    with pytest.raises(ConfigError) as caught:
        loaded(folder, toml)
    return caught.value.problems


def test_without_a_table_every_way_is_tried_and_an_unknown_message_is_no_trouble(tmp_path):
    (source,) = loaded(tmp_path, "[sources.twilio]\n").sources
    assert source.statuses is not None
    assert source.matching == Matching(ways=tuple(MatchWay), window=600.0, unknown=200)


def test_the_table_says_how_messages_are_found(tmp_path):
    (source,) = loaded(
        tmp_path,
        "[sources.sms]\nprovider = 'twilio'\n[sources.sms.messages]\n"
        "match = ['timestamp', 'external_id', 'timestamp']\nwindow = '90s'\nunknown = 404\n",
    ).sources
    ways = (MatchWay.TIMESTAMP, MatchWay.EXTERNAL_ID)
    assert source.matching == Matching(ways=ways, window=90.0, unknown=404)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("match = 'extrenal_id'", "'extrenal_id' is not allowed"),
        ("match = []", "match: "),
        ("window = '0s'", "window: "),
        ("window = '8d'", "window: "),
        ("window = 600", "600 is not a duration"),
        ("unknown = 500", "500 is not allowed; use 200 or 404"),
        ("unkown = 404", "did you mean 'unknown'?"),
        ("id = 'tags.order'", "messages.id: 'tags.order' says neither where to look nor for what"),
    ],
)
def test_a_mistake_in_the_table_is_named(tmp_path, line, said):
    (problem,) = problems(tmp_path, f"[sources.resend]\n[sources.resend.messages]\n{line}\n")
    assert problem.startswith("sources.resend.messages")
    assert said in problem


def test_a_source_that_tells_no_statuses_takes_no_such_table(tmp_path):
    (problem,) = problems(tmp_path, "[sources.stripe]\n[sources.stripe.messages]\nunknown = 404\n")
    assert problem.startswith("sources.stripe.messages: Stripe does not report message statuses")


def test_an_open_inbox_tells_nothing_of_what_a_configured_source_guards(tmp_path):
    config = loaded(
        tmp_path, "[sources.pm]\nprovider = 'postmark'\n[sources.pm.messages]\nid = 'body:/Metadata/order'\n"
    )
    assert config.inbox("postmark").statuses is None
    assert config.inbox("twilio").statuses is not None
    assert config.inbox("anything").statuses is None


def test_the_documentation_names_every_key_and_ranks_every_status():
    text = (Path(__file__).parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
    assert [name for name in MessagesTable.model_fields if f"| `{name}` |" not in text] == []
    assert " < ".join(f"`{status}`" for status in MessageStatus) in text
