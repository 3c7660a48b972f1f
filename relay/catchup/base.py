"""The interface of listings of past events, of provider clients, and the progress of a catch-up."""

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

APIS = ("github", "stripe", "svix")  # the provider APIs that relay supports
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The address and credential of a provider's API.

    `base_url` has no trailing slash. `reference` is the reference of the credential, such as
    `env:GITHUB_TOKEN`, and `needs` its required permission.
    """

    title: str
    base_url: str
    credential: Secret | None
    reference: str
    needs: str

    @property
    def host(self) -> str:
        """Return the host for display."""
        return urlsplit(self.base_url).netloc

    @property
    def secure(self) -> bool:
        """Return whether the host is authenticated by TLS."""
        return self.base_url.startswith("https:")

    @property
    def absence(self) -> str:
        """Return the message that there is no credential: `GITHUB_TOKEN is not set, so GitHub cannot be asked`."""
        kind, _, name = self.reference.partition(":")
        missing = f"{name} is not set" if kind == "env" else f"{self.reference} cannot be read"
        return f"{missing}, so {self.title} cannot be asked"

    @property
    def secret(self) -> str:
        """Return the credential itself: for the API, never for display."""
        return self.credential.reveal().strip() if self.credential else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiResponse:
    """The response of a call: its JSON, and the address of the next page, if any."""

    value: object
    next: str | None


class ListingApi(Protocol):
    """A provider's API as seen by its client."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> ApiResponse:
        """Return the response to a GET; `path` below the base, or the address of a next page. Raises CatchUpError."""
        ...

    def shape_error(self, expected: str) -> CatchUpError:
        """Return the error for a JSON response that differs from the documented API."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltRequest:
    """A request as far as its provider's API contains it.

    An API returns a body as JSON, not as bytes: `bodies` are its possible encodings, the likeliest first.
    """

    headers: Headers
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvent:
    """A past event in a provider's list: `key` is the id that the provider repeats when it resends it.

    `type` is relay's event type, "" if only the whole request contains it. `request` is None if
    it has to be fetched from `path`, and `path` is "" if the provider no longer has it.
    """

    key: str
    sent_at: datetime
    type: str = ""
    request: RebuiltRequest | None = None
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(ABC):
    """A provider's list of past events, newest first; each provider has its own module.

    `access` is the address of the API and its credential.
    """

    access: Access

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the headers of every call, including the credential. Raises CredentialError."""
        del now
        return {"Authorization": f"Bearer {self.access.secret}"}

    @abstractmethod
    def pages(self, api: ListingApi, since: datetime) -> AsyncIterator[tuple[ListedEvent, ...]]:
        """Yield pages of events sent at `since` or later. Raises CatchUpError."""

    async def fetch(self, api: ListingApi, found: ListedEvent) -> RebuiltRequest | None:
        """Return the request of an event that was listed without it; None if the provider no longer has it.

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


MOST_ITEMS = 1000  # events that a report lists individually


class CatchUpState(StrEnum):
    """The state of a catch-up: it lists, then recovers missed events, then ends in one of three ways."""

    LISTING = "listing"
    RECOVERING = "recovering"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUpRequest:
    """The source of a catch-up and its start; `forward`: recovered events are delivered by their routes."""

    source: str
    since: datetime
    dry_run: bool = False
    forward: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedEvent:
    """A missed event: `id` is its number once it is recovered, `type` is "" while unknown."""

    key: str
    type: str
    sent_at: datetime
    id: int | None = None


@dataclass(slots=True, kw_only=True)
class CatchUpProgress:
    """The progress of a catch-up.

    Of the `found` events `known` are stored, `unlisted` have types that the source does not list, `missed` is the
    rest. Of those `recovered` are stored now, and for `lost` the provider no longer has the content.
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
        """Return whether it has ended."""
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
        """Add an event to the report, up to a limit."""
        if len(self.items) < MOST_ITEMS:
            self.items.append(item)
