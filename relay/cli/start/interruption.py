"""Interruptions of `relay start`: Ctrl-C, a closed stdout, and a paused terminal (Ctrl-S)."""

import asyncio
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from queue import SimpleQueue
from typing import TextIO, cast

from relay.cli.error_output import INTERRUPTED
from relay.cli.output import OutputClosed, Terminal

FINISH_TIME = 8.0  # seconds for deliveries in flight; unfinished ones are retried at the next start
_FORCED_EXIT_DELAY = 1.0
QUEUE_DEPTH = 5000  # pieces of text queued for a slow reader before new ones are dropped
_LARGEST_BATCH = 500  # most pieces that the printing thread takes from the queue at once
_DRAIN_TIME = 1.0  # seconds to print the rest when relay ends

_Pieces = SimpleQueue[tuple[int, bytes] | None]  # file descriptor and text; None ends it


class StopRequest:
    """Whether relay should stop (`requested`), and how urgently.

    `is_hurried` shortens the grace, `is_repeated` after a second Ctrl-C.
    """

    def __init__(self, print_message: Callable[[str], None]) -> None:
        self._print_message = print_message
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self.requested = asyncio.Event()
        self.is_hurried = False
        self.is_repeated = False

    def request(self) -> None:
        """Ask relay to stop; a second time it stops at once."""
        if self.requested.is_set():
            self.is_repeated = True
            self._hurry()
            return
        self.requested.set()
        self._print_message("stopping: finishing what is in flight; Ctrl-C again stops at once")
        self._loop.call_later(FINISH_TIME, self._hurry)

    def request_from_thread(self) -> None:
        """Ask relay to stop, from another thread; a second time this changes nothing."""
        self._loop.call_soon_threadsafe(self.requested.set)

    def _hurry(self) -> None:
        if self.is_hurried:
            os._exit(INTERRUPTED)
        self.is_hurried = True
        # Even if cleaning up takes longer, it ends after that.
        last = threading.Timer(_FORCED_EXIT_DELAY, os._exit, (INTERRUPTED if self.is_repeated else 0,))
        last.daemon = True
        last.start()
        if self._main is not None:
            self._main.cancel()


class NonBlockingStream(io.TextIOBase):
    """A stream whose writes never block: text is queued for the printing thread."""

    def __init__(self, real: TextIO, pieces: _Pieces) -> None:
        self._real = real
        self._pieces = pieces
        self._encoding = real.encoding or "utf-8"
        self.dropped = 0

    def write(self, text: str, /) -> int:
        """Queue a text; drop it if too much is queued already."""
        if self._pieces.qsize() >= QUEUE_DEPTH:
            self.dropped += 1
            return len(text)
        if self.dropped:
            note = f"relay: {self.dropped} lines were dropped because nothing read them\n"
            self._pieces.put((self._real.fileno(), note.encode()))
            self.dropped = 0
        self._pieces.put((self._real.fileno(), text.encode(self._encoding, "backslashreplace")))
        return len(text)

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self._real.isatty()


@contextmanager
def print_in_background(terminal: Terminal, on_closed: Callable[[], None]) -> Iterator[None]:
    """Print both streams of a terminal from a thread until the block ends: a slow reader blocks nothing.

    `on_closed` is called, from that thread, when stdout has no reader or cannot be written, which is raised as
    OutputClosed when the block has ended.
    """
    kept = terminal.out, terminal.err
    terminal.flush()
    pieces: _Pieces = SimpleQueue()
    reasons: list[str] = []

    def note_error(error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            reasons.append(error.strerror or str(error))
        on_closed()

    arguments = (pieces, kept[0].fileno(), note_error)
    writer = threading.Thread(target=_write_pieces, args=arguments, name="printer", daemon=True)
    writer.start()
    terminal.out, terminal.err = (cast("TextIO", NonBlockingStream(stream, pieces)) for stream in kept)
    try:
        yield
    finally:
        terminal.out, terminal.err = kept
        pieces.put(None)
        writer.join(_DRAIN_TIME)
    if reasons:
        raise OutputClosed(reasons[0])


def _write_pieces(pieces: _Pieces, out: int, on_error: Callable[[OSError], None]) -> None:
    closed: set[int] = set()
    batch: list[tuple[int, bytes] | None] = []
    while None not in batch:
        batch = [pieces.get()]
        while len(batch) < _LARGEST_BATCH and not pieces.empty():
            batch.append(pieces.get())
        for stream, found in groupby(filter(None, batch), key=itemgetter(0)):
            text = b"".join(piece for _, piece in found)
            try:
                # Bypasses Python's buffers: a thread blocked in one would make the interpreter's shutdown fail.
                while text and stream not in closed:
                    text = text[os.write(stream, text) :]
            except OSError as error:
                closed.add(stream)
                if stream == out:
                    on_error(error)
