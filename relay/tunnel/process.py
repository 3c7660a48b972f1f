"""A child process in its own process group, read line by line and always ended."""

import asyncio
import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from relay.errors import TunnelError
from relay.model.text import escape_unprintable
from relay.platform import (
    KILL_SIGNAL,
    is_of_another_user,
    make_private_folder,
    own_process_group,
    read_command_line,
    signal_process_group,
    write_private,
)
from relay.tunnel.base import RefusedError


def write_private_text(path: Path, text: str) -> None:
    """Write a file atomically, readable by this user only from its first byte.

    Raises TunnelError when that cannot be done.
    """
    try:
        make_private_folder(path.parent)
        write_private(path, text.encode())
    except OSError as error:
        raise TunnelError(f"cannot write {escape_unprintable(str(path))}: {error.strerror}") from error


class PidFile:
    """Records the process of the tunnel: its id, and a digest of its command line.

    A relay that is killed cannot close its tunnel, which would continue publishing the
    ingress port; the next relay on the same data_dir ends it.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir.resolve() / "tunnel.pid"

    def note(self, pid: int) -> None:
        """Record a process. Raises TunnelError if that fails.

        Called twice, at its start and when it works: a process has no command line yet for an
        instant after it was started, and a launcher replaces itself by the real program.
        """
        write_private_text(self.path, f"{pid} {_command_digest(pid)}\n")

    def remove(self) -> None:
        """Remove the record: the process has ended."""
        self.path.unlink(missing_ok=True)

    async def end_leftover(self, grace: float) -> int | None:
        """End the process group recorded by an earlier relay; return its id, None if there is none.

        The id may belong to another program by now: only a process with the same command line that
        was recorded is ended, by TERM first and KILL after `grace` seconds.
        """
        pid, digest = self._noted()
        # Process group 0 would be relay's own, -1 everybody's, and 1 is the system's first process.
        if pid < 2 or not digest or _command_digest(pid) != digest:
            return None
        for number, patience in ((signal.SIGTERM, grace), (KILL_SIGNAL, 1.0)):
            signal_process_group(pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while _command_digest(pid) == digest:  # noqa: ASYNC110 - not our child: nothing signals its end
                        await asyncio.sleep(0.02)
                break
        self.remove()
        return pid

    def _noted(self) -> tuple[int, str]:
        if is_of_another_user(self.path):
            return 0, ""
        try:
            pid, digest = self.path.read_text(encoding="ascii").split()
            return int(pid), digest
        except (OSError, ValueError):
            return 0, ""


def _command_digest(pid: int) -> str:
    """Return a digest of a command line, which may contain a secret; "" if the process has ended."""
    line = read_command_line(pid)
    return hashlib.sha256(os.fsencode(line)).hexdigest() if line else ""


# Output without line ends is cut here, to bound memory.
_LONGEST_LINE = 65536
# How long after its end a process's last words may still be in the pipe, in seconds.
_LAST_WORDS = 1.0

_LINE_END = re.compile(rb"[\r\n]+")


class ChildProcess(asyncio.SubprocessProtocol):
    """A running process; `exited` is done when it has ended.

    The event loop reads its output until it ends, so a full pipe never stops it.
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
        """Return the process id, which is also the id of its group."""
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
        """End the whole group: TERM, then KILL after `grace` seconds."""
        signal_process_group(self.pid, signal.SIGTERM)
        try:
            # A closed pipe counts grandchildren too: they share the pipe and may outlive the first process.
            await asyncio.wait({self.exited, self._silent}, timeout=grace)
        finally:
            signal_process_group(self.pid, KILL_SIGNAL)
            assert self._transport is not None
            self._transport.close()
        await asyncio.wait({self.exited}, timeout=grace)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport (called by asyncio)."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Pass on complete lines (called by asyncio)."""
        del fd
        *lines, self._rest = _LINE_END.split(self._rest + data)
        for line in lines:
            self._hand_on(line)
        if len(self._rest) > _LONGEST_LINE:
            rest, self._rest = self._rest, b""
            self._hand_on(rest)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Pass on a last line without a line end (called by asyncio)."""
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


@asynccontextmanager
async def run_child(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str],
    grace: float = 5.0,
    pid_file: PidFile | None = None,
) -> AsyncIterator[ChildProcess]:
    """Run a program without a shell; its output and errors are passed to `on_line` (which must not raise).

    Raises RefusedError when it cannot be started. On the way out its whole process group ends:
    TERM, and KILL after `grace` seconds. Until then `pid_file` names it.
    """
    loop = asyncio.get_running_loop()
    try:
        _, child = await loop.subprocess_exec(
            lambda: ChildProcess(on_line),
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # relay handles a Ctrl-C in the terminal itself and closes its children.
            env=dict(env),
            **own_process_group(),
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
