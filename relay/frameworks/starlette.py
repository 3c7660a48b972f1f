"""Webhooks in a Starlette app: `Starlette(routes=[*webhooks("relay.toml")])`."""

from collections.abc import Awaitable, Callable
from typing import Any

from relay.frameworks import asgi
from relay.frameworks.extras import METHODS, absent, headers_of
from relay.frameworks.loading import receiver
from relay.receiver import Receiver

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ModuleNotFoundError as _error:
    raise absent(_error, "starlette", "Starlette") from _error

__all__ = ["receiver", "webhooks"]


def webhooks(config: Any = "relay.toml", **options: Any) -> list[Route]:
    """Return the routes that answer at `/webhooks/…`.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. Raises what
    `receiver` raises.
    """
    return [Route("/webhooks/{rest:path}", endpoint(config, **options), methods=METHODS, name="relay")]


def endpoint(config: Any, **options: Any) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers one request."""
    receiving = config if isinstance(config, Receiver) else receiver(config, **options)

    async def receive(request: Request) -> Response:
        async def read(limit: int) -> bytes:
            return await _body(request, limit)

        answered = await receiving.receive(asgi.incoming(request.scope, read))
        response = Response(answered.body, answered.status)
        for name, value in headers_of(answered):
            response.headers.append(name, value)
        return response

    return receive


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
    except ClientDisconnect as error:
        raise ConnectionError("the sender has gone") from error
    return bytes(body)
