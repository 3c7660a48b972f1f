"""`relay deliveries`: what was sent and what is owed."""

import asyncio
from itertools import chain, repeat

import click

from relay.cli.client import ApiClient, Json, connect
from relay.cli.error_output import NothingMatched
from relay.cli.options import Call, parse_delivery_id, parse_event_id, parse_limit, shared_options
from relay.cli.output import SETTLED_STATES, Part, format_delivery, format_duration, format_moment
from relay.cli.search import fetch_list
from relay.model.delivery import DeliveryState


@click.command("deliveries")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="Only these.")
@click.option("--event", type=parse_event_id, metavar="ID", help="Of one event.")
@click.option("--target", help="To one target.")
@click.option("--limit", type=parse_limit, metavar="N", default=50, show_default=True, help="How many at most.")
@shared_options
async def deliveries_command(call: Call, state: str | None, event: int | None, target: str | None, limit: int) -> int:
    """List deliveries, newest first."""
    async with connect(call.load()) as api:
        found = await fetch_list(api, "deliveries", limit, state=state, event=event, target=target)
    for delivery in found if call.json else ():
        call.terminal.json(delivery)
    if not call.json:
        call.terminal.table(_format_delivery_row(delivery) for delivery in found)
    if not found:
        call.terminal.say("there are no such deliveries")
    return 0


def _format_delivery_row(delivery: Json) -> list[Part]:
    parts = format_delivery(delivery)
    style = next((part[1] for part in parts if isinstance(part, tuple)), "dim")
    text = "".join(part if isinstance(part, str) else part[0] for part in parts)
    return [
        (str(delivery["id"]), "bold"),
        format_moment(delivery["created_at"]),
        f"#{delivery['event']}",
        delivery["reason"],
        (delivery["state"], style),
        text,
    ]


@click.command("cancel")
@click.argument("delivery", type=parse_delivery_id, metavar="DELIVERY")
@shared_options
async def cancel_command(call: Call, delivery: int) -> int:
    """Give a waiting delivery up."""
    async with connect(call.load()) as api:
        after = await api.post(f"/api/deliveries/{delivery}/cancel")
    print_delivery(call, after)
    return 0


@click.command("retry")
@click.argument("delivery", type=parse_delivery_id, metavar="DELIVERY")
@shared_options
async def retry_command(call: Call, delivery: int) -> int:
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
        after = await wait_for_delivery(api, delivery, before["attempts_made"])
    print_delivery(call, after)
    return 0 if has_succeeded(after) else 1


WAIT_LIMIT = 120.0  # seconds: a target has 30 s to answer, and may have others before this one
_PROBE_WAIT = 5.0  # seconds: a target that was down is knocked at within them, and may be back
_PAUSES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
_LAST_PAUSE = 0.25


async def wait_for_delivery(api: ApiClient, id_: int, made: int = 0, patience: float = WAIT_LIMIT) -> Json:
    """Return a delivery once it has settled, or was tried more often than `made` times.

    Raises NothingMatched when neither happened within `patience` seconds, or a target that is down stays so.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    until = began + patience
    for pause in chain(_PAUSES, repeat(_LAST_PAUSE)):
        delivery: Json = await api.get(f"/api/deliveries/{id_}")
        tried = delivery["attempts_made"] > made and delivery["state"] == "pending"
        if delivery["state"] in SETTLED_STATES or tried:
            return delivery
        if loop.time() > until:
            break
        if pause == _PAUSES[-1] and (why := await _find_hindrance(api, delivery["target"], "locked")):
            raise NothingMatched(f"delivery {id_} to {delivery['target']} waits: {why}")
        if (
            pause == _LAST_PAUSE
            and loop.time() > began + _PROBE_WAIT
            and not delivery["attempts_made"]
            and (why := await _find_hindrance(api, delivery["target"], "down", "gone"))
        ):
            raise NothingMatched(f"delivery {id_} waits until {delivery['target']} answers: {why}")
        await asyncio.sleep(pause)
    raise NothingMatched(
        f"delivery {id_} is still waiting after {format_duration(patience)}", hint="relay deliveries shows it"
    )


async def _find_hindrance(api: ApiClient, target: str, *states: str) -> str:
    """Return why a target is in one of these states, "" where it is not: nothing comes of waiting along with it."""
    targets = (await api.get("/api/status"))["targets"]
    return next((one["detail"] for one in targets if one["name"] == target and one["state"] in states), "")


def print_delivery(call: Call, delivery: Json, event: Json | None = None) -> None:
    """Print how a delivery went."""
    if call.json:
        call.terminal.json(delivery)
        return
    what = f"#{delivery['event']}" + (f" {event['type']}" if event else "")
    call.terminal.line(f"{what}  ", *format_delivery(delivery))
    if delivery["status"] and delivery["detail"] not in ("", str(delivery["status"])) and not has_succeeded(delivery):
        call.terminal.say(f"relay: {delivery['target']}: {delivery['detail']}")


def has_succeeded(delivery: Json) -> bool:
    """Say whether a delivery reached its target."""
    return bool(delivery["state"] == "succeeded")
