"""`relay cancel`: a delivery given up."""

import click

from relay.cli.client import connect
from relay.cli.options import Call, delivery_id, shared
from relay.cli.settle import tell


@click.command("cancel")
@click.argument("delivery", type=delivery_id, metavar="DELIVERY")
@shared
async def command(call: Call, delivery: int) -> int:
    """Give a waiting delivery up."""
    async with connect(call.load()) as api:
        after = await api.post(f"/api/deliveries/{delivery}/cancel")
    tell(call, after)
    return 0
