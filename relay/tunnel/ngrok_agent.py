"""The ngrok agent on this machine: its binary and its configuration."""

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.platform import read_command_line
from relay.tunnel.base import RefusedError
from relay.tunnel.process import run_child, write_private_text

# Run in a separate process: pyngrok prints its progress to stdout, which is for relay's data, and cannot
# be interrupted. It downloads to a fixed name in the folder for temporary files, where others may have put a link.
_DOWNLOAD = """
import sys, tempfile
from pyngrok import exception, installer
path, tempfile.tempdir = sys.argv[1:]
try:
    installer.install_ngrok(path)
except exception.PyngrokError as error:
    cause = error.__context__ or error
    if not hasattr(cause, "code"):
        cause = getattr(cause, "reason", cause)
    sys.exit(getattr(cause, "strerror", None) or str(cause))
"""
# In seconds. The archive is about 10 MB, and pyngrok reports every percent.
_DOWNLOAD_LIMIT = 300.0
_SILENCE_LIMIT = 30.0
_PERCENT = re.compile(r"Downloading ngrok: (\d+)%")

# pip installs pyngrok's console script next to relay, under the name of the agent; pyenv's shim calls it.
_NOT_THE_AGENT = re.compile(rb"\b(?:pyngrok|pyenv)\b")

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

# The sentence and the hint for a tunnel.command that would start the script.
SCRIPT_COMMAND = (
    "the ngrok of tunnel.command is pyngrok's script, not the agent",
    'run relay tunnel install and take provider = "ngrok", or name the agent by its whole path',
)


class NoAgentError(RefusedError):
    """No ngrok agent is installed or configured on this machine."""

    def __init__(self, script: Path | None = None) -> None:
        aside = f" ({escape_unprintable(str(script))} is pyngrok's script, not the agent)" if script else ""
        hint = (
            "run relay tunnel install (relay start offers it on a terminal), "
            "get it from https://ngrok.com/download, or use --no-tunnel"
        )
        super().__init__(f"ngrok is not installed{aside}", hint=hint)


def default_agent() -> Path:
    """Return the path of the agent that pyngrok downloads."""
    from pyngrok import conf  # noqa: PLC0415 - takes 0.1 s to import

    return Path(conf.DEFAULT_NGROK_PATH)


def is_pyngrok_script(program: Path) -> bool:
    """Return whether a program called ngrok is a script of pyngrok's, which downloads the agent when it is run."""
    try:
        with program.open("rb") as file:
            first, _, rest = file.read(4096).partition(b"\n")
    except OSError:
        return False
    return first.startswith(b"#!") and _NOT_THE_AGENT.search(rest) is not None


def find_agent(configured: Path | None, environ: Mapping[str, str], default: Path) -> Path:
    """Return the agent's binary: the configured one, NGROK_PATH, the search path's, pyngrok's own.

    Raises NoAgentError when there is none, since nothing is downloaded unasked, and
    RefusedError when it is not where it was said to be.
    """
    named = configured or named_agent(environ)
    if named is not None:
        place = escape_unprintable(str(named))
        if not os.access(named, os.X_OK) or named.is_dir():
            problem = f"there is no ngrok agent at {place}"
        elif is_pyngrok_script(named):
            problem = f"{place} is pyngrok's script, not the ngrok agent"
        else:
            return named
        raise RefusedError(problem, hint="correct NGROK_PATH, or unset it to search for ngrok")
    script = None
    for folder in environ.get("PATH", os.defpath).split(os.pathsep):
        found = shutil.which("ngrok", path=folder)
        if found is not None and not is_pyngrok_script(Path(found)):
            return Path(found)
        script = script or found
    if os.access(default, os.X_OK):
        return default
    raise NoAgentError(Path(script) if script else None)


def named_agent(environ: Mapping[str, str]) -> Path | None:
    """Return the agent named by NGROK_PATH, or by pyngrok's PYNGROK_NGROK_PATH."""
    text = environ.get("NGROK_PATH") or environ.get("PYNGROK_NGROK_PATH")
    return Path(text).expanduser() if text else None


async def download_agent(target: Path, environ: Mapping[str, str], report: Callable[[str], None]) -> Path:
    """Download the agent through pyngrok to `target` and return that; `report` takes sentences on the progress.

    `target` is written atomically. Raises RefusedError if it cannot be downloaded, also after 30 s
    without progress and after five minutes.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ngrok-") as folder:
            fresh = Path(folder) / target.name
            await _run_installer([str(fresh), folder], environ, report)
            fresh.replace(target)
    except OSError as error:
        raise _download_error(f"{error.strerror}: {escape_unprintable(str(target))}") from error
    return target


async def _run_installer(arguments: list[str], environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DOWNLOAD_LIMIT
    last, reported = "", 0
    report("downloading the ngrok agent")

    def read_progress(line: str) -> None:
        nonlocal last, reported
        last = line
        limit.reschedule(min(deadline, loop.time() + _SILENCE_LIMIT))
        percent = _PERCENT.fullmatch(line)
        if percent and int(percent[1]) >= reported + 10:
            reported = int(percent[1]) // 10 * 10
            report(f"downloading the ngrok agent: {reported} %")

    try:
        async with (
            asyncio.timeout(_SILENCE_LIMIT) as limit,
            run_child([sys.executable, "-c", _DOWNLOAD, *arguments], read_progress, env=environ) as child,
        ):
            await asyncio.wait({child.exited})
            status = await child.wait()
    except TimeoutError:
        late = loop.time() >= deadline
        waited = f"it took longer than {_DOWNLOAD_LIMIT:.0f} s" if late else f"no progress for {_SILENCE_LIMIT:.0f} s"
        raise _download_error(waited) from None
    if status != 0:
        raise _download_error(escape_unprintable(last, limit=300) or f"the installer ended with status {status}")


def _download_error(why: str) -> RefusedError:
    hint = "relay works locally without it; get it from https://ngrok.com/download, or run relay tunnel install again"
    return RefusedError(f"cannot download the ngrok agent: {why}", hint=hint, again=300.0)


@contextmanager
def agent_config(data_dir: Path, token: Secret) -> Iterator[Path]:
    """Create the agent's configuration file, readable by this user only; it is removed at the end of the block.

    The token is in a file because any user of the machine can read a command line. Raises
    TunnelError when the file cannot be written.
    """
    path = _config_path(data_dir)
    # Every JSON string is a YAML string.
    write_private_text(path, _CONFIG.format(token=json.dumps(token.reveal())))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def other_agents(data_dir: Path) -> list[int]:
    """Return the process ids of ngrok agents that are not this data_dir's; none where there is no /proc."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        words = read_command_line(int(entry.name)).splitlines()
        # The second word, because a wrapper script shows its interpreter first.
        agent = "ngrok" in {Path(word).name for word in words[:2]}
        if agent and str(_config_path(data_dir)) not in words:
            found.append(int(entry.name))
    return sorted(found)


def _config_path(data_dir: Path) -> Path:
    return data_dir.resolve() / "ngrok.yml"
