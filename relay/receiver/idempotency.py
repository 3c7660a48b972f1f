"""Which events were handled already: what a store of idempotency keys must be able to do."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class KeyStore(Protocol):
    """Any store with these two methods, plain or async; plain ones are called in a thread.

    Either may raise what it likes: an event whose key cannot be claimed is not handled, and its sender
    is asked to try again.
    """

    def claim(self, source: str, key: str) -> str | Awaitable[str]:
        """Claim a key in one step, so that of several callers one alone gets "mine".

        The others get "busy" until it is settled, and "done" after that. A claim that is not settled,
        because its process died, must end by itself, later than any handler may take.
        """
        ...

    def settle(self, source: str, key: str, done: bool) -> Awaitable[None] | None:
        """Keep a claim for good, or give it up, so that the next to claim it gets "mine"."""
        ...


async def call_store(method: Callable[..., Any], *given: object) -> Any:
    """Call a method of a store, plain or async, without holding up the event loop."""
    if inspect.iscoroutinefunction(method):
        return await method(*given)
    answer = await asyncio.to_thread(method, *given)
    return await answer if inspect.isawaitable(answer) else answer
