"""Prints the report of a lab run: a sentence and a table for each experiment."""

from collections import Counter

from relay.cli.formatting import format_count, format_milliseconds
from relay.cli.options import Call
from relay.cli.output import Json, Part

_STYLES = {"passed": "green", "failed": "red", "unclear": "yellow", "skipped": "dim"}
_MAX_ROWS = 40  # sends of an experiment that are shown; --json has all
_MAX_ANSWER = 60  # characters of an answer


def print_lab_plan(call: Call, planned: Json) -> None:
    """Print the plan of a run."""
    if call.json:
        call.terminal.print_json(planned)
        return
    call.terminal.print_table(
        [(one["name"], "bold"), format_count(one["sends"], "send"), f"on {format_count(len(one['events']), 'event')}"]
        for one in planned["experiments"]
    )
    for one in planned["experiments"]:
        _print_notes(call, one)
    for note in planned["notes"]:
        call.terminal.print_line((f"  {note}", "dim"))
    call.terminal.print_message(
        f"{format_count(planned['sends'], 'send')} at most would go to {planned['target']}, "
        f"seed {planned['seed']}; nothing was sent"
    )


def print_lab_report(call: Call, report: Json) -> None:
    """Print the report of a run."""
    if call.json:
        call.terminal.print_json(report)
        return
    for one in report["experiments"]:
        _print_experiment(call, one)
    for note in report["notes"]:
        call.terminal.print_message(("note: ", "yellow"), note)
    _print_summary(call, report)


def _print_experiment(call: Call, one: Json) -> None:
    line = call.terminal.print_line
    finding = one["finding"] or "not over"
    line((one["name"], "bold"), "  ", (finding.upper(), _STYLES.get(finding, "yellow")), "  ", one["sentence"])
    if one["advice"]:
        line("  to do: ", one["advice"])
    for order in one["orders"]:
        _print_order(call, order)
    chosen = _choose_sends(one["sends"])
    call.terminal.print_table(_format_send(send) for send in chosen)
    if len(one["sends"]) > len(chosen):
        line((f"  and {format_count(len(one['sends']) - len(chosen), 'send')} more; --json gives all", "dim"))
    if len(one["sends"]) > 1:
        line(("  " + _format_numbers(one), "dim"))
    _print_notes(call, one)
    line()


def _print_order(call: Call, order: Json) -> None:
    name = "the order they came in" if order["original"] else f"order {order['number']}"
    chain = ", ".join(f"#{event}" for event in order["events"])
    word: Part = ("passed", "green") if order["passed"] else ("not over", "yellow")
    if order["failed"]:
        word = (f"failed at {', '.join(f'#{event}' for event in order['failed'])}", "red")
    call.terminal.print_line(f"  {name}: {chain}  ", word)


def _format_send(send: Json) -> list[Part]:
    style = "green" if send["delivered"] else "red" if send["delivered"] is False else "dim"
    answer = str(send["status"] or "") or send["detail"] or "no answer"
    took = "" if send["took_ms"] is None else format_milliseconds(send["took_ms"])
    notes = "; ".join(filter(None, ("otherwise than the first" if send["differs"] else "", send["note"])))
    return [
        f"  {send['number']}",
        send["label"],
        (f"#{send['event']}", "bold"),
        (answer, style),
        took,
        (notes, "yellow"),
        (send["answer"][:_MAX_ANSWER], "dim"),
    ]


def _choose_sends(sends: list[Json]) -> list[Json]:
    """Return the sends to show: all, or of many the notable ones and the first of the others."""
    if len(sends) <= _MAX_ROWS:
        return sends
    ((usual, _),) = Counter(send["status"] for send in sends).most_common(1)
    odd = [send for send in sends if send["differs"] or send["status"] != usual or send["note"]]
    even = [send for send in sends if send not in odd]
    chosen = [*odd[:_MAX_ROWS], *even[: max(0, _MAX_ROWS - len(odd))]]
    return sorted(chosen, key=lambda send: int(send["number"]))


def _format_numbers(one: Json) -> str:
    answers = ", ".join(f"{count} x {answer}" for answer, count in one["statuses"].items())
    latency = one["latency_ms"]
    if latency is None:
        return f"answers: {answers}"
    least, most, median, p95 = (format_milliseconds(latency[name]) for name in ("least", "most", "median", "p95"))
    words = f"answers: {answers}; latency {least} to {most}, median {median}, p95 {p95}"
    return words + (f"; {one['at_once']} at once" if one["at_once"] > 1 else "")


def _print_notes(call: Call, one: Json) -> None:
    for note in one["notes"]:
        call.terminal.print_line((f"  {one['name']}: {note}", "dim"))
    reasons: dict[str, list[str]] = {}
    for skipped in one["skipped"] if one["events"] else ():
        reasons.setdefault(skipped["reason"], []).append(f"#{skipped['event']}")
    for reason, events in reasons.items():
        call.terminal.print_line((f"  {one['name']}: without {', '.join(events)}: {reason}", "dim"))


def _print_summary(call: Call, report: Json) -> None:
    found = [one["finding"] for one in report["experiments"] if one["finding"]]
    counts = [f"{found.count(name)} {name}" for name in ("failed", "unclear", "passed", "skipped") if name in found]
    left = len(report["experiments"]) - len(found)
    counts += [f"{left} not over"] if left else []
    words = f"lab run {report['id']}: {', '.join(counts)}; {format_count(report['sends']['made'], 'send')}"
    if report["state"] != "done":
        words += f"; {report['state']}{': ' + report['detail'] if report['detail'] else ''}"
    call.terminal.print_message(f"{words}; --seed {report['seed']} repeats it")
