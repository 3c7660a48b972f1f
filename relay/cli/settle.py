"""Waiting until a delivery has been tried, and telling how that went."""

import asyncio
from itertools import chain, repeat

from relay.cli.client import Api, Json
from relay.cli.faults import NothingMatched
from relay.cli.options import Call
from relay.cli.words import SETTLED, delivery_parts, duration

PATIENCE = 120.0  # seconds: a target has 30 s to answer, and may have others before this one
_KNOCKS = 5.0  # seconds: a target that was down is knocked at within them, and may be back
_PAUSES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
_LAST_PAUSE = 0.25


async def settled(api: Api, id_: int, made: int = 0, patience: float = PATIENCE) -> Json:
    """Return a delivery once it has settled, or was tried more often than `made` times.

    Raises NothingMatched when neither happened within `patience` seconds, or a target that is down stays so.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    until = began + patience
    for pause in chain(_PAUSES, repeat(_LAST_PAUSE)):
        delivery: Json = await api.get(f"/api/deliveries/{id_}")
        tried = delivery["attempts_made"] > made and delivery["state"] == "pending"
        if delivery["state"] in SETTLED or tried:
            return delivery
        if loop.time() > until:
            break
        if pause == _PAUSES[-1] and (why := await _hindrance(api, delivery["target"], "locked")):
            raise NothingMatched(f"delivery {id_} to {delivery['target']} waits: {why}")
        if (
            pause == _LAST_PAUSE
            and loop.time() > began + _KNOCKS
            and not delivery["attempts_made"]
            and (why := await _hindrance(api, delivery["target"], "down", "gone"))
        ):
            raise NothingMatched(f"delivery {id_} waits until {delivery['target']} answers: {why}")
        await asyncio.sleep(pause)
    raise NothingMatched(
        f"delivery {id_} is still waiting after {duration(patience)}", hint="relay deliveries shows it"
    )


async def _hindrance(api: Api, target: str, *states: str) -> str:
    """Return why a target is in one of these states, "" where it is not: nothing comes of waiting along with it."""
    targets = (await api.get("/api/status"))["targets"]
    return next((one["detail"] for one in targets if one["name"] == target and one["state"] in states), "")


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
