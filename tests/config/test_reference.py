"""The JSON Schema of relay.toml takes what relay takes, and says of every key what it means."""

import json
import re
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from relay.cli.config_file import TEMPLATE_FILE
from relay.cli.program import run
from relay.config.reference import build_page, build_schema
from relay.config.tables import File
from relay.config.types import format_duration, format_size, parse_duration, parse_size

SCHEMA = build_schema()


def whole_template():
    """Return relay init's file with every setting that is commented out put in force."""
    return "\n".join(re.findall(r"^(?:# )?(\[+[a-z._]+\]+|[a-z_]+ *= .*)", TEMPLATE_FILE.read_text(), re.MULTILINE))


def test_it_is_a_json_schema_with_a_description_at_every_key():
    Draft202012Validator.check_schema(SCHEMA)
    for table in (SCHEMA, *SCHEMA["$defs"].values()):
        assert table["description"]
        assert not [key for key, found in table["properties"].items() if not found["description"]]


def test_defaults_are_written_as_in_the_file_and_are_what_relay_goes_by():
    server = SCHEMA["$defs"]["ServerTable"]["properties"]
    assert (server["ingress"]["default"], server["max_body"]["default"]) == ("127.0.0.1:8400", "25MB")
    told = {
        key: {
            name: found["default"] for name, found in SCHEMA["$defs"][table]["properties"].items() if "default" in found
        }
        for key, table in (
            ("server", "ServerTable"),
            ("tunnel", "TunnelTable"),
            ("retention", "RetentionTable"),
            ("log", "LogTable"),
        )
    }
    Draft202012Validator(SCHEMA).validate(told)
    assert File.model_validate(told).model_dump() == File().model_dump()


@pytest.mark.parametrize(
    "text",
    [
        '[sources.stripe]\nsecret = "env:S"\nevents = "a.*"\ntolerance = "off"\n',
        '[sources.stripe]\nsecret = ["env:S", "vault:t"]\ntolerance = "5m"\nmax_body = "64kb"\n',
        '[[routes]]\nsource = "*"\nto = "app"\n',
        '[sources.x.signature]\nheader = ["A", "B"]\npast = "1h"\n',
        '[sources.x.messages]\nmatch = "embedded"\n',
        '[emails.a]\nto = "a@example.com"\nsubject = "x"\ntext = "y"\nattach = "body"\n',
    ],
)
def test_it_takes_what_relay_takes(text):
    value = tomllib.loads(text)
    File.model_validate(value)
    Draft202012Validator(SCHEMA).validate(value)


@pytest.mark.parametrize(
    "text",
    [
        '[sources.stripe]\nsecret = "whsec_x"\n',
        '[sources.stripe]\nsecrets = "env:S"\n',
        "[server]\nmax_body = 7\n",
        '[server]\ningress = "x"\n',
        '[retention]\nmax_age = "30 days"\n',
        '[log]\nlevel = "loud"\n',
        '[[routes]]\nsource = "*"\n',
    ],
)
def test_it_refuses_what_relay_refuses(text):
    value = tomllib.loads(text)
    with pytest.raises(ValueError, match="validation error"):
        File.model_validate(value)
    assert not Draft202012Validator(SCHEMA).is_valid(value)


def test_it_takes_the_file_that_relay_init_writes_with_every_setting_in_force():
    value = tomllib.loads(whole_template())
    assert {"server", "sources", "targets", "emails", "smtp", "log", "retention"} <= set(value)
    Draft202012Validator(SCHEMA).validate(value)
    File.model_validate(value)


@pytest.mark.parametrize(
    "text",
    [
        '[sources."no name"]\nsecret = "env:A"\n',
        '[targets.a.headers]\nset = { "X Y" = "a" }\n',
        "[targets.a.retry]\nfactor = 0\n",
        '[targets.a.retry]\nfactor = "3"\n',
    ],
)
def test_it_refuses_tables_that_relay_refuses(text):
    value = tomllib.loads(text)
    assert not Draft202012Validator(SCHEMA).is_valid(value)
    with pytest.raises(ValidationError):
        File.model_validate(value)


def test_the_command_prints_it(capsys):
    assert run(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_the_page_has_a_section_for_every_table_and_a_row_for_every_key():
    page = build_page()
    for name in ("[server]", "[sources.NAME.signature]", "[[routes]]", "[targets.NAME.retry]", "[log]"):
        assert f"## `{name}`" in page
    assert page.count("\n| `") == sum(
        len(SCHEMA["$defs"][name]["properties"]) * (2 if name == "RetryTable" else 1) for name in SCHEMA["$defs"]
    )


@given(st.integers(min_value=1, max_value=10**9).map(lambda count: count / 1000))
def test_a_duration_is_written_as_it_is_read(value):
    assert parse_duration(format_duration(value)) == pytest.approx(value)


@given(st.integers(min_value=0, max_value=10**11))
def test_a_size_is_written_as_it_is_read(value):
    assert parse_size(format_size(value)) == value
