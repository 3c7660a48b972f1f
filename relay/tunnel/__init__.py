"""The room tunnel/: how the public side is reached from outside."""

from relay.tunnel.opening import open_tunnel
from relay.tunnel.supervisor import Supervisor
from relay.tunnel.tunnel import Tunnel, TunnelOptions, TunnelState

__all__ = ["Supervisor", "Tunnel", "TunnelOptions", "TunnelState", "open_tunnel"]
