"""`relay events`: the events there are, newest first, or live as they arrive."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import click

from relay.cli.client import ApiClient, Json, connect
from relay.cli.error_output import NothingMatched
from relay.cli.options import Call, parse_limit, parse_seconds, shared_options
from relay.cli.output import format_duration
from relay.cli.search import SearchCommand, build_search, fetch_events, fetch_newest_id, follow_events, print_events
from relay.model.text import escape_unprintable


@click.command("events", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option("--follow", "following", is_flag=True, help="Go on with what arrives, until Ctrl-C.")
@click.option("--limit", type=parse_limit, metavar="N", default=50, show_default=True, help="How many at most.")
@shared_options
async def events_command(call: Call, query: tuple[str, ...], following: bool, limit: int) -> int:
    """List events, newest first; with --follow oldest first, and then live.

    QUERY is a search: source:stripe type:invoice.* has:failed after:2h -type:ping "card declined"
    """
    config = call.load()
    text = build_search(query)
    async with connect(config) as api:
        last = await fetch_newest_id(api)
        found = await fetch_events(api, text, limit)
    widths: list[int] = []
    print_events(call, found[::-1] if following else found, widths)
    if following:
        async with aclosing(follow_events(call, config, text, last)) as arriving:
            async for event in arriving:
                print_events(call, [event], widths)
    if not found:
        call.terminal.say("no event matches" if text else "there are no events yet")
    return 4 if text and not found else 0


@click.command("wait", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option(
    "--timeout", type=parse_seconds, metavar="DURATION", default=60.0, show_default="60s", help="How long at most."
)
@click.option(
    "--since", type=parse_seconds, metavar="DURATION", help="Take one that is there already and no older than this."
)
@shared_options
async def wait_command(call: Call, query: tuple[str, ...], timeout: float, since: float | None) -> int:  # noqa: ASYNC109 - the option's name
    """Wait for the next event that matches QUERY and print it; 4 when none came in time.

    A line on stderr says when it listens: whatever arrives after it is found. --since 1m also finds the newest
    match of the last minute, so that it does not matter which comes first, the event or this command.
    """
    oldest = None if since is None else datetime.now(UTC) - timedelta(seconds=since)
    config = call.load()
    text = build_search(query)
    listening = _CallOnce(lambda: call.terminal.say(f"relay: listening for {_describe_search(text)}"))
    try:
        async with asyncio.timeout(timeout):
            async with connect(config) as api:
                last = await fetch_newest_id(api)
                found = await _find_recent(api, text, oldest)
            if found is not None:
                print_events(call, [found])
                return 0
            async with aclosing(follow_events(call, config, text, last, listening)) as arriving:
                async for event in arriving:
                    print_events(call, [event])
                    return 0
    except TimeoutError:
        raise NothingMatched(f"no matching event in {format_duration(timeout)}") from None
    return 4


class _CallOnce:
    """Does a thing the first time it is called: a relay that restarts meanwhile is no news."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act: Callable[[], None] | None = act

    def __call__(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()


async def _find_recent(api: ApiClient, query: str, oldest: datetime | None) -> Json | None:
    """Return the newest event that matches and was received since `oldest`. Raises ApiError for a bad query."""
    if oldest is None or not await fetch_events(api, query, 1):
        return None
    # Not the newest by number: that may be an old event that was imported.
    return next(iter(await fetch_events(api, f"after:{oldest.isoformat()} {query}", 1)), None)


def _describe_search(query: str) -> str:
    return f"an event that matches {escape_unprintable(query, 200)}" if query else "any event"
