"""What a provider's API lists of past events, and what each provider's client has to do."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit

from relay.errors import CatchUpError
from relay.model.event import Headers
from relay.model.secret import Secret

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
        """Say whether the host proves who it is, by TLS."""
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

    def odd(self, expected: str) -> CatchUpError:
        """Return the error for an answer that is JSON and not what the provider's API documents."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltRequest:
    """A request as far as its provider's API tells it.

    An API gives a body as JSON and not as bytes: `bodies` are the spellings it may have had, the
    likeliest first.
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


class Listing(Protocol):
    """A provider's list of past events, newest first; each provider's client is one small file."""

    @property
    def access(self) -> Access:
        """Return where the API is and with which credential it is asked."""
        ...

    def headers(self, now: datetime) -> Mapping[str, str]:
        """Return the headers every call carries, the credential among them. Raises CredentialError."""
        ...

    def pages(self, api: ListingApi, since: datetime) -> AsyncIterator[tuple[ListedEvent, ...]]:
        """Yield what was sent at `since` or later, a page at a time. Raises CatchUpError."""
        ...

    async def fetch(self, api: ListingApi, found: ListedEvent) -> RebuiltRequest | None:
        """Return the request of an event that was listed without it; None where the provider has it no more.

        Raises CatchUpError.
        """
        ...


def serialise_json(value: object, indent: int | None = None) -> bytes:
    """Return a JSON value as most senders spell it: UTF-8 as it is, compact unless indented."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def select_headers(headers: object) -> Headers:
    """Return the headers of a JSON object that HTTP can carry, in order."""
    pairs = headers.items() if isinstance(headers, dict) else ()
    return tuple(
        (name, str(value).encode("utf-8", "replace").decode("latin-1"))
        for name, value in pairs
        if _TOKEN.fullmatch(name) and isinstance(value, str | int) and not set("\r\n\0") & set(str(value))
    )


def parse_time(value: object) -> datetime | None:
    """Return a time given as ISO 8601 or as seconds since 1970, aware; None for anything else."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
