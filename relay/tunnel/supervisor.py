"""Keeps a tunnel open while relay runs: reports every change, reconnects after a loss."""

import asyncio
import logging
import os
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from relay.errors import TunnelError
from relay.model.clock import Clock
from relay.model.delivery import RetryPolicy
from relay.model.signals import TunnelChanged
from relay.model.text import escape_unprintable
from relay.tunnel.base import NoTunnel, RefusedError, StaticTunnel, Tunnel, TunnelOptions, TunnelState, TunnelTimeouts
from relay.tunnel.process import PidFile

log = logging.getLogger(__name__)

# 1 s doubling to 60 s; the jitter prevents many relays from reconnecting in the same second.
LONGEST_BACKOFF = 60.0
BACKOFF = RetryPolicy(attempts=sys.maxsize, first=1.0, factor=2.0, max=LONGEST_BACKOFF, jitter=0.2)
# After this many seconds up, the next failure counts as the first.
STABLE_SECONDS = 60.0
# Seconds for a tunnel of an earlier relay to end by itself.
LEFTOVER_SECONDS = 5.0


class Supervisor:
    """Reopens a tunnel after failures; `current` is its state, with an address without trailing slash."""

    def __init__(
        self, tunnel: Tunnel, data_dir: Path, *, clock: Clock, spread: Callable[[], float] = random.random
    ) -> None:
        self._tunnel = tunnel
        self._pid_file = PidFile(data_dir)
        self._clock = clock
        self._spread = spread
        self._report: Callable[[TunnelChanged], None] = lambda _: None
        self.current = TunnelChanged(TunnelState.DOWN, None, "the tunnel was not opened yet")
        self._last_url: str | None = None
        self._up_since: float | None = None
        self._asked = False
        self._scope: asyncio.Timeout | None = None

    async def run(self, report: Callable[[TunnelChanged], None]) -> None:
        """Keep the tunnel open until cancelled, calling `report` on every change.

        First of all it ends what a killed relay left behind, also when there is no tunnel now.
        No failure of the tunnel is raised. What may pass is tried again after 1 s, doubling to
        60 s; what a person must fix first (no agent, session limit, domain not reserved) once a
        minute; what waiting cannot fix (a bad token) only after `reconnect()`.
        """
        self._report = report
        left = await self._pid_file.end_leftover(LEFTOVER_SECONDS)
        if left is not None:
            log.warning("ended process %s: the tunnel of a relay that was killed", left)
        failures = 0
        while True:
            problem = await self._attempt()
            if problem is None:
                failures = 0
                continue
            stable = self._up_since is not None and self._clock.monotonic() - self._up_since >= STABLE_SECONDS
            failures = 1 if stable else failures + 1
            if not await self._pause(problem, failures):
                failures = 0

    def reconnect(self) -> None:
        """Close the tunnel, or end the wait for it, and open it at once; call it from the event loop."""
        self._asked = True
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    def replace(self, tunnel: Tunnel) -> None:
        """Replace the tunnel by another one."""
        self._tunnel = tunnel
        self.reconnect()

    async def _attempt(self) -> TunnelError | None:
        """Keep the tunnel open once; return why it was lost, None if a reconnect was requested."""
        self._up_since = None
        self._asked = False
        try:
            await self._interruptible(self._tunnel.hold(self._say))
        except TunnelError as error:
            return None if self._asked else error
        except Exception:
            log.exception("the %s tunnel failed unexpectedly", self._tunnel.name)
            return TunnelError(f"the {self._tunnel.name} tunnel failed", hint="relay's log says how")
        return None if self._asked else TunnelError(f"the {self._tunnel.name} tunnel ended")

    async def _pause(self, problem: TunnelError, failures: int) -> bool:
        """Report the failure and wait; return False if a reconnect ended the wait."""
        usual = BACKOFF.wait_after(failures, self._spread) or LONGEST_BACKOFF
        wait = problem.again if isinstance(problem, RefusedError) else min(usual, LONGEST_BACKOFF)
        then = "not tried again until you reconnect" if wait is None else f"trying again in {wait:.0f} s"
        why = f"{problem.message}: {problem.hint}" if problem.hint else problem.message
        self._say(TunnelState.DOWN, None, f"{why}; {then}")
        self._asked = False
        await self._interruptible(asyncio.Event().wait() if wait is None else self._clock.sleep(wait))
        return not self._asked

    async def _interruptible(self, step: Awaitable[object]) -> None:
        """Await `step`, but cancel it as soon as `reconnect()` is called."""
        try:
            async with asyncio.timeout(None) as self._scope:
                await step
        except TimeoutError:
            if not self._asked:
                raise
        finally:
            self._scope = None

    def _say(self, state: TunnelState, public_url: str | None, detail: str) -> None:
        if public_url is not None:
            detail = self._address_change(public_url) or detail
        changed = TunnelChanged(state, public_url, detail)
        if changed == self.current:
            return
        self.current = changed
        level = logging.WARNING if state is TunnelState.DOWN else logging.INFO
        log.log(level, "tunnel %s: %s", state, escape_unprintable(detail), extra={"public_url": public_url})
        self._report(changed)

    def _address_change(self, public_url: str) -> str:
        """Store a new address; return the message if it replaces another one."""
        old, self._last_url = self._last_url, public_url
        if self._up_since is None:
            self._up_since = self._clock.monotonic()
        if old is None or old == public_url:
            return ""
        return f"public URL changed: {old} -> {public_url}; update your webhook settings"


_DEFAULT_TIMEOUTS = TunnelTimeouts()


def choose_tunnel(
    options: TunnelOptions,
    ingress_url: str,
    environ: Mapping[str, str] = os.environ,
    timeouts: TunnelTimeouts = _DEFAULT_TIMEOUTS,
) -> Tunnel:
    """Return the configured tunnel to `ingress_url` (`http://127.0.0.1:8400`), not opened yet.

    `auto` means ngrok when there is an authtoken, else none. `environ` is what commands and the agent inherit and
    where the agent is searched.
    """
    match options.provider:
        case "command":
            from relay.tunnel.command import CommandTunnel  # noqa: PLC0415 - with the parser of what it prints

            return CommandTunnel(options, ingress_url, environ=environ, timeouts=timeouts)
        case "static":
            return StaticTunnel(options.public_url, ingress_url)
        case "none":
            return NoTunnel("the tunnel is switched off")
        case "auto" | "ngrok" if options.locked:
            return NoTunnel("the ngrok authtoken is in the vault, which is locked")
        case "auto" if options.authtoken is None or not options.authtoken.reveal().strip():
            return NoTunnel("no ngrok authtoken: set NGROK_AUTHTOKEN for a public URL")
        case "auto" | "ngrok":
            from relay.tunnel.ngrok import NgrokTunnel  # noqa: PLC0415 - pyngrok takes 0.1 s to import

            return NgrokTunnel(options, ingress_url, environ=environ, timeouts=timeouts)
