"""The background event loop for synchronous callers, and calls to a store of idempotency keys."""

import asyncio
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from relay.errors import UsageError
from relay.handlers.file import THREADS

T = TypeVar("T")


class BackgroundLoop:
    """Starts at the first use, once per process; it stays, so that resources opened by handlers stay usable."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine, which sees the context variables of the caller.

        Raises UsageError in a thread where an event loop runs, which this would bring to a halt.
        """
        if self._is_inside_loop():
            work.close()
            raise UsageError(
                "receive_sync waits, which nothing may do inside a running event loop",
                hint="await receiver.receive(request)",
            )
        return asyncio.run_coroutine_threadsafe(work, self._started()).result()

    def close(self) -> None:
        """End the thread; running tasks are cancelled."""
        with self._lock:
            loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None and self._pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _is_inside_loop(self) -> bool:
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return False
        # gevent turns threads into greenlets: this loop then seems to run in those of all callers.
        return running is not self._loop or threading.current_thread() is self._thread

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._pid != os.getpid():
            # A fork has the loop without its thread, and perhaps a lock held by another thread.
            self._lock, self._pid, self._loop = threading.Lock(), os.getpid(), None
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # For stores of keys, and for the `asyncio.to_thread` of handlers.
                self._loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="relay"))
                self._thread = threading.Thread(
                    target=_run_loop, args=(self._loop,), name="relay-receiver", daemon=True
                )
                self._thread.start()
            return self._loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


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


async def call_store(method: Callable[..., Any], *arguments: object) -> Any:
    """Call a method of a store, plain or async, without blocking the event loop."""
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    answer = await asyncio.to_thread(method, *arguments)
    return await answer if inspect.isawaitable(answer) else answer
