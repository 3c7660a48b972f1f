"""Tunnels that relay does not open: one you run yourself, and none at all."""

import asyncio

from relay.tunnel.tunnel import RefusedError, Say, TunnelState, checked_address


class StaticTunnel:
    """An address that somebody else forwards to relay: believed, never checked."""

    name = "static"

    def __init__(self, public_url: str | None, ingress_url: str) -> None:
        self._public_url = public_url
        self._ingress_url = ingress_url

    async def hold(self, say: Say) -> None:
        """Be up at once and for ever. Raises RefusedError without an address, TunnelError for an odd one."""
        if not self._public_url:
            raise RefusedError(
                "the static tunnel has no address",
                hint="set public_url under [tunnel] in relay.toml",
                again=None,
            )
        address = checked_address(self._public_url, "tunnel.public_url")
        say(TunnelState.UP, address, f"you forward {address} to {self._ingress_url}")
        await asyncio.Event().wait()


class NoTunnel:
    """No tunnel, and why."""

    name = "none"

    def __init__(self, why: str) -> None:
        self._why = why

    async def hold(self, say: Say) -> None:
        """Say so and wait for ever."""
        say(TunnelState.NONE, None, self._why)
        await asyncio.Event().wait()
