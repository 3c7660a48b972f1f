"""The user's own files: recognising them, naming them for display, and tracking their versions."""

import os
import sys
import threading
from asyncio import Task
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, format_exception_only, walk_stack
from types import FrameType
from typing import Any, ClassVar

from relay.model.text import escape_unprintable
from relay.model.values import dataclass

# relay itself, and Python's own library; sysconfig would import more while an import asks.
_FOREIGN = (str(Path(__file__).parents[1]), str(Path(os.__file__).parent))
_INSTALLED = ("site-packages", "dist-packages")

Stamp = tuple[int, int] | None
"""When a file was last changed, in nanoseconds, and how many bytes it has; None where there is none."""


@dataclass(frozen=True, slots=True)
class ProjectFolders:
    """The folders of a user's project; displayed names are relative to the first."""

    folders: tuple[Path, ...]

    def holds(self, path: str) -> bool:
        """Return whether a file or folder is the user's own: not installed, not Python's, not relay's."""
        if path.startswith("<"):
            return False  # such as "<string>" and "<frozen importlib._bootstrap>": not a file
        whole = os.path.abspath(path)  # noqa: PTH100 - of frames by the thousand, and links stay as they are
        if not any(_is_within(whole, str(folder)) for folder in self.folders):
            return False
        return not (
            any(part in _INSTALLED for part in Path(whole).parts)
            or any(_is_within(whole, folder) for folder in _FOREIGN)
        )

    def short(self, path: str) -> str:
        """Return the name of a file for display: relative to the project's folder if it is below it."""
        return os.path.relpath(path, self.folders[0]) if _is_within(path, str(self.folders[0])) else path


class FreshLoader(SourceFileLoader):
    """Loads the current version of a user's file, and records which version was read.

    No bytecode is written or used: Python detects stale bytecode by the second, so after two saves
    within one second the first version would continue to run.
    """

    read: ClassVar[dict[str, Stamp]] = {}

    def path_stats(self, path: str) -> Mapping[str, int]:
        """Raise OSError, so that no bytecode is used."""
        raise OSError(f"{path} is always read from its file")

    def get_data(self, path: str) -> bytes:
        """Return the content of a file, and record its version at the first call."""
        self.read.setdefault(path, file_stamp(path))
        return super().get_data(path)


@contextmanager
def importable_from(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours until the block ends."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def file_stamp(path: str) -> Stamp:
    """Return the version of a file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked before each run for each file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def has_changed(known: Mapping[str, Stamp]) -> bool:
    """Return whether any of these files has another version now."""
    return any(file_stamp(path) != was for path, was in known.items())


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


LONGEST_TRACEBACK = 32 * 1024  # characters of a traceback that are kept
_LONGEST_LINE = 300


def format_error(error: BaseException, home: ProjectFolders) -> str:
    """Return an error with its traceback, the frames of relay and of libraries left out.

    If no frame is the user's own, all are kept. Values of variables are never shown.
    """
    trace = TracebackException.from_exception(error, compact=True)
    _prune_traceback(trace, home, set())
    return _clean_text("".join(trace.format()))


def summarise_error(error: BaseException) -> str:
    """Return kind and message of an error on one line."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {escape_unprintable(error.msg or 'invalid syntax', _LONGEST_LINE)}"
    first = format_exception_only(error)[0].strip().splitlines()
    return escape_unprintable(first[0] if first else type(error).__name__, _LONGEST_LINE)


def locate_error(error: BaseException, home: ProjectFolders) -> str:
    """Return where the user's own code failed, as `handlers.py, line 12`; "" if no line is the user's."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str) and home.holds(error.filename):
        name = home.short(error.filename)
        return f"{name}, line {error.lineno}" if error.lineno else name
    frames = [frame for frame in TracebackException.from_exception(error).stack if home.holds(frame.filename)]
    return f"{home.short(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""


def format_current_stack(task: Task[Any] | None, home: ProjectFolders) -> str:
    """Return the current position of the user's code in any thread, else where `task` waits."""
    here = threading.get_ident()
    stacks = [
        _extract_stack(walk_stack(frame), home)[::-1]
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - Python's own way to see other threads
        if ident != here
    ]
    stacks += [_extract_stack(_suspended_frames(task), home)] if task else []
    frames = max(stacks, key=len)
    if not frames:
        return ""
    return _clean_text("It was here (most recent call last):\n" + "".join(StackSummary.from_list(frames).format()))


def _suspended_frames(task: Task[Any]) -> Iterator[tuple[FrameType, int]]:
    waiting: Any = task.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        waiting = waiting.cr_await


def _extract_stack(frames: Iterator[tuple[FrameType, int]], home: ProjectFolders) -> list[FrameSummary]:
    return _own_frames(StackSummary.extract(frames), home)


def _own_frames(stack: list[FrameSummary], home: ProjectFolders) -> list[FrameSummary]:
    own = [frame for frame in stack if home.holds(frame.filename)]
    for frame in own:
        # The line is looked up by the full name, before that is shortened.
        _ = frame.line
        frame.filename = home.short(frame.filename)
    return own


def _prune_traceback(trace: TracebackException, home: ProjectFolders, seen: set[int]) -> None:
    if id(trace) in seen:
        return
    seen.add(id(trace))
    own = _own_frames(trace.stack, home)
    if own:
        trace.stack = StackSummary.from_list(own)
    filename = getattr(trace, "filename", None)  # the position of a SyntaxError
    if isinstance(filename, str) and home.holds(filename):
        trace.filename = home.short(filename)
    for other in (trace.__cause__, trace.__context__, *(trace.exceptions or ())):
        if other is not None:
            _prune_traceback(other, home, seen)


def _clean_text(text: str) -> str:
    # Any error message can be stored.
    clean = text.encode("utf-8", "backslashreplace").decode()
    if len(clean) <= LONGEST_TRACEBACK:
        return clean
    half = LONGEST_TRACEBACK // 2
    return f"{clean[:half]}\n…\n{clean[-half:]}"
