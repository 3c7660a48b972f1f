"""Catch-ups: list events, skip stored ones, fetch, verify, store; in the background, one per source at a time."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from relay.catchup.base import (
    CatchUpProgress,
    CatchUpRequest,
    CatchUpState,
    ListedEvent,
    Listing,
    ListingApi,
    MissedEvent,
    RebuiltRequest,
)
from relay.catchup.client import open_client
from relay.errors import CatchUpError, NotFoundError, RelayError, UsageError, log_traceback
from relay.model.clock import Clock
from relay.model.delivery import DeliveryChanges, NewDelivery, SignMode, matches_type
from relay.model.event import Capture, Check, EventOutcome, Source, Verdict, Verification
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.pipeline.classify import verify
from relay.pipeline.process import ProcessedRequest, RecoveredFacts, Routing, process_request, publish_stored
from relay.providers.catalogue import find_provider
from relay.providers.sender_urls import set_sender_url
from relay.store import Store

log = logging.getLogger(__name__)

_LONGEST_NAME = 200  # characters of a key or a type, as identify() keeps them
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryContext:
    """The dependencies of catch-ups. `urls` gives the addresses that a source's provider may have called.

    `most` limits the events recovered at once, and `heaviest` the bytes of bodies kept until the list is complete.
    """

    store: Store
    bus: Bus
    clock: Clock
    routing: Routing
    urls: Callable[[Source, Capture], tuple[str, ...]]
    most: int = 100_000
    heaviest: int = 256_000_000


class Recovery:
    """Recovers the missed events of a source; `run` does all of it and updates `progress`.

    `over` is set at its end, and `task` runs it, if it belongs to `CatchUpJobs`.
    """

    def __init__(self, context: RecoveryContext, source: Source, listing: Listing, progress: CatchUpProgress) -> None:
        self._context = context
        self._source = source
        self._listing = listing
        self.progress = progress
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        provider = find_provider(source.provider)
        # If relay.toml configures keys or types itself, they are known only from the whole request.
        self._usual_key = provider is not None and source.idempotency_key is provider.idempotency_key
        self._usual_type = provider is not None and source.event_type is provider.event_type

    async def run(self) -> None:
        """List and recover events. Raises CatchUpError and StoreError; stored events stay."""
        progress = self.progress
        access, headers = self._listing.access, self._listing.headers
        notify = partial(setattr, progress, "detail")
        async with open_client(access, headers=headers, clock=self._context.clock, notify=notify) as api:
            missed = await self._list_missed(api)
            progress.missed = len(missed)
            if progress.request.dry_run:
                for found in missed:
                    progress.lost += found.request is None and not found.path
                    progress.note(MissedEvent(key=found.key, type=found.type, sent_at=found.sent_at))
                return
            progress.state = CatchUpState.RECOVERING
            while missed:
                found = missed.popleft()
                await self._recover(found, found.request or await self._listing.fetch(api, found))

    async def _list_missed(self, api: ListingApi) -> deque[ListedEvent]:
        """Return the missing events, oldest first."""
        seen: set[str] = set()
        missed: list[ListedEvent] = []
        heavy = 0
        async for page in self._listing.pages(api, self.progress.request.since):
            fresh = {found.key: found for found in page if found.key not in seen}
            seen |= fresh.keys()
            kept = await self._filter_unknown(list(fresh.values()))
            missed += kept
            heavy += sum(len(body) for found in kept if found.request for body in found.request.bodies)
            if len(missed) > self._context.most or heavy > self._context.heaviest:
                raise CatchUpError(
                    f"{self._listing.access.title} lists more than relay recovers at once; nothing was stored",
                    hint="use a shorter --since",
                )
        # Among events of the same second the last one listed is the oldest.
        missed.reverse()
        return deque(sorted(missed, key=lambda found: found.sent_at))

    async def _filter_unknown(self, page: list[ListedEvent]) -> list[ListedEvent]:
        progress = self.progress
        progress.found += len(page)
        keys = {found.key: await self._find_key(found) for found in page}
        known = {key for key in keys.values() if key is not None}
        here = await self._context.store.keys.filter_claimed(self._source.name, known)
        unknown = [found for found in page if keys[found.key] not in here]
        progress.known += len(page) - len(unknown)
        listed = [found for found in unknown if not await self._is_unlisted(found)]
        progress.unlisted += len(unknown) - len(listed)
        return listed

    async def _find_key(self, found: ListedEvent) -> str | None:
        """Return the key it would be stored with; None if only the whole request contains it."""
        if self._usual_key:
            return escape_unprintable(found.key, _LONGEST_NAME)
        return (await self._process(found, found.request)).event.idempotency_key if found.request else None

    async def _is_unlisted(self, found: ListedEvent) -> bool:
        if found.request is None:
            return self._usual_type and bool(found.path) and not matches_type(found.type, self._source.events)
        if self._usual_type and found.type:
            return not matches_type(found.type, self._source.events)
        # Parsed again when it is recovered: 100 000 parsed bodies would not fit into memory.
        return (await self._process(found, found.request)).event.outcome is EventOutcome.IGNORED

    async def _recover(self, found: ListedEvent, request: RebuiltRequest | None) -> None:
        progress = self.progress
        progress.detail = ""
        if request is None:
            progress.lost += 1
            return
        processed = await self._process(found, request)
        event = processed.event
        if event.outcome is EventOutcome.IGNORED:
            progress.unlisted += 1
            progress.missed -= 1
            return
        deliveries = map(self._sign, processed.deliveries) if progress.request.forward else ()
        stored = await self._context.store.events.add(event, tuple(deliveries))
        if stored.outcome is EventOutcome.DUPLICATE:
            progress.known += 1
            progress.missed -= 1
            return
        publish_stored(self._context.bus, stored)
        progress.recovered += 1
        progress.note(MissedEvent(key=found.key, type=event.type, sent_at=found.sent_at, id=stored.id))

    async def _process(self, found: ListedEvent, request: RebuiltRequest) -> ProcessedRequest:
        capture, verification = self._verify(found, self._build_captures(request))
        key = escape_unprintable(found.key, _LONGEST_NAME)
        facts = RecoveredFacts(key=key, sent_at=found.sent_at, verification=verification)
        return await process_request(self._source, capture, (), self._context.routing, recovered=facts)

    def _build_captures(self, request: RebuiltRequest) -> list[Capture]:
        source = self._source
        captures = (
            Capture(
                source=source.name,
                method="POST",
                path=source.path,
                query=(source.public_url or "").partition("#")[0].partition("?")[2],
                headers=request.headers,
                body=body,
                remote=_LOOPBACK,
                received_at=self._context.clock.now(),
            )
            for body in request.bodies
        )
        return [set_sender_url(capture, self._context.urls(source, capture)) for capture in captures]

    def _verify(self, found: ListedEvent, captures: list[Capture]) -> tuple[Capture, Verification]:
        """Return the encoding that matches the provider's signature; the first one, unchecked, if none does."""
        fetched = self._fetch_step(found)
        for capture in captures:
            urls = self._context.urls(self._source, capture)
            checked, verification = verify(self._source, capture, urls, found.sent_at)
            if verification.verdict is Verdict.VERIFIED:
                return checked, replace(verification, checks=(fetched, *verification.checks))
        return captures[0], Verification(verdict=Verdict.UNCHECKED, reason="recovered", checks=(fetched, _SIGNATURE))

    def _fetch_step(self, found: ListedEvent) -> Check:
        access = self._listing.access
        how = "over TLS" if access.secure else "without TLS"
        return Check(
            name="Fetched",
            passed=True if access.secure else None,
            detail=f"from {access.host} {how}, asked with {access.reference}",
            result=escape_unprintable(found.key, 60),
        )

    def _sign(self, new: NewDelivery) -> NewDelivery:
        # An event that was not received has no signature that an app would accept.
        options = self._context.routing.targets[new.target].options
        if new.action != "forward" or getattr(options, "sign", None) is SignMode.FRESH:
            return new
        return replace(new, changes=DeliveryChanges(sign=SignMode.AUTO))


_SIGNATURE = Check(
    name="Signature", passed=None, detail="not checked: the API gives the content, not the bytes that were signed"
)


class CatchUpJobs:
    """Starts catch-ups, reports their progress and ends them; `run` is the long task that executes them.

    `source(name)` raises NotFoundError; `listing(source)` raises UsageError if its provider
    has no list, or it is not configured how to get it.
    """

    def __init__(
        self, context: RecoveryContext, *, source: Callable[[str], Source], listing: Callable[[Source], Listing]
    ) -> None:
        self._context = context
        self._source = source
        self.listing = listing
        self._requested: asyncio.Queue[Recovery] = asyncio.Queue()
        self._jobs: dict[str, Recovery] = {}

    def start(self, request: CatchUpRequest) -> CatchUpProgress:
        """Start a catch-up. Raises NotFoundError, and UsageError if it is impossible or already running."""
        source = self._source(request.source)
        listing = self.listing(source)
        access = listing.access
        if access.credential is None:
            raise UsageError(access.absence, hint=f"it needs {access.needs}")
        if request.since > self._context.clock.now():
            raise UsageError("since lies in the future", hint="use an age such as 2h, or a time in the past")
        running = self._jobs.get(source.name)
        if running is not None and not running.progress.over:
            raise UsageError(f"a catch-up of {source.name} is under way: {running.progress.words}", hint="wait for it")
        progress = CatchUpProgress(request=request, title=access.title, started_at=self._context.clock.now())
        job = self._jobs[source.name] = Recovery(self._context, source, listing, progress)
        self._requested.put_nowait(job)
        return progress

    def progress(self, source: str) -> CatchUpProgress:
        """Return the progress of the newest catch-up of a source. Raises NotFoundError if there was none."""
        return self._find_job(source).progress

    async def wait_until_over(self, source: str, seconds: float) -> CatchUpProgress:
        """Return the newest catch-up of a source when it has ended, or after that many seconds."""
        job = self._find_job(source)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await job.over.wait()
        return job.progress

    def cancel(self, source: str) -> CatchUpProgress:
        """Cancel a catch-up; stored events stay. Raises NotFoundError."""
        job = self._find_job(source)
        if job.task is not None:
            job.task.cancel()
        elif not job.progress.over:
            self._end(job, CatchUpState.CANCELLED)
        return job.progress

    async def run(self) -> None:
        """Execute catch-ups until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                job = await self._requested.get()
                if not job.progress.over:
                    name = f"catch-up {job.progress.request.source}"
                    job.task = group.create_task(self._run_job(job), name=name)
                    job.task.add_done_callback(partial(self._end_unbegun, job))

    async def _run_job(self, job: Recovery) -> None:
        progress = job.progress
        try:
            await job.run()
        except asyncio.CancelledError:
            self._end(job, CatchUpState.CANCELLED)
            raise
        except RelayError as error:
            progress.error = error
        except TimeoutError:
            progress.error = CatchUpError("the store did not answer in time", hint="try it again")
        except Exception as error:  # noqa: BLE001 - one catch-up must not take the others, nor relay, with it
            log_traceback(log, f"catch-up of {progress.request.source}", error)
            progress.error = CatchUpError("the catch-up failed in an unforeseen way", hint="relay's log says where")
        self._end(job, CatchUpState.FAILED if progress.error else CatchUpState.DONE)
        log.info("caught up with %s: %s", progress.request.source, progress.words)

    def _end_unbegun(self, job: Recovery, _: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step runs none of its own code.
        if not job.progress.over:
            self._end(job, CatchUpState.CANCELLED)

    def _end(self, job: Recovery, state: CatchUpState) -> None:
        job.progress.state = state
        job.progress.detail = ""
        job.progress.finished_at = self._context.clock.now()
        job.over.set()

    def _find_job(self, source: str) -> Recovery:
        job = self._jobs.get(source)
        if job is None:
            raise NotFoundError(f"no catch-up of {source!r} was begun", hint="relay catch-up begins one")
        return job
