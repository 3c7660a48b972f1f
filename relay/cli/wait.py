"""`relay wait`: the next matching event, for scripts and tests."""

import asyncio
from contextlib import aclosing

import click

from relay.cli.client import connect
from relay.cli.faults import NothingMatched
from relay.cli.follow import follow
from relay.cli.listing import newest, show
from relay.cli.options import Call, seconds, shared
from relay.cli.words import duration


@click.command("wait")
@click.argument("query", nargs=-1)
@click.option(
    "--timeout", type=seconds, metavar="DURATION", default=60.0, show_default="60s", help="How long at most."
)
@shared
async def command(call: Call, query: tuple[str, ...], timeout: float) -> int:  # noqa: ASYNC109 - the option's name
    """Wait for the next event that matches QUERY and print it; 4 when none came in time."""
    config = call.load()
    text = " ".join(query)
    try:
        async with asyncio.timeout(timeout):
            async with connect(config) as api:
                last = await newest(api)
                await api.get("/api/events", q=text, limit=1)  # a query that cannot be read is told at once
            async with aclosing(follow(call, config, text, last)) as arriving:
                async for event in arriving:
                    show(call, [event])
                    return 0
    except TimeoutError:
        raise NothingMatched(f"no matching event in {duration(timeout)}") from None
    return 4
