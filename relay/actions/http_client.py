"""One HTTP request put on the wire byte for byte, and what came back; aiohttp's pool, TLS and parser behind it."""

import errno
import ssl
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from socket import AddressFamily
from types import TracebackType
from typing import Any, Self, cast

import aiohttp
from aiohttp import abc
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_parser import HttpResponseParser
from aiohttp.http_writer import StreamWriter
from aiohttp.payload import Payload
from yarl import URL

from relay.actions.egress import Address, Destination
from relay.actions.response_parser import AnswerParser, decode_headers
from relay.model.delivery import ReceivedResponse, SentRequest

CONNECT_SECONDS = 5.0
KEPT_BODY = 64 * 1024
# Kept open for a burst only: most servers hang up on an idle connection after 2 to 5 s, and a
# POST that crosses such a hang-up on the wire would fail for nothing.
_IDLE_SECONDS = 1.0
_LARGEST_JOINED_BODY = 64 * 1024
_REFUSALS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to the host",
    errno.ENETUNREACH: "no route to the network",
    errno.ETIMEDOUT: "no connection in time",
}


class NoAnswerError(Exception):
    """No HTTP response came; `detail` says why in a few plain words.

    `unreachable` when not even a connection came about.
    """

    def __init__(self, detail: str, *, unreachable: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.unreachable = unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for the whole exchange, in seconds, and whether a certificate must hold."""

    total: float = 30.0
    verify_tls: bool = True


class HttpClient:
    """One client session for everything that is forwarded; use it as an async context manager.

    Dials judged addresses only, follows no redirect, keeps no cookie, asks no proxy.
    """

    def __init__(self) -> None:
        self._resolver = _CheckedResolver()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = _Connector(resolver=self._resolver, use_dns_cache=False, limit=0, keepalive_timeout=_IDLE_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=_NoCookies(),
            request_class=_ExactRequest,
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self,
        request: SentRequest,
        destination: Destination,
        patience: Timeouts,
        keep: Callable[[], int] = lambda: KEPT_BODY,
    ) -> ReceivedResponse:
        """Send the bytes of `request` to `destination` and return what came back.

        At most `keep()` bytes of its body. What was odd about it is in its notes: a status that came counts. Raises
        NoAnswerError when nothing came that is HTTP, ValueError for a request that HTTP cannot carry.
        """
        if self._session is None:
            raise RuntimeError("the wire is not open")
        data = _ExactPayload(request_head(request), request.body)
        self._resolver.judged.set((destination.host, destination.addresses))
        # aiohttp repeats what it takes for idempotent by itself; POST makes one attempt one request.
        method = "HEAD" if request.method == "HEAD" else "POST"
        url = URL.build(scheme=destination.scheme, host=destination.host, port=destination.port, path="/")
        timeout = aiohttp.ClientTimeout(
            total=patience.total, sock_connect=min(CONNECT_SECONDS, patience.total), ceil_threshold=60
        )
        try:
            async with self._session.request(
                method, url, data=data, timeout=timeout, allow_redirects=False, ssl=patience.verify_tls
            ) as response:
                return await _read_response(response, data, keep)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            head = data.answer.partial() if data.answer else None
            if head is not None:
                return ReceivedResponse(
                    status=head.status, headers=decode_headers(head.headers), cut=True, notes=head.notes
                )
            if data.answer and data.answer.failure:
                raise NoAnswerError(data.answer.failure) from error
            raise _describe_failure(error, patience) from error


def request_head(request: SentRequest) -> bytes:
    """Return the request line and the headers as bytes; every header name and value as given.

    Raises ValueError for what would break the framing.
    """
    scheme_end = request.url.index("://") + 3
    slash = request.url.find("/", scheme_end)
    target = request.url[slash:] if slash >= 0 else "/"
    line = f"{request.method} {target} HTTP/1.1"
    if any(ord(letter) <= 0x20 or letter == "\x7f" for letter in request.method + target):
        raise ValueError("a method or path holds a space or a control character")
    lines = [line, *(f"{name}: {value}" for name, value in request.headers)]
    if any(letter in text for text in lines for letter in "\r\n\0"):
        raise ValueError("a header holds a line break")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _CheckedResolver(abc.AbstractResolver):
    """Answers with the addresses judged for the request under way in this task, and with no others."""

    def __init__(self) -> None:
        self.judged: ContextVar[tuple[str, Sequence[Address]]] = ContextVar("judged")

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: AddressFamily = AddressFamily.AF_UNSPEC,  # noqa: ARG002 - every judged address will do
    ) -> list[abc.ResolveResult]:
        """Return the judged addresses. Raises OSError for a host that was not judged."""
        judged, addresses = self.judged.get(("", ()))
        if judged != host:
            raise OSError(f"{host} was not judged")
        return [_resolve_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Hold nothing, so release nothing."""


def _resolve_result(host: str, port: int, address: Address) -> abc.ResolveResult:
    family = AddressFamily.AF_INET if address.version == 4 else AddressFamily.AF_INET6
    return abc.ResolveResult(hostname=host, host=str(address), port=port, family=family, proto=0, flags=0)


class _Protocol(ResponseHandler):
    """Reads answers leniently; `answer` is what reads the one that is awaited."""

    answer: AnswerParser | None = None

    def set_response_params(self, **params: Any) -> None:
        """Get ready for the answer to the next request."""
        early, self._tail = self._tail, b""
        super().set_response_params(**params)
        self.answer = AnswerParser(
            self,
            lambda: HttpResponseParser(
                self,
                self._loop,
                params["read_bufsize"],
                timer=params["timer"],
                payload_exception=aiohttp.ClientPayloadError,
                response_with_body=not params["skip_payload"],
                read_until_eof=True,
                auto_decompress=False,
            ),
            is_head=params["skip_payload"],
        )
        self._parser = self.answer  # type: ignore[assignment]  # it has what is called of aiohttp's parser
        if early:
            self.data_received(early)


class _Connector(aiohttp.TCPConnector):
    """Connects with the protocol above."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))


class _NoCookies(aiohttp.DummyCookieJar):
    """Keeps no cookie and does not even read one: aiohttp logs the names it cannot read."""

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Do nothing."""


class _ExactPayload(Payload):
    """A request with its head already made."""

    def __init__(self, head: bytes, body: bytes) -> None:
        super().__init__(body)
        self.head = head
        self.body = body
        self.answer: AnswerParser | None = None
        self._size = len(body)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text."""
        return self.body.decode(encoding, errors)

    async def write(self, writer: abc.AbstractStreamWriter) -> None:
        """Write the body."""
        await writer.write(self.body)


class _ExactRequest(aiohttp.ClientRequest):
    """Sends an `_Exact` as it is.

    aiohttp's own writer encodes header values as UTF-8, and its multidict keeps only the last of two
    names that differ in case; a captured request may hold any bytes.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Write head and body in one go, and return the response to be started."""
        exact, protocol = self.body, conn.protocol
        if not isinstance(exact, _ExactPayload) or protocol is None or protocol.transport is None:
            raise aiohttp.ClientConnectionResetError("the connection was lost before the request")
        exact.answer = protocol.answer if isinstance(protocol, _Protocol) else None
        # No waiting for the socket to drain: a target may answer before it has read everything, and
        # then hang up.
        if len(exact.body) <= _LARGEST_JOINED_BODY:
            protocol.transport.write(exact.head + exact.body)
        else:
            protocol.transport.write(exact.head)
            protocol.transport.write(exact.body)
        protocol.start_timeout()
        return self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=self.session,
            stream_writer=StreamWriter(protocol, self.loop),
        )


async def _read_response(
    response: aiohttp.ClientResponse, request: _ExactPayload, keep: Callable[[], int]
) -> ReceivedResponse:
    body, cut, answer = bytearray(), False, request.answer
    try:
        while not cut and (chunk := await response.content.read(max(1, keep() + 1 - len(body)))):
            body += chunk
            cut = len(body) > keep()
    except (aiohttp.ClientError, OSError, TimeoutError):
        cut = True  # the status came, and it is what counts
        if answer is not None:
            answer.note_cut()
    if cut:
        response.close()
    return ReceivedResponse(
        status=response.status,
        headers=decode_headers(response.raw_headers),
        body=bytes(body[: keep()]),
        cut=cut,
        notes=tuple(answer.notes) if answer is not None else (),
    )


def _describe_failure(error: Exception, patience: Timeouts) -> NoAnswerError:
    unreachable = False
    match error:
        case aiohttp.ConnectionTimeoutError():
            detail, unreachable = f"no connection in {min(CONNECT_SECONDS, patience.total):g} s", True
        case aiohttp.ClientConnectorCertificateError():
            detail = f"the certificate does not hold: {_describe_certificate_error(error.certificate_error)}"
        case aiohttp.ClientConnectorSSLError():
            detail = "no TLS there"
        case aiohttp.ClientConnectorError():
            detail, unreachable = _describe_os_error(error.os_error), True
        case TimeoutError():
            detail = f"no answer in {patience.total:g} s"
        case aiohttp.ServerDisconnectedError():
            detail = "hung up without an answer" if isinstance(error.message, str) else "not HTTP"
        case aiohttp.ClientResponseError():
            detail = "not HTTP"
        case OSError():
            detail = _describe_os_error(error)
        case _:
            detail = "no answer"
    return NoAnswerError(detail, unreachable=unreachable)


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    if error.errno is None and f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return "connection refused"  # several addresses, several errors in one
    return _REFUSALS.get(error.errno or 0, "no connection")


def _describe_certificate_error(error: Exception) -> str:
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else "it names another host"
