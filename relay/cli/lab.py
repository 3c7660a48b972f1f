"""`relay lab`: experiments on an app with stored events, and their report."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from typing import Any

import click

from relay.cli.client import ApiClient, ApiError, fetch_url
from relay.cli.error_output import NothingMatched
from relay.cli.events import query_option
from relay.cli.formatting import format_count
from relay.cli.lab_report import print_lab_plan, print_lab_report
from relay.cli.options import Call, parse_event_id, parse_seconds, parse_target, shared_options
from relay.cli.output import Json, quote, show_progress
from relay.errors import UsageError
from relay.model.text import escape_unprintable, find_similar
from relay.model.values import dataclass

EXPERIMENT_FAILED = 5
_NOTHING_TRIED = 4
_POLL_INTERVAL = 0.1
_OPEN_STATES = ("waiting", "running")
_CHECK_TIMEOUT = 60.0  # seconds that a check may take
_MAX_OUTPUT = 200  # characters of its last line
_NOT_FOUND_CODES = (126, 127)  # exit codes of a shell for a missing command
_URL_PREFIXES = ("http://", "https://")
_FORGED_ROLES = ("stale", "forged", "cut")  # roles of sends that the app must not act on


class LabCommand(click.Command):
    """A command whose help lists the experiments."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the experiments, each with what it finds and how a good app answers."""
        from relay.delivery.lab import EXPERIMENTS  # a run gets them from the API

        del ctx
        with formatter.section("Experiments"):
            explained = [(one.name, f"{one.finds}. Good: {one.good}.") for one in EXPERIMENTS.values()]
            formatter.write_dl([*explained, ("all", "every one of them, in this order.")])


def _parse_speed(text: str) -> float:
    with suppress(ValueError):
        if 1 <= (speed := float(text)) < inf:
            return speed
    raise click.BadParameter(f"{quote(text)} is not a speed; write 1, or 1000")


@click.command("lab", cls=LabCommand)
@click.argument("words", nargs=-1, metavar="EXPERIMENT... [EVENT]...")
@query_option("On every event that matches, oldest first; see relay help search.")
@click.option(
    "--to", type=parse_target, metavar="TARGET|URL", help="The app to test; optional if there is only one target."
)
@click.option("--times", type=click.IntRange(2, 200), metavar="N", help="Copies of each event, or orders of a shuffle.")
@click.option("--seed", type=click.IntRange(0), metavar="S", help="Shuffle as the run that printed it did.")
@click.option(
    "--delay", type=parse_seconds, metavar="TIME", help="How long to wait before each event of delay; 2s unless given."
)
@click.option(
    "--speed",
    type=_parse_speed,
    metavar="N",
    help="Retry N times as fast as the provider; unless given, a schedule lasts 10 s.",
)
@click.option(
    "--compare",
    type=click.Choice(["body", "status"]),
    default="body",
    show_default=True,
    help="What two answers must share to be the same: status and body, or only the status.",
)
@click.option(
    "--check",
    metavar="COMMAND|URL",
    help="Asked before and after each experiment: exit code 0 or 2xx is good; a number is how often the app acted.",
)
@click.option("--strict", is_flag=True, help="Count unclear results as failed.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@shared_options
async def lab_command(
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
    async with call.connect() as api:
        known = [one["name"] for one in (await api.get("/api/labs", limit=1))["experiments"]]
        names, ids = _parse_words(words, known)
        if bool(ids) == (query is not None):
            raise UsageError(
                "name events, or a --query", hint="relay lab duplicates 42, relay lab shuffle --query type:invoice.*"
            )
        request = how | {"experiments": names, "target": how.pop("to")} | ({"events": ids} if ids else {"q": query})
        if dry_run:
            print_lab_plan(call, await _post_run(api, request | {"dry_run": True}))
            return 0
        if check is not None:
            request["experiments"] = [name for name in known if name in names or "all" in names]
            return await _run_with_check(call, api, request, check, strict=strict)
        report = await _follow_run(call, api, await _post_run(api, request))
        print_lab_report(call, report)
        return _find_exit_code(report, strict=strict)


async def _run_with_check(call: Call, api: ApiClient, request: Json, check: str, *, strict: bool) -> int:
    """Run each experiment with the check before and after it, and return the combined exit code."""
    codes: list[int] = []
    for name in request["experiments"]:
        before = await _run_check_before(check)
        report = await _follow_run(call, api, await _post_run(api, request | {"experiments": [name]}))
        events = _count_events(report["experiments"][0])
        after = await run_check(check, name, report["id"], events)
        report = apply_check(report, before, after)
        print_lab_report(call, report)
        codes.append(_find_exit_code(report, strict=strict))
    return next((code for code in (EXPERIMENT_FAILED, 1, 0) if code in codes), _NOTHING_TRIED)


def _parse_words(words: Sequence[str], experiments: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the experiments and the events among the arguments. Raises UsageError with the nearest name."""
    known = ("all", *experiments)
    names: list[str] = []
    ids: list[int] = []
    for word in words:
        if word in known:
            names.append(word)
        elif word.lstrip("#")[:1].isdigit():
            ids.append(parse_event_id(word))
        else:
            near = find_similar(word, known, 0.5)
            hint = f"did you mean {near!r}?" if near else f"there is: {', '.join(known)}"
            raise UsageError(f"{quote(word)} is not an experiment", hint=hint)
    if not names:
        raise UsageError("name an experiment", hint=f"there is: {', '.join(known)}")
    return names, ids


async def _post_run(api: ApiClient, request: Json) -> Json:
    try:
        answer: Json = await api.post("/api/labs", request)
    except ApiError as error:
        if error.status == 404 and error.message == "no event matches":
            raise NothingMatched(error.message, hint=error.hint) from error
        raise
    return answer


async def _follow_run(call: Call, api: ApiClient, begun: Json) -> Json:
    """Watch a run until it has ended and return its report; cancel it if interrupted."""
    id_ = begun["id"]
    call.terminal.print_message(
        f"lab run {id_}: {format_count(len(begun['experiments']), 'experiment')} on "
        f"{format_count(len(begun['events']), 'event')} to {begun['target']}, seed {begun['seed']}"
    )
    try:
        with show_progress(call.terminal, begun["sends"]["planned"], "sending") as bar:
            while (run := await _fetch_run(api, id_))["state"] in _OPEN_STATES:
                bar.update(run["sends"]["made"])
                await asyncio.sleep(_POLL_INTERVAL)
    except asyncio.CancelledError:
        with suppress(ApiError):
            await api.post(f"/api/labs/{id_}/cancel")
        call.terminal.print_message("cancelled")
        raise
    report: Json = await api.get(f"/api/labs/{id_}")
    return report


async def _fetch_run(api: ApiClient, id_: int) -> Json:
    # Without its sends: ten times a second, those of a burst would be too much data.
    found = await api.get("/api/labs", limit=1, before=id_ + 1)
    run: Json = found["labs"][0]
    return run


def _find_exit_code(report: Json, *, strict: bool) -> int:
    if report["finding"] == "failed" or (strict and report["finding"] == "unclear"):
        return EXPERIMENT_FAILED
    if report["state"] != "done":
        return 1
    return _NOTHING_TRIED if report["finding"] == "skipped" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of a check: `code` is the exit code, or the HTTP status of a URL; `output` its last line."""

    passed: bool
    code: int
    output: str

    @property
    def number(self) -> int | None:
        """Its output as a number: how often the app has acted."""
        return int(self.output) if self.output.isascii() and self.output.isdigit() else None


async def run_check(check: str, experiment: str = "", run: int = 0, events: int = 0) -> CheckResult:
    """Run the command, or fetch the URL.

    A command gets RELAY_LAB_EXPERIMENT, RELAY_LAB_RUN and RELAY_LAB_EVENTS: the experiment just made, its run, and how
    many events the app should have acted on.
    """
    if check.startswith(_URL_PREFIXES):
        status, body = await fetch_url(check, _CHECK_TIMEOUT)
        return CheckResult(passed=200 <= status < 300, code=status, output=_read_last_line(body))
    facts = {"RELAY_LAB_EXPERIMENT": experiment, "RELAY_LAB_RUN": str(run), "RELAY_LAB_EVENTS": str(events)}
    process = await asyncio.create_subprocess_shell(
        check,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | facts,
    )
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT):
            out, _ = await process.communicate()
    except TimeoutError:
        return CheckResult(passed=False, code=-1, output=f"it took longer than {_CHECK_TIMEOUT:g} s")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    code = process.returncode or 0
    return CheckResult(passed=code == 0, code=code, output=_read_last_line(out))


async def _run_check_before(check: str) -> CheckResult:
    """Run a check before anything is sent. Raises UsageError if it cannot be run."""
    result = await run_check(check)
    is_url = check.startswith(_URL_PREFIXES)
    if (result.code == 0 and is_url) or (result.code in _NOT_FOUND_CODES and not is_url):
        hint = "give a command of your shell, or a URL of your app"
        raise UsageError(f"--check cannot run: {result.output}", hint=hint)
    return result


def _count_events(experiment: Json) -> int:
    """Return how many events an app should have acted on in an experiment: each once, and no forged ones."""
    sends = (send for send in experiment["sends"] if send["role"] not in _FORGED_ROLES)
    return len({(send["round"], send["event"]) for send in sends})


def apply_check(report: Json, before: CheckResult, after: CheckResult) -> Json:
    """Return the report of an experiment with the result of its check."""
    (experiment,) = report["experiments"]
    if experiment["finding"] in (None, "skipped"):
        return report
    problem = _find_problem(before, after, _count_events(experiment))
    check: Json = {"passed": not problem, "before": before.output, "after": after.output, "sentence": problem}
    changed: Json = {"check": check}
    if "--check" in experiment["advice"]:
        changed["advice"] = ""  # the check found what the answers do not show
    if problem:
        changed |= {"finding": "failed", "sentence": f"{problem}; {experiment['sentence']}"}
        report = report | {"finding": "failed"}
    return report | {"experiments": [experiment | changed]}


def _find_problem(before: CheckResult, after: CheckResult, events: int) -> str:
    if not after.passed:
        return f"the check failed ({after.code}){f': {after.output}' if after.output else ''}"
    if before.number is None or after.number is None or after.number - before.number <= events:
        return ""
    times = "once" if events == 1 else f"{events} times"
    return f"the check went from {before.number} to {after.number}: the app should have acted {times}"


def _read_last_line(content: bytes) -> str:
    lines = content.decode("utf-8", "replace").strip().splitlines()
    return escape_unprintable(lines[-1].strip(), _MAX_OUTPUT) if lines else ""
