"""Webhooks in a Starlette app: `Starlette(routes=[*webhooks("relay.toml")])`."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

from relay.frameworks.loading import METHODS, list_headers, missing_error, name_function, read_asgi_request, receiver
from relay.frameworks.receive import Receiver
from relay.frameworks.request import BodyConsumedError

try:
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.routing import Route
except ModuleNotFoundError as _error:
    raise missing_error(_error, "starlette", "Starlette") from _error

__all__ = ["receiver", "webhooks"]

_FIRST_CHUNK = 10.0  # seconds: providers send head and body together


def webhooks(config: Any = "relay.toml", **options: Any) -> list[Route]:
    """Return the routes that answer at `/webhooks/…`.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. Raises what `receiver` raises.
    """
    return [Route("/webhooks/{rest:path}", make_endpoint(config, **options), methods=METHODS, name="relay")]


def make_endpoint(config: Any, **options: Any) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint for a request."""
    receiving = config if isinstance(config, Receiver) else receiver(config, **options)

    async def receive(request: Request) -> Response:
        read, in_front = partial(_read_body, request), partial(_list_middleware, request)
        rest = request.path_params.get("rest")
        answered = await receiving.receive(read_asgi_request(request.scope, read, rest, in_front))
        response = Response(answered.body, answered.status)
        for name, value in list_headers(answered):
            response.headers.append(name, value)
        return response

    return receive


async def _read_body(request: Request, limit: int) -> bytes:
    """Return the bytes of a request. Raises BodyConsumedError, and ConnectionError where the sender left.

    A middleware that took the messages of a request and gave none back leaves nothing to wait for: the server
    sends no further one.
    """
    body = bytearray()
    stream = request.stream()
    try:
        async with asyncio.timeout(_FIRST_CHUNK) as waiting:
            async for chunk in stream:
                waiting.reschedule(None)
                body += chunk
                if len(body) > limit:
                    break
    except TimeoutError as error:
        raise BodyConsumedError(f"nothing of it came in {_FIRST_CHUNK:g} s") from error
    except RuntimeError as error:  # as Starlette does if the stream of this request object was read
        raise BodyConsumedError("its stream was read") from error
    except ClientDisconnect as error:
        raise ConnectionError("the sender has gone") from error
    return bytes(body)


def _list_middleware(request: Request) -> Iterable[str]:
    """Return the app's middleware; for one that wraps a function (`@app.middleware("http")`) that function."""
    app = request.scope.get("app")
    kinds = getattr(app, "user_middleware", ())
    return [name_function(kind.kwargs.get("dispatch") or kind.cls) for kind in kinds]
