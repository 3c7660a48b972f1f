"""`relay diff`: what differs between two events."""

import click

from relay.cli.client import connect
from relay.cli.differences import Difference, differences
from relay.cli.options import Call, event_id, shared
from relay.cli.terminal import Part
from relay.model.text import REDACTED, is_sensitive, printable

_LONGEST = 2000  # characters of one side that a person is shown


@click.command("diff")
@click.argument("left", type=event_id, metavar="A")
@click.argument("right", type=event_id, metavar="B")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared
async def command(call: Call, left: int, right: int, *, reveal: bool) -> int:
    """Say what differs between two events: facts, headers, and the body place by place."""
    async with connect(call.load()) as api:
        one, other = await api.get(f"/api/events/{left}"), await api.get(f"/api/events/{right}")
    found = differences(one, other)
    for difference in found:
        hidden = difference.place.startswith("header ") and is_sensitive(difference.place) and not reveal
        if call.json:
            call.terminal.json({"place": difference.place, "a": difference.left, "b": difference.right})
        else:
            _print(call, difference, hidden=hidden)
    if not found:
        call.terminal.say(f"#{left} and #{right} differ in nothing but number and time")
    return 0


def _print(call: Call, difference: Difference, *, hidden: bool) -> None:
    call.terminal.line((difference.place, "bold"))
    for mark, style, value in (("-", "red", difference.left), ("+", "green", difference.right)):
        if value is None:
            continue
        for text in (REDACTED if hidden else value).splitlines() or [""]:
            shown: Part = (f"  {mark} {printable(text, _LONGEST)}", style)
            call.terminal.line(shown)
