"""Searches as words of a command line: `-type:ping` is one of them, and times are those of this computer."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from datetime import UTC, datetime

import click

from relay.cli.client import ApiClient, ConnectionLostError, Json, connect_running
from relay.cli.options import Call
from relay.cli.output import Part, format_event, format_moment
from relay.config import Config
from relay.model.search import list_grammar, localize_moments
from relay.model.text import format_size

# -v and -vv are options; everything longer with one dash is a term that must not hold.
_NEGATED = re.compile(r"-(?!v+$)[^-].+", re.DOTALL)


class SearchCommand(click.Command):
    """A command whose words are a search; its help lists what can be written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Tell negated terms from options: both begin with a dash."""
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


def build_search(words: Iterable[str]) -> str:
    """Return the words of a command line as one search."""
    return localize_moments(" ".join(words), datetime.now(UTC))


def parse_search_option(text: str) -> str:
    """Return the value of an option that is a search."""
    return build_search([text])


def _is_term(arg: str, valued: Iterable[str]) -> bool:
    # -oFILE is -o FILE.
    short = {name for name in valued if not name.startswith("--")}
    return _NEGATED.fullmatch(arg) is not None and (arg[:2] not in short or ":" in arg)


_RECONNECT_PAUSE = 0.3  # seconds between two looks for a relay


async def follow_events(
    call: Call, config: Config, query: str, last: int, on_open: Callable[[], None] = lambda: None
) -> AsyncGenerator[Json, None]:
    """Yield each event after number `last` that matches, in order, for ever.

    While no relay runs it waits for one, and goes on where it was: nothing can arrive without. `on_open` is
    called each time the stream of a relay is open, and what came before that was looked at.
    """
    silent = False
    while True:
        async with connect_running(config) as api:
            if api is not None:
                silent = False
                with suppress(ConnectionLostError):
                    async with aclosing(_follow_running(api, query, last, on_open)) as arriving:
                        async for event in arriving:
                            last = event["id"]
                            yield event
        if not silent:
            call.terminal.say("no relay is running here; waiting for one (relay start)")
            silent = True
        await asyncio.sleep(_RECONNECT_PAUSE)


async def _follow_running(
    api: ApiClient, query: str, last: int, on_open: Callable[[], None]
) -> AsyncGenerator[Json, None]:
    seen, yielded, is_open = last, set[int](), False
    # Whether an event matches `has:failed` is known only once it was delivered.
    changes_later = "has:" in query
    async with aclosing(api.stream()) as frames:
        async for frame in frames:
            # The first frame (`status`) says that the stream is open: what came before is asked for then.
            is_news = frame.name in ("status", "event") and (frame.id is None or frame.id > seen)
            if not is_news and not (changes_later and frame.name == "delivery"):
                continue
            after = last if changes_later else seen
            for event in reversed(await fetch_events(api, query, after=after or None)):
                seen = max(seen, event["id"])
                if event["id"] not in yielded:
                    yielded.add(event["id"])
                    yield event
            if frame.name == "event":
                seen = max(seen, frame.id or 0)
            if not is_open:
                is_open = True
                on_open()


PAGE_SIZE = 500  # what the API gives at most in one answer


async def fetch_events(api: ApiClient, query: str, limit: int | None = None, after: int | None = None) -> list[Json]:
    """Return matching events, newest first, up to `limit` and above number `after`."""
    return await fetch_list(api, "events", limit, q=query, after=after)


async def fetch_list(api: ApiClient, noun: str, limit: int | None, **filters: str | int | None) -> list[Json]:
    """Return what `GET /api/<noun>` lists, newest first, up to `limit`."""
    found: list[Json] = []
    before: int | None = None
    while limit is None or len(found) < limit:
        wanted = PAGE_SIZE if limit is None else min(PAGE_SIZE, limit - len(found))
        answer = await api.get(f"/api/{noun}", limit=wanted, before=before, **filters)
        found += answer[noun]
        before = answer["next_before"]
        if before is None:
            break
    return found


async def fetch_newest_id(api: ApiClient) -> int:
    """Return the number of the newest event; 0 when there is none."""
    found = await fetch_events(api, "", 1)
    return int(found[0]["id"]) if found else 0


def print_events(call: Call, events: list[Json], widths: list[int] | None = None) -> None:
    """Print events, a line each; `widths` keeps the columns of one printing for the next."""
    if call.json:
        for event in events:
            call.terminal.json(event)
    else:
        call.terminal.table((_format_event_row(event) for event in events), widths)
    call.terminal.flush()


def _format_event_row(event: Json) -> list[Part]:
    source, type_, number, verdict = format_event(event)
    sent = event["deliveries"]
    counts = [f"{sent[state]} {state}" for state in ("succeeded", "failed", "running", "pending") if sent[state]]
    told = ", ".join(counts) or event["summary"] or format_size(event["size"])
    return [number, format_moment(event["received_at"]), source, type_, verdict, (told, "dim")]
