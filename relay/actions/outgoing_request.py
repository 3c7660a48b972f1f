"""Builds the request that a forward sends from a capture, with as few changes as possible; pure."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

from relay.actions.egress import Destination
from relay.model.delivery import NO_CHANGES, Delivery, DeliveryChanges, DeliveryReason, SentRequest, SignMode
from relay.model.event import Capture, CapturedEvent, Headers
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.sender_urls import build_public_url

# RFC 9110, 7.6.1, and those that older software sends.
HOP_BY_HOP = frozenset(
    {
        "connection",
        # Its sender was told to continue already, and the body is sent together with the head here.
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_RELAY_HEADERS = frozenset({"x-relay-hop", "x-relay-event", "x-relay-replay"})
_SET_BY_US = frozenset({"host", "content-length"})
_STAYING = HOP_BY_HOP | _RELAY_HEADERS
_FRAMING = _STAYING | {"content-length"}
_NEVER_REMOVED = _FRAMING | {"host"}
_CREDENTIALS = frozenset({"authorization", "cookie"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f]")
_BREAKING = re.compile(r"[\r\n\0]")
_LONGEST_NOTE = 300  # characters of a note
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOptions:
    """A target of the action `forward`.

    `timeout` in seconds, for the whole exchange. `set_headers` replace or add, `remove_headers` drop,
    both last, after signing. For schemes that sign the URL `sign_url` is the one that the app checks:
    the target's, or the one that the provider called. None with AUTO is the called one for a live
    delivery, and for a replay if the source has a `public_url`; else the target's.

    `fixed_path` sends everything to the path of `url`, also requests below the source's path.
    `keep_host` sends the Host that the sender called, `forwarded` adds X-Forwarded-For, -Proto and
    -Host.
    """

    url: str
    timeout: float = 30.0
    sign: SignMode = SignMode.AUTO
    set_headers: Headers = ()
    remove_headers: tuple[str, ...] = ()
    verify_tls: bool = True
    sign_url: Literal["target", "public"] | None = None
    fixed_path: bool = False
    keep_host: bool = False
    forwarded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """How a request is signed.

    `list_received` returns the request at the address the provider called, if a signature for that is enough.
    `requested`: the mode was chosen for this delivery, not by its target's settings.
    `edited_headers`: the user changed headers.
    """

    mode: SignMode
    list_received: Callable[[], tuple[Capture, ...]] = tuple
    requested: bool = False
    edited_headers: bool = False


def readdress(capture: Capture, path: str, query: str, headers: Headers, url: str) -> Capture:
    """Return a request with another address and other headers; `replace` takes three times as long."""
    return Capture(
        source=capture.source,
        method=capture.method,
        path=path,
        query=query,
        headers=headers,
        body=capture.body,
        remote=capture.remote,
        received_at=capture.received_at,
        url=url,
    )


def build_request_target(
    event: CapturedEvent, changes: DeliveryChanges, options: ForwardOptions, destination: Destination, source_path: str
) -> tuple[str, str, tuple[str, ...]]:
    """Return path and query of the request sent, and a note if they differ unexpectedly.

    Events go to the target's own path; the part of an event's path below its source's is appended
    unless the path is fixed, and its query is added to the target's own; a `?` without a query
    stays at the end of the path.
    """
    notes: tuple[str, ...] = ()
    if changes.path is not None:
        path = changes.path
    elif options.fixed_path:
        path = destination.path
    else:
        below = _path_below(event.capture.path, source_path)
        inside = _resolve_dots(below)
        notes = ("the path climbed out of the target's and was kept below it",) if inside != below else ()
        path = destination.path.rstrip("/") + inside if inside else destination.path
    if changes.query is not None:
        return path, changes.query, notes
    query = "&".join(part for part in (destination.query, event.capture.query) if part)
    if changes.path is None and _UNSENDABLE.search(path + query):
        # Gateways put raw spaces into a query, which cannot be forwarded unchanged.
        notes += ("spaces and control characters in the path or query are percent-encoded",)
        path, query = (_UNSENDABLE.sub(lambda found: f"%{ord(found[0]):02X}", part) for part in (path, query))
    if changes.path is None and not query and event.capture.request_target.endswith("?"):
        path += "?"
    return path, query, notes


def _path_below(path: str, source_path: str) -> str:
    root = source_path.rstrip("/")
    if path.startswith(root + "/"):
        rest = path[len(root) :]
    else:
        # The same path may be escaped differently (/webhooks/caf%c3%a9, or not at all), but has the same slashes.
        segments, depth = path.split("/"), root.count("/") + 1
        is_same = unquote("/".join(segments[:depth]), "latin-1") == unquote(root, "latin-1")
        rest = "".join(f"/{segment}" for segment in segments[depth:]) if is_same else ""
    return "" if rest == "/" else rest


def _resolve_dots(below: str) -> str:
    """Return the path with its dot segments resolved if they would leave it, else unchanged."""
    kept: list[str] = []
    climbs = False
    for segment in below.split("/"):
        match segment.lower().replace("%2e", "."):
            case "" | ".":
                continue
            case "..":
                climbs = climbs or not kept
                kept = kept[:-1]
            case _:
                kept.append(segment)
    return "".join(f"/{segment}" for segment in kept) if climbs else below


def called_url(event: CapturedEvent, changes: DeliveryChanges, source_path: str, public_url: str | None) -> str:
    """Return the address that the provider called: the source's `public_url` if it has one, else the event's own."""
    capture = event.capture
    query = capture.query if changes.query is None else changes.query
    if public_url:
        return build_public_url(public_url, source_path, capture.path, query)
    url = capture.url.partition("?")[0]
    return f"{url}?{query}" if query else url


def app_url(event: CapturedEvent, options: ForwardOptions, destination: Destination, tail: str) -> str:
    """Return the address that the app believes was called, for signatures over it; `tail` is path and query."""
    host = _original_host(event.capture) if options.keep_host else ""
    if not host:
        return f"{destination.scheme}://{destination.authority}{tail}"
    scheme = _called_origin(event.capture)[0] if options.forwarded else destination.scheme
    return f"{scheme}://{host}{tail}"


def apply_changes(capture: Capture, changes: DeliveryChanges) -> tuple[Capture, tuple[str, ...]]:
    """Return the request with the user's edits to method, headers and body, and a note for each edit."""
    if changes is NO_CHANGES:
        return capture, ()
    edits = {
        name: value
        for name in ("method", "headers", "body")
        if (value := getattr(changes, name)) is not None and value != getattr(capture, name)
    }
    outgoing = replace(capture, **edits)
    descriptions = {
        "method": f": {capture.method} to {outgoing.method}",
        "headers": f": {describe_header_changes(capture.headers, outgoing.headers)}",
        "body": f": {len(capture.body)} to {len(outgoing.body)} bytes",
    }
    named = [*edits, *(name for name in ("path", "query") if getattr(changes, name) is not None)]
    return outgoing, tuple(
        escape_unprintable(f"{name} edited{descriptions.get(name, '')}", _LONGEST_NOTE) for name in named
    )


def edit_request(capture: Capture, changes: DeliveryChanges) -> Capture:
    """Return the request with all of the user's edits, for reading and not for sending."""
    request, _ = apply_changes(capture, changes)
    path = request.path if changes.path is None else changes.path
    query = request.query if changes.query is None else changes.query
    return replace(request, path=path, query=query)


def describe_header_changes(before: Headers, after: Headers) -> str:
    """Return the names of headers that differ, without values: `X-A changed, X-B added, Host left to relay`."""
    names = {name.lower(): name for name, _ in (*before, *after)}
    changes = []
    for lower, name in names.items():
        was, now = ([value for key, value in side if key.lower() == lower] for side in (before, after))
        if lower in _SET_BY_US or lower in _STAYING:
            changes += [f"{name} left to relay"] if set(now) - set(was) else []
        elif was != now:
            changes.append(f"{name} {'added' if not was else 'changed' if now else 'removed'}")
    return ", ".join(changes) or "only their order or spelling"


def portable_headers(headers: Headers, original: Headers, *, loopback: bool) -> tuple[Headers, tuple[str, ...]]:
    """Return the headers that may be forwarded, in order, and notes on those removed.

    Hop-by-hop headers are removed; so are the sender's credentials, unless the target is on
    this computer.
    """
    notes: dict[str, None] = {}
    named = [value for name, value in headers if len(name) == 10 and name.lower() == "connection"]
    stays = frozenset(token.strip().lower() for value in named for token in value.split(",")) - _SET_BY_US
    kept: list[tuple[str, str]] = []
    for pair in headers:
        kind = _classify_header(pair[0])
        if kind == "stays" or (stays and pair[0].lower() in stays):
            continue
        if kind == "credential" and not loopback and pair in original:
            notes[f"{pair[0]} left out: the target is not on this computer"] = None
        elif kind == "invalid" or _BREAKING.search(pair[1]):
            notes["a header that HTTP does not allow was left out"] = None
        else:
            kept.append(pair)
    return tuple(kept), tuple(notes)


@lru_cache(maxsize=1024)
def _classify_header(name: str) -> str:
    lower = name.lower()
    if lower in _STAYING:
        return "stays"
    if lower in _CREDENTIALS:
        return "credential"
    return "" if _TOKEN.fullmatch(name) else "invalid"


def final_headers(
    signed: Capture, event: CapturedEvent, delivery: Delivery, options: ForwardOptions, destination: Destination
) -> Headers:
    """Return the final headers: Host and length set, relay's own added, the target's settings last."""
    host = _original_host(event.capture) if options.keep_host else ""
    ours = [("Host", host or destination.authority)]
    if options.forwarded:
        ours += _forwarded_headers(event.capture)
    if signed.body or signed.method in _WITH_BODY or signed.header("Content-Length") is not None:
        ours.append(("Content-Length", str(len(signed.body))))
    ours += (("X-Relay-Hop", "1"), ("X-Relay-Event", str(event.id)))
    if delivery.reason is DeliveryReason.REPLAY:
        ours.append(("X-Relay-Replay", "1"))
    if options.set_headers:
        ours += [pair for pair in options.set_headers if pair[0].lower() not in _FRAMING]
    headers = _set_headers(signed.headers, ours)
    if not options.remove_headers:
        return headers
    gone = {name.lower() for name in options.remove_headers} - _NEVER_REMOVED
    return tuple(pair for pair in headers if pair[0].lower() not in gone)


def _forwarded_headers(capture: Capture) -> Headers:
    """Return the X-Forwarded headers: each proxy appends its peer to what it received."""
    scheme, host = _called_origin(capture)
    known = [value for value in capture.header_values("X-Forwarded-For") if value]
    # A tunnel's agent on this computer has named the caller already; it is not a caller itself.
    peer = [] if known and capture.remote in ("127.0.0.1", "::1") else [capture.remote]
    return (("X-Forwarded-For", ", ".join([*known, *peer])), ("X-Forwarded-Proto", scheme), ("X-Forwarded-Host", host))


def _called_origin(capture: Capture) -> tuple[str, str]:
    """Return the scheme and the host that the sender called."""
    scheme, _, rest = capture.url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return (scheme, host) if scheme in ("http", "https") and _HOST.fullmatch(host) else ("http", "localhost")


def _original_host(capture: Capture) -> str:
    host = capture.header("Host") or ""
    return host if _HOST.fullmatch(host) else ""


def _set_headers(headers: Headers, values: list[tuple[str, str]]) -> Headers:
    """Return the headers with exactly one of each name of `values`, in the position and spelling of the first one.

    New headers come last, except Host, which comes first. Of two values of a name the last is used.
    """
    wanted: dict[str, tuple[str, str]] = {}
    for name, value in values:
        lower = name.lower()
        wanted[lower] = (wanted[lower][0] if lower in wanted else name, value)
    made: list[tuple[str, str]] = []
    placed: set[str] = set()
    for pair in headers:
        lower = pair[0].lower()
        if lower not in wanted:
            made.append(pair)
        elif lower not in placed:
            placed.add(lower)
            made.append((pair[0], wanted[lower][1]))
    first = [] if "host" in placed or "host" not in wanted else [wanted.pop("host")]
    return (*first, *made, *[pair for lower, pair in wanted.items() if lower not in placed])


def describe_settings(options: ForwardOptions) -> tuple[str, ...]:
    """Return notes on the changes by the target's settings."""
    return (
        *(["Host kept as received"] if options.keep_host else []),
        *(["X-Forwarded-For, -Proto and -Host set"] if options.forwarded else []),
        *(f"{name} set by the target" for name, _ in options.set_headers if name.lower() not in _FRAMING),
        *(f"{name} removed by the target" for name in options.remove_headers if name.lower() not in _NEVER_REMOVED),
    )


def encode_head(request: SentRequest) -> bytes:
    """Return the request line and the headers as bytes; header names and values are unchanged.

    Raises ValueError for values that would break the framing.
    """
    slash = request.url.find("/", request.url.index("://") + 3)
    target = request.url[slash:] if slash >= 0 else "/"
    if _UNSENDABLE.search(request.method + target):
        raise ValueError("a method or path holds a space or a control character")
    lines = [f"{request.method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in request.headers]]
    head = "\r\n".join(lines)
    if not head.count("\r") == head.count("\n") == len(lines) - 1 or "\0" in head:
        raise ValueError("a header holds a line break")
    return (head + "\r\n\r\n").encode("latin-1")
