"""Which tunnel the options ask for, under a supervisor."""

import os
import random
from collections.abc import Callable, Mapping

from relay.clock import Clock
from relay.tunnel.command import CommandTunnel
from relay.tunnel.files import PidFile
from relay.tunnel.static import NoTunnel, StaticTunnel
from relay.tunnel.supervisor import Supervisor
from relay.tunnel.tunnel import Pace, Tunnel, TunnelOptions

_NORMAL = Pace()


def open_tunnel(
    options: TunnelOptions,
    ingress_url: str,
    *,
    clock: Clock,
    spread: Callable[[], float] = random.random,
    environ: Mapping[str, str] = os.environ,
    pace: Pace = _NORMAL,
) -> Supervisor:
    """Return the supervised tunnel to `ingress_url` (`http://127.0.0.1:8400`); `run()` opens it.

    `auto` means ngrok when there is an authtoken, else none. `environ` is what commands and the
    agent inherit and where the agent is searched.
    """
    tunnel = _chosen(options, ingress_url, environ, pace)
    return Supervisor(tunnel, PidFile.within(options.data_dir), clock=clock, spread=spread)


def reopen(
    supervisor: Supervisor,
    options: TunnelOptions,
    ingress_url: str,
    *,
    environ: Mapping[str, str] = os.environ,
    pace: Pace = _NORMAL,
) -> None:
    """Put the tunnel that other options ask for in place of a supervised one, and open it at once."""
    supervisor.replace(_chosen(options, ingress_url, environ, pace))


def _chosen(options: TunnelOptions, ingress_url: str, environ: Mapping[str, str], pace: Pace) -> Tunnel:
    match options.provider:
        case "command":
            pid_file = PidFile.within(options.data_dir)
            return CommandTunnel(
                options.command,
                ingress_url,
                url_pattern=options.url_pattern,
                environ=environ,
                pace=pace,
                pid_file=pid_file,
            )
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

            return NgrokTunnel(options, ingress_url, environ=environ, pace=pace)
