"""A request as ASGI tells it: what Starlette, FastAPI and Django know, in the form it had on the wire."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from relay.frameworks.mounted import strip_mount
from relay.receiver import Incoming
from relay.receiver.incoming import Read


def incoming(
    scope: Mapping[str, Any], read: Read, rest: str | None, in_front: Callable[[], Iterable[str]]
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
