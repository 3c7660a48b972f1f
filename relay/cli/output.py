"""The output of commands: data to stdout, messages and progress to stderr, captured text escaped."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

import click

from relay.errors import UsageError
from relay.model.text import escape_lines, escape_unprintable
from relay.model.values import dataclass

T = TypeVar("T")
Json = dict[str, Any]
"""An object of the API."""

Part = str | tuple[str, str]
"""A piece of a line: text, or text with a style (a colour of ANSI, `dim` or `bold`)."""

_GAP = 2


class OutputClosed(Exception):  # noqa: N818 - the reader of our output has left, which is no error of ours
    """stdout has no reader, or cannot be written: `reason` says why, "" if the reader has exited."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True, kw_only=True)
class Terminal:
    """Both streams of a command; `as_json` prints values as JSON lines instead of tables."""

    out: TextIO
    err: TextIO
    as_json: bool = False

    def print_line(self, *parts: Part) -> None:
        """Print a line of data, with control characters escaped."""
        self._write(format_line(parts, colour=has_colour(self.out)) + "\n")

    def print_json(self, value: object) -> None:
        """Print a value as one line of ASCII JSON, in which captured characters are harmless."""
        self._write(json.dumps(value) + "\n")

    def print_value(self, value: object, *parts: Part) -> None:
        """Print a value as JSON if requested, else as a line."""
        if self.as_json:
            self.print_json(value)
        else:
            self.print_line(*parts)

    def print_values(
        self, values: Iterable[T], format_row: Callable[[T], Sequence[Part]], widths: list[int] | None = None
    ) -> None:
        """Print each value as JSON if requested, else as a row of a table; `widths` as for `align_rows`."""
        if not self.as_json:
            self.print_table(map(format_row, values), widths)
            return
        for value in values:
            self.print_json(value)

    def print_table(self, rows: Iterable[Sequence[Part]], widths: list[int] | None = None) -> None:
        """Print rows with their columns aligned; `widths` as for `align_rows`."""
        for row in align_rows(rows, widths):
            self.print_line(*row)

    def print_facts(self, facts: Mapping[str, object]) -> None:
        """Print names and values as a table, without those that are empty."""
        self.print_table([(name, "dim"), str(value)] for name, value in facts.items() if value)

    def print_section(self, title: str, rows: Iterable[Sequence[Part]]) -> None:
        """Print an empty line, a title and an indented table; nothing without rows."""
        listed = [["  ", *row] for row in rows]
        if listed:
            self.print_title(title)
            self.print_table(listed)

    def print_title(self, title: str) -> None:
        """Print a title below an empty line."""
        self.print_line()
        self.print_line((title, "bold"))

    def print_text(self, text: str) -> None:
        """Print text of several lines, with control characters except line feeds and tabs escaped."""
        self._write(escape_lines(text))

    def write_bytes(self, content: bytes) -> None:
        """Write bytes to stdout exactly as they are."""
        with _notice_closed_output():
            self.out.flush()
            self.out.buffer.write(content)
            self.out.buffer.flush()

    def print_message(self, *parts: Part) -> None:
        """Print a line to stderr; ignores a closed stderr."""
        try:
            self.err.write(format_line(parts, colour=has_colour(self.err)) + "\n")
            self.err.flush()
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        """Flush stdout. Raises OutputClosed."""
        with _notice_closed_output():
            self.out.flush()

    def _write(self, text: str) -> None:
        with _notice_closed_output():
            self.out.write(text)


@contextmanager
def _notice_closed_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        raise OutputClosed(error.strerror or str(error)) from error


def open_terminal() -> Terminal:
    """Return the process's streams, made safe for characters they cannot encode and for being closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Takes the lowest free descriptor, the stream's own, so that a database does not get it.
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as it runs
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return Terminal(out=sys.stdout, err=sys.stderr)


def has_colour(stream: TextIO) -> bool:
    """Return whether a stream shows colours and its reader wants them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def format_line(parts: Iterable[Part], *, colour: bool) -> str:
    """Return parts as one line of text, with control characters escaped."""
    return "".join(_format_part(part, colour=colour) for part in parts)


def _format_part(part: Part, *, colour: bool) -> str:
    text = escape_unprintable(strip_style(part))
    if isinstance(part, str) or not colour:
        return text
    style = part[1]
    return click.style(text, **{style: True} if style in ("dim", "bold") else {"fg": style})


def align_rows(rows: Iterable[Sequence[Part]], widths: list[int] | None = None) -> list[list[Part]]:
    """Return rows with padded columns; the last column is not padded.

    `widths` keeps the widths of columns for later rows.
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
    """Return a part padded with spaces to `width` printed columns."""
    text = strip_style(part)
    spaces = " " * (width - measure_width(text))
    return text + spaces if isinstance(part, str) else (text + spaces, part[1])


def measure_width(text: str) -> int:
    """Return the terminal columns of a text: two for a wide character, none for a combining mark."""
    printed = escape_unprintable(text)
    if printed.isascii():
        return len(printed)
    from rich.cells import cell_len  # width tables, not needed for plain text

    return cell_len(printed)


def strip_style(part: Part) -> str:
    """Return the text of a part."""
    return part if isinstance(part, str) else part[0]


@contextmanager
def open_private_output(path: Path, *, replaces: bool) -> Iterator[BinaryIO]:
    """Open a private file; it must not exist unless `replaces`. Raises UsageError."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if replaces else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            yield file
    except OSError as error:
        raise UsageError(f"cannot write {quote(str(path))}: {error.strerror}", hint="name another file") from None


def quote(text: str) -> str:
    """Return typed text in quotes, escaped and cut if long."""
    return f"'{escape_unprintable(text, 100)}'"


def can_ask(terminal: Terminal) -> bool:
    """Return whether a person can answer a prompt: both stdin and stderr are the terminal."""
    if sys.stdin is None or not sys.stdin.isatty() or not terminal.err.isatty():
        return False
    # A background job would be stopped for accessing the terminal.
    return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()


async def ask_line(terminal: Terminal, prompt: str) -> str | None:
    """Return a typed line without its line end; None after Ctrl-D. Ctrl-C ends the wait."""
    import asyncio  # `relay --help` does without

    fd, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    ready = asyncio.Event()
    terminal.err.write(escape_unprintable(prompt))
    terminal.err.flush()
    # A blocking read, such as click.prompt, would swallow Ctrl-C: asyncio.run handles SIGINT.
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
    line = os.read(fd, 4096)
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape") if line else None


async def ask_yes_no(terminal: Terminal, question: str, *, default: bool) -> bool:
    """Return the answer: `default` for an empty line, True for y and yes, else False."""
    answer = await ask_line(terminal, f"{question} [{'Y/n' if default else 'y/N'}] ")
    if answer is None:
        terminal.print_message("")
        return False
    return answer.strip().lower() in (("y", "yes", "") if default else ("y", "yes"))


class ProgressBar:
    """Counts progress; without the `change` function of a rich task it shows nothing."""

    def __init__(self, change: Callable[..., None] | None = None) -> None:
        self._change = change or (lambda **_: None)
        self.is_visible = change is not None

    def advance(self, count: int = 1) -> None:
        """Add `count` to the progress."""
        self._change(advance=count)

    def update(self, count: int) -> None:
        """Set the progress."""
        self._change(completed=count)


@contextmanager
def show_progress(terminal: Terminal, total: int, task: str, *, in_bytes: bool = False) -> Iterator[ProgressBar]:
    """Show a progress bar on stderr until the block ends, on a terminal and for more than one item."""
    if total < 2 or terminal.as_json or not (terminal.out.isatty() and terminal.err.isatty()):
        yield ProgressBar()
        return
    # rich takes 80 ms to import, and only this needs it.
    from rich.console import Console
    from rich.progress import DownloadColumn, MofNCompleteColumn, Progress

    kept = terminal.out, terminal.err
    columns = (*Progress.get_default_columns(), DownloadColumn() if in_bytes else MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        # rich has replaced the streams by its own, which print above the bar.
        terminal.out, terminal.err = sys.stdout, sys.stderr
        try:
            yield ProgressBar(partial(progress.update, progress.add_task(task, total=total)))
        finally:
            terminal.out, terminal.err = kept
