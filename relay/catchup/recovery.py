"""One catch-up from its first call to its last event: list, leave out what is here, fetch, judge, store, say so."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from relay.bus import Bus
from relay.catchup.base import ListedEvent, Listing, ListingApi, RebuiltRequest
from relay.catchup.client import open_client
from relay.clock import Clock
from relay.errors import CatchUpError, RelayError
from relay.model.delivery import DeliveryChanges, NewDelivery, SignMode, matches_type
from relay.model.event import Capture, Check, EventOutcome, Source, Verdict, Verification
from relay.model.text import escape_unprintable
from relay.pipeline.classify import verify
from relay.pipeline.process import ProcessedRequest, RecoveredFacts, Routing, process_request, publish_stored
from relay.providers.catalogue import find_provider
from relay.providers.sender_urls import set_sender_url
from relay.store import Store

MOST_ITEMS = 1000  # events that a report names one by one


class CatchUpState(StrEnum):
    """Where a catch-up stands: it lists, then recovers what was missed, then is over in one of three ways."""

    LISTING = "listing"
    RECOVERING = "recovering"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUpRequest:
    """Which source is caught up with, and since when; `forward`: what is recovered is delivered as its routes say."""

    source: str
    since: datetime
    dry_run: bool = False
    forward: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedEvent:
    """One event that was missed: `id` is its number once it is recovered, `type` "" while it is not known."""

    key: str
    type: str
    sent_at: datetime
    id: int | None = None


@dataclass(slots=True, kw_only=True)
class CatchUpProgress:
    """How far a catch-up is.

    Of the `found` events `known` were here, `unlisted` are of types that the source does not list,
    `missed` is the rest. Of those `recovered` are stored by now, and of `lost` the provider has no
    content any more.
    """

    wanted: CatchUpRequest
    title: str
    started_at: datetime
    finished_at: datetime | None = None
    state: CatchUpState = CatchUpState.LISTING
    detail: str = ""
    found: int = 0
    known: int = 0
    unlisted: int = 0
    missed: int = 0
    recovered: int = 0
    lost: int = 0
    items: list[MissedEvent] = field(default_factory=list)
    error: RelayError | None = None

    @property
    def over(self) -> bool:
        """Say whether nothing more will come."""
        return self.finished_at is not None

    @property
    def words(self) -> str:
        """Return the result so far: `found 12, 9 were here, 3 recovered`."""
        parts = [f"found {self.found}", f"{self.known} {'was' if self.known == 1 else 'were'} here"]
        if self.unlisted:
            parts.append(f"{self.unlisted} of types the source does not list")
        if self.lost:
            parts.append(f"{self.lost} without content at {self.title}")
        if self.wanted.dry_run:
            return ", ".join([*parts, f"{self.missed - self.lost} would be recovered"])
        return ", ".join([*parts, f"{self.recovered} recovered"])

    def note(self, item: MissedEvent) -> None:
        """Remember an event by name, as long as there are not too many."""
        if len(self.items) < MOST_ITEMS:
            self.items.append(item)


_LONGEST_NAME = 200  # characters of a key or a type, as identify() keeps them
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryContext:
    """What every catch-up works with. `urls` gives the addresses that a source's provider may have called.

    `most` events are recovered at once, and `heaviest` bytes of bodies kept until the list is whole.
    """

    store: Store
    bus: Bus
    clock: Clock
    routing: Routing
    urls: Callable[[Source, Capture], tuple[str, ...]]
    most: int = 100_000
    heaviest: int = 256_000_000


class Recovery:
    """Recovers what one source missed; `run` does all of it and writes down in `progress` how far it is."""

    def __init__(self, means: RecoveryContext, source: Source, listing: Listing, progress: CatchUpProgress) -> None:
        self._means = means
        self._source = source
        self._listing = listing
        self._progress = progress
        provider = find_provider(source.provider)
        # Where relay.toml names keys or types its own way, only the whole request says what they are.
        self._usual_key = provider is not None and source.idempotency_key is provider.idempotency_key
        self._usual_type = provider is not None and source.event_type is provider.event_type

    async def run(self) -> None:
        """List and recover. Raises CatchUpError and StoreError; what was stored by then stays."""
        progress = self._progress
        access, headers = self._listing.access, self._listing.headers
        async with open_client(access, headers=headers, clock=self._means.clock, tell=self._tell) as api:
            missed = await self._missed(api)
            progress.missed = len(missed)
            if progress.wanted.dry_run:
                for found in missed:
                    progress.lost += found.request is None and not found.path
                    progress.note(MissedEvent(key=found.key, type=found.type, sent_at=found.sent_at))
                return
            progress.state = CatchUpState.RECOVERING
            while missed:
                found = missed.popleft()
                await self._recover(found, found.request or await self._fetch_request(api, found))

    def _tell(self, detail: str) -> None:
        self._progress.detail = detail

    async def _missed(self, api: ListingApi) -> deque[ListedEvent]:
        """Return what is not here, oldest first."""
        seen: set[str] = set()
        missed: list[ListedEvent] = []
        heavy = 0
        async for page in self._listing.pages(api, self._progress.wanted.since):
            fresh = {found.key: found for found in page if found.key not in seen}
            seen |= fresh.keys()
            kept = await self._unknown(list(fresh.values()))
            missed += kept
            heavy += sum(len(body) for found in kept if found.request for body in found.request.bodies)
            if len(missed) > self._means.most or heavy > self._means.heaviest:
                raise CatchUpError(
                    f"{self._listing.access.title} lists more than relay recovers at once; nothing was stored",
                    hint="use a shorter --since",
                )
        # Of events of the same second the one listed last is the oldest.
        missed.reverse()
        return deque(sorted(missed, key=lambda found: found.sent_at))

    async def _unknown(self, page: list[ListedEvent]) -> list[ListedEvent]:
        progress = self._progress
        progress.found += len(page)
        keys = {found.key: await self._key(found) for found in page}
        known = {key for key in keys.values() if key is not None}
        here = await self._means.store.events.claimed(self._source.name, known)
        unknown = [found for found in page if keys[found.key] not in here]
        progress.known += len(page) - len(unknown)
        wanted = [found for found in unknown if not await self._is_unlisted(found)]
        progress.unlisted += len(unknown) - len(wanted)
        return wanted

    async def _key(self, found: ListedEvent) -> str | None:
        """Return the key it would be stored with; None where only the whole request says."""
        if self._usual_key:
            return escape_unprintable(found.key, _LONGEST_NAME)
        return (await self._process(found, found.request)).event.idempotency_key if found.request else None

    async def _is_unlisted(self, found: ListedEvent) -> bool:
        if found.request is None:
            return self._usual_type and bool(found.path) and not matches_type(found.type, self._source.events)
        if self._usual_type and found.type:
            return not matches_type(found.type, self._source.events)
        # What was read here is read again when it is recovered: 100 000 parsed bodies would not fit into memory.
        return (await self._process(found, found.request)).event.outcome is EventOutcome.IGNORED

    async def _fetch_request(self, api: ListingApi, found: ListedEvent) -> RebuiltRequest | None:
        return await self._listing.fetch(api, found) if found.path else None

    async def _recover(self, found: ListedEvent, request: RebuiltRequest | None) -> None:
        progress = self._progress
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
        deliveries = map(self._sign, processed.deliveries) if progress.wanted.forward else ()
        stored = await self._means.store.events.add(event, tuple(deliveries))
        if stored.outcome is EventOutcome.DUPLICATE:
            progress.known += 1
            progress.missed -= 1
            return
        publish_stored(self._means.bus, stored)
        progress.recovered += 1
        progress.note(MissedEvent(key=found.key, type=event.type, sent_at=found.sent_at, id=stored.id))

    async def _process(self, found: ListedEvent, request: RebuiltRequest) -> ProcessedRequest:
        capture, verification = self._verify(found, self._captures(request))
        key = escape_unprintable(found.key, _LONGEST_NAME)
        facts = RecoveredFacts(key=key, sent_at=found.sent_at, verification=verification)
        return await process_request(self._source, capture, (), self._means.routing, recovered=facts)

    def _captures(self, request: RebuiltRequest) -> list[Capture]:
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
                received_at=self._means.clock.now(),
            )
            for body in request.bodies
        )
        return [set_sender_url(capture, self._means.urls(source, capture)) for capture in captures]

    def _verify(self, found: ListedEvent, captures: list[Capture]) -> tuple[Capture, Verification]:
        """Return the spelling that the provider's own signature fits; the first, unchecked, where none does."""
        fetched = self._fetch_step(found)
        for capture in captures:
            urls = self._means.urls(self._source, capture)
            judged, verification = verify(self._source, capture, urls, found.sent_at)
            if verification.verdict is Verdict.VERIFIED:
                return judged, replace(verification, checks=(fetched, *verification.checks))
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
        # What was not received has no signature of its own that an app would take.
        options = self._means.routing.targets[new.target].options
        if new.action != "forward" or getattr(options, "sign", None) is SignMode.FRESH:
            return new
        return replace(new, changes=DeliveryChanges(sign=SignMode.AUTO))


_SIGNATURE = Check(
    name="Signature", passed=None, detail="not checked: the API gives the content, not the bytes that were signed"
)
