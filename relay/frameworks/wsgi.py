"""A request as WSGI tells it: what Flask and Django know, back in the form it had on the wire."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from relay.frameworks.mounted import strip_mount
from relay.receiver import Incoming
from relay.receiver.incoming import Read

_HEADERS = {"CONTENT_TYPE": "Content-Type", "CONTENT_LENGTH": "Content-Length"}
_SAFE = "/!$&'()*+,;=:@~"


def incoming(
    environ: Mapping[str, Any], read: Read, rest: str | None, in_front: Callable[[], Iterable[str]]
) -> Incoming:
    """Return the request of a WSGI environ.

    `rest` is what the route matched behind `/webhooks/`; `read` gives the body and `in_front` what runs before
    relay, see Incoming.
    """
    path = _path(environ)
    query = environ.get("QUERY_STRING", "")
    tail = f"{path}?{query}" if query else path
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "localhost")
    return Incoming(
        method=environ["REQUEST_METHOD"],
        path=strip_mount(path, rest),
        query=query,
        headers=tuple(_headers(environ)),
        body=read,
        remote=environ.get("REMOTE_ADDR") or "",
        url=f"{environ.get('wsgi.url_scheme', 'http')}://{host}{tail}",
        in_front=in_front,
    )


def _path(environ: Mapping[str, Any]) -> str:
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


def _headers(environ: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        if name in _HEADERS:
            if value:
                yield _HEADERS[name], value
        elif name.startswith("HTTP_") and isinstance(value, str):
            yield name.removeprefix("HTTP_").replace("_", "-").title(), value
