"""`relay lab`: experiments on an app with events that are there already, and a report of what they showed."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

import click

from relay.cli import bulk, lab_report
from relay.cli.client import Api, ApiError, Json, connect
from relay.cli.faults import NothingMatched
from relay.cli.lab_check import apply_check, ask_before, ask_check, count_events
from relay.cli.options import Call, event_id, seconds, shared
from relay.cli.queries import search_option
from relay.cli.terminal import quote
from relay.cli.words import counted
from relay.delivery.lab.catalogue import EXPERIMENTS, NAMES
from relay.errors import UsageError

FAILED = 5
_NOTHING = 4
_PAUSE = 0.1
_OPEN = ("waiting", "running")


class Explained(click.Command):
    """A command whose help says what each experiment finds."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the experiments, each with what it finds and what a good app answers."""
        del ctx
        with formatter.section("Experiments"):
            explained = [(one.name, f"{one.finds}. Good: {one.good}.") for one in EXPERIMENTS]
            formatter.write_dl([*explained, ("all", "every one of them, in this order.")])


@click.command("lab", cls=Explained)
@click.argument("words", nargs=-1, metavar="EXPERIMENT... [EVENT]...")
@click.option(
    "--query",
    type=search_option,
    metavar="QUERY",
    help="On every event that matches, oldest first; see relay help search.",
)
@click.option("--to", metavar="TARGET|URL", help="The app to try; may be left out where there is one target.")
@click.option(
    "--times", type=click.IntRange(2, 200), metavar="N", help="Copies of each event, or orders of a shuffle."
)
@click.option("--seed", type=click.IntRange(0), metavar="S", help="Shuffle as the run that printed it did.")
@click.option(
    "--delay",
    type=seconds,
    metavar="TIME",
    help="How long to wait before each event of delay; 2s unless given.",
)
@click.option(
    "--speed",
    type=click.FloatRange(1),
    metavar="N",
    help="Retry N times as fast as the provider; unless given, a schedule lasts 10 s.",
)
@click.option(
    "--compare",
    type=click.Choice(["body", "status"]),
    default="body",
    show_default=True,
    help="What makes two answers alike: status and body, or the status alone.",
)
@click.option(
    "--check",
    metavar="COMMAND|URL",
    help="Asked before and after each experiment: exit code 0 or 2xx is good; a number is how often the app acted.",
)
@click.option("--strict", is_flag=True, help="Let what is unclear count as failed.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent, and send nothing.")
@shared
async def command(
    call: Call,
    /,
    words: tuple[str, ...],
    *,
    query: str | None,
    check: str | None,
    strict: bool,
    dry_run: bool,
    **how: Any,
) -> int:
    """Try an app with duplicates, bursts, other orders and forgeries.

    Name experiments and events: relay lab duplicates burst 42 --to app. Each experiment sends the events under
    ids that the app has not seen, signed so that they verify unless they are meant not to.

    Exits 0 when nothing failed, 5 when an experiment failed, 4 when no event matched or nothing could be tried, 1 when
    the run was cut short or there is no such event or target.
    """
    names, ids = _read(words)
    if bool(ids) == (query is not None):
        raise UsageError(
            "name events, or a --query",
            hint="relay lab duplicates 42, relay lab shuffle --query type:invoice.*",
        )
    wanted = how | {"experiments": names, "target": how.pop("to")}
    wanted |= {"events": list(ids)} if ids else {"q": query}
    async with connect(call.load()) as api:
        if dry_run:
            lab_report.plan(call, await _posted(api, wanted | {"dry_run": True}))
            return 0
        if check is not None:
            return await _check_each(call, api, wanted, check, strict=strict)
        report = await _follow(call, api, await _posted(api, wanted))
        lab_report.tell(call, report)
        return _code(report, strict=strict)


async def _check_each(call: Call, api: Api, wanted: Json, check: str, *, strict: bool) -> int:
    """Make a run of each experiment, ask the check around it, and return the exit code of all together."""
    names = [name for name in NAMES if name in wanted["experiments"] or "all" in wanted["experiments"]]
    codes: list[int] = []
    for name in names:
        before = await ask_before(check)
        report = await _follow(call, api, await _posted(api, wanted | {"experiments": [name]}))
        events = count_events(report["experiments"][0])
        after = await ask_check(check, name, report["id"], events)
        report = apply_check(report, before, after)
        lab_report.tell(call, report)
        codes.append(_code(report, strict=strict))
    return next((code for code in (FAILED, 1, 0) if code in codes), _NOTHING)


def _read(words: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return which of the words are experiments and which are events. Raises UsageError with the nearest name."""
    known = ("all", *NAMES)
    names: list[str] = []
    ids: list[int] = []
    for word in words:
        if word in known:
            names.append(word)
        elif word.lstrip("#")[:1].isdigit():
            ids.append(event_id(word))
        else:
            near = get_close_matches(word, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there is: {', '.join(known)}"
            raise UsageError(f"{quote(word)} is no experiment", hint=hint)
    if not names:
        raise UsageError("name an experiment", hint=f"there is: {', '.join(known)}")
    return names, ids


async def _posted(api: Api, wanted: Json) -> Json:
    try:
        answer: Json = await api.post("/api/labs", wanted)
    except ApiError as error:
        if error.status == 404 and error.sentence == "no event matches":
            raise NothingMatched(error.sentence, hint=error.hint) from error
        raise
    return answer


async def _follow(call: Call, api: Api, begun: Json) -> Json:
    """Watch a run until it is over and return its report; interrupted, cancel it."""
    id_ = begun["id"]
    call.terminal.say(
        f"lab run {id_}: {counted(len(begun['experiments']), 'experiment')} on "
        f"{counted(len(begun['events']), 'event')} to {begun['target']}, seed {begun['seed']}"
    )
    try:
        with bulk.progress(call, begun["sends"]["planned"], "sending") as bar:
            while (run := await _run(api, id_))["state"] in _OPEN:
                bar.reach(run["sends"]["made"])
                await asyncio.sleep(_PAUSE)
    except asyncio.CancelledError:
        with suppress(ApiError):
            await api.post(f"/api/labs/{id_}/cancel")
        call.terminal.say("cancelled")
        raise
    report: Json = await api.get(f"/api/labs/{id_}")
    return report


async def _run(api: Api, id_: int) -> Json:
    # Without its sends: asked for ten times a second, those of a burst would be a burst of their own.
    found = await api.get("/api/labs", limit=1, before=id_ + 1)
    run: Json = found["labs"][0]
    return run


def _code(report: Json, *, strict: bool) -> int:
    if report["finding"] == "failed" or (strict and report["finding"] == "unclear"):
        return FAILED
    if report["state"] != "done":
        return 1
    return _NOTHING if report["finding"] == "skipped" else 0
