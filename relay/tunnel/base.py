"""The interface of tunnels: options, states, the protocol of each kind, and the check of addresses."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from relay.errors import TunnelError
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass


class TunnelState(StrEnum):
    """The state of a tunnel; NONE: switched off."""

    DOWN = "down"
    CONNECTING = "connecting"
    UP = "up"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelOptions:
    """The `[tunnel]` table with its secret resolved.

    `url_pattern` is a regular expression: what it matches in the command's output (its first group, if there
    is one) is the address. `data_dir` takes the agent's files while it runs. `agent_path` is an ngrok binary to
    use rather than the one found; `download` lets relay download one when there is none. `locked`: the authtoken
    is in the vault, which is locked.
    """

    data_dir: Path
    provider: Literal["auto", "ngrok", "command", "static", "none"] = "auto"
    authtoken: Secret | None = None
    domain: str | None = None
    command: str | None = None
    url_pattern: str | None = None
    public_url: str | None = None
    agent_path: Path | None = None
    download: bool = field(default=False, compare=False)  # consent, not a setting
    locked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelTimeouts:
    """Timeouts of a tunnel, in seconds.

    `start`: until it has an address. `settle`: in which a better address than the first may be printed. `heal`: until
    an agent that lost its connection has it back, after which it is replaced. `poll`: between two looks at the agent.
    `answer`: for one answer of its API, which it gives only when ngrok has answered it. `close`: between TERM and KILL.
    """

    start: float = 60.0
    settle: float = 1.0
    heal: float = 30.0
    poll: float = 5.0
    answer: float = 15.0
    close: float = 5.0


ReportState = Callable[[TunnelState, str | None, str], None]
"""Takes the new state, the public address if there is one, and a sentence about it."""


class Tunnel(Protocol):
    """A way to be reached from outside."""

    @property
    def name(self) -> str:
        """Return its name, such as `ngrok`."""
        ...

    async def hold(self, say: ReportState) -> None:
        """Open the tunnel and keep it open until it is lost, reporting every change.

        Raises TunnelError when it cannot be opened or was lost, RefusedError when trying again
        soon is pointless. However it ends, no process of its own is left.
        """
        ...


class RefusedError(TunnelError):
    """A failure that only a person can fix: retried after `again` seconds, never if None."""

    def __init__(self, sentence: str, *, hint: str = "", again: float | None = 60.0) -> None:
        super().__init__(sentence, hint=hint)
        self.again = again


# No user-info, no query, ASCII only: it will be pasted into a provider's settings.
_ADDRESS = re.compile(
    r"https://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?(?::(?P<port>[0-9]{1,5}))?(?:/[a-z0-9._~%/-]*)?", re.IGNORECASE
)
_LAST_PORT = 65535


def check_address(text: object, origin: str) -> str:
    """Return a public address without its trailing slash.

    Raises TunnelError when it is not https or holds odd characters; `origin` says who gave it.
    """
    match = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if match is None or not 1 <= int(match["port"] or 443) <= _LAST_PORT:
        # A letter that only looks like ASCII must be visible, or the message would be confusing.
        printable = escape_unprintable(str(text).encode("ascii", "backslashreplace"), limit=200)
        raise TunnelError(f"{origin} gave an address that is not a plain https URL: {printable}")
    return match[0].rstrip("/")


class StaticTunnel:
    """A fixed address that is forwarded to relay by other means; it is not checked."""

    name = "static"

    def __init__(self, public_url: str | None, ingress_url: str) -> None:
        self._public_url = public_url
        self._ingress_url = ingress_url

    async def hold(self, say: ReportState) -> None:
        """Report the address as up and wait forever. Raises RefusedError without one, TunnelError if it is invalid."""
        if not self._public_url:
            raise RefusedError(
                "the static tunnel has no address", hint="set public_url under [tunnel] in relay.toml", again=None
            )
        address = check_address(self._public_url, "tunnel.public_url")
        say(TunnelState.UP, address, f"you forward {address} to {self._ingress_url}")
        await asyncio.Event().wait()


class NoTunnel:
    """No tunnel, with the reason."""

    name = "none"

    def __init__(self, why: str) -> None:
        self._why = why

    async def hold(self, say: ReportState) -> None:
        """Report it and wait forever."""
        say(TunnelState.NONE, None, self._why)
        await asyncio.Event().wait()
