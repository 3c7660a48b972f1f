"""`relay retry`: a delivery tried again now."""

import click

from relay.cli.client import connect
from relay.cli.options import Call, delivery_id, shared
from relay.cli.settle import settled, succeeded, tell


@click.command("retry")
@click.argument("delivery", type=delivery_id, metavar="DELIVERY")
@shared
async def command(call: Call, delivery: int) -> int:
    """Try a delivery again now, whatever its schedule says; 1 when it fails again.

    While no relay runs it becomes due, and relay start sends it.
    """
    async with connect(call.load(), secrets=True) as api:
        before = await api.get(f"/api/deliveries/{delivery}")
        await api.post(f"/api/deliveries/{delivery}/retry")
        if not api.lasting:
            # A quiet relay sends only what the command itself made.
            call.terminal.say(f"delivery {delivery} is due now; it is sent as soon as relay start runs")
            return 0
        after = await settled(api, delivery, before["attempts_made"])
    tell(call, after)
    return 0 if succeeded(after) else 1
