"""`relay replay`: resends events, individually and with edits, or in bulk by a search."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import click

from relay.cli.client import ApiClient, ApiError
from relay.cli.deliveries import has_succeeded, print_delivery, report_delivery
from relay.cli.error_output import NothingMatched
from relay.cli.events import fetch_events, fetch_list, query_option
from relay.cli.formatting import format_count, format_moment
from relay.cli.options import Call, parse_event_id, parse_rate, parse_replay_id, parse_target, shared_options
from relay.cli.output import Json, quote, show_progress
from relay.cli.request_edits import add_edit_options, edit_body, read_edits
from relay.errors import UsageError
from relay.model.text import escape_unprintable

_POLL_INTERVAL = 0.1
_MAX_LISTED = 10  # excluded kinds or events that are listed individually
SIGN_MODES = ("auto", "original", "fresh")
EXCLUSION_WORDS = {"rejected": "was rejected", "duplicate": "is a duplicate", "ignored": "was ignored"}

ReplayStep = tuple[Json, str]
"""An event, and where it goes: the name of a target, or a URL."""


@click.command("replay")
@click.argument("ids", type=parse_event_id, nargs=-1, metavar="[EVENT]...")
@query_option("Every event that matches, oldest first; see relay help search.")
@click.option(
    "--to", type=parse_target, metavar="TARGET|URL", help="The target or URL; by default the targets of its routes."
)
@click.option("--sign", type=click.Choice(SIGN_MODES), default="auto", show_default=True)
@add_edit_options
@click.option("--rate", type=parse_rate, metavar="N", help="At most N deliveries a second; for --query.")
@click.option("--stop-on-failure", is_flag=True, help="Stop after the first failure; for --query.")
@click.option("--resume", type=parse_replay_id, metavar="REPLAY", help="Continue a bulk replay that was stopped.")
@click.option(
    "--include", metavar="rejected,duplicate,ignored", help="Also send such events of a --query; left out by default."
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent where, and send nothing.")
@shared_options
async def replay_command(
    call: Call, /, ids: tuple[int, ...], *, query: str | None, resume: int | None, dry_run: bool, **how: Any
) -> int:
    """Send events again, one after another, signed so that they verify; 1 when one fails.

    While no relay runs, --resume makes a bulk replay due, and relay start sends it.
    """
    if [bool(ids), query is not None, resume is not None].count(True) != 1:
        raise UsageError("name events, or a --query", hint="relay replay 42, relay replay --query has:failed")
    edits = read_edits(how)
    if how["edit"] and len(ids) != 1:
        raise UsageError("--edit is for one event", hint="relay replay 42 --edit")
    how["include"] = _parse_include(how["include"], query)
    others = (edits, dry_run, how["to"] is not None, how["sign"] != "auto")
    if resume is not None and any(others):
        hint = f"relay replay --resume {resume}"
        raise UsageError("a bulk replay continues as it was started: --resume takes no other options", hint=hint)
    if (how["rate"] or how["stop_on_failure"]) and (edits or query is None):
        raise UsageError("--rate and --stop-on-failure are for a --query without edits", hint="leave them out")
    async with call.connect(secrets=True) as api:
        if resume is not None:
            return await _resume_bulk_replay(call, api, resume)
        if query is not None and not edits:
            names = ("sign", "rate", "stop_on_failure", "include")
            request = {"q": query, "target": how["to"]} | {name: how[name] for name in names}
            return await (_print_bulk_plan if dry_run else _replay_in_bulk)(call, api, request)
        events = await _choose_events(call, api, ids, query, how["include"])
        steps = await _plan_steps(api, events, how["to"])
        if how["edit"]:
            edits = await edit_body(call, api, events[0], edits)
        request = {"sign": how["sign"]} | edits
        if dry_run or (edits and len(steps) > 1):
            await _check_steps(api, steps, request)
        if dry_run:
            _print_plan(call, steps)
            return 0
        return await _send_steps(call, api, steps, request)


def _parse_include(text: str | None, query: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    unknown = next((name for name in names if name not in EXCLUSION_WORDS), None)
    if unknown is not None:
        hint = f"use {', '.join(EXCLUSION_WORDS)}"
        raise UsageError(f"--include: {quote(unknown)} is not a kind of event", hint=hint)
    if names and query is None:
        raise UsageError("--include is for a --query", hint="an event that is named is sent anyway")
    return names


async def _choose_events(
    call: Call, api: ApiClient, ids: Iterable[int], query: str | None, include: list[str]
) -> list[Json]:
    if query is None:
        return [await api.get(f"/api/events/{id_}") for id_ in ids]
    from relay.model.batch import find_exclusion  # imports the event model; only for bulk edits

    found = await fetch_events(api, query)
    if not found:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    left_out, chosen = [], []
    for event in found[::-1]:
        outcome = find_exclusion(event["outcome"], event["verdict"], event["reason"])
        if outcome is None or outcome in include:
            chosen.append(event)
        else:
            is_forged = event["verdict"] == "invalid"
            words = f"#{event['id']} {'failed verification' if is_forged else EXCLUSION_WORDS[outcome]}"
            left_out.append({"outcome": outcome.value, "words": words})
    _print_left_out(call, left_out)
    if not chosen:
        raise NothingMatched("no event to replay", hint="--include sends what was left out")
    return chosen


async def _plan_steps(api: ApiClient, events: list[Json], to: str | None) -> list[ReplayStep]:
    if to is not None:
        return [(event, to) for event in events]
    targets = {target["name"]: target for target in (await api.get("/api/status"))["targets"]}
    return [(event, name) for event in events for name in await _find_usual_targets(api, event, targets)]


async def _find_usual_targets(api: ApiClient, event: Json, targets: dict[str, Json]) -> list[str]:
    """Return the targets of an event's routes except e-mail: a mail is resent only if its target is named."""
    routes = (await api.get(f"/api/events/{event['id']}/routes"))["routes"]
    routed = dict.fromkeys(name for route in routes if route["matched"] for name in route["to"])
    sending = [name for name in targets if targets[name]["action"] != "email"]
    found = [name for name in routed if name in sending] or (sending if len(sending) == 1 else [])
    if not found:
        named = f"one of {', '.join(targets)}" if targets else "http://localhost:3000/webhooks"
        raise UsageError(f"no route leads from #{event['id']} to a target", hint=f"name it with --to: {named}")
    return found


def _print_plan(call: Call, steps: list[ReplayStep]) -> None:
    for event, _ in steps:
        if event["verdict"] == "invalid":
            call.terminal.print_message(f"relay: event {event['id']} failed verification")
    if call.json:
        for event, to in steps:
            call.terminal.print_json({"event": event["id"], "to": to, "dry_run": True})
    else:
        call.terminal.print_table([f"#{event['id']}", event["type"], f"-> {to}"] for event, to in steps)
    call.terminal.print_message(f"{format_count(len(steps), 'delivery')} would be made; nothing was sent")


async def _check_steps(api: ApiClient, steps: list[ReplayStep], how: Json) -> None:
    """Raise ApiError for replays that would be refused, before anything is sent."""
    for step in steps:
        try:
            await _post_step(api, step, how | {"dry_run": True})
        except ApiError as error:
            text = f"#{step[0]['id']}: {error.message}; nothing was sent" if len(steps) > 1 else error.message
            raise ApiError(text, hint=error.hint, code=error.code, status=error.status) from error


async def _send_steps(call: Call, api: ApiClient, steps: list[ReplayStep], how: Json) -> int:
    failed = 0
    with show_progress(call.terminal, len(steps), "replaying") as bar:
        for step in steps:
            failed += not await _send_step(call, api, step, how, failures_only=bar.is_visible)
            bar.advance()
    if len(steps) > 1:
        reached = len(steps) - failed
        total = format_count(len(steps), "delivery")
        call.terminal.print_message(f"{total}: {reached} reached the target, {failed} failed")
    return 1 if failed else 0


async def _send_step(call: Call, api: ApiClient, step: ReplayStep, how: Json, *, failures_only: bool) -> bool:
    event, _ = step
    made = await _post_step(api, step, how)
    if made.get("warning"):
        call.terminal.print_message(f"relay: {made['warning']}")
    delivery = await report_delivery(call, api, made["delivery"], event, failures_only=failures_only)
    if delivery and not call.json and not (failures_only and has_succeeded(delivery)):
        # How the last attempt differed from the original, and oddities of its response.
        for attempt in delivery["attempts"][-1:]:
            for part in filter(None, (attempt["request"], attempt["response"])):
                for note in part["notes"]:
                    call.terminal.print_message(f"relay: {escape_unprintable(note, 300)}")
    return has_succeeded(delivery)


async def _post_step(api: ApiClient, step: ReplayStep, how: Json) -> Json:
    event, to = step
    answer: Json = await api.post(f"/api/events/{event['id']}/replay", how | {"url" if "://" in to else "target": to})
    return answer


async def _print_bulk_plan(call: Call, api: ApiClient, request: Json) -> int:
    plan: Json = await api.post("/api/replays", request | {"dry_run": True})
    if not plan["events"] and not plan["skipped"] and not plan["left_out"]:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    if call.json:
        call.terminal.print_json(plan)
    else:
        call.terminal.print_table(
            [f"-> {target['name']}", format_count(target["count"], "delivery")] for target in plan["targets"]
        )
    _print_left_out(call, plan["left_out"])
    if not plan["events"] and not plan["skipped"]:
        raise NothingMatched("no event to replay", hint="--include sends what was left out")
    made = f"{format_count(plan['count'], 'delivery')} of {format_count(plan['events'], 'event')}"
    span = f"received {format_moment(plan['oldest'])} to {format_moment(plan['newest'])}"
    skipped = f"; {format_count(plan['skipped'], 'event')} would not be sent" if plan["skipped"] else ""
    call.terminal.print_message(f"{made}, {span}, would be made{skipped}; nothing was sent")
    return 0


def _print_left_out(call: Call, left_out: list[Json]) -> None:
    """Print what a bulk replay excludes, why, and how to include it."""
    if left_out:
        more = f", and {len(left_out) - _MAX_LISTED:,} more" if len(left_out) > _MAX_LISTED else ""
        include = ",".join(dict.fromkeys(one["outcome"] for one in left_out))
        listed = ", ".join(one["words"] for one in left_out[:_MAX_LISTED])
        call.terminal.print_message(f"left out: {listed}{more}; --include {include} sends them too")


async def _replay_in_bulk(call: Call, api: ApiClient, request: Json) -> int:
    try:
        begun: Json = await api.post("/api/replays", request)
    except ApiError as error:
        if error.status != 404 or not error.message.startswith("no event to replay"):
            raise
        if "no route" in error.message:
            raise UsageError(error.message, hint="name a target with --to") from error
        if "left out" in error.message:
            raise NothingMatched(error.message, hint="--include sends what was left out") from error
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does") from error
    _print_left_out(call, begun["left_out"])
    return await _follow_bulk_replay(call, api, begun["id"])


async def _resume_bulk_replay(call: Call, api: ApiClient, id_: int) -> int:
    await api.post(f"/api/replays/{id_}/resume")
    if api.is_persistent:
        return await _follow_bulk_replay(call, api, id_)
    # A quiet relay sends only the command's own deliveries.
    call.terminal.print_message(f"replay {id_} is due now; it continues when relay start runs")
    return 0


async def _follow_bulk_replay(call: Call, api: ApiClient, id_: int) -> int:
    """Watch a bulk replay until it has ended and print the result; cancel it if interrupted."""
    batch: Json = await api.get(f"/api/replays/{id_}")
    try:
        with show_progress(call.terminal, batch["total"], "replaying") as bar:
            while batch["state"] == "running":
                bar.update(sum(batch["counts"][state] for state in ("succeeded", "failed", "gone")))
                await asyncio.sleep(_POLL_INTERVAL)
                batch = await api.get(f"/api/replays/{id_}")
    except asyncio.CancelledError:
        with suppress(ApiError):
            await api.post(f"/api/replays/{id_}/cancel")
        call.terminal.print_message(f"cancelled; relay replay --resume {id_} continues it")
        raise
    for delivery in reversed(await fetch_list(api, "deliveries", batch=id_)):
        if delivery["attempts_made"] and not (bar.is_visible and has_succeeded(delivery)):
            print_delivery(call, delivery)
    _print_result(call, batch)
    return 1 if batch["counts"]["failed"] or batch["state"] != "done" else 0


def _print_result(call: Call, batch: Json) -> None:
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
        words += f"; {batch['state']}{why}; relay replay --resume {batch['id']} continues it"
    call.terminal.print_message(words)
