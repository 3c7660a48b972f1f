"""`relay deliveries`, `relay retry` and `relay cancel`; and waiting for a delivery that a command made."""

import asyncio
from itertools import chain, repeat

import click

from relay.cli.client import ApiClient
from relay.cli.error_output import NothingMatched
from relay.cli.events import fetch_list
from relay.cli.formatting import (
    DELIVERY_STATES,
    SETTLED_STATES,
    format_delivery,
    format_duration,
    format_moment,
    measure_time_left,
)
from relay.cli.options import Call, delivery_argument, limit_option, parse_event_id, shared_options
from relay.cli.output import Json, Part, strip_style

WAIT_LIMIT = 120.0  # seconds: a target has 30 s to answer, and may have other deliveries before this one
_PROBE_WAIT = 5.0  # seconds within which a target that was down is probed
_PAUSES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
_LAST_PAUSE = 0.25


@click.command("deliveries")
@click.option("--state", type=click.Choice(DELIVERY_STATES), help="Only these.")
@click.option("--event", type=parse_event_id, metavar="ID", help="Of one event.")
@click.option("--target", help="To one target.")
@limit_option
@shared_options
async def deliveries_command(call: Call, state: str | None, event: int | None, target: str | None, limit: int) -> None:
    """List deliveries, newest first."""
    async with call.connect(store_only=True) as api:
        found = await fetch_list(api, "deliveries", limit, state=state, event=event, target=target)
    call.terminal.print_values(found, _format_delivery_row)
    if not found:
        call.terminal.print_message("there are no such deliveries")


def _format_delivery_row(delivery: Json) -> list[Part]:
    parts = format_delivery(delivery)
    style = next((part[1] for part in parts if isinstance(part, tuple)), "dim")
    return [
        (str(delivery["id"]), "bold"),
        format_moment(delivery["created_at"]),
        f"#{delivery['event']}",
        delivery["reason"],
        (delivery["state"], style),
        "".join(map(strip_style, parts)),
    ]


@click.command("cancel")
@delivery_argument
@shared_options
async def cancel_command(call: Call, delivery: int) -> None:
    """Give a waiting delivery up."""
    async with call.connect() as api:
        after = await api.post(f"/api/deliveries/{delivery}/cancel")
    print_delivery(call, after)


@click.command("retry")
@delivery_argument
@shared_options
async def retry_command(call: Call, delivery: int) -> int:
    """Retry a delivery now, regardless of its schedule; 1 if it fails again.

    While no relay runs it becomes due, and relay start sends it.
    """
    async with call.connect(secrets=True) as api:
        before = await api.get(f"/api/deliveries/{delivery}")
        await api.post(f"/api/deliveries/{delivery}/retry")
        if not api.is_persistent:
            # A quiet relay sends only the command's own deliveries.
            call.terminal.print_message(f"delivery {delivery} is due now; it is sent as soon as relay start runs")
            return 0
        after = await wait_for_delivery(api, delivery, before["attempts_made"])
    print_delivery(call, after)
    return 0 if has_succeeded(after) else 1


async def wait_for_delivery(api: ApiClient, id_: int, made: int = 0) -> Json:
    """Return a delivery when it has ended, or was tried more than `made` times.

    Raises NothingMatched if neither happened within WAIT_LIMIT, or neither can happen.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    for pause in chain(_PAUSES, repeat(_LAST_PAUSE)):
        delivery: Json = await api.get(f"/api/deliveries/{id_}")
        was_tried = delivery["attempts_made"] > made and delivery["state"] == "pending"
        if delivery["state"] in SETTLED_STATES or was_tried:
            return delivery
        if delivery["state"] == "pending" and measure_time_left(delivery["due_at"]) > _PROBE_WAIT:
            raise NothingMatched(f"delivery {id_} to {delivery['target']} waits: {delivery['detail']}")
        waited, target = loop.time() - began, delivery["target"]
        if waited > WAIT_LIMIT:
            break
        if pause == _PAUSES[-1] and (why := await _find_obstacle(api, target, "locked")):
            raise NothingMatched(f"delivery {id_} to {target} waits: {why}")
        may_be_down = pause == _LAST_PAUSE and waited > _PROBE_WAIT and not delivery["attempts_made"]
        if may_be_down and (why := await _find_obstacle(api, target, "down", "gone")):
            raise NothingMatched(f"delivery {id_} waits until {target} answers: {why}")
        if may_be_down and delivery["state"] == "pending" and await _is_locked(api, delivery["source"]):
            why = f"the secret of {delivery['source']} is in the vault, which is locked"
            raise NothingMatched(f"delivery {id_} to {target} waits: {why}", hint="relay vault unlock opens it")
        await asyncio.sleep(pause)
    raise NothingMatched(
        f"delivery {id_} is still waiting after {format_duration(WAIT_LIMIT)}", hint="relay deliveries shows it"
    )


async def _find_obstacle(api: ApiClient, target: str, *states: str) -> str:
    """Return why waiting is pointless: an outage of the store, or a target in one of these states; else ""."""
    status = await api.get("/api/status")
    targets = (one["detail"] for one in status["targets"] if one["name"] == target and one["state"] in states)
    return str(status["store"]["detail"]) or next(targets, "")


async def _is_locked(api: ApiClient, source: str) -> bool:
    sources = (await api.get("/api/status"))["sources"]
    return any(one["name"] == source and one["locked_secrets"] for one in sources)


def print_delivery(call: Call, delivery: Json, event: Json | None = None) -> None:
    """Print the result of a delivery."""
    what = f"#{delivery['event']}" + (f" {event['type']}" if event else "")
    call.terminal.print_value(delivery, f"{what}  ", *format_delivery(delivery))
    is_explained = not delivery["status"] or delivery["detail"] in ("", str(delivery["status"]))
    if not (call.json or is_explained or has_succeeded(delivery)):
        call.terminal.print_message(f"relay: {delivery['target']}: {delivery['detail']}")


async def report_delivery(
    call: Call, api: ApiClient, id_: int, event: Json, *, failures_only: bool = False
) -> Json | None:
    """Wait for a delivery, print its result and return it; None, with a message why, if it keeps waiting."""
    try:
        delivery = await wait_for_delivery(api, id_)
    except NothingMatched as error:
        call.terminal.print_message(f"relay: {error.full_text}")
        return None
    if not (failures_only and has_succeeded(delivery)):
        print_delivery(call, delivery, event)
    return delivery


def has_succeeded(delivery: Json | None) -> bool:
    """Return whether a delivery reached its target."""
    return delivery is not None and delivery["state"] == "succeeded"
