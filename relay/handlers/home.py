"""The user's own files: which those are, how they are named to people, and what was read of them."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import ClassVar

# relay itself, and Python's own library; sysconfig would import more while an import asks.
_FOREIGN = (str(Path(__file__).parents[1]), str(Path(os.__file__).parent))
_INSTALLED = ("site-packages", "dist-packages")

Stamp = tuple[int, int] | None
"""When a file was last changed, in nanoseconds, and how many bytes it has; None where there is none."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folders of a user's project, the one that names are relative to first."""

    folders: tuple[Path, ...]

    def holds(self, path: str) -> bool:
        """Say whether a file or folder is the user's own: not installed, not Python's, not relay's."""
        if path.startswith("<"):
            return False  # such as "<string>" and "<frozen importlib._bootstrap>": no file at all
        whole = os.path.abspath(path)  # noqa: PTH100 - of frames by the thousand, and links stay as they are
        if not any(_within(whole, str(folder)) for folder in self.folders):
            return False
        return not (
            any(part in _INSTALLED for part in Path(whole).parts)
            or any(_within(whole, folder) for folder in _FOREIGN)
        )

    def short(self, path: str) -> str:
        """Return how a file is named to people: from the project's folder, where that is above it."""
        return os.path.relpath(path, self.folders[0]) if _within(path, str(self.folders[0])) else path


class Fresh(SourceFileLoader):
    """Loads a file of the user's as it is now, and remembers what was read.

    No bytecode is kept or used: Python tells by the second whether it is stale, so that of two saves
    within one the first would go on running.
    """

    read: ClassVar[dict[str, Stamp]] = {}

    def path_stats(self, path: str) -> Mapping[str, int]:
        """Say that there is nothing to compare bytecode with, so that none is used."""
        raise OSError(f"{path} is always read anew")

    def get_data(self, path: str) -> bytes:
        """Return what is in a file, and remember which state of it that was at first."""
        self.read.setdefault(path, stamp(path))
        return super().get_data(path)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours while it is run, and no longer."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def stamp(path: str) -> Stamp:
    """Return which state a file is in."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked before each run for each file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def stamps(paths: Iterable[str]) -> dict[str, Stamp]:
    """Return which state each of these files is in."""
    return {path: stamp(path) for path in paths}


def changed(known: Mapping[str, Stamp]) -> bool:
    """Say whether any of these files is in another state by now."""
    return any(stamp(path) != was for path, was in known.items())


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
