"""Large bodies are parsed one at a time, so that memory stays bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_LARGE_BODY = 1_000_000  # bytes above which a body waits for its turn: parsed JSON takes 25 times its size in memory
_LONGEST_WAIT = 3.0  # seconds: a user's model may take any time, and must not block other sources


class LargeBodyTurns:
    """Lets one large body be parsed at a time, unless the one before it takes long."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def take_turn(self, size: int) -> AsyncIterator[None]:
        """Wait for the turn of a body of that many bytes and hold it; a small body does not wait."""
        is_held = False
        if size > _LARGE_BODY:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_WAIT):
                    is_held = await self._lock.acquire()
        try:
            yield
        finally:
            if is_held:
                self._lock.release()
