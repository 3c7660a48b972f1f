"""Webhooks in a FastAPI app: `app.include_router(webhooks("relay.toml"))`."""

from typing import Any

from relay.frameworks.extras import METHODS, absent
from relay.frameworks.loading import receiver

try:
    from fastapi import APIRouter
except ModuleNotFoundError as _error:
    raise absent(_error, "fastapi", "FastAPI") from _error

from relay.frameworks.starlette import endpoint

__all__ = ["receiver", "webhooks"]


def webhooks(config: Any = "relay.toml", **options: Any) -> APIRouter:
    """Return a router that answers at `/webhooks/…`; it stays out of the app's OpenAPI schema.

    `config` is the path of a relay.toml, with the options of `receiver`, or a Receiver. Raises what
    `receiver` raises.
    """
    router = APIRouter()
    router.add_api_route(
        "/webhooks/{rest:path}",
        endpoint(config, **options),
        methods=list(METHODS),
        name="relay",
        include_in_schema=False,
    )
    return router
