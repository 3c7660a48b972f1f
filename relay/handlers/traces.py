"""Where a user's code failed, or stands: tracebacks in which only their own lines are left."""

import sys
import threading
from asyncio import Task
from collections.abc import Iterator
from traceback import FrameSummary, StackSummary, TracebackException, format_exception_only, walk_stack
from types import FrameType
from typing import Any

from relay.handlers.home import Home
from relay.model.text import printable

LONGEST = 32 * 1024  # characters of a traceback that are kept
_LONGEST_LINE = 300


def told(error: BaseException, home: Home) -> str:
    """Return an error with its traceback, the frames of relay and of libraries left out.

    Where no frame is the user's own, all are kept. Values of variables are never shown.
    """
    trace = TracebackException.from_exception(error, compact=True)
    _prune(trace, home, set())
    return _clean("".join(trace.format()))


def summary(error: BaseException) -> str:
    """Return kind and message of an error on one line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {printable(error.msg or 'invalid syntax', _LONGEST_LINE)}"
    first = format_exception_only(error)[0].strip().splitlines()
    return printable(first[0] if first else type(error).__name__, _LONGEST_LINE)


def place(error: BaseException, home: Home) -> str:
    """Return where the user's own code failed, as `handlers.py, line 12`; "" where no line is theirs."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and home.holds(error.filename):
        name = home.short(error.filename)
        return f"{name}, line {error.lineno}" if error.lineno else name
    frames = [frame for frame in TracebackException.from_exception(error).stack if home.holds(frame.filename)]
    return f"{home.short(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def standing(task: Task[Any] | None, home: Home) -> str:
    """Return where the user's code is at this moment, in any thread, else where `task` waits."""
    here = threading.get_ident()
    stacks = [
        _stack(walk_stack(frame), home)[::-1]
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - Python's own way to see other threads
        if ident != here
    ]
    stacks += [_stack(_suspended(task), home)] if task else []
    frames = max(stacks, key=len)
    if not frames:
        return ""
    return _clean("It was here (most recent call last):\n" + "".join(StackSummary.from_list(frames).format()))


def _suspended(task: Task[Any]) -> Iterator[tuple[FrameType, int]]:
    waiting: Any = task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        waiting = waiting.cr_await


def _stack(frames: Iterator[tuple[FrameType, int]], home: Home) -> list[FrameSummary]:
    return _own(StackSummary.extract(frames), home)


def _own(stack: list[FrameSummary], home: Home) -> list[FrameSummary]:
    own = [frame for frame in stack if home.holds(frame.filename)]
    for frame in own:
        # The line is read by the whole name, before that is shortened.
        _ = frame.line
        frame.filename = home.short(frame.filename)
    return own


def _prune(trace: TracebackException, home: Home, seen: set[int]) -> None:
    if id(trace) in seen:
        return
    seen.add(id(trace))
    own = _own(trace.stack, home)
    if own:
        trace.stack = StackSummary.from_list(own)
    filename = getattr(trace, "filename", None)  # where a SyntaxError is
    if isinstance(filename, str) and home.holds(filename):
        trace.filename = home.short(filename)
    for other in (trace.__cause__, trace.__context__, *(trace.exceptions or ())):
        if other is not None:
            _prune(other, home, seen)


def _clean(text: str) -> str:
    # Whatever an error's message holds, it can be written down.
    clean = text.encode("utf-8", "backslashreplace").decode()
    if len(clean) <= LONGEST:
        return clean
    half = LONGEST // 2
    return f"{clean[:half]}\n…\n{clean[-half:]}"
