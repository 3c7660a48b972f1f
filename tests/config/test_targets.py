"""What a target's table says about how it is sent to."""

import pytest

from relay.config.build import Overrides, load
from relay.errors import ConfigError
from relay.model.delivery import SignMode

TARGET = '[targets.app]\nforward = "http://localhost:3000/hooks"\n'


def target(tmp_path, text):
    path = tmp_path / "relay.toml"
    path.write_text(TARGET + text)
    return load(path, Overrides(), {}).targets["app"]


def test_a_target_takes_four_at_once_joins_paths_and_is_called_by_its_own_name(tmp_path):
    app = target(tmp_path, "")
    assert (app.concurrency, app.fifo) == (4, False)
    assert (app.options.fixed_path, app.options.keep_host, app.options.forwarded) == (False, False, False)
    assert app.options.sign_url is None
    assert app.options.sign is SignMode.AUTO


def test_each_of_that_can_be_said_otherwise(tmp_path):
    app = target(
        tmp_path,
        'concurrency = 9\norder = "fifo"\npath = "fixed"\nhost = "original"\nforwarded = true\nsign = "auto"\n'
        'sign_url = "public"\n',
    )
    assert (app.concurrency, app.fifo, app.options.sign) == (9, True, "auto")
    assert (app.options.fixed_path, app.options.keep_host, app.options.forwarded) == (True, True, True)
    assert app.options.sign_url == "public"


@pytest.mark.parametrize("line", ["concurrency = 0", "concurrency = 17", 'path = "x"', 'host = "evil"'])
def test_what_cannot_be_is_named(tmp_path, line):
    with pytest.raises(ConfigError) as caught:
        target(tmp_path, line)
    assert caught.value.problems[0].startswith(f"targets.app.{line.split()[0]}: ")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('retry.max = "366d"', "retry.max"),
        ('retry.first = "100000000d"', "retry.first"),
        ('headers.set = { "X Env" = "dev" }', "headers.set"),
        ('headers.set = { X-Env = "de\\r\\nv" }', "headers.set.X-Env"),
        ('headers.remove = ["X-Env", "X-Debug:"]', "headers.remove"),
    ],
)
def test_waits_and_headers_that_no_delivery_can_have_are_named(tmp_path, line, key):
    with pytest.raises(ConfigError) as caught:
        target(tmp_path, line)
    assert caught.value.problems[0].startswith(f"targets.app.{key}")


def test_a_header_beyond_ascii_is_set_as_utf_8(tmp_path):
    options = target(tmp_path, 'headers.set = { X-Env = "漢é" }').options
    assert options.set_headers == (("X-Env", "漢é".encode().decode("latin-1")),)


def test_no_source_is_told_that_waiting_is_not_applied(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text('[sources.slack]\nsecret = "env:S"\nanswer = { mode = "wait", timeout = "3s" }\n')
    config = load(path, Overrides(), {"S": "8f742231b10e8888abcd99yyyzzz85a5"})
    assert config.notices == ()
    assert (config.sources[0].answer.mode, config.sources[0].answer.timeout) == ("wait", 3.0)
