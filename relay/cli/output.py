"""Where a command prints: data to stdout, talk to stderr, captured text made harmless by construction."""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from typing import Any, TextIO

import click

from relay.model.request_items import format_headline
from relay.model.text import escape_unprintable

Part = str | tuple[str, str]
"""A piece of a line: text, or text with a colour (`green`, `red`, `yellow`, `dim`, `bold`)."""

_GAP = 2
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "green": {"fg": "green"},
    "red": {"fg": "red"},
    "yellow": {"fg": "yellow"},
    "dim": {"dim": True},
    "bold": {"bold": True},
}


class OutputClosed(Exception):  # noqa: N818 - whoever read our output has left, which is no error of ours
    """Nobody reads stdout any more."""


@dataclass(slots=True, kw_only=True)
class Terminal:
    """Both streams of a command."""

    out: TextIO
    err: TextIO

    @property
    def is_terminal(self) -> bool:
        """Say whether a person looks at stdout."""
        return self.out.isatty()

    @property
    def talks_to_terminal(self) -> bool:
        """Say whether a person looks at stderr."""
        return self.err.isatty()

    def line(self, *parts: Part) -> None:
        """Print a line of data. Control characters in any part come out escaped."""
        self._write(format_line(parts, colour=has_colour(self.out)) + "\n")

    def json(self, value: object) -> None:
        """Print a value as one line of ASCII JSON."""
        self._write(format_json(value) + "\n")

    def raw(self, content: bytes) -> None:
        """Print bytes exactly as they are."""
        try:
            self.out.flush()
            self.out.buffer.write(content)
            self.out.buffer.flush()
        except BrokenPipeError:
            raise OutputClosed from None

    def text(self, text: str) -> None:
        """Print text of several lines; control characters other than line feeds and tabs come out escaped."""
        self._write(re.sub(r"[^\n\t]+", lambda match: escape_unprintable(match[0]), text))

    def table(self, rows: Iterable[Sequence[Part]], widths: list[int] | None = None) -> None:
        """Print rows with their columns aligned; `widths` as for `aligned`."""
        for row in align_rows(rows, widths):
            self.line(*row)

    def say(self, *parts: Part) -> None:
        """Print a line of talk; nobody listening is no reason to stop."""
        try:
            self.err.write(format_line(parts, colour=has_colour(self.err)) + "\n")
            self.err.flush()
        except (OSError, ValueError):
            return

    def ask(self, prompt: str) -> None:
        """Print what a person is asked for, and leave the cursor behind it."""
        self.err.write(escape_unprintable(prompt))
        self.err.flush()

    def flush(self) -> None:
        """Hand over what is still held back. Raises OutputClosed."""
        try:
            self.out.flush()
        except BrokenPipeError:
            raise OutputClosed from None

    def discard_stdout(self) -> None:
        """Let go of a stdout nobody reads, so that nothing complains when Python ends."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def _write(self, text: str) -> None:
        try:
            self.out.write(text)
        except BrokenPipeError:
            raise OutputClosed from None


def open_terminal() -> Terminal:
    """Return the process's own streams, made unable to fail on a character they cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Terminal(out=sys.stdout, err=sys.stderr)


def has_colour(stream: TextIO) -> bool:
    """Say whether a stream shows colours and its reader wants them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def format_line(parts: Iterable[Part], *, colour: bool) -> str:
    """Return parts as one line of text, every control character of theirs escaped."""
    return "".join(_format_part(part, colour=colour) for part in parts)


def align_rows(rows: Iterable[Sequence[Part]], widths: list[int] | None = None) -> list[list[Part]]:
    """Return rows whose columns are padded to one width each; the last column is left as it is.

    `widths` keeps what columns have grown to, for rows that come later.
    """
    listed = [list(row) for row in rows]
    grown = [] if widths is None else widths
    for row in listed:
        for number, part in enumerate(row[:-1]):
            wide = measure_width(strip_style(part))
            grown[number : number + 1] = [max([wide, *grown[number : number + 1]])]
    return [
        [*(pad_part(part, grown[number] + _GAP) for number, part in enumerate(row[:-1])), *row[-1:]] for row in listed
    ]


def pad_part(part: Part, width: int) -> Part:
    """Return a part with spaces behind it, `width` columns in all as it will be shown."""
    text = strip_style(part)
    spaces = " " * (width - measure_width(text))
    return text + spaces if isinstance(part, str) else (text + spaces, part[1])


def measure_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide letter, none for a combining mark."""
    shown = escape_unprintable(text)
    if shown.isascii():
        return len(shown)
    from rich.cells import cell_len  # noqa: PLC0415 - tables of widths that plain text never needs

    return cell_len(shown)


def strip_style(part: Part) -> str:
    """Return a part without its colour."""
    return part if isinstance(part, str) else part[0]


def format_json(value: object) -> str:
    """Return a value as one line of ASCII JSON, in which no captured character needs thinking about."""
    return json.dumps(value, separators=(", ", ": "))


def quote(text: str) -> str:
    """Return what a person typed in quotes, control characters escaped, cut where it is long."""
    shown = escape_unprintable(text, 100)
    return f"'{shown}'"


def _format_part(part: Part, *, colour: bool) -> str:
    if isinstance(part, str):
        return escape_unprintable(part)
    text, style = part
    return click.style(escape_unprintable(text), **_STYLES[style]) if colour else escape_unprintable(text)


JsonMapping = Mapping[str, Any]

SETTLED_STATES = frozenset({"succeeded", "failed", "cancelled"})
_VERDICT_STYLES = {"verified": "green", "invalid": "red", "unsigned": "dim", "unchecked": "yellow"}
_STATE_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


def format_event(event: JsonMapping) -> list[Part]:
    """Return an event as columns: source, type, number, verdict."""
    called = format_headline(event["type"], tuple(event["types"]), event["item_count"])
    return [event["source"], called, (f"#{event['id']}", "bold"), *format_verdict(event)]


def format_verdict(event: JsonMapping) -> list[Part]:
    """Return what was thought of an event as one column."""
    verdict = event["verdict"]
    return [(verdict + _describe_outcome(event), _VERDICT_STYLES.get(verdict, "bold"))]


def format_delivery(delivery: JsonMapping) -> list[Part]:
    """Return a delivery as `-> app 200 38 ms`, or what keeps it."""
    state = delivery["state"]
    made = bool(delivery["attempts_made"])
    if not made and state not in SETTLED_STATES:
        why = f": {delivery['detail']}" if delivery["detail"] else ""
        return [f"-> {delivery['target']} ", (f"waiting{why}", "dim")]
    answer = str(delivery["status"] or "") or _describe_result(delivery)
    took = "" if delivery["took_ms"] is None else f" {format_milliseconds(delivery['took_ms'])}"
    style = _STATE_STYLES.get(state, "yellow")
    parts: list[Part] = [f"-> {delivery['target']} ", (answer, style), took]
    if state == "pending":
        parts.append(f", attempt {delivery['attempts_made']}, {_format_next_try(delivery)}")
    elif delivery["attempts_made"] > 1:
        parts.append(f", attempt {delivery['attempts_made']}")
    return parts


def _format_next_try(delivery: JsonMapping) -> str:
    """Return when a delivery is tried again; one whose target was not there waits for it, however due it is."""
    when = format_time_left(delivery["due_at"])
    return "waits until the target answers" if when == "now" and delivery["spared"] else f"again {when}"


def format_time_left(moment: str) -> str:
    """Return how long it is until a moment, in words."""
    seconds = (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    return f"in {format_duration(seconds)}" if seconds > 0.5 else "now"


def format_duration(seconds: float) -> str:
    """Return a duration as people say it: `12 s`, `4 min`, `3 h`, `2 d`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def format_milliseconds(took: float) -> str:
    """Return how long something took."""
    return f"{took:.0f} ms" if took < 10_000 else f"{took / 1000:.1f} s"


def format_clock_time(moment: str) -> str:
    """Return a moment's time of day where this computer is."""
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def format_moment(moment: str) -> str:
    """Return a moment where this computer is: the time alone for the last hours, else with its day."""
    local = datetime.fromisoformat(moment).astimezone()
    recent = datetime.now(UTC) - local < timedelta(hours=20)
    return local.strftime("%H:%M:%S" if recent else "%Y-%m-%d %H:%M")


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun: `1 event`, `2 deliveries`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def _describe_outcome(event: JsonMapping) -> str:
    match event["outcome"]:
        case "rejected":
            return f", rejected {event['status']} ({event['reason'] or 'no reason'})"
        case "duplicate":
            return f", duplicate of #{event['duplicate_of']}"
        case "ignored":
            return ", ignored"
    return ", recovered" if event.get("recovered") else ""


def _describe_result(delivery: JsonMapping) -> str:
    detail = delivery["detail"] or ""
    if delivery["state"] == "succeeded":
        return detail or "done"
    return f"{delivery['state']}: {detail}" if detail else str(delivery["state"])
