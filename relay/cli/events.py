"""`relay events` and `relay wait`; and searches for other commands: queries, pages and live results."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import click

from relay.cli.client import ApiClient, connect_running
from relay.cli.error_output import NothingMatched
from relay.cli.formatting import format_duration, format_event, format_moment
from relay.cli.http_client import ConnectionLostError
from relay.cli.options import Call, limit_option, parse_seconds, shared_options
from relay.cli.output import Json, Part
from relay.model.search import list_grammar, localize_moments
from relay.model.text import escape_unprintable, format_size

F = TypeVar("F", bound=Callable[..., Any])

PAGE_SIZE = 500  # the most that the API lists in a response
_RECONNECT_PAUSE = 0.3  # seconds between two checks for a relay
_LOOK_LIMIT = 5.0  # seconds that `relay wait --since` may search for stored events
# -v and -vv are options; longer words with one dash are negated terms.
_NEGATED = re.compile(r"-(?!v+$)[^-].+", re.DOTALL)


class SearchCommand(click.Command):
    """A command whose arguments are a search; its help lists the search language."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Separate negated terms from options: both start with a dash."""
        valued = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not (option.is_flag or option.count)
            for name in option.opts
        }
        options: list[str] = []
        words: list[str] = []
        left = iter(args)
        for arg in left:
            if arg == "--":
                words += left
            elif arg in valued:
                options += [arg, *([value] if (value := next(left, None)) is not None else [])]
            elif arg.startswith("-") and not _is_term(arg, valued):
                options.append(arg)
            else:
                words.append(arg)
        return super().parse_args(ctx, [*options, "--", *words])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the grammar of a search."""
        del ctx
        with formatter.section("Search"):
            formatter.write_dl(list(list_grammar()))


def _is_term(arg: str, valued: Iterable[str]) -> bool:
    # -oFILE is -o FILE.
    short = {name for name in valued if not name.startswith("--")}
    return _NEGATED.fullmatch(arg) is not None and (arg[:2] not in short or ":" in arg)


@click.command("events", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option("--follow", "following", is_flag=True, help="Keep printing new events until Ctrl-C.")
@limit_option
@shared_options
async def events_command(call: Call, query: tuple[str, ...], following: bool, limit: int) -> int:
    """List events, newest first; with --follow oldest first, and then live.

    QUERY is a search: source:stripe type:invoice.* has:failed after:2h -type:ping "card declined"
    """
    text = build_search(query)
    async with call.connect(store_only=True) as api:
        last = await fetch_newest_id(api) if following else 0
        found = await fetch_events(api, text, limit)
        last = max([last, *(event["id"] for event in found)])  # events between the two calls are listed
    widths: list[int] = []
    print_events(call, found[::-1] if following else found, widths)
    if following:
        async with aclosing(follow_events(call, text, last)) as arriving:
            async for event in arriving:
                print_events(call, [event], widths)
    if not found:
        call.terminal.print_message("no event matches" if text else "there are no events yet")
    return 4 if text and not found else 0


@click.command("wait", cls=SearchCommand)
@click.argument("query", nargs=-1)
@click.option(
    "--timeout", type=parse_seconds, metavar="DURATION", default=60.0, show_default="60s", help="How long to wait."
)
@click.option(
    "--since", type=parse_seconds, metavar="DURATION", help="Also accept a stored event that is no older than this."
)
@shared_options
async def wait_command(call: Call, query: tuple[str, ...], timeout: float, since: float | None) -> int:  # noqa: ASYNC109 - the option's name
    """Wait for the next event that matches QUERY and print it; 4 when none came in time.

    A line on stderr says when it listens; any event after it is found. --since 1m also finds the newest
    match of the last minute, so that it does not matter which comes first, the event or this command.
    """
    oldest = None if since is None else datetime.now(UTC) - timedelta(seconds=since)
    text = build_search(query)
    what = f"an event that matches {escape_unprintable(text, 200)}" if text else "any event"
    announcements = iter([f"relay: listening for {what}"])  # once: a restart of relay is not announced again

    def announce() -> None:
        for line in announcements:
            call.terminal.print_message(line)

    ends = asyncio.get_running_loop().time() + timeout
    try:
        # Stored events are searched in any case: --since 1h --timeout 0s does nothing else.
        limit = timeout if since is None else max(timeout, _LOOK_LIMIT)
        async with asyncio.timeout(limit), call.connect(store_only=True) as api:
            last = await fetch_newest_id(api)
            await fetch_events(api, text, 1, after=last or None)  # reports an invalid query before a relay runs
            found = await _find_recent(api, text, oldest)
        if found is not None:
            print_events(call, [found])
            return 0
        async with asyncio.timeout_at(ends):
            async with aclosing(follow_events(call, text, last, announce)) as arriving:
                async for event in arriving:
                    print_events(call, [event])
                    return 0
    except TimeoutError:
        raise NothingMatched(f"no matching event in {format_duration(timeout)}") from None
    return 4


async def _find_recent(api: ApiClient, query: str, oldest: datetime | None) -> Json | None:
    """Return the newest matching event received since `oldest`. Raises ApiError for an invalid query."""
    if oldest is None or not await fetch_events(api, query, 1):
        return None
    # Not the newest by id: that may be an old imported event.
    return next(iter(await fetch_events(api, f"after:{oldest.isoformat()} {query}", 1)), None)


def build_search(words: Iterable[str]) -> str:
    """Return the arguments of a command as one search, with times in the local zone."""
    return localize_moments(" ".join(words), datetime.now(UTC))


def query_option(text: str) -> Callable[[F], F]:
    """Return the option --query, a search; `text` is its help."""
    return click.option("--query", type=lambda value: build_search([value]), metavar="QUERY", help=text)


async def follow_events(
    call: Call, query: str, last: int, on_open: Callable[[], None] = lambda: None
) -> AsyncGenerator[Json, None]:
    """Yield each matching event with an id above `last`, in order, forever.

    While no relay runs it waits for one, and continues from there. `on_open` is
    called each time the stream of a relay is open and earlier events were fetched.
    """
    data_dir = call.find_data_dir()
    is_waiting = False
    while True:
        with suppress(ConnectionLostError):
            api = await connect_running(data_dir)
            if api is not None:
                is_waiting = False
                async with aclosing(_follow_running(api, query, last, on_open)) as arriving:
                    async for event in arriving:
                        last = event["id"]
                        yield event
        if not is_waiting:
            call.terminal.print_message("no relay is running here; waiting for one (relay start)")
            is_waiting = True
        await asyncio.sleep(_RECONNECT_PAUSE)


async def _follow_running(
    api: ApiClient, query: str, last: int, on_open: Callable[[], None]
) -> AsyncGenerator[Json, None]:
    seen, yielded, is_open = last, set[int](), False
    # Whether an event matches `has:failed` is known only after its delivery.
    changes_later = "has:" in query
    async with aclosing(api.stream()) as messages:
        async for name, number in messages:
            # The first one (`status`) shows that the stream is open: earlier events are fetched then.
            is_news = name in ("status", "event") and (number is None or number > seen)
            if not is_news and not (changes_later and name == "delivery"):
                continue
            after = last if changes_later else seen
            for event in reversed(await fetch_events(api, query, after=after or None)):
                seen = max(seen, event["id"])
                if event["id"] not in yielded:
                    yielded.add(event["id"])
                    yield event
            if name == "event":
                seen = max(seen, number or 0)
            if not is_open:
                is_open = True
                on_open()


async def fetch_events(api: ApiClient, query: str, limit: int | None = None, after: int | None = None) -> list[Json]:
    """Return matching events with ids above `after`, newest first, up to `limit`."""
    return await fetch_list(api, "events", limit, q=query, after=after)


async def fetch_list(api: ApiClient, noun: str, limit: int | None = None, **filters: str | int | None) -> list[Json]:
    """Return what `GET /api/<noun>` lists, newest first, up to `limit`."""
    found: list[Json] = []
    before: int | None = None
    while limit is None or len(found) < limit:
        count = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
        answer = await api.get(f"/api/{noun}", limit=count, before=before, **filters)
        found += answer[noun]
        before = answer["next_before"]
        if before is None:
            break
    return found


async def fetch_newest_id(api: ApiClient) -> int:
    """Return the id of the newest event; 0 if there is none."""
    found = await fetch_events(api, "", 1)
    return int(found[0]["id"]) if found else 0


def print_events(
    call: Call, events: list[Json], widths: list[int] | None = None, *, with_deliveries: bool = True
) -> None:
    """Print events, a line each; `widths` keeps the column widths for the next call."""
    call.terminal.print_values(events, partial(_format_event_row, with_deliveries=with_deliveries), widths)
    call.terminal.flush()


def _format_event_row(event: Json, *, with_deliveries: bool) -> list[Part]:
    source, type_, number, verdict = format_event(event)
    counts = [f"{event['deliveries'][state]} {state}" for state in ("succeeded", "failed", "running", "pending")]
    sent = ", ".join(count for count in counts if with_deliveries and not count.startswith("0 "))
    details = sent or event["summary"] or format_size(event["size"])
    return [number, format_moment(event["received_at"]), source, type_, verdict, (details, "dim")]
