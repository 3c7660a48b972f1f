"""Calls of a provider's API: one at a time, within its rate limits, every refusal one message."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from relay import __version__
from relay.catchup.base import Access, ApiResponse
from relay.clock import Clock
from relay.errors import CatchUpError, CredentialError
from relay.model.payload import PayloadError, parse_json
from relay.model.text import escape_unprintable

LARGEST_RESPONSE = 64_000_000  # bytes of one answer, unpacked: GitHub's payloads end at 25 MB
LONGEST_WAIT = 900.0  # seconds that a provider may ask to wait before relay gives up for now
MOST_CALLS = 100_000
_TRIES = 5
_CONNECT_TRIES = 3  # tries where no answer comes at all
_REDIRECTS = 3
_LARGE_BODY = 256_000  # bytes from which on JSON is read beside the loop
_CALL = aiohttp.ClientTimeout(total=120, sock_connect=10, sock_read=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RawResponse:
    status: int
    headers: Mapping[str, str]
    body: bytes
    next: str | None


@asynccontextmanager
async def open_client(
    access: Access,
    *,
    headers: Callable[[datetime], Mapping[str, str]],
    clock: Clock,
    tell: Callable[[str], None],
    patience: aiohttp.ClientTimeout = _CALL,
) -> AsyncIterator["ListingApiClient"]:
    """Ask a provider's API for as long as the block lasts.

    `headers(now)` gives what every call carries. `tell` hears why a call has to wait.
    """
    async with aiohttp.ClientSession(timeout=patience, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield ListingApiClient(session, access, headers=headers, clock=clock, tell=tell)


class ListingApiClient:
    """Calls of one provider's API. Nothing is sent to another host than `access` names."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        access: Access,
        *,
        headers: Callable[[datetime], Mapping[str, str]],
        clock: Clock,
        tell: Callable[[str], None],
    ) -> None:
        self.access = access
        self._session = session
        self._headers = headers
        self._clock = clock
        self._tell = tell
        self._calls = 0

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> ApiResponse:
        """Return what a GET gives; `path` below the base, or the address of a next page.

        Waits where the provider asks for it and tries again what may pass. Raises CredentialError for a
        credential that is refused, CatchUpError for everything else that is no answer.
        """
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise CatchUpError(f"{self.access.title} lists more than relay reads at once", hint="use a shorter --since")
        url = self._url(path)
        if params:
            url = url.extend_query(params)
        raw = await self._answered(url)
        return ApiResponse(value=await self._json(raw), next=raw.next)

    def odd(self, expected: str) -> CatchUpError:
        """Return the error for an answer that is JSON and not what the provider's API documents."""
        return CatchUpError(
            f"{self.access.title} answered something other than {expected}", hint=f"is {self.access.base_url} its API?"
        )

    async def _answered(self, url: URL) -> _RawResponse:
        for number in range(1, _TRIES + 1):
            raw = await self._tried(url, last=number >= _CONNECT_TRIES)
            if raw is not None and raw.status == 200:
                return raw
            wait = float(2 ** (number - 1))
            if raw is not None:
                if not _is_temporary(raw):
                    raise self._refusal(raw)
                wait = self._requested_wait(raw, wait)
                if number == _TRIES or wait > LONGEST_WAIT:
                    raise self._should_give_up(raw, wait)
                self._tell(f"waits {wait:.0f} s, as {self.access.title} asks ({raw.status})")
            await self._clock.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _tried(self, url: URL, *, last: bool) -> _RawResponse | None:
        """Make a call; None where no answer came and it may be tried again."""
        try:
            return await self._call(url)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if last or isinstance(error, aiohttp.ClientConnectorCertificateError):
                raise CatchUpError(
                    f"{self.access.title} cannot be reached at {self.access.host}: {_describe_error(error)}",
                    hint="is this computer online?",
                ) from error
            self._tell(f"{self.access.host} does not answer ({_describe_error(error)}), tries again")
            return None

    async def _call(self, url: URL) -> _RawResponse:
        headers = {
            "User-Agent": f"webhook-relay/{__version__}",
            "Accept": "application/json",
            **self._headers(self._clock.now()),
        }
        for _ in range(_REDIRECTS):
            async with self._session.get(url, headers=headers, allow_redirects=False) as response:
                moved = response.headers.get("Location")
                if response.status in (301, 302, 307, 308) and moved:
                    url = self._own(url.join(URL(moved)))
                    continue
                link = response.links.get("next")
                return _RawResponse(
                    status=response.status,
                    headers=response.headers.copy(),
                    body=await self._read(response),
                    next=str(link["url"]) if link else None,
                )
        raise CatchUpError(f"{self.access.title} sends relay round in a circle", hint="is base_url right?")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_chunked(256 * 1024):
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_RESPONSE:
                response.close()
                raise CatchUpError(
                    f"an answer of {self.access.title} is larger than {LARGEST_RESPONSE // 1_000_000} MB",
                    hint="use a shorter --since",
                )
        return b"".join(chunks)

    async def _json(self, raw: _RawResponse) -> object:
        try:
            if len(raw.body) > _LARGE_BODY:
                return await asyncio.to_thread(parse_json, raw.body)
            return parse_json(raw.body)
        except PayloadError as error:
            kind = escape_unprintable(raw.headers.get("Content-Type", "no type"), 60)
            raise CatchUpError(
                f"{self.access.title} answered no JSON ({kind})", hint=f"is {self.access.base_url} its API?"
            ) from error

    def _url(self, path: str) -> URL:
        if "://" in path:
            return self._own(URL(path))
        return URL(self.access.base_url + path)

    def _own(self, url: URL) -> URL:
        # The credential goes to the host it was configured for and to no other.
        if url.origin() != URL(self.access.base_url).origin():
            raise CatchUpError(
                f"{self.access.title} sends relay on to another host, {escape_unprintable(url.authority, 80)}",
                hint="is base_url right?",
            )
        return url

    def _requested_wait(self, raw: _RawResponse, otherwise: float) -> float:
        """Return the seconds to wait, as Retry-After or GitHub's X-RateLimit-Reset says."""
        now = self._clock.now()
        given = raw.headers.get("Retry-After", "").strip()
        if given.isascii() and given.isdigit():
            return float(given[:9])
        if given:
            try:
                until = parsedate_to_datetime(given)
            except (ValueError, TypeError, OverflowError):
                return otherwise
            until = until if until.tzinfo else until.replace(tzinfo=UTC)
            return max(0.0, (until - now).total_seconds())
        reset = raw.headers.get("X-RateLimit-Reset", "")
        if _is_rate_limited(raw) and reset.isascii() and reset.isdigit():
            # A second more: the limit is lifted in it, not before it.
            return max(0.0, float(reset[:12]) - now.timestamp()) + 1.0
        # GitHub says so of its secondary limits: without a header, at least a minute.
        return 60.0 if raw.status == 403 else otherwise

    def _should_give_up(self, raw: _RawResponse, wait: float) -> CatchUpError:
        if wait > LONGEST_WAIT:
            said = f"asks to wait {wait / 60:.0f} min before the next call ({raw.status})"
        else:
            said = f"answered {raw.status} {_TRIES} times"
        return CatchUpError(f"{self.access.title} {said}", hint="run it again later: what is here is not fetched twice")

    def _refusal(self, raw: _RawResponse) -> CatchUpError:
        title, reference = self.access.title, self.access.reference
        if raw.status == 401:
            return CredentialError(f"{title} refuses the credential {reference}", hint=f"it needs {self.access.needs}")
        said = self._said(raw)
        if raw.status == 403:
            return CredentialError(
                f"{title} does not let the credential {reference} do that{said}", hint=f"it needs {self.access.needs}"
            )
        if raw.status == 404:
            return CatchUpError(
                f"{title} knows nothing of that name, or does not show it to {reference}{said}",
                hint="check the names under catch_up in relay.toml",
            )
        return CatchUpError(f"{title} answered {raw.status}{said}", hint="check catch_up in relay.toml")

    def _said(self, raw: _RawResponse) -> str:
        """Return what the provider says, in brackets; never the credential, should it repeat that."""
        try:
            value = parse_json(raw.body[:_LARGE_BODY])
        except PayloadError:
            return ""
        places = [value, value.get("error")] if isinstance(value, dict) else []
        texts = [place.get(name) for place in places if isinstance(place, dict) for name in ("message", "detail")]
        said = next((text for text in texts if isinstance(text, str) and text), "")
        shown = said.replace(self.access.secret, "••••") if self.access.secret else said
        return f" ({escape_unprintable(shown, 160)})" if shown else ""


def _is_temporary(raw: _RawResponse) -> bool:
    limited = _is_rate_limited(raw) or "Retry-After" in raw.headers or b"rate limit" in raw.body[:4096].lower()
    return raw.status == 429 or raw.status >= 500 or (raw.status == 403 and limited)


def _is_rate_limited(raw: _RawResponse) -> bool:
    return raw.headers.get("X-RateLimit-Remaining") == "0"


def _describe_error(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "no answer in time"
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate does not hold"
        case aiohttp.ClientConnectorDNSError():
            return "the name is not known"
        case aiohttp.ClientConnectorError():
            return "no connection"
        case aiohttp.ClientPayloadError():
            return "it hung up in the middle"
    return "it hung up or speaks no HTTP"
