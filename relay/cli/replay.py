"""`relay replay`: events sent again, one or many."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import click

from relay.cli import bulk_replay
from relay.cli.client import ApiClient, Json, connect
from relay.cli.deliveries import has_succeeded, print_delivery, wait_for_delivery
from relay.cli.error_output import NothingMatched
from relay.cli.options import Call, parse_event_id, shared_options
from relay.cli.output import format_count, quote
from relay.cli.request_edits import add_edit_options, edit_body, read_edits
from relay.cli.search import fetch_events, parse_search_option
from relay.errors import UsageError
from relay.model.batch import INCLUDABLE_OUTCOMES, find_exclusion
from relay.model.delivery import SignMode
from relay.model.event import EventOutcome, Verdict
from relay.model.text import escape_unprintable

_LEFT_OUT_WORDS = {
    EventOutcome.REJECTED: "was rejected",
    EventOutcome.DUPLICATE: "is a duplicate",
    EventOutcome.IGNORED: "was ignored",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayStep:
    """One event to one target: a configured name, or a URL."""

    event: Json
    to: str


@click.command("replay")
@click.argument("ids", type=parse_event_id, nargs=-1, metavar="[EVENT]...")
@click.option(
    "--query",
    type=parse_search_option,
    metavar="QUERY",
    help="Every event that matches, oldest first; see relay help search.",
)
@click.option("--to", metavar="TARGET|URL", help="Where to; by default where its routes lead.")
@click.option("--sign", type=click.Choice([mode.value for mode in SignMode]), default="auto", show_default=True)
@add_edit_options
@click.option("--rate", type=float, metavar="N", help="At most N deliveries a second; for --query.")
@click.option("--stop-on-failure", is_flag=True, help="Send nothing more once one fails; for --query.")
@click.option("--resume", type=parse_event_id, metavar="REPLAY", help="Go on with a bulk replay that was ended.")
@click.option(
    "--include",
    metavar="rejected,duplicate,ignored",
    help="Send such events of a --query too; they are left out otherwise.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be sent where, and send nothing.")
@shared_options
async def replay_command(
    call: Call, /, ids: tuple[int, ...], *, query: str | None, resume: int | None, dry_run: bool, **how: Any
) -> int:
    """Send events again, one after another, signed so that they verify; 1 when one fails."""
    if [bool(ids), query is not None, resume is not None].count(True) != 1:
        raise UsageError("name events, or a --query", hint="relay replay 42, relay replay --query has:failed")
    edits = read_edits(how)
    if how["edit"] and len(ids) != 1:
        raise UsageError("--edit is for one event", hint="relay replay 42 --edit")
    how["include"] = _parse_include(how["include"], query)
    if (how["rate"] or how["stop_on_failure"]) and (edits or query is None):
        raise UsageError("--rate and --stop-on-failure are for a --query without edits", hint="leave them out")
    async with connect(call.load(), secrets=True) as api:
        if resume is not None:
            await api.post(f"/api/replays/{resume}/resume")
            return await bulk_replay.follow_bulk_replay(call, api, resume)
        if query is not None and not edits:
            return await _replay_search(call, api, query, how, dry_run=dry_run)
        events = await _choose_events(call, api, ids, query, how["include"])
        steps = await _plan_steps(api, events, how["to"])
        if dry_run:
            _print_plan(call, steps)
            return 0
        if how["edit"]:
            edits = await edit_body(call, api, events[0], edits)
        return await _send_steps(call, api, steps, {"sign": how["sign"]} | edits)


async def _replay_search(call: Call, api: ApiClient, query: str, how: Json, *, dry_run: bool) -> int:
    wanted = {
        "q": query,
        "target": how["to"],
        "sign": how["sign"],
        "rate": how["rate"],
        "stop_on_failure": how["stop_on_failure"],
        "include": how["include"],
    }
    if dry_run:
        return await bulk_replay.print_bulk_plan(call, api, wanted)
    begun = await bulk_replay.start_bulk_replay(api, wanted)
    bulk_replay.print_left_out(call, begun["left_out"])
    return await bulk_replay.follow_bulk_replay(call, api, begun["id"])


async def _choose_events(
    call: Call, api: ApiClient, ids: Iterable[int], query: str | None, include: list[str]
) -> list[Json]:
    if query is None:
        return [await api.get(f"/api/events/{id_}") for id_ in ids]
    found = await fetch_events(api, query)
    if not found:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    left_out, chosen = [], []
    for event in found[::-1]:
        outcome = find_exclusion(event["outcome"], event["verdict"], event["reason"])
        if outcome is None or outcome in include:
            chosen.append(event)
        else:
            is_forged = event["verdict"] == Verdict.INVALID
            words = f"#{event['id']} {'failed verification' if is_forged else _LEFT_OUT_WORDS[outcome]}"
            left_out.append({"outcome": outcome.value, "words": words})
    bulk_replay.print_left_out(call, left_out)
    if not chosen:
        raise NothingMatched("no event to replay", hint="--include sends what was left out")
    return chosen


def _parse_include(text: str | None, query: str | None) -> list[str]:
    """Return the outcomes that `--include` names. Raises UsageError for what is none."""
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    known = ", ".join(INCLUDABLE_OUTCOMES)
    strange = next((name for name in names if name not in INCLUDABLE_OUTCOMES), None)
    if strange is not None:
        raise UsageError(f"--include: {quote(strange)} is no kind of event", hint=f"use {known}")
    if names and query is None:
        raise UsageError("--include is for a --query", hint="an event that is named is sent anyway")
    return names


async def _plan_steps(api: ApiClient, events: list[Json], to: str | None) -> list[ReplayStep]:
    if to is not None:
        return [ReplayStep(event=event, to=to) for event in events]
    targets = {target["name"]: target for target in (await api.get("/api/status"))["targets"]}
    return [
        ReplayStep(event=event, to=name) for event in events for name in await _find_usual_targets(api, event, targets)
    ]


async def _find_usual_targets(api: ApiClient, event: Json, targets: dict[str, Json]) -> list[str]:
    """Return where an event's routes lead, e-mail apart: nobody gets a mail twice unless it is named."""
    routes = (await api.get(f"/api/events/{event['id']}/routes"))["routes"]
    led = dict.fromkeys(name for route in routes if route["matched"] for name in route["to"])
    sending = [name for name in targets if targets[name]["action"] != "email"]
    found = [name for name in led if name in sending] or (sending if len(sending) == 1 else [])
    if not found:
        named = f"one of {', '.join(targets)}" if targets else "http://localhost:3000/webhooks"
        raise UsageError(f"no route leads from #{event['id']} to a target", hint=f"name it with --to: {named}")
    return found


def _print_plan(call: Call, steps: list[ReplayStep]) -> None:
    for step in steps:
        if step.event["verdict"] == Verdict.INVALID:
            call.terminal.say(f"relay: event {step.event['id']} failed verification")
    for step in steps if call.json else ():
        call.terminal.json({"event": step.event["id"], "to": step.to, "dry_run": True})
    if not call.json:
        call.terminal.table([f"#{step.event['id']}", step.event["type"], f"-> {step.to}"] for step in steps)
    call.terminal.say(f"{format_count(len(steps), 'delivery')} would be made; nothing was sent")


async def _send_steps(call: Call, api: ApiClient, steps: list[ReplayStep], how: Json) -> int:
    failed = 0
    with bulk_replay.show_progress(call, len(steps)) as bar:
        for step in steps:
            failed += not await _send_step(call, api, step, how, quiet=bar.shown)
            bar.advance()
    if len(steps) > 1:
        reached = len(steps) - failed
        call.terminal.say(f"{format_count(len(steps), 'delivery')}: {reached} reached the target, {failed} failed")
    return 1 if failed else 0


async def _send_step(call: Call, api: ApiClient, step: ReplayStep, how: Json, *, quiet: bool) -> bool:
    place = {"url": step.to} if "://" in step.to else {"target": step.to}
    made = await api.post(f"/api/events/{step.event['id']}/replay", how | place)
    if made.get("warning"):
        call.terminal.say(f"relay: {made['warning']}")
    try:
        delivery = await wait_for_delivery(api, made["delivery"])
    except NothingMatched as error:
        call.terminal.say(f"relay: {error.full_text}")
        return False
    if not quiet or not has_succeeded(delivery):
        print_delivery(call, delivery, step.event)
        for note in _collect_notes(delivery) if not call.json else ():
            call.terminal.say(f"relay: {escape_unprintable(note, 300)}")
    return has_succeeded(delivery)


def _collect_notes(delivery: Json) -> list[str]:
    """Return what the last attempt sent otherwise than it came, and what was odd about its answer."""
    last = delivery["attempts"][-1:]
    parts = [part for attempt in last for part in (attempt["request"], attempt["response"]) if part]
    return [note for part in parts for note in part["notes"]]
