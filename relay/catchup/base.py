"""What a provider's API lists of past events, what each provider's client has to do, and how far a catch-up is."""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from relay.errors import CatchUpError, RelayError
from relay.model.event import Headers
from relay.model.secret import Secret
from relay.model.values import dataclass

APIS = ("github", "stripe", "svix")  # the providers' APIs that relay can ask
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where a provider's API is, and what it is asked with.

    `base_url` has no slash at its end. `reference` is where the credential lies, such as
    `env:GITHUB_TOKEN`, and `needs` what it has to be allowed.
    """

    title: str
    base_url: str
    credential: Secret | None
    reference: str
    needs: str

    @property
    def host(self) -> str:
        """Return the host that is asked, as people write it."""
        return urlsplit(self.base_url).netloc

    @property
    def secure(self) -> bool:
        """Return whether the host proves who it is, by TLS."""
        return self.base_url.startswith("https:")

    @property
    def absence(self) -> str:
        """Return in words that there is no credential: `GITHUB_TOKEN is not set, so GitHub cannot be asked`."""
        kind, _, name = self.reference.partition(":")
        missing = f"{name} is not set" if kind == "env" else f"{self.reference} cannot be read"
        return f"{missing}, so {self.title} cannot be asked"

    @property
    def secret(self) -> str:
        """Return the credential itself: to be sent to the API, never to be shown."""
        return self.credential.reveal().strip() if self.credential else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """What a call gave: its JSON, and the address of the next page where there is one."""

    value: object
    next: str | None


class ListingApi(Protocol):
    """A provider's API as its client sees it."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> ApiResponse:
        """Return what a GET gives; `path` below the base, or the address of a next page. Raises CatchUpError."""
        ...

    def shape_error(self, expected: str) -> CatchUpError:
        """Return the error for an answer that is JSON and not what the provider's API documents."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltRequest:
    """A request as far as its provider's API tells it.

    An API gives a body as JSON and not as bytes: `bodies` are the spellings it may have had, the likeliest first.
    """

    headers: Headers
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvent:
    """One past event as a provider lists it: `key` is what the provider repeats when it sends it again.

    `type` is what relay would call it, "" where only the whole request says. `request` is None where
    it has to be fetched from `path`, and `path` "" where the provider has it no more.
    """

    key: str
    sent_at: datetime
    type: str = ""
    request: RebuiltRequest | None = None
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(ABC):
    """A provider's list of past events, newest first; each provider's client is one small file.

    `access` is where the API is and with which credential it is asked.
    """

    access: Access

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the headers every call carries, the credential among them. Raises CredentialError."""
        del now
        return {"Authorization": f"Bearer {self.access.secret}"}

    @abstractmethod
    def pages(self, api: ListingApi, since: datetime) -> AsyncIterator[tuple[ListedEvent, ...]]:
        """Yield what was sent at `since` or later, a page at a time. Raises CatchUpError."""

    async def fetch(self, api: ListingApi, found: ListedEvent) -> RebuiltRequest | None:
        """Return the request of an event that was listed without it; None where the provider has it no more.

        Raises CatchUpError.
        """
        del api
        return found.request


def select_headers(headers: object) -> Headers:
    """Return the headers of a JSON object that HTTP can carry, in order."""
    pairs = headers.items() if isinstance(headers, dict) else ()
    return tuple(
        (name, str(value).encode("utf-8", "replace").decode("latin-1"))
        for name, value in pairs
        if _TOKEN.fullmatch(name) and isinstance(value, str | int) and not set("\r\n\0") & set(str(value))
    )


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

    Of the `found` events `known` were here, `unlisted` are of types that the source does not list, `missed` is the
    rest. Of those `recovered` are stored by now, and of `lost` the provider has no content any more.
    """

    request: CatchUpRequest
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
        """Return whether nothing more will come."""
        return self.finished_at is not None

    @property
    def words(self) -> str:
        """Return the result so far: `found 12, 9 were here, 3 recovered`."""
        parts = [f"found {self.found}", f"{self.known} {'was' if self.known == 1 else 'were'} here"]
        if self.unlisted:
            parts.append(f"{self.unlisted} of types the source does not list")
        if self.lost:
            parts.append(f"{self.lost} without content at {self.title}")
        if self.request.dry_run:
            return ", ".join([*parts, f"{self.missed - self.lost} would be recovered"])
        return ", ".join([*parts, f"{self.recovered} recovered"])

    def note(self, item: MissedEvent) -> None:
        """Remember an event by name, up to a limit."""
        if len(self.items) < MOST_ITEMS:
            self.items.append(item)
