"""`relay samples`: which events can be triggered."""

import click

from relay.cli.client import connect
from relay.cli.options import Call, shared
from relay.providers.catalogue import PROVIDERS
from relay.providers.samples import sample_types


@click.command("samples")
@click.argument("source", required=False)
@shared
async def command(call: Call, source: str | None) -> int:
    """List the sample events of SOURCE, or of every source there is; without any, of every provider."""
    async with connect(call.load()) as api:
        found: dict[str, list[str]] = (await api.get("/api/samples", source=source))["samples"]
    if not found:
        found = {name: list(sample_types(provider)) for name, provider in PROVIDERS.items()}
    rows = [(name, type_) for name, types in found.items() for type_ in types]
    for name, type_ in rows if call.json else ():
        call.terminal.json({"source": name, "type": type_})
    if not call.json:
        call.terminal.table([name, type_] for name, type_ in rows)
    if not rows:
        call.terminal.say("there are no samples; relay trigger takes any type with --body FILE")
    return 0
