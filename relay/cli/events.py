"""`relay events`: the events there are, newest first, or live as they arrive."""

from contextlib import aclosing

import click

from relay.cli.client import connect
from relay.cli.follow import follow
from relay.cli.listing import newest, pages, show
from relay.cli.options import Call, at_most, shared
from relay.cli.queries import SearchCommand, search_text


@click.command("events", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option("--follow", "following", is_flag=True, help="Go on with what arrives, until Ctrl-C.")
@click.option("--limit", type=at_most, metavar="N", default=50, show_default=True, help="How many at most.")
@shared
async def command(call: Call, query: tuple[str, ...], following: bool, limit: int) -> int:
    """List events, newest first; with --follow oldest first, and then live.

    QUERY is a search: source:stripe type:invoice.* has:failed after:2h -type:ping "card declined"
    """
    config = call.load()
    text = search_text(query)
    async with connect(config) as api:
        last = await newest(api)
        found = await pages(api, text, limit)
    widths: list[int] = []
    show(call, found[::-1] if following else found, widths)
    if following:
        async with aclosing(follow(call, config, text, last)) as arriving:
            async for event in arriving:
                show(call, [event], widths)
    if not found:
        call.terminal.say("no event matches" if text else "there are no events yet")
    return 4 if text and not found else 0
