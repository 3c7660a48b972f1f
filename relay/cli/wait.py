"""`relay wait`: the next matching event, for scripts and tests."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import click

from relay.cli.client import Api, Json, connect
from relay.cli.faults import NothingMatched
from relay.cli.follow import follow
from relay.cli.listing import newest, pages, show
from relay.cli.options import Call, seconds, shared
from relay.cli.queries import SearchCommand, search_text
from relay.cli.words import duration
from relay.model.text import printable


@click.command("wait", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option(
    "--timeout", type=seconds, metavar="DURATION", default=60.0, show_default="60s", help="How long at most."
)
@click.option(
    "--since", type=seconds, metavar="DURATION", help="Take one that is there already and no older than this."
)
@shared
async def command(call: Call, query: tuple[str, ...], timeout: float, since: float | None) -> int:  # noqa: ASYNC109 - the option's name
    """Wait for the next event that matches QUERY and print it; 4 when none came in time.

    A line on stderr says when it listens: whatever arrives after it is found. --since 1m also finds the newest
    match of the last minute, so that it does not matter which comes first, the event or this command.
    """
    oldest = None if since is None else datetime.now(UTC) - timedelta(seconds=since)
    config = call.load()
    text = search_text(query)
    listening = _Once(lambda: call.terminal.say(f"relay: listening for {_words(text)}"))
    try:
        async with asyncio.timeout(timeout):
            async with connect(config) as api:
                last = await newest(api)
                found = await _there_already(api, text, oldest)
            if found is not None:
                show(call, [found])
                return 0
            async with aclosing(follow(call, config, text, last, listening)) as arriving:
                async for event in arriving:
                    show(call, [event])
                    return 0
    except TimeoutError:
        raise NothingMatched(f"no matching event in {duration(timeout)}") from None
    return 4


class _Once:
    """Does a thing the first time it is called: a relay that restarts meanwhile is no news."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


async def _there_already(api: Api, query: str, oldest: datetime | None) -> Json | None:
    """Return the newest event that matches and was received since `oldest`. Raises ApiError for a bad query."""
    if oldest is None or not await pages(api, query, 1):
        return None
    # Not the newest by number: that may be an old event that was imported.
    return next(iter(await pages(api, f"after:{oldest.isoformat()} {query}", 1)), None)


def _words(query: str) -> str:
    return f"an event that matches {printable(query, 200)}" if query else "any event"
