"""Waiting until a delivery has been tried, and telling how that went."""

import asyncio
from itertools import chain, repeat

from relay.cli.client import Api, Json
from relay.cli.faults import NothingMatched
from relay.cli.options import Call
from relay.cli.words import SETTLED, delivery_parts, duration

PATIENCE = 120.0  # seconds: a target has 30 s to answer, and may have others before this one
_PAUSES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
_LAST_PAUSE = 0.25


async def settled(api: Api, id_: int, made: int = 0, patience: float = PATIENCE) -> Json:
    """Return a delivery once it has settled, or was tried more often than `made` times.

    Raises NothingMatched when neither happened within `patience` seconds.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    for pause in chain(_PAUSES, repeat(_LAST_PAUSE)):
        delivery: Json = await api.get(f"/api/deliveries/{id_}")
        tried = delivery["attempts_made"] > made and delivery["state"] == "pending"
        if delivery["state"] in SETTLED or tried:
            return delivery
        if loop.time() > until:
            break
        if pause == _PAUSES[-1] and (why := await _credential_missing(api, delivery["target"])):
            raise NothingMatched(f"delivery {id_} to {delivery['target']} waits: {why}")
        await asyncio.sleep(pause)
    raise NothingMatched(
        f"delivery {id_} is still waiting after {duration(patience)}", hint="relay deliveries shows it"
    )


async def _credential_missing(api: Api, target: str) -> str:
    """Return which credential a target waits for, "" for none: nothing comes of waiting along with it."""
    targets = (await api.get("/api/status"))["targets"]
    return next((one["detail"] for one in targets if one["name"] == target and one["state"] == "locked"), "")


def tell(call: Call, delivery: Json, event: Json | None = None) -> None:
    """Print how a delivery went."""
    if call.json:
        call.terminal.json(delivery)
        return
    what = f"#{delivery['event']}" + (f" {event['type']}" if event else "")
    call.terminal.line(f"{what}  ", *delivery_parts(delivery))
    if (
        delivery["status"]
        and delivery["detail"] not in ("", str(delivery["status"]))
        and not succeeded(delivery)
    ):
        call.terminal.say(f"relay: {delivery['target']}: {delivery['detail']}")


def succeeded(delivery: Json) -> bool:
    """Say whether a delivery reached its target."""
    return bool(delivery["state"] == "succeeded")
