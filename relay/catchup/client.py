"""Calls a provider's API: one call at a time, within its rate limits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import aiohttp
from yarl import URL

from relay import __version__
from relay.actions.forward import parse_retry_after
from relay.catchup.base import Access, ApiResponse
from relay.errors import CatchUpError, CredentialError, ListingNotFoundError
from relay.model.clock import Clock
from relay.model.payload import PayloadError, parse_json
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

LARGEST_RESPONSE = 64_000_000  # bytes of one answer, unpacked: GitHub's payloads end at 25 MB
LONGEST_WAIT = 900.0  # longest wait in seconds that a provider may request before relay gives up for now
MOST_CALLS = 100_000
_TRIES = 5
_CONNECT_TRIES = 3  # tries if there is no response at all
_REDIRECTS = 3
_LARGE_BODY = 256_000  # bytes above which JSON is parsed in a thread
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
    notify: Callable[[str], None],
    timeout: aiohttp.ClientTimeout = _CALL,  # noqa: ASYNC109 - of one call, handed on
) -> AsyncIterator["ListingApiClient"]:
    """Open a client for a provider's API until the block ends.

    `headers(now)` gives the headers of every call. `notify` is called with the reason for a wait.
    """
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield ListingApiClient(session=session, access=access, headers=headers, clock=clock, notify=notify)


@dataclass(slots=True, kw_only=True)
class ListingApiClient:
    """Calls of one provider's API. Nothing is sent to another host than `access` names."""

    session: aiohttp.ClientSession
    access: Access
    headers: Callable[[datetime], Mapping[str, str]]
    clock: Clock
    notify: Callable[[str], None]
    _calls: int = 0

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> ApiResponse:
        """Return what a GET gives; `path` below the base, or the address of a next page.

        Waits if the provider asks for it and retries temporary failures. Raises CredentialError for a
        credential that is refused, CatchUpError for all other failures.
        """
        self._calls += 1
        if self._calls > MOST_CALLS:
            raise CatchUpError(f"{self.access.title} lists more than relay reads at once", hint="use a shorter --since")
        url = self._check_origin(URL(path)) if "://" in path else URL(self.access.base_url + path)
        if params:
            url = url.extend_query(params)
        raw = await self._get_response(url)
        return ApiResponse(value=await self._parse(raw), next=raw.next)

    def shape_error(self, expected: str) -> CatchUpError:
        """Return the error for a JSON response that differs from the documented API."""
        return CatchUpError(
            f"{self.access.title} answered something other than {expected}", hint=f"is {self.access.base_url} its API?"
        )

    async def _get_response(self, url: URL) -> _RawResponse:
        for number in range(1, _TRIES + 1):
            raw = await self._try_call(url, last=number >= _CONNECT_TRIES)
            if raw is not None and raw.status == 200:
                return raw
            wait = float(2 ** (number - 1))
            if raw is not None:
                if not _is_temporary(raw):
                    raise self._refusal_error(raw)
                wait = self._find_wait(raw, wait)
                if number == _TRIES or wait > LONGEST_WAIT:
                    raise self._give_up_error(raw, wait)
                self.notify(f"waits {wait:.0f} s, for {self.access.title} answered {raw.status}")
            await self.clock.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _try_call(self, url: URL, *, last: bool) -> _RawResponse | None:
        """Make a call; return None if there was no response and it may be retried."""
        try:
            return await self._call(url)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if last or isinstance(error, aiohttp.ClientConnectorCertificateError):
                raise CatchUpError(
                    f"{self.access.title} cannot be reached at {self.access.host}: {_describe_error(error)}",
                    hint="is this computer online?",
                ) from error
            self.notify(f"{self.access.host} does not answer ({_describe_error(error)}), tries again")
            return None

    async def _call(self, url: URL) -> _RawResponse:
        headers = {
            "User-Agent": f"webhook-relay/{__version__}",
            "Accept": "application/json",
            **self.headers(self.clock.now()),
        }
        for _ in range(_REDIRECTS):
            async with self.session.get(url, headers=headers, allow_redirects=False) as response:
                moved = response.headers.get("Location")
                if response.status in (301, 302, 307, 308) and moved:
                    url = self._check_origin(url.join(URL(moved)))
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

    async def _parse(self, raw: _RawResponse) -> object:
        try:
            if len(raw.body) > _LARGE_BODY:
                return await asyncio.to_thread(parse_json, raw.body, bounded=False)
            return parse_json(raw.body)
        except PayloadError as error:
            kind = escape_unprintable(raw.headers.get("Content-Type", "no type"), 60)
            raise CatchUpError(
                f"{self.access.title} answered no JSON ({kind})", hint=f"is {self.access.base_url} its API?"
            ) from error

    def _check_origin(self, url: URL) -> URL:
        # The credential is sent only to the host it was configured for.
        if url.origin() != URL(self.access.base_url).origin():
            raise CatchUpError(
                f"{self.access.title} sends relay on to another host, {escape_unprintable(url.authority, 80)}",
                hint="is base_url right?",
            )
        return url

    def _find_wait(self, raw: _RawResponse, otherwise: float) -> float:
        """Return the seconds to wait by Retry-After or GitHub's X-RateLimit-Reset."""
        now = self.clock.now()
        if after := raw.headers.get("Retry-After", "").strip():
            wait = parse_retry_after(after, now)
            return otherwise if wait is None else wait
        reset = raw.headers.get("X-RateLimit-Reset", "")
        if _is_rate_limited(raw) and reset.isascii() and reset.isdigit():
            # A second more: the limit is lifted during that second, not before it.
            return max(0.0, float(reset[:12]) - now.timestamp()) + 1.0
        # GitHub's documentation of secondary limits: without a header, at least a minute.
        return 60.0 if raw.status == 403 else otherwise

    def _give_up_error(self, raw: _RawResponse, wait: float) -> CatchUpError:
        if wait > LONGEST_WAIT:
            text = f"asks to wait {wait / 60:.0f} min before the next call ({raw.status})"
        else:
            text = f"answered {raw.status} {_TRIES} times"
        return CatchUpError(f"{self.access.title} {text}", hint="run it again later: what is here is not fetched twice")

    def _refusal_error(self, raw: _RawResponse) -> CatchUpError:
        title, reference = self.access.title, self.access.reference
        if raw.status == 401:
            return CredentialError(f"{title} refuses the credential {reference}", hint=f"it needs {self.access.needs}")
        quote = self._quote_message(raw)
        if raw.status == 403:
            return CredentialError(
                f"{title} does not let the credential {reference} do that{quote}", hint=f"it needs {self.access.needs}"
            )
        if raw.status == 404:
            return ListingNotFoundError(
                f"{title} knows nothing of that name, or does not show it to {reference}{quote}",
                hint="check the names under catch_up in relay.toml",
            )
        return CatchUpError(f"{title} answered {raw.status}{quote}", hint="check catch_up in relay.toml")

    def _quote_message(self, raw: _RawResponse) -> str:
        """Return the provider's message in brackets, without the credential in case it repeats it."""
        try:
            value = parse_json(raw.body[:_LARGE_BODY])
        except PayloadError:
            return ""
        places = [value, value.get("error")] if isinstance(value, dict) else []
        texts = [place.get(name) for place in places if isinstance(place, dict) for name in ("message", "detail")]
        text = next((text for text in texts if isinstance(text, str) and text), "")
        redacted = text.replace(self.access.secret, "••••") if self.access.secret else text
        return f" ({escape_unprintable(redacted, 160)})" if redacted else ""


def _is_temporary(raw: _RawResponse) -> bool:
    limited = _is_rate_limited(raw) or "Retry-After" in raw.headers or b"rate limit" in raw.body[:4096].lower()
    return raw.status == 429 or raw.status >= 500 or (raw.status == 403 and limited)


def _is_rate_limited(raw: _RawResponse) -> bool:
    return raw.headers.get("X-RateLimit-Remaining") == "0"


_ERRORS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "no answer in time"),
    (aiohttp.ClientConnectorCertificateError, "its certificate is not trusted"),
    (aiohttp.ClientConnectorDNSError, "the name is not known"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ClientPayloadError, "it hung up in the middle"),
)


def _describe_error(error: Exception) -> str:
    return next((words for kind, words in _ERRORS if isinstance(error, kind)), "it hung up or speaks no HTTP")
