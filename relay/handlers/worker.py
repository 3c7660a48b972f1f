"""The worker processes of a handlers file: ended if they hang, replaced if the file changes."""

import asyncio
import codecs
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, cast

from relay.errors import HandlersError
from relay.handlers import protocol
from relay.handlers.environment import HandlerOptions, describe_lookup
from relay.handlers.event import EventMetadata
from relay.handlers.user_code import Stamp, file_stamp, has_changed
from relay.handlers.worker_main import KEPT_OUTPUT
from relay.model.clock import Clock
from relay.model.delivery import ActionResult, AttemptRetry, HandlerOutput, ReceivedResponse
from relay.model.event import Capture
from relay.platform import HAS_PROCESS_GROUPS, KILL_SIGNAL, own_process_group, signal_process_group

_GRACE = 3.0  # seconds that a process may take to exit by itself
_LOCATE_SECONDS = 3.0  # seconds for a hanging process to report its position
_KEPT_ERROR = 400  # bytes of what Python itself wrote when it could not start
# Not imported from the current folder: the user may have a module `relay`.
_START = (
    "import gc, sys; gc.disable(); sys.path.append(sys.argv.pop()); from relay.handlers.worker_main import main; main()"
)
_ROOT = str(Path(__file__).parents[2])

_JSON = (("Content-Type", "application/json"),)

_Frame = tuple[bytes, bytes]


class BrokenFileError(HandlersError):
    """A file that could not be loaded; `read` are the versions of its files, `locked` a secret it waits for."""

    def __init__(self, error: HandlersError, output: HandlerOutput, read: dict[str, Stamp], locked: str = "") -> None:
        super().__init__(error.message, hint=error.hint, traceback=error.traceback)
        self.output = output
        self.read = read
        self.locked = locked


class Worker(asyncio.SubprocessProtocol):
    """A worker process. It runs one event at a time; `rules` are those its file registered."""

    def __init__(self, options: HandlerOptions) -> None:
        self.rules: list[dict[str, Any]] = []
        self._options = options
        self._read = {str(options.path): file_stamp(str(options.path))}  # its version before it is loaded
        self._frames = protocol.FrameReader()
        self._printed = bytearray()
        self._cut = False
        self._spent = False
        self._locked = ""  # the latest requested secret that is in the locked vault
        self._stderr = b""
        self._pipe = -1
        self._ended = asyncio.Event()
        # The next reply of the process; the first one is sent unasked, when the file is loaded.
        self._reply: asyncio.Future[_Frame] | None = asyncio.get_running_loop().create_future()
        self._transport: asyncio.SubprocessTransport | None = None

    @classmethod
    async def start(cls, options: HandlerOptions) -> Self:
        """Start a process that loads its file. Raises BrokenFileError, also on systems without process groups."""
        if not HAS_PROCESS_GROUPS:
            problem = HandlersError(f"{options.name}: handlers do not run on Windows", hint="use Linux, macOS or WSL")
            raise BrokenFileError(problem, HandlerOutput(), {})
        worker = cls(options)
        worker._pipe, writing = os.pipe()
        arguments = (str(options.path), str(options.folder), str(worker._pipe), str(writing), _ROOT)
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: worker,
                *(sys.executable, "-P", "-c", _START, *arguments),
                cwd=options.folder,
                env=dict(options.environ),
                pass_fds=(worker._pipe, writing),
                **own_process_group(),
            )
        except OSError as error:
            problem = HandlersError(f"cannot start Python for {options.name}: {error.strerror}")
            raise BrokenFileError(problem, HandlerOutput(), {}) from error
        finally:
            if worker._transport is None:
                worker._release_pipes()
            os.close(writing)
        try:
            worker._handle_reply(*await worker._wait_until_loaded())
        except BaseException:
            worker.kill()
            await worker._ended.wait()  # the loop may end with the caller, before the process is reaped
            raise
        return worker

    @property
    def is_free(self) -> bool:
        """Return whether it can take an event."""
        return not (self.has_ended or self._spent) and self._reply is None

    @property
    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._ended.is_set()

    @property
    def is_stale(self) -> bool:
        """Return whether a file that it loaded has changed."""
        return has_changed(self._read)

    async def run(self, capture: Capture, metadata: EventMetadata) -> ActionResult:
        """Run an event; its reply is the response. A run that takes too long is ended with its process."""
        self._ask(protocol.encode_event(capture, metadata))
        try:
            async with asyncio.timeout(self._options.timeout):
                _, content = await self._wait_for_reply()
        except TimeoutError:
            place = await self._locate()
            self.kill()
            self._read_rest()
            detail = f"took longer than {self._options.timeout:g} s, so its process was ended"
            return ActionResult(outcome=AttemptRetry(detail), output=self._output(place))
        except _EndedError as error:
            detail = f"the process of {self._options.name} ended by itself ({error})"
            return ActionResult(outcome=AttemptRetry(detail), output=self._output())
        result = protocol.decode_json(content)
        self._read.update(_read_stamps(result))
        self._spent = result["last"]
        ran = protocol.decode_result(result)
        reply = None if ran.reply is None else ReceivedResponse(status=200, headers=_JSON, body=ran.reply)
        return ActionResult(outcome=ran.outcome, response=reply, output=self._output(ran.traceback))

    def retire(self) -> None:
        """Let the process exit when it is idle."""
        if self._transport and (pipe := self._transport.get_pipe_transport(0)):
            pipe.close()

    def kill(self) -> None:
        """Kill the process and all its children."""
        self._spent = True
        if self._transport is not None:
            if not self.has_ended:
                signal_process_group(self._transport.get_pid(), KILL_SIGNAL)
            self._transport.close()

    async def end(self) -> None:
        """Let the process exit, and kill it if it does not."""
        self.retire()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await self._ended.wait()
        finally:
            self.kill()
        await self._ended.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport (called by asyncio)."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Handle data from the process (called by asyncio)."""
        if fd == 2:
            self._stderr = (self._stderr + data)[-_KEPT_ERROR:]
            return
        for kind, content in self._frames.feed(data):
            if kind == protocol.OUTPUT:
                self._printed += content
            elif kind == protocol.CUT:
                self._cut = True
            elif kind == protocol.ASK:
                name = protocol.decode_json(content)["name"]
                self._locked = name if self._options.is_locked(name) else self._locked
                answer = describe_lookup(self._options.find_secret, name)
                self._write(protocol.encode_frame(protocol.SECRET, protocol.encode_json(answer)))
            elif self._reply and not self._reply.done():
                self._reply.set_result((kind, content))

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end (called by asyncio)."""
        del exc
        self._ended.set()
        self._release_pipes()
        if self._transport is not None:
            self._transport.close()
        if self._reply and not self._reply.done():
            self._reply.set_exception(_EndedError(self._status()))

    def _read_rest(self) -> None:
        # Output that the process could not pass on itself any more.
        with suppress(OSError):
            os.set_blocking(self._pipe, False)
            while len(self._printed) <= KEPT_OUTPUT and (data := os.read(self._pipe, KEPT_OUTPUT)):
                self._printed += data

    def _release_pipes(self) -> None:
        if self._pipe >= 0:
            self._read_rest()
            os.close(self._pipe)
            self._pipe = -1

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        pipe = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))
        pipe.write(data)

    def _ask(self, request: bytes) -> None:
        self._reply = asyncio.get_running_loop().create_future()
        if self.has_ended:
            self._reply.set_exception(_EndedError(self._status()))
        self._write(request)

    async def _wait_for_reply(self) -> _Frame:
        assert self._reply is not None
        reply = await self._reply
        # Only now: a process that did not reply must not get another event.
        self._reply = None
        return reply

    async def _wait_until_loaded(self) -> _Frame:
        name, patience = self._options.name, self._options.patience
        try:
            async with asyncio.timeout(patience):
                return await self._wait_for_reply()
        except TimeoutError:
            place = await self._locate()
            what = HandlersError(f"{name} took longer than {patience:g} s to load", traceback=place)
        except _EndedError as error:
            line = self._stderr.decode(errors="replace").strip().rpartition("\n")[2]
            what = HandlersError(f"{name}: its process ended while loading it: {line or error}")
        raise BrokenFileError(what, self._output(what.traceback), self._read)

    def _handle_reply(self, kind: bytes, content: bytes) -> None:
        result = protocol.decode_json(content)
        self._read = _read_stamps(result)
        if kind == protocol.READY:
            self.rules = result["rules"]
        else:
            error = HandlersError(result["sentence"], hint=result["hint"], traceback=result["traceback"])
            raise BrokenFileError(error, self._output(error.traceback), self._read, self._locked)

    async def _locate(self) -> str:
        """Return the current position of a hanging process; "" if it does not report it."""
        self._ask(protocol.encode_frame(protocol.WHERE))
        try:
            async with asyncio.timeout(_LOCATE_SECONDS):
                kind, content = await self._wait_for_reply()
        except (TimeoutError, _EndedError):
            return ""
        return content.decode() if kind == protocol.HERE else ""  # else its run has ended after all

    def _output(self, traceback: str = "") -> HandlerOutput:
        printed, cut = bytes(self._printed), self._cut or len(self._printed) > KEPT_OUTPUT
        self._printed.clear()
        self._cut = False
        # A partial character at the cut is dropped.
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        return HandlerOutput(text=decoder.decode(printed[:KEPT_OUTPUT], final=not cut), cut=cut, traceback=traceback)

    def _status(self) -> str:
        status = self._transport.get_returncode() if self._transport else None
        if status is not None and status < 0:
            with suppress(ValueError):
                return f"killed by {signal.Signals(-status).name}"
        return f"status {status}"


class _EndedError(Exception):
    """The process ended while a reply was awaited; never leaves this module."""


def _read_stamps(result: dict[str, Any]) -> dict[str, Stamp]:
    return {path: tuple(found) if found else None for path, found in result["read"].items()}


# Seconds after which a broken file is tried again although it did not change, because its dependencies may
# have been installed; doubled each time.
_RETRY_SECONDS = 10.0
_LONGEST_WAIT = 300.0


class WorkerPool:
    """Runs events with the current version of a file. `error` is why it cannot be run, None if it can."""

    def __init__(self, options: HandlerOptions, clock: Clock) -> None:
        self.error: BrokenFileError | None = None
        self._options = options
        self._clock = clock
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._again_at = 0.0
        self._wait = _RETRY_SECONDS

    async def run(self, capture: Capture, metadata: EventMetadata) -> ActionResult:
        """Run an event in a process that runs no other at the time. Raises BrokenFileError."""
        worker = await self._ready()
        try:
            return await worker.run(capture, metadata)
        finally:
            if worker.is_free:
                self._idle.append(worker)
            else:
                worker.kill()

    async def is_restarted(self) -> bool:
        """Return whether the file can be run; a broken one is tried when it changed, and periodically."""
        if self.error is None:
            return True
        if has_changed(self.error.read):
            self._wait = _RETRY_SECONDS
        elif locked := self.error.locked:
            if self._options.is_locked(locked):
                return False
        elif self._clock.monotonic() < self._again_at:
            return False
        try:
            self._idle.append(await self._start())
        except BrokenFileError:
            return False
        return True

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(worker.end() for worker in self._all))
        self._all.clear()

    async def _ready(self) -> Worker:
        waiting, self._idle = self._idle, []
        for worker in waiting:
            if worker.is_free and not worker.is_stale:
                self._idle.append(worker)
            else:
                worker.retire()
        return self._idle.pop() if self._idle else await self._start()

    async def _start(self) -> Worker:
        try:
            worker = await Worker.start(self._options)
        except BrokenFileError as error:
            self.error = error
            self._again_at = self._clock.monotonic() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            raise
        self.error = None
        self._wait = _RETRY_SECONDS
        self._all = {one for one in self._all if not one.has_ended} | {worker}
        return worker
