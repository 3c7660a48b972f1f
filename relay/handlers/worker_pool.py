"""The processes of one handlers file: as many as run at once, replaced when the file changes or one hangs."""

import asyncio

from relay.clock import Clock
from relay.handlers.environment import HandlerOptions
from relay.handlers.event import EventMetadata
from relay.handlers.user_code import has_changed
from relay.handlers.worker import BrokenFileError, Worker, WorkerResult
from relay.model.event import Capture

# Seconds after which a file that is broken is tried again though it did not change, for what it needs may
# have been installed; twice as long each time.
_RETRY_SECONDS = 10.0
_LONGEST_WAIT = 300.0


class WorkerPool:
    """Runs events with a file as it is now. `error` says why that cannot be run, None while it can."""

    def __init__(self, options: HandlerOptions, clock: Clock) -> None:
        self.error: BrokenFileError | None = None
        self._options = options
        self._clock = clock
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._again_at = 0.0
        self._wait = _RETRY_SECONDS

    async def run(self, capture: Capture, judgement: EventMetadata) -> WorkerResult:
        """Run an event in a process of its own for that time. Raises BrokenError."""
        worker = await self._ready()
        try:
            return await worker.run(capture, judgement)
        finally:
            if worker.free:
                self._idle.append(worker)
            else:
                worker.kill()

    async def is_restarted(self) -> bool:
        """Say whether the file can be run; one that is broken is tried when it changed, and now and then."""
        if self.error is None:
            return True
        if has_changed(self.error.read):
            self._wait = _RETRY_SECONDS
        elif self._clock.monotonic() < self._again_at:
            return False
        try:
            self._idle.append(await self._start())
        except BrokenFileError:
            return False
        return True

    async def close(self) -> None:
        """End every process."""
        await asyncio.gather(*(worker.end() for worker in self._all))
        self._all.clear()

    async def _ready(self) -> Worker:
        waiting, self._idle = self._idle, []
        for worker in waiting:
            if worker.free and not worker.is_stale:
                self._idle.append(worker)
            else:
                worker.retire()
        return self._idle.pop() if self._idle else await self._start()

    async def _start(self) -> Worker:
        try:
            worker = await Worker.start(self._options)
        except BrokenFileError as error:
            self.error = error
            self._again_at = self._clock.monotonic() + self._wait
            self._wait = min(2 * self._wait, _LONGEST_WAIT)
            raise
        self.error = None
        self._wait = _RETRY_SECONDS
        self._all = {one for one in self._all if not one.gone} | {worker}
        return worker
