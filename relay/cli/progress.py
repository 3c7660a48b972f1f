"""A progress bar on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TaskID

from relay.cli.terminal import Terminal


class Bar:
    """A bar that counts deliveries."""

    shown = True

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self) -> None:
        """Count one more."""
        self._progress.advance(self._task)

    def reach(self, count: int) -> None:
        """Count up to there."""
        self._progress.update(self._task, completed=count)


@contextmanager
def bar(terminal: Terminal, total: int, doing: str = "replaying") -> Iterator[Bar]:
    """Show a bar on stderr for as long as the block lasts; what is printed meanwhile stands above it."""
    kept = terminal.out, terminal.err
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        # rich has put streams of its own in place of these, which know where the bar is.
        terminal.out, terminal.err = sys.stdout, sys.stderr
        try:
            yield Bar(progress, progress.add_task(doing, total=total))
        finally:
            terminal.out, terminal.err = kept
