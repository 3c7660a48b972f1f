"""A tunnel opened by any program: the first https address it prints is ours."""

import asyncio
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from relay.errors import TunnelError
from relay.model.text import printable
from relay.tunnel.agent import SCRIPT_COMMAND, is_pyngrok_script
from relay.tunnel.child import Child, running
from relay.tunnel.files import PidFile
from relay.tunnel.tunnel import Pace, RefusedError, Say, TunnelState, checked_address

# Hosts that tunnel programs name in banners and errors before (or instead of) the tunnel's own:
# cloudflared prints its terms and its documentation first, and api.trycloudflare.com when it fails;
# localhost.run its admin pages; tailscale funnel a login link; the others their help.
_BANNER_HOSTS = (
    "*.cloudflare.com",
    "api.trycloudflare.com",
    "ngrok.com",
    "*.ngrok.com",
    "localhost.run",
    "admin.localhost.run",
    "console.serveo.net",
    "pinggy.io",
    "dashboard.pinggy.io",
    "*.tailscale.com",
    "docs.zrok.io",
    "github.com",
    "twitter.com",
    "x.com",
    "aka.ms",
    "localhost",
    "127.*",
)

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_LINK = re.compile(r"""https://[^\s"'<>|()\[\]{},;`]+""")


class CommandTunnel:
    """Runs the command of `[tunnel]` and takes its address from what it prints.

    `{ingress_url}`, `{host}` and `{port}` in the command are replaced after it was split into
    words; no shell is involved. The command keeps relay's environment, as in a terminal.
    """

    name = "command"

    def __init__(
        self,
        command: str | None,
        ingress_url: str,
        *,
        environ: Mapping[str, str],
        pace: Pace,
        pid_file: PidFile,
    ) -> None:
        self._command = command or ""
        self._pid_file = pid_file
        self._ingress_url = ingress_url
        self._environ = environ
        self._pace = pace

    async def hold(self, say: Say) -> None:
        """Run the command until it ends. Raises RefusedError when it cannot run, else TunnelError."""
        argv = self._words()
        program = printable(Path(argv[0]).name, limit=80)
        say(TunnelState.CONNECTING, None, f"waiting for {program} to print an https address")
        reader = _Reader()
        async with running(
            argv, reader.read, env=self._environ, grace=self._pace.close, pid_file=self._pid_file
        ) as child:
            address = await self._address(child, reader, program)
            self._pid_file.note(child.pid)
            say(TunnelState.UP, address, f"{program} forwards to {self._ingress_url}")
            status = await child.wait()
        raise TunnelError(f"{program} ended with status {status}{reader.last_words}")

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self._command)
        except ValueError as error:
            raise RefusedError(f"tunnel.command cannot be read: {error}", again=None) from error
        if not words:
            hint = 'such as "cloudflared tunnel --url {ingress_url}"'
            raise RefusedError("tunnel.command is missing", hint=hint, again=None)
        found = shutil.which(words[0], path=self._environ.get("PATH", os.defpath))
        if found is not None and is_pyngrok_script(Path(found)):
            sentence, hint = SCRIPT_COMMAND
            raise RefusedError(sentence, hint=hint)
        parts = urlsplit(self._ingress_url)
        values = {
            "{ingress_url}": self._ingress_url,
            "{host}": parts.hostname or "",
            "{port}": str(parts.port or 80),
        }
        return [_filled(word, values) for word in words]

    async def _address(self, child: Child, reader: "_Reader", program: str) -> str:
        await asyncio.wait(
            {reader.found, child.exited},
            timeout=self._pace.start,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if child.exited.done():
            status = await child.wait()
            raise TunnelError(f"{program} ended with status {status}{reader.last_words}")
        if not reader.found.done():
            waited = f"within {self._pace.start:.0f} s"
            raise TunnelError(f"{program} printed no https address {waited}{reader.last_words}")
        return checked_address(reader.link, program)


class _Reader:
    """Looks for the address in what the command prints, and remembers its last line."""

    def __init__(self) -> None:
        self.found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.link: str | None = None
        self._last = ""

    def read(self, line: str) -> None:
        self._last = line
        self.link = self.link or first_link(line)
        if self.link is not None and not self.found.done():
            self.found.set_result(None)

    @property
    def last_words(self) -> str:
        said = printable(_COLOUR.sub("", self._last).rstrip(" ."), limit=200)
        return f"; it last said: {said}" if said else ""


def first_link(line: str) -> str | None:
    """Return the first https URL of a line that may be a tunnel's, as printed.

    Passed over: the hosts of banners, this machine, and links with a query or a fragment.
    """
    for match in _LINK.finditer(_COLOUR.sub("", line)):
        link = match[0].rstrip(".:!")
        if "?" not in link and "#" not in link and not _of_a_banner(link):
            return link
    return None


def _of_a_banner(link: str) -> bool:
    host: str | None = None
    with suppress(ValueError):  # such as an unclosed IPv6 bracket: an odd address, shown as such later
        host = urlsplit(link).hostname
    return host is not None and any(fnmatchcase(host, pattern) for pattern in _BANNER_HOSTS)


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word
