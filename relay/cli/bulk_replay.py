"""A bulk replay as a command follows it: planned, begun or taken up again, watched, and told at its end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from relay.cli.client import ApiClient, ApiError, Json
from relay.cli.deliveries import has_succeeded, print_delivery
from relay.cli.error_output import NothingMatched
from relay.cli.options import Call
from relay.cli.output import format_count, format_moment
from relay.errors import UsageError

_PAUSE = 0.1
_PAGE_SIZE = 500
_MAX_LISTED = 10  # kinds of events, or events, that are left out one by one


async def print_bulk_plan(call: Call, api: ApiClient, wanted: Json) -> int:
    """Print what a bulk replay would do. Raises NothingMatched."""
    found: Json = await api.post("/api/replays", wanted | {"dry_run": True})
    if not found["events"] and not found["skipped"] and not found["left_out"]:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    if call.json:
        call.terminal.json(found)
    else:
        call.terminal.table(
            [f"-> {target['name']}", format_count(target["count"], "delivery")] for target in found["targets"]
        )
    print_left_out(call, found["left_out"])
    if not found["events"] and not found["skipped"]:
        raise NothingMatched("no event to replay", hint="--include sends what was left out")
    span = f", received {format_moment(found['oldest'])} to {format_moment(found['newest'])}"
    lost = f"; {format_count(found['skipped'], 'event')} would go nowhere" if found["skipped"] else ""
    call.terminal.say(
        f"{format_count(found['count'], 'delivery')} of {format_count(found['events'], 'event')}{span}, "
        f"would be made{lost}; "
        "nothing was sent"
    )
    return 0


def print_left_out(call: Call, left_out: list[Json]) -> None:
    """Say what a bulk replay leaves out, why, and how it is included; nothing where it takes all."""
    if not left_out:
        return
    words = [one["words"] for one in left_out]
    more = f", and {len(words) - _MAX_LISTED:,} more" if len(words) > _MAX_LISTED else ""
    include = ",".join(dict.fromkeys(one["outcome"] for one in left_out))
    listed = ", ".join(words[:_MAX_LISTED])
    call.terminal.say(f"left out: {listed}{more}; --include {include} sends them too")


async def start_bulk_replay(api: ApiClient, wanted: Json) -> Json:
    """Begin a bulk replay and return it. Raises NothingMatched, UsageError where matches lead nowhere."""
    try:
        begun: Json = await api.post("/api/replays", wanted)
    except ApiError as error:
        if error.status != 404 or not error.message.startswith("no event to replay"):
            raise
        if "no route" in error.message:
            raise UsageError(error.message, hint="name a target with --to") from error
        if "left out" in error.message:
            raise NothingMatched(error.message, hint="--include sends what was left out") from error
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does") from error
    return begun


async def follow_bulk_replay(call: Call, api: ApiClient, id_: int) -> int:
    """Watch a bulk replay until it is over and tell how it went; interrupted, cancel it."""
    batch: Json = await api.get(f"/api/replays/{id_}")
    try:
        with show_progress(call, batch["total"]) as bar:
            while batch["state"] == "running":
                bar.reach(_count_finished(batch))
                await asyncio.sleep(_PAUSE)
                batch = await api.get(f"/api/replays/{id_}")
            shown = bar.shown
    except asyncio.CancelledError:
        with suppress(ApiError):
            await api.post(f"/api/replays/{id_}/cancel")
        call.terminal.say(f"cancelled; relay replay --resume {id_} goes on where it was")
        raise
    async for delivery in _iterate_tried(api, id_):
        if not shown or not has_succeeded(delivery):
            print_delivery(call, delivery)
    return _print_result(call, batch)


async def _iterate_tried(api: ApiClient, id_: int) -> AsyncIterator[Json]:
    """Yield the deliveries of a batch that were tried, oldest first."""
    found: list[Json] = []
    before: int | None = None
    while True:
        page = await api.get("/api/deliveries", batch=id_, limit=_PAGE_SIZE, before=before)
        found += page["deliveries"]
        before = page["next_before"]
        if before is None:
            break
    for delivery in reversed(found):
        if delivery["attempts_made"]:
            yield delivery


def _print_result(call: Call, batch: Json) -> int:
    counts = batch["counts"]
    left = counts["waiting"] + counts["cancelled"] + counts["pending"]
    total = format_count(batch["total"], "delivery")
    words = f"{total}: {counts['succeeded']} reached the target, {counts['failed']} failed"
    if left:
        words += f", {left} not sent"
    if counts["gone"]:
        words += f", {counts['gone']} of events that are gone"
    if batch["state"] in ("cancelled", "stopped"):
        why = f" by {batch['detail']}" if batch["detail"] else ""
        words += f"; {batch['state']}{why}; relay replay --resume {batch['id']} goes on"
    call.terminal.say(words)
    return 1 if counts["failed"] or batch["state"] != "done" else 0


def _count_finished(batch: Json) -> int:
    counts = batch["counts"]
    return int(counts["succeeded"] + counts["failed"] + counts["gone"])


class ProgressBar(Protocol):
    """What counts something; not `shown` where nobody would see it."""

    shown: bool

    def advance(self, count: int = 1) -> None:
        """Count that many more."""

    def reach(self, count: int) -> None:
        """Count up to there."""


class HiddenProgressBar:
    """A bar that nobody sees."""

    shown = False

    def advance(self, count: int = 1) -> None:
        """Show nothing."""

    def reach(self, count: int) -> None:
        """Show nothing."""


@contextmanager
def show_progress(call: Call, total: int, doing: str = "replaying", *, sizes: bool = False) -> Iterator[ProgressBar]:
    """Show a bar for as long as the block lasts, on a terminal and where there is more than one to count.

    It says what is being done; `sizes` says that bytes are counted.
    """
    if total < 2 or call.json or not (call.terminal.is_terminal and call.terminal.talks_to_terminal):
        yield HiddenProgressBar()
        return
    from relay.cli.progress import show_rich_progress  # noqa: PLC0415 - rich takes 80 ms to import, and only this needs it

    with show_rich_progress(call.terminal, total, doing, sizes=sizes) as shown:
        yield shown
