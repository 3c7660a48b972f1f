"""Tunnels: how the public port is reached from outside."""

from relay.tunnel.base import Tunnel, TunnelOptions, TunnelState
from relay.tunnel.supervisor import Supervisor, open_tunnel

__all__ = ["Supervisor", "Tunnel", "TunnelOptions", "TunnelState", "open_tunnel"]
