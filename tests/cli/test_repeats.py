"""The log stays short while the same thing goes wrong again and again."""

import logging
import socket
import time
from typing import Any

import pytest

from relay.cli import log_output
from relay.cli.log_output import RepeatFilter


class StandingClock:
    at = 0.0

    def monotonic(self):
        return self.at


@pytest.fixture
def logging_to(tmp_path):
    """Set logging up with a file, and put everything back afterwards; return what is said."""
    root = logging.getLogger()
    kept, level, said = root.handlers[:], root.level, []

    def set_up(log, **how):
        root.handlers = []
        log_output.configure_logging(said.append, **how, log=log)
        return said

    yield set_up
    for handler in root.handlers:
        handler.close()
    root.handlers, root.level = kept, level


def test_a_warning_that_comes_again_is_said_once_a_minute_with_how_often():
    clock: Any = StandingClock()
    repeats = RepeatFilter(clock)

    def passed(*args, level=logging.WARNING):
        record = logging.LogRecord("relay", level, "", 0, "no store: %s", args, None)
        # Every handler asks for the same record.
        return [record.getMessage() for _ in range(2) if repeats.filter(record)][:1]

    assert passed("gone") == ["no store: gone"]
    assert [passed("gone") for _ in range(5)] == [[]] * 5
    assert passed("full") == ["no store: full"]
    assert passed("gone", level=logging.INFO) == ["no store: gone"]
    clock.at = 60.0
    assert passed("gone") == ["no store: gone (5 more since it was last printed)"]
    clock.at = 120.0
    assert passed("gone") == ["no store: gone"]


@pytest.mark.parametrize("as_json", [False, True])
def test_terminal_and_file_both_have_the_first_and_neither_the_rest(logging_to, tmp_path, as_json):
    said = logging_to(tmp_path / "relay.log", as_json=as_json)
    for _ in range(10):
        logging.getLogger("relay.x").warning("no store")
    lines = (tmp_path / "relay.log").read_text().splitlines()
    assert (len(said), len(lines)) == (1, 1)
    assert "passes_repeats" not in said[0] + lines[0]


def test_a_log_file_on_a_full_disk_is_one_sentence_and_no_traceback(logging_to, tmp_path, capfd):
    log = tmp_path / "relay.log"
    log.symlink_to("/dev/full")
    said = logging_to(log)
    for number in range(20):
        logging.getLogger("relay.x").warning("trouble %d", number)
    told = [line for line in said if "cannot be written" in line]
    assert told == [f"relay: warning: {log} cannot be written: No space left on device"]
    assert len([line for line in said if "trouble" in line]) == 20
    for handler in logging.getLogger().handlers:
        handler.close()
    assert "Traceback" not in "".join(capfd.readouterr())


def _is_taken(relay):
    try:
        return relay.send()["success"]
    except OSError:
        return False


def test_more_connections_than_descriptors_are_503_and_hardly_a_line(started):
    with started("--json", descriptors=128) as relay:
        ready = relay.object("ready")
        address = ("127.0.0.1", int(ready["ingress_url"].rsplit(":", 1)[1]))
        held = [socket.create_connection(address, 30) for _ in range(200)]
        answers = []
        for one in held[48:]:
            one.settimeout(30)
            answers.append(one.recv(12))
        assert set(answers) == {b"HTTP/1.1 503"}
        for one in held:
            one.close()

        while not _is_taken(relay):
            time.sleep(0.05)
        status, _, err = relay.stop()
        assert status == 0
        assert err.count("turned") == 1
        assert "accept" not in err
        assert "Traceback" not in err
