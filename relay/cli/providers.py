"""`relay providers`: whose webhooks relay knows."""

import click

from relay.cli.options import Call, shared
from relay.providers.catalogue import PROVIDERS


@click.command("providers")
@shared
async def command(call: Call) -> int:
    """List the providers that relay knows, and the variable that usually holds their secret."""
    for name, provider in PROVIDERS.items() if call.json else ():
        call.terminal.json({"name": name, "title": provider.title, "secret_env": list(provider.secret_env)})
    if not call.json:
        call.terminal.table(
            [name, provider.title, ", ".join(provider.secret_env)] for name, provider in PROVIDERS.items()
        )
    return 0
