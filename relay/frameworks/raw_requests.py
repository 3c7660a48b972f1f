"""A request as ASGI tells it: what Starlette, FastAPI and Django know, in the form it had on the wire."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from relay.receiver import Incoming
from relay.receiver.request import ReadBody


def read_asgi_request(
    scope: Mapping[str, Any], read: ReadBody, rest: str | None, in_front: Callable[[], Iterable[str]]
) -> Incoming:
    """Return the request of an ASGI scope.

    `rest` is what the route matched behind `/webhooks/`; `read` gives the body and `in_front` what runs before
    relay, see Incoming.
    """
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    query = scope.get("query_string", b"")
    # The async client that Django has for tests gives text.
    query = query if isinstance(query, str) else query.decode("latin-1")
    tail = f"{path}?{query}" if query else path
    host = next((value for name, value in headers if name.lower() == "host"), "localhost")
    client = scope.get("client")
    return Incoming(
        method=scope["method"],
        path=strip_mount(path, rest),
        query=query,
        headers=headers,
        body=read,
        remote=client[0] if client else "",
        url=f"{scope.get('scheme', 'http')}://{host}{tail}",
        in_front=in_front,
    )


_HOOKS = "/webhooks"


def strip_mount(path: str, rest: str | None) -> str:
    """Return a raw path from relay's own `/webhooks` on, without what the app or its router is mounted below.

    `rest` is what the framework matched behind `/webhooks/`, decoded: it tells the route from a prefix that is
    called `/webhooks` too. Without it the first `/webhooks` counts.
    """
    first = at = path.find(_HOOKS)
    while at >= 0:
        if rest is not None and unquote(path[at:]) == f"{_HOOKS}/{rest}":
            return path[at:]
        at = path.find(_HOOKS, at + 1)
    return path[first:] if first > 0 else path


_HEADERS = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
_SAFE = "/!$&'()*+,;=:@~"


def read_wsgi_request(
    environ: Mapping[str, Any], read: ReadBody, rest: str | None, in_front: Callable[[], Iterable[str]]
) -> Incoming:
    """Return the request of a WSGI environ.

    `rest` is what the route matched behind `/webhooks/`; `read` gives the body and `in_front` what runs before
    relay, see Incoming.
    """
    path = _raw_path(environ)
    query = environ.get("QUERY_STRING", "")
    tail = f"{path}?{query}" if query else path
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost")
    return Incoming(
        method=environ["REQUEST_METHOD"],
        path=strip_mount(path, rest),
        query=query,
        headers=tuple(_raw_headers(environ)),
        body=read,
        remote=environ.get("REMOTE_ADDR") or "",
        url=f"{environ.get('wsgi.url_scheme', 'http')}://{host}{tail}",
        in_front=in_front,
    )


def _raw_path(environ: Mapping[str, Any]) -> str:
    """Return the path with its percent-encoding, which WSGI itself takes away and most servers keep beside it."""
    decoded = environ.get("PATH_INFO", "")
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if not raw.startswith("/"):
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    raw = raw.partition("?")[0]
    # Not where something between server and app has changed the path since.
    if unquote(raw, "latin-1").endswith(decoded) and decoded:
        return str(raw)
    return quote(environ.get("SCRIPT_NAME", "") + decoded, safe=_SAFE, encoding="latin-1")


def _raw_headers(environ: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name in _HEADERS:
            if value:
                yield _HEADERS[name], value
        elif name.startswith("HTTP_") and isinstance(value, str):
            yield name.removeprefix("HTTP_").replace("_", "-").title(), value
