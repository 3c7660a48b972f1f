"""Webhooks in a FastAPI app: `app.include_router(webhooks("relay.toml"))`."""

from typing import Any

from relay.frameworks.loading import METHODS, missing_error, receiver

try:
    from fastapi import APIRouter
except ModuleNotFoundError as _error:
    raise missing_error(_error, "fastapi", "FastAPI") from _error

from relay.frameworks.starlette import make_endpoint

__all__ = ["receiver", "webhooks"]


def webhooks(config: Any = "relay.toml", **options: Any) -> APIRouter:
    """Return a router that answers at `/webhooks/…`; it stays out of the app's OpenAPI schema.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. Raises what `receiver` raises.
    """
    router = APIRouter()
    router.add_api_route(
        "/webhooks/{rest:path}",
        make_endpoint(config, **options),
        methods=list(METHODS),
        name="relay",
        include_in_schema=False,
    )
    return router
