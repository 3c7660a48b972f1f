"""`relay tunnel install`: download the ngrok agent, on consent."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from relay.cli.options import Call, shared_options
from relay.cli.output import ask_yes_no, can_ask
from relay.errors import TunnelError

if TYPE_CHECKING:
    from relay.config.build import Config


@click.group("tunnel", invoke_without_command=True)
@click.pass_context
def tunnel_command(context: click.Context) -> None:
    """Install the ngrok agent, which a tunnel through ngrok needs."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@tunnel_command.command("install")
@shared_options
async def install_agent(call: Call) -> None:
    """Download the ngrok agent through pyngrok, where there is none yet. It asks nothing."""
    from relay.tunnel.ngrok_agent import NoAgentError, default_agent, download_agent, find_agent

    default = default_agent()
    try:
        path = find_agent(None, os.environ, default)
        message = f"the ngrok agent is installed already: {path}"
    except NoAgentError:
        path = await download_agent(default, os.environ, call.terminal.print_message)
        message = f"installed the ngrok agent: {path}; a running relay finds it within a minute"
    call.terminal.print_value({"path": str(path)}, message)


async def offer_agent(call: Call, config: "Config") -> "Config":
    """Return the configuration, with consent to a download where an agent is needed, missing and a person says yes.

    Without a terminal it does not ask.
    """
    from relay.tunnel.ngrok_agent import NoAgentError, default_agent, find_agent

    options = config.tunnel
    has_token = options.authtoken is not None and bool(options.authtoken.reveal().strip())
    needs_agent = options.provider == "ngrok" or (options.provider == "auto" and has_token)
    if not needs_agent or options.locked or call.json or not can_ask(call.terminal):
        return config
    try:
        find_agent(options.agent_path, os.environ, default_agent())
    except NoAgentError as error:
        question = f"{error.message}. Download it through pyngrok (10 MB)?"
        consent = await ask_yes_no(call.terminal, question, default=has_token)
        return replace(config, tunnel=replace(options, download=consent))
    except TunnelError:
        return config  # a configured agent that is missing: reported by the tunnel
    return config
