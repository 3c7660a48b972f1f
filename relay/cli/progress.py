"""A progress bar on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import DownloadColumn, MofNCompleteColumn, Progress, TaskID

from relay.cli.output import Terminal


class RichProgressBar:
    """A bar that counts something."""

    shown = True

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, count: int = 1) -> None:
        """Count that many more."""
        self._progress.advance(self._task, count)

    def reach(self, count: int) -> None:
        """Count up to there."""
        self._progress.update(self._task, completed=count)


@contextmanager
def show_rich_progress(
    terminal: Terminal, total: int, doing: str = "replaying", *, sizes: bool = False
) -> Iterator[RichProgressBar]:
    """Show a bar on stderr for as long as the block lasts; what is printed meanwhile stands above it.

    It says what is being done; `sizes` says that bytes are counted.
    """
    kept = terminal.out, terminal.err
    count = DownloadColumn() if sizes else MofNCompleteColumn()
    columns = (*Progress.get_default_columns(), count)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        # rich has put streams of its own in place of these, which know where the bar is.
        terminal.out, terminal.err = sys.stdout, sys.stderr
        try:
            yield RichProgressBar(progress, progress.add_task(doing, total=total))
        finally:
            terminal.out, terminal.err = kept
