"""The parts that commands are made of, where a process would prove no more."""

import asyncio
import io
import json
import logging
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from aiohttp.http_exceptions import BadStatusLine
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_delivery, build_new_event, build_row
from relay.cli import log_output
from relay.cli.client import fetch_url
from relay.cli.error_output import NothingMatched, run_guarded
from relay.cli.formatting import format_delivery, format_duration, format_moment, format_time_left
from relay.cli.log_output import BriefErrorFilter, RepeatFilter
from relay.cli.options import Call, shared_options
from relay.cli.output import OutputClosed, Terminal, align_rows, format_line
from relay.cli.request_edits import parse_assignments
from relay.cli.show import find_differences
from relay.cli.start.command import is_new_delivery
from relay.cli.start.interruption import QUEUE_DEPTH, print_in_background
from relay.cli.start.live_feed import MAX_EVENTS_SHOWN, LiveFeed
from relay.cli.start.reporters import LineReporter
from relay.delivery.attempts import make_attempt
from relay.errors import ConfigError, StoreError, UsageError
from relay.model.delivery import ActionResult, AttemptRetry, DeliveryState, NewDelivery
from relay.model.event import EventOutcome, Verdict
from relay.model.signals import DeliveryChanged, EventStored
from relay.model.text import format_size
from relay.pipeline.bus import Bus, Subscription
from relay.store import open_store
from relay.store.deliveries import AttemptRecord


class StandingClock:
    def __init__(self):
        self.at = 0.0

    def now(self):
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self):
        return self.at

    async def sleep(self, seconds):
        self.at += seconds


@given(st.lists(st.text(), min_size=1), st.booleans())
def test_no_text_gets_a_control_character_onto_a_line(texts, colour):
    line = format_line([(text, "red") for text in texts], colour=colour)
    for code in ("\x1b[31m", "\x1b[0m"):
        line = line.replace(code, "")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", line)


def test_text_of_several_lines_keeps_its_lines_and_tabs_and_loses_its_escape_sequences():
    out = io.StringIO()
    Terminal(out=out, err=out).print_text("a\t\x1b[31mred\r\n\x9b2Jcaf\u00e9\n")
    assert out.getvalue() == "a\t\\x1b[31mred\\x0d\n\\x9b2Jcaf\u00e9\n"


@given(st.text())
def test_json_is_one_line_of_ascii(value):
    out = io.StringIO()
    Terminal(out=out, err=out).print_json({value: value})
    text = out.getvalue().removesuffix("\n")
    assert text.isascii()
    assert text.isprintable()


def test_columns_line_up_by_what_is_shown():
    rows = align_rows([["a\x1b", "x"], ["bbbbbbb", "y"]])
    assert [format_line(row, colour=False) for row in rows] == ["a\\x1b    x", "bbbbbbb  y"]


def test_a_held_terminal_stops_nobody_and_what_is_dropped_is_counted():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        terminal = Terminal(out=out, err=out)
        with print_in_background(terminal, lambda: None):
            # Nothing reads yet: were anything written here, this loop would never end.
            for number in range(3 * QUEUE_DEPTH):
                terminal.print_line(f"line {number} " + "x" * 100)
            read = b""
            while b"line 4000 " not in read:
                read += os.read(reading, 1 << 20)
            time.sleep(0.1)
            terminal.print_line("the last")
            while b"the last" not in read:
                read += os.read(reading, 1 << 20)
        assert b"lines were dropped because nothing read them" in read
    os.close(reading)


def test_a_reader_that_left_is_noticed():
    reading, writing = os.pipe()
    os.close(reading)
    left = threading.Event()
    with os.fdopen(writing, "w", encoding="utf-8") as out:
        terminal = Terminal(out=out, err=out)
        with print_in_background(terminal, left.set):
            terminal.print_line("x")
            assert left.wait(60)


def test_a_full_stdout_is_noticed_and_said_at_the_end():
    left = threading.Event()
    with Path("/dev/full").open("w", encoding="utf-8") as out, Path(os.devnull).open("w", encoding="utf-8") as err:
        printing = ExitStack()
        terminal = Terminal(out=out, err=err)
        printing.enter_context(print_in_background(terminal, left.set))
        terminal.print_line("x")
        assert left.wait(60)
        with pytest.raises(OutputClosed, match="No space left on device"):
            printing.close()


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (StoreError("it is full", hint="make room"), 1, "relay: it is full; make room\n"),
        (NothingMatched("nothing"), 4, "relay: nothing\n"),
        (ExceptionGroup("g", [UsageError("no", hint="yes")]), 2, "relay: no; yes\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            ConfigError("a.toml has 2 mistakes: x; y", problems=("x", "y")),
            2,
            "relay: a.toml has 2 mistakes:\n  x\n  y\n",
        ),
        (ConfigError("a.toml has one mistake: x", problems=("x",)), 2, "relay: a.toml: x\n"),
    ],
)
def test_an_error_is_one_line_and_its_own_code(error, code, told):
    err = io.StringIO()
    terminal = Terminal(out=io.StringIO(), err=err)

    def fail():
        raise error

    assert run_guarded(Call(terminal=terminal), fail) == code
    assert err.getvalue() == told


def test_malformed_requests_are_one_counted_line_a_minute():
    clock = StandingClock()
    filters = BriefErrorFilter(), RepeatFilter(clock)

    def passed(count):
        error = BadStatusLine("\x1b[31m")
        info = (type(error), error, None)
        made = ("aiohttp.server", logging.ERROR, "", 0, "Error handling request", (), info)
        records = [logging.LogRecord(*made) for _ in range(count)]
        return [one for one in records if all(only.filter(one) for only in filters)]

    (first,) = passed(5)
    assert (first.getMessage(), first.exc_info, first.levelname) == ("refused a malformed request", None, "WARNING")
    clock.at = 61.0
    (later,) = passed(1)
    assert later.getMessage() == "refused a malformed request (4 more since it was last printed)"


@contextmanager
def speaking(*given, **more):
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    try:
        log_output.configure_logging(*given, **more)
        yield
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = kept
        root.setLevel(level)


def test_a_log_for_programs_is_an_object_a_line_with_the_fields_it_was_given(tmp_path):
    said = []
    with speaking(said.append, as_json=True, log=tmp_path / "relay.log"):
        logging.getLogger("relay.a").warning("kept %s\n", "it", extra={"event": 7})
        logging.getLogger("relay.a").error("it broke", exc_info=ValueError("a\nforged line"))
    kept, broke = (json.loads(line) for line in said)
    assert {key: kept[key] for key in ("kind", "level", "logger", "message", "event")} == {
        "kind": "log",
        "level": "warning",
        "logger": "relay.a",
        "message": "kept it\\x0a",
        "event": 7,
    }
    assert kept["at"].endswith("Z")
    assert (broke["error"], "traceback" in broke) == ("ValueError", False)
    filed = [json.loads(line) for line in (tmp_path / "relay.log").read_text().splitlines()]
    assert [line["message"] for line in filed] == ["kept it\\x0a", "it broke"]
    assert "forged line" in filed[1]["traceback"][-1]


def test_the_log_file_holds_what_a_person_is_spared(tmp_path):
    said = []
    with speaking(said.append, log=tmp_path / "relay.log", file_only=("relay.secretive",)):
        logging.getLogger("relay.secretive").warning("for the file")
        logging.getLogger("relay.other").error("it broke\x1b", exc_info=ValueError("a\nforged line"))
    assert said == [f"relay: error: it broke\\x1b (ValueError; the traceback is in {tmp_path / 'relay.log'})"]
    filed = (tmp_path / "relay.log").read_text()
    assert "for the file" in filed
    assert "    ValueError: a" in filed
    assert "\nforged line" not in filed


def test_durations_and_sizes_are_said_as_people_say_them():
    assert [format_duration(value) for value in (0.3, 12, 300, 9000, 3 * 86400)] == [
        "0.3 s",
        "12 s",
        "5 min",
        "2 h",
        "3 d",
    ]
    assert [format_size(value) for value in (9, 1500, 2_500_000, 84 * 10**9)] == ["9 B", "1.5 KB", "2.5 MB", "84.0 GB"]
    assert format_time_left((datetime.now(UTC) - timedelta(seconds=5)).isoformat()) == "now"


@pytest.mark.parametrize(("away", "length"), [(0, 8), (-19, 8), (19, 8), (-21, 16), (21, 16), (24 * 400, 16)])
def test_a_moment_has_its_day_unless_it_is_near(away, length):
    assert len(format_moment((datetime.now(UTC) + timedelta(hours=away)).isoformat())) == length


def test_assignments_keep_everything_behind_the_first_equals_sign():
    assert parse_assignments(("a.b=1=2", "c=")) == {"a.b": "1=2", "c": ""}
    with pytest.raises(UsageError):
        parse_assignments(("=1",))


def event(body: str, content_type="application/json", **more):
    facts = dict.fromkeys(
        ("source", "type", "verdict", "reason", "outcome", "status", "method", "path", "query", "idempotency_key"), ""
    )
    return facts | {"headers": [], "content_type": content_type, "body": {"encoding": "utf-8", "text": body}} | more


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        ('{"a": [1, 2]}', '{"a": [1, 3, 4]}', [("body a[1]", "2", "3"), ("body a[2]", None, "4")]),
        ('{"a": 1}', '{"a": true}', [("body a", "1", "true")]),
        ('{"a": 1}', '{"a":1}', [("body bytes", "8 bytes", "7 bytes")]),
        ('{"a":1.10}', '{"a":1.1 }', [("body a", "1.10", "1.1")]),
        ('{"a":{"b":1.5}}', '{"a":1e400}', [("body a", '{"b": 1.5}', "1e400")]),
        ('{"a":10}', '{"a": 10}', [("body bytes", "8 bytes", "9 bytes")]),
        ('{"a": 1}', '{"a":1 }', [("body bytes", "8 bytes, from byte 6:  1}", "8 bytes, from byte 6: 1 }")]),
        (
            '{"a":1,"a":2}',
            '{"a":3,"a":2}',
            [("body bytes", '13 bytes, from byte 6: 1,"a":2}', '13 bytes, from byte 6: 3,"a":2}')],
        ),
        ("one\n", "one", [("body bytes", "4 bytes", "3 bytes")]),
        ("one\ttwo", "one two", [("body bytes", "7 bytes, from byte 4: \ttwo", "7 bytes, from byte 4:  two")]),
        ('{"a": {"b": 1}}', "[1]", [("body", '{"a": {"b": 1}}', "[1]")]),
        ("plain\none", "plain\ntwo", [("body line 2", "one", "two")]),
    ],
)
def test_bodies_are_compared_place_by_place(left, right, found):
    given_ = find_differences(event(left), event(right))
    assert [(one.full, one.left, one.right) for one in given_] == found


def test_what_targets_answered_is_compared_by_its_last_delivery():
    def sent(state, status, target="app"):
        return {"target": target, "state": state, "status": status, "attempts_made": 1}

    one, other = ([sent("failed", 500), sent("succeeded", 200)], [sent("failed", 500), sent("pending", None, "b")])
    given_ = find_differences(event("{}"), event("{}"), one, other)
    assert [(place.full, place.left, place.right) for place in given_] == [
        ("delivery to app state", "succeeded", "failed"),
        ("delivery to app status", "200", "500"),
        ("delivery to b state", None, "pending"),
        ("delivery to b attempts", None, "1"),
    ]


class Heard:
    """Keeps what a feed reports, until it has reported `wanted` events."""

    def __init__(self, wanted, *, joins):
        self.joins_deliveries = joins
        self.ids = []
        self.deliveries = []
        self.all = asyncio.Event()
        self._left = wanted

    def report_event(self, row, counts, shown):
        self.ids.append(row.id)
        self._count(1)

    def report_delivery(self, row, delivery):
        self.deliveries.append((delivery.id, delivery.attempts))
        self._count(0)

    def report_flood(self, count, last):
        self._count(count)

    def _count(self, count):
        self._left -= count
        if self._left == 0:
            self.all.set()


async def test_a_flood_is_counted_for_a_person_and_told_whole_to_a_program(at):
    wanted = 3 * MAX_EVENTS_SHOWN
    person: Any = Heard(wanted, joins=True)
    program: Any = Heard(wanted, joins=False)
    bus = at.relay.bus
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        with bus.subscribe() as one, bus.subscribe() as other:
            feeds = (LiveFeed(at.relay, person).run(0, one), LiveFeed(at.relay, program).run(0, other))
            telling = [group.create_task(feed) for feed in feeds]
            await asyncio.sleep(0)
            await asyncio.gather(*(at.send() for _ in range(wanted)))
            await person.all.wait()
            await program.all.wait()
            for task in telling:
                task.cancel()
    assert program.ids == list(range(1, wanted + 1))
    assert person.ids == sorted(person.ids)


async def test_new_deliveries_take_no_event_the_place_in_the_terminals_queue():
    bus = Bus()
    with bus.subscribe(max_lag=4, skips=is_new_delivery) as subscription:
        for number in (1, 2, 3):
            bus.publish(EventStored(number, (number,)))
            bus.publish(DeliveryChanged(number, number, "pending", target="app"))
        bus.publish(DeliveryChanged(1, 1, "pending"))
        signals = await subscription.next()
    assert signals == (EventStored(1), EventStored(2), EventStored(3), DeliveryChanged(1, 1, "pending"))
    assert subscription.lost == 0


async def test_a_failed_try_of_a_bulk_replay_that_is_tried_again_is_reported(tmp_path):
    async with open_store(tmp_path / "data") as store:
        stored = await store.events.add(build_new_event(), (NewDelivery(target="app", action="forward"),))
        (id_,) = stored.deliveries
        delivery = await store.deliveries.get(id_)
        attempt = make_attempt(delivery, delivery.created_at, 0.1, ActionResult(outcome=AttemptRetry("500")))
        await store.deliveries.settle_all([AttemptRecord(delivery, attempt, DeliveryState.PENDING, delivery.due_at)])
        voice: Any = Heard(0, joins=False)
        relay: Any = SimpleNamespace(store=store)
        subscription = Subscription()
        subscription.put(DeliveryChanged(id_, stored.id, DeliveryState.PENDING))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            telling = group.create_task(LiveFeed(relay, voice).run(stored.id, subscription))
            await voice.all.wait()
            telling.cancel()
    assert voice.deliveries == [(id_, 1)]


async def test_what_came_before_anybody_listened_is_told_as_well(at):
    await at.send()
    voice: Any = Heard(1, joins=False)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        with at.relay.bus.subscribe() as subscription:
            telling = group.create_task(LiveFeed(at.relay, voice).run(at.relay.newest_before, subscription))
            await voice.all.wait()
            telling.cancel()
    assert voice.ids == [1]


def test_a_delivery_that_was_not_tried_says_what_it_waits_for():
    waiting = {"target": "mail", "state": "pending", "attempts_made": 0, "detail": ""}
    assert format_line(format_delivery(waiting), colour=False) == "-> mail waiting"
    held = waiting | {"detail": "the hourly limit of mail is reached"}
    assert format_line(format_delivery(held), colour=False) == "-> mail waiting: the hourly limit of mail is reached"


def test_columns_count_wide_letters_as_two_and_combining_marks_as_none():
    texts = ["order.created", "注文.作成", "party.\U0001f389", "cafe\u0301.open", "abc"]
    lines = [format_line(row, colour=False) for row in align_rows([[text, "x"] for text in texts])]
    assert [line.removesuffix("x") for line in lines] == [
        "order.created  ",
        "注文.作成      ",
        "party.\U0001f389       ",
        "cafe\u0301.open      ",
        "abc            ",
    ]


@pytest.mark.parametrize(
    ("due", "spared", "said"),
    [(-5, 1, "waits until the target answers"), (-5, 0, "again now"), (60, 1, "again in 60 s")],
)
def test_a_delivery_whose_target_is_away_waits_for_it_rather_than_being_tried_now(due, spared, said):
    delivery = {
        "state": "pending",
        "target": "app",
        "attempts_made": 1,
        "detail": "connection refused",
        "status": None,
        "took_ms": None,
        "spared": spared,
        "due_at": (datetime.now(UTC) + timedelta(seconds=due + 0.4)).isoformat(),
    }
    shown = format_line(format_delivery(delivery), colour=False)
    assert shown == f"-> app pending: connection refused, attempt 1, {said}"


@pytest.mark.parametrize("url", ["http:///health", "http://", "http://127.0.0.1:0/"])
async def test_a_url_without_a_host_or_port_is_asked_of_nothing(url):
    assert await fetch_url(url, 5) == (0, f"{url} does not answer: the URL names no host and port".encode())


async def test_what_does_not_answer_in_time_is_said_so():
    async def hang(reader, writer):
        try:
            await reader.read()
        finally:
            writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await fetch_url(url, 0.2) == (0, f"{url} does not answer within 0.2 s".encode())


def test_the_line_of_a_usual_event_fits_eighty_columns_and_keeps_its_columns_apart(capsys):
    reporter = LineReporter(Terminal(out=sys.stdout, err=sys.stderr))
    capture = build_capture(received_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    delivery = build_delivery(target="forward", state=DeliveryState.SUCCEEDED, status=200, took=0.024, detail="200")
    for type_ in ("payment_intent.succeeded", "a" * 60):
        row = build_row(capture, type=type_, verdict=Verdict.VERIFIED, outcome=EventOutcome.ACCEPTED)
        reporter.report_event(row, Counter(), [delivery])
    usual, long = (line.partition("stripe")[2] for line in capsys.readouterr().out.splitlines())
    assert usual == "  payment_intent.succeeded  #1   verified  -> forward 200 24 ms"
    assert long == "  " + "a" * 60 + "  #1   verified  -> forward 200 24 ms"


def test_ctrl_c_wakes_a_command_that_waits():
    """Python handles a signal once it runs again: without this, one that comes just before a wait is not noticed."""
    seen = []

    @click.command()
    @shared_options
    async def wait_command(call: Call) -> int:
        seen.append(signal.set_wakeup_fd(-1) >= 0)
        return 0

    call = Call(terminal=Terminal(out=io.StringIO(), err=io.StringIO()))
    assert wait_command.main([], standalone_mode=False, obj=call) == 0
    assert seen == [True]
