"""What arrives from now on, over every restart of the relay that it arrives at."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from relay.cli.client import Api, GoneError, Json, connect_running
from relay.cli.listing import pages
from relay.cli.options import Call
from relay.config import Config

_PAUSE = 0.3  # seconds between two looks for a relay


async def follow(
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
                with suppress(GoneError):
                    async with aclosing(_while_running(api, query, last, on_open)) as arriving:
                        async for event in arriving:
                            last = event["id"]
                            yield event
        if not silent:
            call.terminal.say("no relay is running here; waiting for one (relay start)")
            silent = True
        await asyncio.sleep(_PAUSE)


async def _while_running(
    api: Api, query: str, last: int, on_open: Callable[[], None]
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
            for event in reversed(await pages(api, query, after=after or None)):
                seen = max(seen, event["id"])
                if event["id"] not in yielded:
                    yielded.add(event["id"])
                    yield event
            if frame.name == "event":
                seen = max(seen, frame.id or 0)
            if not is_open:
                is_open = True
                on_open()
