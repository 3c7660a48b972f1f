"""Every catch-up of one relay: started on request, run in the background, one of a source at a time."""

import asyncio
import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from relay.catchup.base import Listing
from relay.catchup.recovery import CatchUpProgress, CatchUpRequest, CatchUpState, Recovery, RecoveryContext
from relay.errors import CatchUpError, NotFoundError, RelayError, UsageError
from relay.model.event import Source

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Job:
    recovery: Recovery
    progress: CatchUpProgress
    over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class CatchUpJobs:
    """Starts catch-ups, tells how far they are and ends them; `run` is the long task that does them.

    `source(name)` raises NotFoundError; `listing(source)` raises UsageError for one whose provider
    gives out no list, or that nothing says how to ask for.
    """

    def __init__(
        self, means: RecoveryContext, *, source: Callable[[str], Source], listing: Callable[[Source], Listing]
    ) -> None:
        self._means = means
        self._source = source
        self.listing = listing
        self._asked: asyncio.Queue[_Job] = asyncio.Queue()
        self._jobs: dict[str, _Job] = {}

    def start(self, wanted: CatchUpRequest) -> CatchUpProgress:
        """Begin a catch-up. Raises NotFoundError, and UsageError for what cannot be, or is under way already."""
        source = self._source(wanted.source)
        listing = self.listing(source)
        access = listing.access
        if access.credential is None:
            raise UsageError(access.absence, hint=f"it needs {access.needs}")
        if wanted.since > self._means.clock.now():
            raise UsageError("since lies in the future", hint="use an age such as 2h, or a time in the past")
        running = self._jobs.get(source.name)
        if running is not None and not running.progress.over:
            raise UsageError(f"a catch-up of {source.name} is under way: {running.progress.words}", hint="wait for it")
        progress = CatchUpProgress(wanted=wanted, title=access.title, started_at=self._means.clock.now())
        job = _Job(recovery=Recovery(self._means, source, listing, progress), progress=progress)
        self._jobs[source.name] = job
        self._asked.put_nowait(job)
        return progress

    def progress(self, source: str) -> CatchUpProgress:
        """Return how far the newest catch-up of a source is. Raises NotFoundError when there was none."""
        return self._job(source).progress

    async def settled(self, source: str, seconds: float) -> CatchUpProgress:
        """Return the newest catch-up of a source once it is over, or after that many seconds."""
        job = self._job(source)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await job.over.wait()
        return job.progress

    def cancel(self, source: str) -> CatchUpProgress:
        """End a catch-up; what is stored stays. Raises NotFoundError."""
        job = self._job(source)
        if job.task is not None:
            job.task.cancel()
        elif not job.progress.over:
            self._end(job, CatchUpState.CANCELLED)
        return job.progress

    async def run(self) -> None:
        """Do what is asked for until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                job = await self._asked.get()
                if not job.progress.over:
                    name = f"catch-up {job.progress.wanted.source}"
                    job.task = group.create_task(self._do(job), name=name)

    async def _do(self, job: _Job) -> None:
        progress = job.progress
        try:
            await job.recovery.run()
        except asyncio.CancelledError:
            self._end(job, CatchUpState.CANCELLED)
            raise
        except RelayError as error:
            progress.error = error
        except TimeoutError:
            progress.error = CatchUpError("the store did not answer in time", hint="try it again")
        except Exception as error:  # noqa: BLE001 - one catch-up must not take the others, nor relay, with it
            frames = "".join(traceback.format_tb(error.__traceback__))
            log.error("catch-up of %s: %s\n%s", progress.wanted.source, type(error).__name__, frames)  # noqa: TRY400 - its message may hold captured text
            progress.error = CatchUpError("the catch-up failed in an unforeseen way", hint="relay's log says where")
        self._end(job, CatchUpState.FAILED if progress.error else CatchUpState.DONE)
        log.info("caught up with %s: %s", progress.wanted.source, progress.words)

    def _end(self, job: _Job, state: CatchUpState) -> None:
        job.progress.state = state
        job.progress.detail = ""
        job.progress.finished_at = self._means.clock.now()
        job.over.set()

    def _job(self, source: str) -> _Job:
        job = self._jobs.get(source)
        if job is None:
            raise NotFoundError(f"no catch-up of {source!r} was begun", hint="relay catch-up begins one")
        return job
