"""What the command line tells of those who were turned away, and of events that broke a rule."""

import json
import re
import sys
import urllib.error

import pytest

from relay.cli.output import Terminal
from relay.cli.start.reporters import JsonReporter, LineReporter
from relay.model.signals import RequestRefused

RULES = """
[sources.shop]
provider = "custom"
schema = "s.json"
rate_limit = { requests_per_minute = 1, burst = 4 }
"""


class Hand:
    """A clock moved by hand."""

    def __init__(self):
        self.at = 50.0

    def __call__(self):
        return self.at


def terminal():
    return Terminal(out=sys.stdout, err=sys.stderr)


def told(capsys, voice, clock):
    fast = RequestRefused("shop", 429, "faster than 60 a minute, 10 at once", "203.0.113.7")
    for _ in range(500):
        voice.report_refusal(fast)
    voice.report_refusal(RequestRefused("shop", 403, "203.0.113.7 is not in allow_ips", "203.0.113.7"))
    clock.at += 10.5
    voice.report_refusal(fast)
    return capsys.readouterr()


def test_a_burst_of_refusals_is_one_line(capsys):
    clock = Hand()
    said = told(capsys, LineReporter(terminal(), clock), clock).err.splitlines()
    assert said == [
        "turned away with 429 for shop: faster than 60 a minute, 10 at once",
        "turned away with 403 for shop: 203.0.113.7 is not in allow_ips",
        "turned away with 429 for shop: faster than 60 a minute, 10 at once, and 499 before it",
    ]


def test_a_burst_of_refusals_is_one_object(capsys):
    clock = Hand()
    out = told(capsys, JsonReporter(terminal(), clock), clock).out
    said = [json.loads(line) for line in out.splitlines()]
    assert [(one["kind"], one["status"], one["before"]) for one in said] == [
        ("notice", 429, 0),
        ("notice", 403, 0),
        ("notice", 429, 499),
    ]
    assert said[0]["remote"] == "203.0.113.7"


def test_a_rejected_event_is_told_field_by_field(started, command, tmp_path):
    (tmp_path / "relay.toml").write_text(RULES)
    (tmp_path / "s.json").write_text('{"required": ["a"], "properties": {"b": {"type": "integer"}}}')
    with started() as relay:
        relay.banner()
        with pytest.raises(urllib.error.HTTPError, match="400"):
            relay.send("shop", b'{"b": "x"}')
        assert "rejected 400 (schema)" in relay.line()
        shown = command("show", "1")
        assert "Refused because" in shown.out
        assert re.search(r"FAILED +a +is missing\n +FAILED +b +must be a whole number, got text\n", shown.out)
        assert json.loads(command("show", "1", "--json").out)["fields"][0]["pointer"] == "/a"
        assert re.search(r"FAILED +a +is missing\n", command("verify", "1").out)
        for _ in range(4):
            with pytest.raises(urllib.error.HTTPError):
                relay.send("shop", b"{}")
        told = "turned away with 429 for shop: faster than 1 a minute, 4 at once"
        assert told in relay.process.stderr.readline()
        assert told not in relay.stop()[2]


def test_check_names_a_broken_schema(command, tmp_path):
    (tmp_path / "relay.toml").write_text(RULES)
    (tmp_path / "s.json").write_text('{"properties": {"a": {"type": "text"}}}')
    done = command("check")
    assert done.code == 2
    assert "sources.shop.schema: s.json is not a JSON Schema: at /properties/a/type" in done.err
    assert "Traceback" not in done.err
