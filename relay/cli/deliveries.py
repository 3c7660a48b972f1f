"""`relay deliveries`: what was sent and what is owed."""

import click

from relay.cli.client import Json, connect
from relay.cli.listing import listed
from relay.cli.options import Call, at_most, event_id, shared
from relay.cli.terminal import Part
from relay.cli.words import day_and_time, delivery_parts
from relay.model.delivery import DeliveryState


@click.command("deliveries")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="Only these.")
@click.option("--event", type=event_id, metavar="ID", help="Of one event.")
@click.option("--target", help="To one target.")
@click.option("--limit", type=at_most, metavar="N", default=50, show_default=True, help="How many at most.")
@shared
async def command(call: Call, state: str | None, event: int | None, target: str | None, limit: int) -> int:
    """List deliveries, newest first."""
    async with connect(call.load()) as api:
        found = await listed(api, "deliveries", limit, state=state, event=event, target=target)
    for delivery in found if call.json else ():
        call.terminal.json(delivery)
    if not call.json:
        call.terminal.table(_row(delivery) for delivery in found)
    if not found:
        call.terminal.say("there are no such deliveries")
    return 0


def _row(delivery: Json) -> list[Part]:
    parts = delivery_parts(delivery)
    style = next((part[1] for part in parts if isinstance(part, tuple)), "dim")
    text = "".join(part if isinstance(part, str) else part[0] for part in parts)
    return [
        (str(delivery["id"]), "bold"),
        day_and_time(delivery["created_at"]),
        f"#{delivery['event']}",
        delivery["reason"],
        (delivery["state"], style),
        text,
    ]
