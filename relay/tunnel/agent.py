"""The ngrok agent on this machine: its binary, the files it is given, and one left over from a crash."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pyngrok import conf

from relay.errors import TunnelError
from relay.model.secret import Secret
from relay.model.text import printable
from relay.tunnel.child import running
from relay.tunnel.tunnel import RefusedError

CONFIG_NAME = "ngrok.yml"
PID_NAME = "ngrok.pid"

_DOWNLOAD = """
import sys
from pyngrok import exception, installer
try:
    installer.install_ngrok(sys.argv[1])
except exception.PyngrokError as error:
    sys.exit(str(error))
"""
# The archive is about 10 MB.
_DOWNLOAD_SECONDS = 300.0

# Inspection is switched off twice, here and for the tunnel: the agent's own pages on port 4040 have
# no password and would keep every webhook in memory.
_CONFIG = """\
version: "3"
agent:
  authtoken: {token}
  console_ui: false
  inspect_db_size: -1
  log_format: logfmt
  log_level: info
  update_check: false
"""


def default_agent() -> Path:
    """Return where pyngrok keeps the agent it downloads."""
    return Path(conf.DEFAULT_NGROK_PATH)


def find_agent(given: Path | None, environ: Mapping[str, str], default: Path) -> Path:
    """Return the agent's binary: the given one, NGROK_PATH, the search path's, pyngrok's own.

    Raises RefusedError when there is none: nothing is downloaded unasked.
    """
    named = given or _path(environ.get("NGROK_PATH")) or _path(environ.get("PYNGROK_NGROK_PATH"))
    if named is not None:
        if not os.access(named, os.X_OK) or named.is_dir():
            raise RefusedError(
                f"there is no ngrok agent at {printable(str(named))}",
                hint="correct NGROK_PATH, or unset it to search for ngrok",
            )
        return named
    found = shutil.which("ngrok", path=environ.get("PATH", os.defpath))
    if found is not None:
        return Path(found)
    if os.access(default, os.X_OK):
        return default
    raise RefusedError(
        "ngrok is not installed",
        hint="install it from https://ngrok.com/download, set NGROK_PATH, or start with --no-tunnel",
    )


async def download_agent(target: Path, environ: Mapping[str, str]) -> Path:
    """Fetch the agent through pyngrok and return where it is. Raises RefusedError when that fails.

    It runs in a process of its own: pyngrok draws its progress on standard output, which is for
    relay's data, and cannot be interrupted.
    """
    said: deque[str] = deque(maxlen=1)
    command = [sys.executable, "-c", _DOWNLOAD, str(target)]
    async with running(command, said.append, env=environ) as child:
        await asyncio.wait({child.exited}, timeout=_DOWNLOAD_SECONDS)
        done = child.exited.done() and await child.wait() == 0
    if not done:
        why = printable(said[0], limit=300) if said else "it took too long"
        raise RefusedError(f"cannot download the ngrok agent: {why}")
    return target


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """The files of a running agent: its configuration, and its process id for after a crash."""

    config: Path
    pid: Path

    @classmethod
    def within(cls, data_dir: Path) -> Self:
        """Return where the files of a data_dir are, whether or not they exist."""
        folder = data_dir.resolve()
        return cls(folder / CONFIG_NAME, folder / PID_NAME)

    def of(self, pid: int) -> bool:
        """Say whether a process is an agent that was given this configuration."""
        return str(self.config) in " ".join(_command_line(pid))

    def noted_pid(self) -> int | None:
        """Return the process id written down, None when there is none."""
        try:
            return int(self.pid.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def note(self, pid: int) -> None:
        """Write the agent's process id down. Raises TunnelError when that cannot be done."""
        _write_private(self.pid, f"{pid}\n")


@contextmanager
def agent_files(data_dir: Path, token: Secret) -> Iterator[AgentFiles]:
    """Write the agent's configuration, readable by this user only; all is removed on the way out.

    The token goes through a file because anybody on the machine can read a command line. Raises
    TunnelError when the file cannot be written.
    """
    files = AgentFiles.within(data_dir)
    # A JSON string is a YAML string, whatever is in it.
    _write_private(files.config, _CONFIG.format(token=json.dumps(token.reveal())))
    try:
        yield files
    finally:
        files.config.unlink(missing_ok=True)
        files.pid.unlink(missing_ok=True)


async def end_leftover(data_dir: Path, grace: float) -> int | None:
    """End an agent that an earlier relay on this data_dir left behind; return its process id.

    Only a process whose command line names this data_dir's own configuration file is touched: the
    number in the pid file may belong to somebody else by now.
    """
    files = AgentFiles.within(data_dir)
    pid = files.noted_pid()
    if pid is None or not files.of(pid):
        return None
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while files.of(pid):  # noqa: ASYNC110 - not our child: nothing tells of its end
                    await asyncio.sleep(0.02)
            break
    return pid


def other_agents(data_dir: Path) -> list[int]:
    """Return the process ids of ngrok agents that are not this data_dir's; none where there is no /proc."""
    ours = AgentFiles.within(data_dir)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        words = _command_line(int(entry.name))
        # The second word, because a wrapper script shows its interpreter first.
        if not ours.of(int(entry.name)) and "ngrok" in {Path(word).name for word in words[:2]}:
            found.append(int(entry.name))
    return sorted(found)


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _write_private(path: Path, text: str) -> None:
    """Write a file in one step, readable by this user only from its first byte on."""
    new = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib opens no descriptor
            file.write(text)
        new.replace(path)
    except OSError as error:
        raise TunnelError(f"cannot write {printable(str(path))}: {error.strerror}") from error


def _command_line(pid: int) -> list[str]:
    """Return a process's words; none when it has ended or may not be looked at."""
    if Path("/proc/self/cmdline").exists():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            return [os.fsdecode(word) for word in words if word]
        return []
    done = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "args=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        timeout=5.0,
    )
    return done.stdout.split()
