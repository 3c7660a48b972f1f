"""Runs of the lab as people read them: what each experiment came to, and every send with its answer."""

from shlex import quote
from typing import Any

from relay.dashboard.filters import format_count, format_duration
from relay.dashboard.widgets import StatusChip
from relay.model.lab import ENDED_STATES, LabFinding, LabReport, LabRun, LabSend, LabState, Latency, TrialResult
from relay.model.text import escape_unprintable

SENDS_SHOWN = 40  # sends of one experiment that a page shows at first
MAX_SENDS_SHOWN = 500  # and when it is asked for all of them
# The class, the icon and the word of each finding.
_FINDING_STYLES: dict[LabFinding | None, tuple[str, str, str]] = {
    LabFinding.PASSED: ("ok", "circle-check", "passed"),
    LabFinding.FAILED: ("err", "circle-x", "failed"),
    LabFinding.UNCLEAR: ("warn", "triangle-alert", "unclear"),
    LabFinding.SKIPPED: ("quiet", "ban", "skipped"),
    None: ("quiet", "clock", "not over"),
}


def build_run_chip(run: LabRun, finding: LabFinding | None) -> StatusChip:
    """Return the state of a run, or its finding once it is over."""
    if run.state is LabState.RUNNING:
        return StatusChip("sending", "Running")
    if run.state is LabState.WAITING:
        return StatusChip("queued", "Waiting")
    if finding is LabFinding.FAILED:
        return StatusChip("no", "Failed")
    if run.state is not LabState.DONE:
        return StatusChip("warn", run.state.value.capitalize())
    kinds = {LabFinding.PASSED: "done", LabFinding.UNCLEAR: "warn"}
    return StatusChip(
        kind=kinds.get(finding, "dim") if finding else "dim", text=finding.capitalize() if finding else "Done"
    )


def build_report_values(report: LabReport, *, whole: bool) -> dict[str, Any]:
    """Return what the template of a report takes; `whole` gives every send."""
    run, live = report.run, report.run.state not in ENDED_STATES
    findings = [result.judged.finding for result in report.results]
    events = ", ".join(f"#{id_}" for id_ in run.events[:12]) + (" …" if len(run.events) > 12 else "")
    return {
        "run": run,
        "live": live,
        "whole": whole,
        "chip_of_run": build_run_chip(run, report.finding),
        "figures": (
            ("Sends", f"{run.made:,}", f"of {run.sends:,} at most" if live else ""),
            *((name.value.capitalize(), str(findings.count(name)), "") for name in LabFinding),
        ),
        "facts": (
            ("Target", escape_unprintable(run.target, 200)),
            *((("Query", escape_unprintable(run.query, 200)),) if run.query else ()),
            ("Events", events),
            ("Seed", str(run.settings.seed)),
        ),
        "results": [
            _build_result_values(result, MAX_SENDS_SHOWN if whole else SENDS_SHOWN) for result in report.results
        ],
    }


def _build_result_values(result: TrialResult, most: int) -> dict[str, Any]:
    kind, icon, word = _FINDING_STYLES[result.judged.finding]
    return {
        "trial": result,
        "kind": kind,
        "icon": icon,
        "word": word,
        "facts": _list_result_facts(result),
        "skipped": _format_skipped_events(result),
        "sends": _select_sends(result, most),
    }


def _select_sends(result: TrialResult, most: int) -> tuple[LabSend, ...]:
    """Return at most `most` sends: what is unusual first, in the order they were made."""
    if len(result.sends) <= most:
        return result.sends
    usual = result.statuses[0][0] if result.statuses else ""
    odd = [send for send in result.sends if send.place in result.differing or send.told != usual or send.note]
    places = {send.place for send in odd[:most]}
    for send in result.sends:
        if len(places) < most:
            places.add(send.place)
    return tuple(send for send in result.sends if send.place in places)


def _list_result_facts(result: TrialResult) -> list[tuple[str, str]]:
    facts = []
    if result.statuses:
        facts.append(("Answers", ", ".join(f"{count} x {answer}" for answer, count in result.statuses)))
    if result.latency is not None:
        facts.append(("Latency", _format_latency(result.latency)))
    if result.at_once > 1:
        facts.append(("At once", f"{result.at_once} at the most"))
    if result.differing:
        facts.append(("Otherwise than the first", format_count(len(result.differing), "answer")))
    return facts


def _format_latency(found: Latency) -> str:
    return (
        f"{format_duration(found.least)} to {format_duration(found.most)}, median "
        f"{format_duration(found.median)}, p95 {format_duration(found.p95)}"
    )


def _format_skipped_events(result: TrialResult) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for event, reason in result.trial.skipped if result.trial.events else ():
        reasons.setdefault(reason, []).append(f"#{event}")
    return [f"Without {', '.join(events)}: {escape_unprintable(reason, 200)}." for reason, events in reasons.items()]


def format_command(run: LabRun) -> str:
    """Return the command that does the same again."""
    names = " ".join(trial.experiment for trial in run.trials)
    what = f"--query {quote(run.query)}" if run.query else " ".join(str(id_) for id_ in run.events)
    settings = run.settings
    options = [f"--to {quote(run.target)}", f"--seed {settings.seed}"]
    options += [f"--times {settings.times}"] if settings.times else []
    options += [f"--speed {settings.speed:g}"] if settings.speed else []
    options += ["--compare status"] if settings.compare == "status" else []
    return escape_unprintable(f"relay lab {names} {what} {' '.join(options)}", 2000)
