"""A tunnel opened by any program: its address is read from the program's output."""

import asyncio
import os
import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from relay.errors import TunnelError
from relay.model.text import escape_unprintable
from relay.tunnel.address_reader import AddressRank, AddressReader, strip_escapes
from relay.tunnel.base import RefusedError, ReportState, TunnelOptions, TunnelState, TunnelTimeouts, check_address
from relay.tunnel.ngrok_agent import SCRIPT_COMMAND, is_pyngrok_script
from relay.tunnel.process import ChildProcess, PidFile, run_child

_HINT = 'tunnel.url_pattern says which address is the tunnel\'s; for a fixed one take provider = "static"'


class CommandTunnel:
    """Runs the command of `[tunnel]` and reads its address from the output.

    `{ingress_url}`, `{host}` and `{port}` in the command are replaced after it was split into
    words; no shell is involved. The command keeps relay's environment, as in a terminal.
    """

    name = "command"

    def __init__(
        self, options: TunnelOptions, ingress_url: str, *, environ: Mapping[str, str], timeouts: TunnelTimeouts
    ) -> None:
        self._command = options.command or ""
        self._url_pattern = options.url_pattern
        self._pid_file = PidFile(options.data_dir)
        self._ingress_url = ingress_url
        self._environ = environ
        self._timeouts = timeouts

    async def hold(self, say: ReportState) -> None:
        """Run the command until it ends, and report each address that it prints for the tunnel.

        Raises RefusedError if the command cannot run, else TunnelError.
        """
        argv = self._words()
        program = escape_unprintable(Path(argv[0]).name, limit=80)
        say(TunnelState.CONNECTING, None, f"waiting for {program} to print an https address")
        output = _CommandOutput(self._url_pattern)
        async with run_child(
            argv, output.read, env=self._environ, grace=self._timeouts.close, pid_file=self._pid_file
        ) as child:
            await self._wait_for_address(child, output, program)
            while not child.exited.done():
                address = output.take(program)
                self._pid_file.note(child.pid)
                say(TunnelState.UP, address, f"{program} forwards to {self._ingress_url}")
                await output.wait_for_change(child)
            status = await child.wait()
        raise TunnelError(f"{program} ended with status {status}{output.last_words}")

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self._command)
        except ValueError as error:
            raise RefusedError(f"tunnel.command cannot be read: {error}", again=None) from error
        if not words:
            hint = 'such as "cloudflared tunnel --url {ingress_url}"'
            raise RefusedError("tunnel.command is missing", hint=hint, again=None)
        found = shutil.which(words[0], path=self._environ.get("PATH", os.defpath))
        # Only a program called ngrok: pyenv's script for `python` has the same text.
        if found is not None and Path(found).stem == "ngrok" and is_pyngrok_script(Path(found)):
            raise RefusedError(SCRIPT_COMMAND[0], hint=SCRIPT_COMMAND[1])
        url, parts = self._ingress_url, urlsplit(self._ingress_url)
        host, port = parts.hostname or "", str(parts.port or 80)
        return [word.replace("{ingress_url}", url).replace("{host}", host).replace("{port}", port) for word in words]

    async def _wait_for_address(self, child: ChildProcess, output: "_CommandOutput", program: str) -> None:
        """Wait until the tunnel's address is certain, or the command has ended."""
        try:
            async with asyncio.timeout(self._timeouts.start):
                await output.wait_for_change(child)
        except TimeoutError:
            waited = f"within {self._timeouts.start:.0f} s"
            hint = "" if self._url_pattern is None else "does tunnel.url_pattern fit what it prints?"
            raise TunnelError(
                f"{program} printed no https address {waited}{output.last_words}", hint=hint or _HINT
            ) from None
        # A better one may follow: the last one on a line of its own, or one of a known service.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeouts.settle):
                while not output.is_sure and not child.exited.done():
                    await output.wait_for_change(child)


class _CommandOutput:
    """The output of the command: the address in it, and its last line."""

    def __init__(self, url_pattern: str | None) -> None:
        self._reader = AddressReader(url_pattern)
        self._in_use = False
        self._changed = _new_future()
        self._last = ""

    def read(self, line: str) -> None:
        """Read a line."""
        self._last = line
        changed = self._reader.read_later(line) if self._in_use else self._reader.read(line)
        if changed and not self._changed.done():
            self._changed.set_result(None)

    @property
    def is_sure(self) -> bool:
        """Return whether the address belongs to a known service, or matches the pattern."""
        return self._reader.found is not None and self._reader.found.rank is AddressRank.KNOWN

    @property
    def last_words(self) -> str:
        """Return the last line as the end of a sentence; "" if there is none."""
        last = escape_unprintable(strip_escapes(self._last).strip().rstrip(" ."), limit=200)
        return f"; it last said: {last}" if last else ""

    async def wait_for_change(self, child: ChildProcess) -> None:
        """Wait until there is another address, or the command has ended."""
        await asyncio.wait({self._changed, child.exited}, return_when=asyncio.FIRST_COMPLETED)
        self._changed = _new_future() if self._changed.done() else self._changed

    def take(self, program: str) -> str:
        """Return the address, which is in use from now on. Raises TunnelError for invalid characters."""
        self._in_use = True
        self._changed = _new_future()
        found = self._reader.found
        return check_address(found and found.address, program)


def _new_future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()
