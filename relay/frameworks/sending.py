"""`relay.send(payload, url)` and `relay.sign(body, url)`: webhooks of the user's own, from Python."""

import asyncio
import json
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any
from urllib.parse import urlsplit

from pydantic import PydanticUserError, TypeAdapter
from pydantic_core import PydanticSerializationError, to_jsonable_python

from relay import __version__
from relay.actions.egress import Destination, EgressRules, check_target, complete_url
from relay.actions.http_client import HttpClient
from relay.actions.response_parser import NoAnswerError
from relay.errors import InvalidPayloadError, SendError, TimedOutError, UnreachableError, UsageError
from relay.model.admission import BodySchema
from relay.model.delivery import SentRequest
from relay.model.event import Capture, Headers, SignatureScheme
from relay.model.payload import Payload, PayloadError, parse_json
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.pipeline.pydantic_schema import PydanticSchema
from relay.pipeline.validate import check_schema

KEY_HEADER = "Idempotency-Key"
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_STANDARD = "standard-webhooks"
_NAMED = 10  # problems of a payload named in the message; `problems` has all

Signature = str | Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came back: the status, at most 64 KiB of the body, and the headers in order.

    `key` is the idempotency key that it went with: send again with the same one, and a receiver that
    minds keys takes it for the same.
    """

    status: int
    body: bytes
    headers: Headers
    key: str

    @property
    def ok(self) -> bool:
        """Return whether it was taken: any 2xx."""
        return 200 <= self.status < 300

    @property
    def json(self) -> Any:
        """Return the body as JSON; None if it is not JSON."""
        try:
            return parse_json(self.body)
        except PayloadError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """A signed request; a scheme signs in headers, query or body."""

    query: str
    headers: Headers
    body: bytes


def sign(
    body: bytes,
    url: str,
    *,
    secret: str,
    signature: Signature = _STANDARD,
    method: str = "POST",
    headers: Iterable[tuple[str, str]] = (),
) -> SignedRequest:
    """Return a request with a fresh signature, made now as its sender would; nothing is sent.

    `url` is the address that the receiver believes was called. `signature` is the name of a provider that relay
    knows, where that signs in several ways with one of them (`"resend/simple"`), or a table as under
    `[sources.NAME.signature]`. `headers` are name and value, latin-1 text; those of an older signature are replaced.

    Raises SigningError where the secret cannot sign, ConfigError for a broken table, UsageError for a name that
    signs nothing, and TypeError for an argument of another type.
    """
    _require_type(bytes | bytearray, body=body)
    _require_type(str, url=url, secret=secret, method=method)
    _require_type(Iterable, headers=headers)
    headers = tuple(headers)  # which may be read only once
    for pair in headers:
        if not (isinstance(pair, tuple | list) and [*map(type, pair)] == [str, str]):
            raise TypeError("headers are pairs of name and value, each a str")
    parts = urlsplit(url)
    capture = Capture(
        source="relay.sign",
        method=method,
        path=parts.path or "/",
        query=parts.query,
        headers=tuple((name, value) for name, value in headers),
        body=body,
        remote="",
        received_at=datetime.now(UTC),
        url=url,
    )
    signed = _find_scheme(signature).sign(Secret("", secret), capture, capture.received_at)
    return SignedRequest(query=signed.query, headers=signed.headers, body=signed.body)


def send(
    payload: object,
    url: str,
    *,
    secret: str | None = None,
    signature: Signature = _STANDARD,
    schema: str | type | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Sent:
    """Post `payload` as JSON to `url`, wait for the answer, and return it whatever its status is.

    `payload` is anything Pydantic can write as JSON, or bytes that are sent as they are. `schema` is what it must
    fit: a model, or as in relay.toml `"models:Payment"` or `"schemas/payment.json"` in the current folder.
    With a `secret` it is signed: as Standard Webhooks, or as `signature` says, the name of a provider that
    relay knows or a table as under `[sources.NAME.signature]`. `key` goes as Idempotency-Key; without it a
    new one is made. `timeout` is in seconds. Nothing is tried again and no redirect is followed.

    Raises InvalidPayloadError, TargetError for an address that is none or must not be dialled, UnreachableError,
    TimedOutError, SendError for an answer that is no HTTP, SigningError, ConfigError for a broken schema or
    signature, TypeError for an argument of another type, and UsageError for anything else that makes no sense.
    """
    with suppress(RuntimeError):  # which says that there is none
        asyncio.get_running_loop()
        raise UsageError(
            "relay.send waits, which nothing may do inside a running event loop",
            hint="await relay.send_async(payload, url)",
        )
    sending = send_async(
        payload, url, secret=secret, signature=signature, schema=schema, key=key, headers=headers, timeout=timeout
    )
    return asyncio.run(sending)


async def send_async(
    payload: object,
    url: str,
    *,
    secret: str | None = None,
    signature: Signature = _STANDARD,
    schema: str | type | None = None,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,  # noqa: ASYNC109 - how long the answer may take; its error names it
) -> Sent:
    """Do as `send` does, from inside a running event loop."""
    _require_type(str, url=url)
    _require_type(str | None, secret=secret, key=key)
    _require_type(Mapping | None, headers=headers)
    for name, value in (headers or {}).items():
        _require_type(str, **{f"the header {name!r}": name, f"the value of {name!r}": value})
    _require_type(int | float, timeout=timeout)
    body = _serialise_payload(payload)
    if schema is not None:
        _check_schema(body, schema)
    destination = await check_target(complete_url(url), EgressRules())
    given = (value for name, value in (headers or {}).items() if name.lower() == KEY_HEADER.lower())
    key = next(given, uuid.uuid4().hex if key is None else key)
    capture = Capture(
        source="relay.send",
        method="POST",
        path=destination.path,
        query=destination.query,
        headers=_build_headers(headers or {}, key, signed=secret is not None),
        body=body,
        remote="",
        received_at=datetime.now(UTC),
        url=destination.url(),
    )
    if secret is not None:
        capture = _find_scheme(signature).sign(Secret("", secret), capture, capture.received_at)
    request = SentRequest(
        method="POST",
        url=destination.url(capture.path, capture.query),
        headers=(("Host", destination.authority), *capture.headers, ("Content-Length", str(len(capture.body)))),
        body=capture.body,
    )
    return await _post(request, destination, timeout, key)


def _require_type(kind: type | UnionType, **arguments: object) -> None:
    for name, value in arguments.items():
        if not isinstance(value, kind):
            wanted = kind.__name__ if isinstance(kind, type) else str(kind).replace("collections.abc.", "")
            raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def _serialise_payload(payload: object) -> bytes:
    if isinstance(payload, bytes):
        return payload
    try:
        plain = to_jsonable_python(payload)
        return json.dumps(plain, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (PydanticSerializationError, ValueError, TypeError, RecursionError) as error:
        kind = type(payload).__name__
        raise UsageError(
            f"the payload, a {kind}, cannot be written as JSON", hint="send a dict, a model or bytes"
        ) from error


def _check_schema(body: bytes, schema: str | type) -> None:
    problems = check_schema(_load_schema(schema), Payload(body, "application/json"))
    if problems:
        sentences = tuple(problem.sentence for problem in problems)
        more = f"; and {len(sentences) - _NAMED} more" if len(sentences) > _NAMED else ""
        raise InvalidPayloadError(
            f"the payload does not fit its schema: {'; '.join(sentences[:_NAMED])}{more}",
            hint="correct the fields; nothing was sent",
            problems=sentences,
        )


def _load_schema(schema: str | type) -> BodySchema:
    if not isinstance(schema, str):
        name = getattr(schema, "__name__", repr(schema))
        try:
            return PydanticSchema(name=name, adapter=TypeAdapter(schema))
        except PydanticUserError as error:
            raise UsageError(f"{name} is not a model", hint="give a class of pydantic.BaseModel") from error
    from relay.config.source_rules import body_schema  # noqa: PLC0415 - 0.3 s to import, and only a name needs it

    return body_schema(schema, Path.cwd())


def _build_headers(headers: Mapping[str, str], key: str, *, signed: bool) -> Headers:
    usual = {"Content-Type": "application/json", "User-Agent": f"relay/{__version__}", "Accept": "*/*", KEY_HEADER: key}
    # In Standard Webhooks the message's id is its idempotency key; other signatures do not use it.
    usual |= {"webhook-id": key} if signed else {}
    own = {name.lower() for name in headers}
    if own & _OURS:
        raise UsageError(f"the header {min(own & _OURS)} is relay's own", hint="leave it out")
    kept = {name: value for name, value in usual.items() if name.lower() not in own}
    return (*kept.items(), *headers.items())


def _find_scheme(signature: Signature) -> SignatureScheme:
    from relay.providers.catalogue import PROVIDERS  # noqa: PLC0415 - 0.1 s to import, for what is signed alone
    from relay.providers.custom_schemes import build_custom_scheme  # noqa: PLC0415 - as above

    _require_type(str | Mapping, signature=signature)
    if not isinstance(signature, str):
        for key in signature:
            _require_type(str, **{"a key of signature": key})
        return build_custom_scheme(signature)
    name, _, way = signature.partition("/")
    provider = PROVIDERS.get(name)
    if provider is None or provider.scheme is None:
        raise UsageError(
            f"nothing signs as {signature!r}",
            hint="name one that relay providers lists, or give a table as under [sources.NAME.signature]",
        )
    return provider.select_scheme(way) if way else provider.scheme


async def _post(request: SentRequest, destination: Destination, timeout: float, key: str) -> Sent:  # noqa: ASYNC109 - handed on
    try:
        async with HttpClient() as wire:
            got = await wire.send(request, destination, seconds=timeout)
    except NoAnswerError as error:
        sentence = f"{destination.authority}: {error.detail}"
        if isinstance(error.__cause__, TimeoutError):
            raise TimedOutError(sentence, hint="give it more time, or look why it hangs") from error
        if error.unreachable:
            raise UnreachableError(sentence, hint="start what should answer there") from error
        raise SendError(sentence, hint="check the server at that address") from error
    except ValueError as error:
        raise UsageError(f"cannot be sent: {error}", hint="look at the headers") from error
    return Sent(status=got.status, body=got.body, headers=got.headers, key=key)
