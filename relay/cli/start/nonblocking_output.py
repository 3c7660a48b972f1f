"""Printing from a thread of its own: a terminal that is held (Ctrl-S) or a slow reader stops nothing else."""

import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import TextIO, cast

from relay.cli.output import Terminal

QUEUE_DEPTH = 5000  # pieces of text that may wait for a slow reader before new ones are dropped
_DRAIN_TIME = 1.0  # seconds that the rest has to be read when relay ends

OutputPiece = tuple[int, bytes]


class NonBlockingStream(io.TextIOBase):
    """A stream whose writing never blocks: what is written waits for the thread."""

    def __init__(self, real: TextIO, pieces: "Queue[OutputPiece | None]") -> None:
        self._real = real
        self._pieces = pieces
        self._coding = real.encoding or "utf-8"
        self.dropped = 0

    def write(self, text: str, /) -> int:
        """Queue a text; drop it when too much waits already."""
        try:
            if self.dropped:
                note = f"relay: {self.dropped} lines were dropped, nobody read them\n"
                self._pieces.put_nowait((self._real.fileno(), note.encode()))
                self.dropped = 0
            self._pieces.put_nowait((self._real.fileno(), text.encode(self._coding, "backslashreplace")))
        except Full:
            self.dropped += 1
        return len(text)

    def isatty(self) -> bool:
        """Say whether a person looks at it."""
        return self._real.isatty()


@contextmanager
def print_in_background(terminal: Terminal, on_closed: Callable[[], None]) -> Iterator[None]:
    """Print both streams of a terminal from a thread for as long as the block lasts.

    `on_closed` is called, from that thread, when nobody reads stdout any more.
    """
    kept = terminal.out, terminal.err
    terminal.flush()
    pieces: Queue[OutputPiece | None] = Queue(QUEUE_DEPTH)
    writer = threading.Thread(
        target=_write_pieces, args=(pieces, kept[0].fileno(), on_closed), name="printer", daemon=True
    )
    writer.start()
    terminal.out, terminal.err = (cast("TextIO", NonBlockingStream(stream, pieces)) for stream in kept)
    try:
        yield
    finally:
        terminal.out, terminal.err = kept
        _end_queue(pieces)
        writer.join(_DRAIN_TIME)


def _write_pieces(pieces: "Queue[OutputPiece | None]", out: int, on_closed: Callable[[], None]) -> None:
    closed: set[int] = set()
    while (piece := pieces.get()) is not None:
        stream, text = piece
        if stream in closed:
            continue
        try:
            # Past Python's buffers: a thread blocked inside one would make the interpreter's end fail.
            while text:
                text = text[os.write(stream, text) :]
        except OSError:
            closed.add(stream)
            if stream == out:
                on_closed()


def _end_queue(pieces: "Queue[OutputPiece | None]") -> None:
    while True:
        try:
            pieces.put_nowait(None)
        except Full:
            try:
                pieces.get_nowait()
            except Empty:
                continue
        else:
            return
