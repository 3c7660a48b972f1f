"""A child process in a group of its own, read line by line and never left behind."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from relay.tunnel.files import PidFile
from relay.tunnel.tunnel import RefusedError

# A program that prints without line ends is cut here rather than kept in memory.
_LONGEST_LINE = 65536
# How long after its end a process's last words may still be in the pipe, in seconds.
_LAST_WORDS = 1.0

_LINE_END = re.compile(rb"[\r\n]+")


class Child(asyncio.SubprocessProtocol):
    """The process while it runs; `exited` is done once it has ended.

    Its output is read by the event loop for as long as there is any, so a full pipe never stops it.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[None] = loop.create_future()
        self._silent: asyncio.Future[None] = loop.create_future()
        self._on_line = on_line
        self._rest = b""
        self._transport: asyncio.SubprocessTransport | None = None

    @property
    def pid(self) -> int:
        """Return the process id, which is the id of its group too."""
        assert self._transport is not None
        return self._transport.get_pid()

    async def wait(self) -> int:
        """Wait until the process has ended and its last line was read; return its exit status."""
        await asyncio.wait({self.exited})
        await asyncio.wait({self._silent}, timeout=_LAST_WORDS)
        assert self._transport is not None
        status = self._transport.get_returncode()
        return -1 if status is None else status

    async def close(self, grace: float) -> None:
        """End the whole group: TERM, and KILL for whatever is there after `grace` seconds."""
        self._signal(signal.SIGTERM)
        try:
            # The silence tells of grandchildren: they share the pipe and may outlive the first process.
            await asyncio.wait({self.exited, self._silent}, timeout=grace)
        finally:
            self._signal(signal.SIGKILL)
            assert self._transport is not None
            self._transport.close()
        await asyncio.wait({self.exited}, timeout=grace)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport (called by asyncio)."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Hand on the complete lines (called by asyncio)."""
        del fd
        *lines, self._rest = _LINE_END.split(self._rest + data)
        for line in lines:
            self._hand_on(line)
        if len(self._rest) > _LONGEST_LINE:
            rest, self._rest = self._rest, b""
            self._hand_on(rest)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Hand on what came last without a line end (called by asyncio)."""
        del fd, exc
        rest, self._rest = self._rest, b""
        self._hand_on(rest)
        if not self._silent.done():
            self._silent.set_result(None)

    def process_exited(self) -> None:
        """Note the end (called by asyncio)."""
        if not self.exited.done():
            self.exited.set_result(None)

    def _hand_on(self, line: bytes) -> None:
        text = line.decode(errors="replace").strip()
        if text:
            self._on_line(text)

    def _signal(self, number: signal.Signals) -> None:
        # Nobody left in the group, or (macOS) nobody but zombies.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


@asynccontextmanager
async def running(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str],
    grace: float = 5.0,
    pid_file: PidFile | None = None,
) -> AsyncIterator[Child]:
    """Run a program without a shell, its output and errors handed to `on_line` (which must not raise).

    Raises RefusedError when it cannot be started. On the way out its whole process group ends:
    TERM, and KILL after `grace` seconds. Until then `pid_file` names it.
    """
    loop = asyncio.get_running_loop()
    try:
        _, child = await loop.subprocess_exec(
            lambda: Child(on_line),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # A Ctrl-C in the terminal is relay's to handle: it closes its children itself.
            start_new_session=True,
            env=dict(env),
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RefusedError(f"cannot start {Path(argv[0]).name}: {why}") from error
    try:
        if pid_file is not None:
            pid_file.note(child.pid)
        yield child
    finally:
        await child.close(grace)
        if pid_file is not None:
            pid_file.remove()
