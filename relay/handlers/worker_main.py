"""The main program of a worker process: loads a handlers file and runs events one at a time.

relay starts it with the file, the project's folder and both ends of a pipe as arguments, and communicates
over its standard input and output. All output of this process goes through
that pipe and is the output of a run.
"""

import asyncio
import atexit
import gc
import logging
import os
import queue
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourcelessFileLoader,
)
from io import TextIOWrapper
from pathlib import Path

from relay.errors import HandlersError, NotFoundError
from relay.handlers import protocol, user_code
from relay.handlers.environment import read_lookup, set_default_secrets
from relay.handlers.event import build_event
from relay.handlers.file import Handlers, HandlersResult, describe_exception, load_handlers
from relay.handlers.user_code import FreshLoader, ProjectFolders, file_stamp

KEPT_OUTPUT = 64 * 1024  # bytes of a run's output that are passed on
_PIPE = 1 << 20  # maximum capacity of a pipe on any system
_GRACE = 2.0  # seconds for the file's own cleanup after relay has closed the pipe


def main() -> None:
    """Load the file, report it, and run events until relay closes the pipe."""
    path, folder = Path(sys.argv[1]), Path(sys.argv[2])
    home = ProjectFolders((folder, path.parent))
    wire, requests = _take_over_pipes()
    output = OutputCapture(wire, int(sys.argv[3]), int(sys.argv[4]))
    session = WorkerSession(wire, output, home)
    # Registered first, so that it runs last: no child outlives this process.
    atexit.register(_kill_group, os.getpid())
    threading.Thread(target=session.listen, args=(requests,), daemon=True).start()
    set_default_secrets(session.find_secret)
    _prepare_process(path, home)
    try:
        handlers = load_handlers(path, folder)
    except HandlersError as error:
        output.drain()
        # A missing file may be added later, which changes the folder.
        read = FreshLoader.read | {str(folder): file_stamp(str(folder)) for folder in home.folders}
        broken = {"sentence": error.message, "hint": error.hint, "traceback": error.traceback, "read": read}
        wire.send_json(protocol.BROKEN, broken)
        return
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Off since the start: imported modules stay, and collecting took a tenth of the start-up time.
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(session.serve(handlers))
    except BaseException as error:  # noqa: BLE001 - sys.exit in a task of a handler's own ends the whole loop
        session.finish(describe_exception("the handlers' event loop", error, home), last=True)


def _kill_group(pid: int) -> None:
    if os.getpid() == pid:  # and not a fork of it
        os.killpg(0, signal.SIGKILL)


def _take_over_pipes() -> tuple["RelayPipe", int]:
    # Only this module uses the pipes to relay: handlers read from nothing, and print into the output.
    requests, replies = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return RelayPipe(replies), requests


def _prepare_process(path: Path, home: ProjectFolders) -> None:
    sys.argv = [str(path)]
    sys.path[:0] = dict.fromkeys([str(path.parent), str(home.folders[0])])

    def finder(entry: str) -> FileFinder:
        if not home.holds(entry) or not Path(entry).is_dir():
            raise ImportError(f"{entry} is not the project's")
        return FileFinder(
            entry,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (FreshLoader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )

    sys.path_hooks.insert(0, finder)
    sys.path_importer_cache.clear()


class RelayPipe:
    """The pipe to relay; frames of several threads do not interleave."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send_json(self, kind: bytes, value: Mapping[str, object]) -> None:
        """Send plain values."""
        self.send(kind, protocol.encode_json(value))

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Send bytes; does nothing if relay has exited."""
        data = memoryview(protocol.encode_frame(kind, content))
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError:
                return


class OutputCapture:
    """Captures stdout and stderr of this process and its children, and passes on the first part.

    Not done by relay: a handler that prints without end then costs its own process, not relay's.
    relay reads the rest of the pipe when this process has ended. `whole` until a handler closes it.
    """

    def __init__(self, wire: RelayPipe, reading: int, writing: int) -> None:
        self.whole = True
        self._wire = wire
        self._left = KEPT_OUTPUT
        self._cut = False
        self._lock = threading.Lock()
        self._streams = (sys.stdout, sys.stderr)
        self._fd = reading
        self._pipe = os.fstat(writing).st_ino
        os.set_inheritable(reading, False)
        os.set_blocking(reading, False)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        os.close(writing)
        for stream in self._streams:
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        threading.Thread(target=self._read, daemon=True).start()

    def begin(self) -> None:
        """Reset the limit for the next run."""
        with self._lock:
            self._left, self._cut = KEPT_OUTPUT, False

    def drain(self) -> None:
        """Pass on the output so far."""
        try:
            for stream in self._streams:
                stream.flush()
            self.whole = all(os.fstat(fd).st_ino == self._pipe for fd in (1, 2))
        except (OSError, ValueError):
            self.whole = False
        with self._lock:
            # Output printed in the meantime, perhaps without end, is not awaited.
            left = _PIPE
            while left > 0 and (count := self._take()):
                left -= count

    def _read(self) -> None:
        while True:
            select.select([self._fd], [], [])
            with self._lock:
                if self._take() == 0:
                    return  # no reader is left

    def _take(self) -> int | None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return None
        if self._left and data:
            self._wire.send(protocol.OUTPUT, data[: self._left])
        if len(data) > self._left and not self._cut:
            self._cut = True
            self._wire.send(protocol.CUT)
        self._left -= min(self._left, len(data))
        return len(data)


class WorkerSession:
    """Runs events one at a time, on an event loop that also runs between them."""

    def __init__(self, wire: RelayPipe, output: OutputCapture, home: ProjectFolders) -> None:
        self._wire = wire
        self._output = output
        self._home = home
        self._pid = os.getpid()
        self._busy = True  # until the file is loaded
        self._inbox: asyncio.Queue[tuple[bytes, bytes] | None] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._asking = threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()

    def find_secret(self, name: str) -> str:
        """Return a secret from relay. Raises NotFoundError, VaultLockedError."""
        if os.getpid() != self._pid:  # a fork: relay would answer to the original process
            hint = "read it before, and hand it over"
            raise NotFoundError(f"a process that a handler forked cannot ask for the secret '{name}'", hint=hint)
        with self._asking:
            self._wire.send_json(protocol.ASK, {"name": str(name)})
            return read_lookup(self._answers.get())

    def listen(self, requests: int) -> None:
        """Read relay's requests; when it closes the pipe, end this process."""
        frames, head = protocol.FrameReader(), b""
        try:
            while data := os.read(requests, 65536):
                for kind, content in frames.feed(data):
                    if kind == protocol.HEAD:
                        head, self._busy = content, True
                    elif kind == protocol.BODY:
                        self._hand_over((head, content))
                    elif kind == protocol.SECRET:
                        self._answers.put(protocol.decode_json(content))
                    elif kind == protocol.WHERE:
                        self._wire.send(protocol.HERE, user_code.format_current_stack(self._task, self._home).encode())
            if not self._busy:
                self._hand_over(None)
                time.sleep(_GRACE)
        finally:
            # relay has exited, or waits no longer.
            os.killpg(0, signal.SIGKILL)

    async def serve(self, handlers: Handlers) -> None:
        """Report that the file is loaded, and run events until relay closes the pipe."""
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._busy = False
        folder = Path.cwd()
        rules = [
            {"name": rule.name, "source": rule.source, "events": rule.events, "first": rule.first}
            for rule in handlers.rules
        ]
        self._wire.send_json(protocol.READY, {"rules": rules, "read": FreshLoader.read})
        while self._output.whole and (frames := await self._inbox.get()) is not None:
            self._output.begin()
            with suppress(OSError):  # ended with the previous run: this one does not start
                os.chdir(folder)
            ran = await handlers.run(build_event(*protocol.decode_event(*frames)))
            self.finish(ran)

    def finish(self, ran: HandlersResult, *, last: bool = False) -> None:
        """Report the result of the current run, if any; `last`: this process runs no other."""
        if os.getpid() != self._pid:
            os._exit(0)  # a fork that returned from the handler: its parent sends the reply
        if self._busy:
            self._output.drain()
            self._busy = False
            result = {"read": FreshLoader.read, "last": last or not self._output.whole}
            self._wire.send_json(protocol.DONE, protocol.encode_result(ran) | result)

    def _hand_over(self, frames: tuple[bytes, bytes] | None) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._inbox.put_nowait, frames)
