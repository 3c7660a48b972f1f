"""What a tunnel writes into data_dir: private files, and the note that finds its process after a crash."""

import asyncio
import hashlib
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from relay import files
from relay.errors import TunnelError
from relay.model.text import printable


def write_private(path: Path, text: str) -> None:
    """Write a file in one step, readable by this user only from its first byte on.

    Raises TunnelError when that cannot be done.
    """
    try:
        files.make_private_folder(path.parent)
        files.write_private(path, text.encode())
    except OSError as error:
        raise TunnelError(f"cannot write {printable(str(path))}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class PidFile:
    """Says which process holds the tunnel open: its id, and a digest of its command line.

    A relay that is killed outright cannot close its tunnel, which would go on publishing the
    ingress port; the next relay on the same data_dir ends it.
    """

    path: Path

    @classmethod
    def within(cls, data_dir: Path) -> "PidFile":
        """Return the pid file of a data_dir, whether or not it exists."""
        return cls(data_dir.resolve() / "tunnel.pid")

    def note(self, pid: int) -> None:
        """Write a process down. Raises TunnelError when that cannot be done.

        Worth doing twice, at its start and once it works: a process has no command line yet for an
        instant after it was started, and a launcher replaces itself by the real program.
        """
        write_private(self.path, f"{pid} {_digest(pid)}\n")

    def remove(self) -> None:
        """Forget the process: it has ended."""
        self.path.unlink(missing_ok=True)

    async def end_leftover(self, grace: float) -> int | None:
        """End the process group noted by an earlier relay; return its id, None when there is none.

        The id may belong to somebody else by now: only a process with the very command line that
        was noted is touched. TERM comes first, KILL after `grace` seconds.
        """
        pid, digest = self._noted()
        # Process group 0 would be relay's own, -1 everybody's, and 1 is the system's first process.
        if pid < 2 or not digest or _digest(pid) != digest:
            return None
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 1.0)):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while _digest(pid) == digest:  # noqa: ASYNC110 - not our child: nothing tells of its end
                        await asyncio.sleep(0.02)
                break
        self.remove()
        return pid

    def _noted(self) -> tuple[int, str]:
        if files.is_of_another_user(self.path):
            return 0, ""
        try:
            pid, digest = self.path.read_text(encoding="ascii").split()
            return int(pid), digest
        except (OSError, ValueError):
            return 0, ""


def command_line(pid: int) -> str:
    """Return the words of a process, each on a line; "" when it has ended or may not be looked at."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", "\n")
        return ""
    done = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "args=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=5.0,
    )
    return done.stdout


def _digest(pid: int) -> str:
    """Return a digest of a command line, which may hold a secret; "" for a process that is gone."""
    line = command_line(pid)
    return hashlib.sha256(os.fsencode(line)).hexdigest() if line else ""
