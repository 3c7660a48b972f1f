"""`relay diff`: what differs between two events."""

import click

from relay.cli.client import connect
from relay.cli.differences import differences
from relay.cli.options import Call, event_id, shared
from relay.cli.show import deliveries_of
from relay.cli.terminal import Part
from relay.model.differences import Place
from relay.model.text import REDACTED, is_sensitive, printable

_LONGEST = 2000  # characters of one side that a person is shown


@click.command("diff")
@click.argument("left", type=event_id, metavar="A")
@click.argument("right", type=event_id, metavar="B")
@click.option("--reveal", is_flag=True, help="Show header values that are usually secret.")
@shared
async def command(call: Call, left: int, right: int, *, reveal: bool) -> int:
    """Say what differs between two events: facts, headers, the body place by place, what targets answered."""
    async with connect(call.load()) as api:
        one, other = await api.get(f"/api/events/{left}"), await api.get(f"/api/events/{right}")
        found = differences(one, other, await deliveries_of(api, one), await deliveries_of(api, other))
    for place in found:
        hidden = place.part == "header" and is_sensitive(place.name) and not reveal
        if call.json:
            call.terminal.json({"place": place.full, "a": place.left, "b": place.right})
        else:
            _print(call, place, hidden=hidden)
    if not found:
        call.terminal.say(f"#{left} and #{right} differ in nothing but number and time")
    return 0


def _print(call: Call, place: Place, *, hidden: bool) -> None:
    call.terminal.line((printable(place.full, _LONGEST), "bold"))
    for mark, style, value in (("-", "red", place.left), ("+", "green", place.right)):
        if value is None:
            continue
        for text in (REDACTED if hidden else value).splitlines() or [""]:
            shown: Part = (f"  {mark} {printable(text, _LONGEST)}", style)
            call.terminal.line(shown)
