"""`relay verify`: how the signature of an event was checked, step by step."""

import click

from relay.cli.client import Json, connect
from relay.cli.options import Call, event_id, shared
from relay.cli.terminal import Part
from relay.cli.words import event_parts

UNVERIFIED = 5
_MARKS: dict[bool | None, Part] = {True: ("ok", "green"), False: ("FAILED", "red"), None: ("-", "dim")}


@click.command("verify")
@click.argument("event", type=event_id, metavar="EVENT")
@shared
async def command(call: Call, event: int) -> int:
    """Say how an event's signature was checked, and why it failed; 5 unless it is verified."""
    async with connect(call.load()) as api:
        whole = await api.get(f"/api/events/{event}")
    if call.json:
        names = ("id", "source", "provider", "verdict", "reason", "reason_sentence", "checks", "hints")
        call.terminal.json({name: whole[name] for name in names})
    else:
        _print(call, whole)
    return 0 if whole["verdict"] == "verified" else UNVERIFIED


def check_rows(whole: Json) -> list[list[Part]]:
    """Return the steps of a verification as rows: mark, name, what was compared."""
    return [
        [_MARKS[check["passed"]], check["name"], "  ".join(filter(None, (check["result"], check["detail"])))]
        for check in whole["checks"]
    ]


def _print(call: Call, whole: Json) -> None:
    source, type_, number, verdict = event_parts(whole)
    call.terminal.line(number, "  ", source, "  ", type_, "  ", verdict)
    call.terminal.table(["  ", *row] for row in check_rows(whole))
    if whole["reason_sentence"]:
        call.terminal.line(whole["reason_sentence"])
    for hint in whole["hints"]:
        call.terminal.line("hint: ", str(hint))
