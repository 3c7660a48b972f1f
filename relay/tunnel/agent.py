"""The ngrok agent on this machine: its binary, and the configuration it is given."""

import asyncio
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pyngrok import conf

from relay.model.secret import Secret
from relay.model.text import printable
from relay.tunnel.child import running
from relay.tunnel.files import command_line, write_private
from relay.tunnel.tunnel import RefusedError

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


class NotInstalledError(RefusedError):
    """There is no ngrok agent on this machine, and nobody said where one is."""


def default_agent() -> Path:
    """Return where pyngrok keeps the agent it downloads."""
    return Path(conf.DEFAULT_NGROK_PATH)


def find_agent(given: Path | None, environ: Mapping[str, str], default: Path) -> Path:
    """Return the agent's binary: the given one, NGROK_PATH, the search path's, pyngrok's own.

    Raises NotInstalledError when there is none, since nothing is downloaded unasked, and
    RefusedError when it is not where it was said to be.
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
    raise NotInstalledError(
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


@contextmanager
def agent_config(data_dir: Path, token: Secret) -> Iterator[Path]:
    """Give the agent's configuration file, readable by this user only; it is removed on the way out.

    The token goes through a file because anybody on the machine can read a command line. Raises
    TunnelError when the file cannot be written.
    """
    path = _config_path(data_dir)
    # A JSON string is a YAML string, whatever is in it.
    write_private(path, _CONFIG.format(token=json.dumps(token.reveal())))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def other_agents(data_dir: Path) -> list[int]:
    """Return the process ids of ngrok agents that are not this data_dir's; none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        words = command_line(int(entry.name)).splitlines()
        # The second word, because a wrapper script shows its interpreter first.
        agent = "ngrok" in {Path(word).name for word in words[:2]}
        if agent and str(_config_path(data_dir)) not in words:
            found.append(int(entry.name))
    return sorted(found)


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


def _config_path(data_dir: Path) -> Path:
    return data_dir.resolve() / "ngrok.yml"
