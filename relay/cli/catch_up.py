"""`relay catch-up`: what a provider sent while relay was away, fetched from its API."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import quote

import click

from relay.cli import bulk_replay
from relay.cli.client import ApiClient, ApiError, ConnectionLostError, Json, connect
from relay.cli.options import Call, shared_options
from relay.cli.output import Part, format_count, format_moment
from relay.errors import CatchUpError
from relay.model.text import escape_unprintable

_PAUSE = 0.1
_MAX_LOOKS = 30  # for what is owed to be sent, where no relay runs


@click.command("catch-up")
@click.argument("source")
@click.option("--since", metavar="AGE|TIME", default="24h", show_default=True, help="2h, 7d or 2026-01-31T12:00.")
@click.option("--dry-run", is_flag=True, help="Say what was missed, and store nothing.")
@click.option("--no-forward", is_flag=True, help="Store what was missed, and send it nowhere.")
@shared_options
async def catch_up_command(call: Call, source: str, *, since: str, dry_run: bool, no_forward: bool) -> int:
    """Fetch what SOURCE's provider sent and relay missed; what is here already is not stored twice.

    Works for GitHub, Stripe and Svix. 0 also when nothing was missed, 3 when the provider refuses the credential.
    """
    wanted = {"source": source, "since": since, "dry_run": dry_run, "forward": not no_forward, "wait": 0}
    async with connect(call.load(), creates=True) as api:
        before = await _count_queued(api)
        begun: Json = await api.post("/api/catch-up", wanted)
        over = await _follow_catch_up(call, api, begun)
        left = 0 if api.lasting else await _wait_for_queue(api, before)
    if call.json:
        call.terminal.json(over)
    else:
        call.terminal.table(_format_missed_event(event) for event in over["events"])
        untold = (over["missed"] - over["lost"] if dry_run else over["recovered"]) - len(over["events"])
        if untold > 0:
            call.terminal.say(f"and {format_count(untold, 'event')} more")
    error = over["error"]
    if over["state"] != "done" and over["found"]:
        call.terminal.say(f"stopped: {over['summary']}; running it again goes on where it stopped")
    if error:
        raise ApiError(error["message"], hint=error["hint"], code=error["code"])
    if over["state"] != "done":
        raise CatchUpError(f"the catch-up of {source} was {over['state']}", hint="run it again")
    call.terminal.say(_summarize_result(over))
    if left:
        call.terminal.say(f"{format_count(left, 'delivery')} still queued; relay start sends what is")
    return 0


async def _count_queued(api: ApiClient) -> int:
    queue = (await api.get("/api/status"))["queue"]
    return int(queue["pending"] + queue["running"])


async def _wait_for_queue(api: ApiClient, before: int) -> int:
    """Return how many deliveries are left of those made since; a quiet relay ends with its command."""
    for _ in range(_MAX_LOOKS):
        left = await _count_queued(api) - before
        if left <= 0:
            return 0
        await asyncio.sleep(_PAUSE)
    return left


async def _follow_catch_up(call: Call, api: ApiClient, begun: Json) -> Json:
    """Return a catch-up once it is over; interrupted, cancel it."""
    path = f"/api/catch-up/{quote(begun['source'], safe='')}"
    try:
        state = await _poll_until(call, api, path, begun, lambda now: bool(now["missed"]))
        with bulk_replay.show_progress(call, state["missed"], "recovering") as bar:
            return await _poll_until(call, api, path, state, lambda now: bar.reach(now["recovered"] + now["lost"]))
    except asyncio.CancelledError:
        with suppress(ApiError, ConnectionLostError):
            ended = await api.post(f"{path}/cancel")
            call.terminal.say(f"cancelled: {ended['summary']}; running it again goes on where it stopped")
        raise


async def _poll_until(
    call: Call, api: ApiClient, path: str, state: Json, reached: Callable[[Json], bool | None]
) -> Json:
    """Return a catch-up once it is over or has `reached` what is waited for, saying meanwhile why it waits."""
    said = ""
    while not state["finished_at"] and not reached(state):
        if state["detail"] != said and state["detail"]:
            call.terminal.say(f"relay: {escape_unprintable(state['detail'], 200)}")
        said = state["detail"]
        await asyncio.sleep(_PAUSE)
        state = await api.get(path)
    return state


def _format_missed_event(event: Json) -> list[Part]:
    number = f"#{event['id']}" if event["id"] is not None else "-"
    return [
        (number, "bold"),
        event["type"] or "unknown",
        event["key"],
        (f"sent {format_moment(event['sent_at'])}", "dim"),
    ]


def _summarize_result(over: Json) -> str:
    nothing = "" if over["missed"] - over["lost"] or not over["found"] else "; nothing was missed"
    return f"{over['summary']}{nothing}"
