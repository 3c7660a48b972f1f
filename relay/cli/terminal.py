"""Where a command prints: data to stdout, talk to stderr, captured text made harmless by construction."""

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any, TextIO

import click

from relay.model.text import printable

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
        self._write(styled(parts, colour=has_colour(self.out)) + "\n")

    def json(self, value: object) -> None:
        """Print a value as one line of ASCII JSON."""
        self._write(as_json(value) + "\n")

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
        self._write(re.sub(r"[^\n\t]+", lambda match: printable(match[0]), text))

    def table(self, rows: Iterable[Sequence[Part]], widths: list[int] | None = None) -> None:
        """Print rows with their columns aligned; `widths` as for `aligned`."""
        for row in aligned(rows, widths):
            self.line(*row)

    def say(self, *parts: Part) -> None:
        """Print a line of talk; nobody listening is no reason to stop."""
        try:
            self.err.write(styled(parts, colour=has_colour(self.err)) + "\n")
            self.err.flush()
        except (OSError, ValueError):
            return

    def ask(self, prompt: str) -> None:
        """Print what a person is asked for, and leave the cursor behind it."""
        self.err.write(printable(prompt))
        self.err.flush()

    def flush(self) -> None:
        """Hand over what is still held back. Raises OutputClosed."""
        try:
            self.out.flush()
        except BrokenPipeError:
            raise OutputClosed from None

    def abandon(self) -> None:
        """Let go of a stdout nobody reads, so that nothing complains when Python ends."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def _write(self, text: str) -> None:
        try:
            self.out.write(text)
        except BrokenPipeError:
            raise OutputClosed from None


def terminal() -> Terminal:
    """Return the process's own streams, made unable to fail on a character they cannot show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Terminal(out=sys.stdout, err=sys.stderr)


def has_colour(stream: TextIO) -> bool:
    """Say whether a stream shows colours and its reader wants them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(parts: Iterable[Part], *, colour: bool) -> str:
    """Return parts as one line of text, every control character of theirs escaped."""
    return "".join(_one(part, colour=colour) for part in parts)


def aligned(rows: Iterable[Sequence[Part]], widths: list[int] | None = None) -> list[list[Part]]:
    """Return rows whose columns are padded to one width each; the last column is left as it is.

    `widths` keeps what columns have grown to, for rows that come later.
    """
    listed = [list(row) for row in rows]
    grown = [] if widths is None else widths
    for row in listed:
        for number, part in enumerate(row[:-1]):
            wide = columns(text_of(part))
            grown[number : number + 1] = [max([wide, *grown[number : number + 1]])]
    return [
        [*(padded(part, grown[number] + _GAP) for number, part in enumerate(row[:-1])), *row[-1:]]
        for row in listed
    ]


def padded(part: Part, width: int) -> Part:
    """Return a part with spaces behind it, `width` columns in all as it will be shown."""
    text = text_of(part)
    spaces = " " * (width - columns(text))
    return text + spaces if isinstance(part, str) else (text + spaces, part[1])


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for a wide letter, none for a combining mark."""
    shown = printable(text)
    if shown.isascii():
        return len(shown)
    from rich.cells import cell_len  # noqa: PLC0415 - tables of widths that plain text never needs

    return cell_len(shown)


def text_of(part: Part) -> str:
    """Return a part without its colour."""
    return part if isinstance(part, str) else part[0]


def as_json(value: object) -> str:
    """Return a value as one line of ASCII JSON, in which no captured character needs thinking about."""
    return json.dumps(value, separators=(", ", ": "))


def quote(text: str) -> str:
    """Return what a person typed in quotes, control characters escaped, cut where it is long."""
    shown = printable(text, 100)
    return f"'{shown}'"


def _one(part: Part, *, colour: bool) -> str:
    if isinstance(part, str):
        return printable(part)
    text, style = part
    return click.style(printable(text), **_STYLES[style]) if colour else printable(text)
