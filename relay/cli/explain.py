"""`relay explain`: which routes lead from an event to its targets, and why the others do not."""

import click

from relay.cli.client import Json, connect
from relay.cli.options import Call, event_id, shared
from relay.cli.terminal import Part


@click.command("explain")
@click.argument("event", type=event_id, metavar="EVENT")
@shared
async def command(call: Call, event: int) -> int:
    """Say for each route of relay.toml whether an event takes it and why, and what signature its targets get."""
    async with connect(call.load()) as api:
        routes = (await api.get(f"/api/events/{event}/routes"))["routes"]
    if call.json:
        for route in routes:
            call.terminal.json(route)
        return 0
    if not routes:
        call.terminal.say("there are no routes; name a target with --forward or in relay.toml")
    call.terminal.table(_row(route) for route in routes)
    signing = {name: text for route in routes for name, text in route["signing"].items()}
    call.terminal.table(["signature", f"-> {name}", (text, "dim")] for name, text in signing.items())
    return 0


def _row(route: Json) -> list[Part]:
    mark: Part = ("taken", "green") if route["matched"] else ("not taken", "dim")
    what = " ".join(
        [*route["source"], *route["events"], *([f"when {route['when']}"] if route["when"] else [])]
    )
    return [mark, what, f"-> {', '.join(route['to'])}", (route["why"], "dim")]
