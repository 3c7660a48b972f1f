"""Ctrl-C: the first asks relay to finish, a second ends it at once."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from relay.cli.error_output import INTERRUPTED

FINISH_TIME = 8.0  # seconds that what is in flight has; what it does not finish is tried again at the next start
_FORCED_EXIT_DELAY = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Whether relay was asked to stop, and how urgently."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._asked = asyncio.Event()
        self._bells: list[Callable[[], None]] = []
        self.hurried = False
        self.impatient = False

    @property
    def asked(self) -> bool:
        """Say whether relay was asked to stop."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Wait until relay is asked to stop."""
        await self._asked.wait()

    def add_callback(self, bell: Callable[[], None]) -> None:
        """Call `bell` when relay is asked to stop."""
        self._bells.append(bell)

    def ask(self) -> None:
        """Ask relay to stop; asked again, it stops at once."""
        if self.asked:
            self.impatient = True
            self._hurry()
            return
        self._stop()
        self._say("stopping: finishing what is in flight; Ctrl-C again stops at once")
        self._loop.call_later(FINISH_TIME, self._hurry)

    def ask_from_thread(self) -> None:
        """Ask relay to stop, from another thread; asking twice this way changes nothing."""
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._asked.set()
        for bell in self._bells:
            bell()

    def _hurry(self) -> None:
        if self.hurried:
            os._exit(INTERRUPTED)
        self.hurried = True
        # Whatever cleaning up still takes after that, it takes no longer.
        code = INTERRUPTED if self.impatient else 0
        last = threading.Timer(_FORCED_EXIT_DELAY, os._exit, (code,))
        last.daemon = True
        last.start()
        if self._main is not None:
            self._main.cancel()


@asynccontextmanager
async def stop_on_signals(say: Callable[[str], None]) -> AsyncIterator[StopRequest]:
    """Take SIGINT, SIGTERM and SIGHUP as requests to stop for as long as the block lasts."""
    stop = StopRequest(say)
    loop = asyncio.get_running_loop()
    numbers = _list_signals()
    for number in numbers:
        loop.add_signal_handler(number, stop.ask)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _list_signals() -> tuple[signal.Signals, ...]:
    # nohup ignores SIGHUP, and means it.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return tuple(number for number in _SIGNALS if not (ignored and number is signal.SIGHUP))
