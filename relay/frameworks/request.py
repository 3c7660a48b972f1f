"""A request as a framework provides it, its body perhaps unread, with its caller and address."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable

from relay.model.admission import Network
from relay.model.event import Headers
from relay.model.values import dataclass
from relay.pipeline.limits import forwarded_for, is_address_allowed

BODY_SECONDS = 30.0
UNIX_SOCKET = "unix"

ReadBody = Callable[[int], bytes | Awaitable[bytes]]


class BodyTooLargeError(Exception):
    """The body is larger than its source allows."""


class BodyConsumedError(Exception):
    """Code in front of relay has read the body, so its signature cannot be checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One HTTP request. Text is latin-1 as in Capture: one character is one byte of the wire.

    `path` begins with `/webhooks`, percent-encoding untouched; whatever the app is mounted below stands
    only in `url`, the address as the request tells it. `body` is the bytes, or what reads them: called
    with a number of bytes, it returns them all, or more than that number as soon as there are more.
    `remote` is the other end of the connection, "" where that is a socket of this computer. `in_front` names
    what of the app runs before relay, for the log line of a body that is gone.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes | ReadBody
    remote: str = ""
    url: str = ""
    in_front: Callable[[], Iterable[str]] = tuple

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of a header in the order received."""
        lower = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == lower)

    def caller(self, proxies: tuple[Network, ...], *, unix: bool) -> str:
        """Return the caller: the other end, or the address it names if it is one of the `proxies`.

        `unix`: a proxy calls over a socket of this computer.
        """
        trusted = is_address_allowed(self.remote, proxies) if self.remote else unix
        named = self.values("X-Forwarded-For")
        return forwarded_for(named) if trusted and named else self.remote

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises BodyTooLargeError, BodyConsumedError, TimeoutError, and OSError where it broke off.
        """
        length = self._declared_length()
        if length is not None and length > limit:
            raise BodyTooLargeError
        body = self.body
        if not isinstance(body, bytes):
            reading = body(limit)
            if inspect.isawaitable(reading):
                async with asyncio.timeout(BODY_SECONDS):
                    body = await reading
            else:
                body = reading
        if len(body) > limit:
            raise BodyTooLargeError
        self._check_length(len(body), length)
        return body

    def _declared_length(self) -> int | None:
        text = next(iter(self.values("Content-Length")), "")
        return int(text[:20]) if text.isascii() and text.isdigit() else None

    def _check_length(self, found: int, declared: int | None) -> None:
        if self.method == "HEAD":
            return
        if declared is not None and found < declared:
            raise BodyConsumedError(f"{found} of its {declared} bytes were left")
        if declared is None and not found and self.values("Transfer-Encoding"):
            # No provider sends an empty chunked body.
            raise BodyConsumedError("none of its chunks were left")


def read_within_limit(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Return a function that reads a stream to its end, or to the first excess byte; `read` may return less."""

    def whole(limit: int) -> bytes:
        chunks, left = [], limit + 1
        while left > 0 and (chunk := read(min(left, 65536))):
            chunks.append(chunk)
            left -= len(chunk)
        return b"".join(chunks)

    return whole
