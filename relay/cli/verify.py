"""`relay verify`: how the signature of an event is checked, step by step, and why it fails."""

import click

from relay.cli.client import Json, connect
from relay.cli.options import Call, parse_event_id, shared_options
from relay.cli.output import Part, format_event

UNVERIFIED = 5
_CHECK_MARKS: dict[bool | None, Part] = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", "dim")}
_MAX_TRIED = 12  # rows of what was tried that a person is shown; --json gives all


@click.command("verify")
@click.argument("event", type=parse_event_id, metavar="EVENT")
@shared_options
async def verify_command(call: Call, event: int) -> int:
    """Check an event's signature again with today's secrets, and say why it fails; 5 unless it verifies."""
    async with connect(call.load(), secrets=True) as api:
        whole = await api.get(f"/api/events/{event}")
        again = await api.post(f"/api/events/{event}/verify", {})
    if call.json:
        stored = {"source": whole["source"], "provider": whole["provider"], "stored_verdict": whole["verdict"]}
        call.terminal.json({"id": again.pop("id")} | stored | again)
    else:
        _print_verification(call, whole, again)
    return 0 if again["verdict"] == "verified" else UNVERIFIED


def format_checks(whole: Json) -> list[list[Part]]:
    """Return the steps of a verification as rows: mark, name, what was compared."""
    return [
        [_CHECK_MARKS[check["passed"]], check["name"], "  ".join(filter(None, (check["result"], check["detail"])))]
        for check in whole["checks"]
    ]


def format_problems(fields: list[Json]) -> list[list[Part]]:
    """Return what a source's rules have against an event as rows: mark, field, what is wrong with it."""
    return [[_CHECK_MARKS[False], item["field"] or "the body", item["message"]] for item in fields]


def _print_verification(call: Call, whole: Json, again: Json) -> None:
    source, type_, number, verdict = format_event(whole)
    line = call.terminal.line
    line(number, "  ", source, "  ", type_, "  ", verdict)
    if whole["verdict"] != again["verdict"]:
        line("checked again now: ", (again["verdict"], "bold"))
    call.terminal.table(["  ", *row] for row in format_checks(again))
    _print_rules(call, whole, again)
    for hint in again["hints"]:
        _print_hint(call, hint)
    if not again["hints"] and (said := again["reason_sentence"] or whole["reason_sentence"]):
        line(said)
    if again["hints"]:
        _print_evidence(call, again)


def _print_rules(call: Call, whole: Json, again: Json) -> None:
    call.terminal.table(["  ", *row] for row in format_problems(again["fields"]))
    if whole["fields"] and not again["fields"]:
        call.terminal.line("with today's rules of its source the request would come in")


def _print_hint(call: Call, hint: Json) -> None:
    line = call.terminal.line
    line()
    line((hint["title"], "bold"))
    line("  ", hint["sentence"])
    if hint["fix"]:
        line("  ", hint["fix"])
    for part in hint["line"].splitlines():
        line("    ", (part, "cyan"))


def _print_evidence(call: Call, again: Json) -> None:
    line = call.terminal.line
    if again["received"] and again["expected"]:
        line()
        rows: list[list[Part]] = [[("  received", "dim"), value, ""] for value in again["received"]]
        for item in again["expected"]:
            style = "green" if item["matches"] else "red"
            ends = f", which ends in {item['ends']}" if item["ends"] else ""
            signature = item["signature"] or "only the provider can make it"
            rows.append([("  expected", "dim"), (signature, style), (f"with {item['secret']}{ends}", "dim")])
        call.terminal.table(rows)
    if again["tried"]:
        line()
        line(("Also tried", "bold"))
        shown = again["tried"][:_MAX_TRIED]
        call.terminal.table(
            ["  ", item["secret"], item["what"], ("match", "green") if item["matched"] else ("no match", "dim")]
            for item in shown
        )
        if len(again["tried"]) > len(shown):
            line((f"  and {len(again['tried']) - len(shown)} more", "dim"))
