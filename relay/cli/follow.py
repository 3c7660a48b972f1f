"""What arrives from now on, over every restart of the relay that it arrives at."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from relay.cli.client import Api, GoneError, Json, connect_running
from relay.cli.listing import pages
from relay.cli.options import Call
from relay.config import Config

_PAUSE = 0.3  # seconds between two looks for a relay


async def follow(call: Call, config: Config, query: str, last: int) -> AsyncGenerator[Json, None]:
    """Yield each event after number `last` that matches, in order, for ever.

    While no relay runs it waits for one, and goes on where it was: nothing can arrive without.
    """
    silent = False
    while True:
        async with connect_running(config) as api:
            if api is not None:
                silent = False
                with suppress(GoneError):
                    async with aclosing(_while_running(api, query, last)) as arriving:
                        async for event in arriving:
                            last = event["id"]
                            yield event
        if not silent:
            call.terminal.say("no relay is running here; waiting for one (relay start)")
            silent = True
        await asyncio.sleep(_PAUSE)


async def _while_running(api: Api, query: str, last: int) -> AsyncGenerator[Json, None]:
    seen = last
    async with aclosing(api.stream()) as frames:
        async for frame in frames:
            # The first frame (`status`) says that the stream is open: what came before is asked for then.
            if frame.name not in ("status", "event") or (frame.id is not None and frame.id <= seen):
                continue
            for event in reversed(await pages(api, query, after=seen or None)):
                seen = max(seen, event["id"])
                yield event
            seen = max(seen, frame.id or 0)
