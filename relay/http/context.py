"""What a handler finds in its app: the running relay, how a refusal is rendered."""

from typing import Protocol

from aiohttp import web

from relay.services.relay import RunningRelay


class RefusalRenderer(Protocol):
    """Turns a refusal into a response: JSON for programs, a page for a person."""

    def __call__(self, request: web.Request, status: int, code: str, message: str, hint: str = "") -> web.Response:
        """Return the response."""
        ...


RELAY: web.AppKey[RunningRelay] = web.AppKey("relay", RunningRelay)
REFUSAL_RENDERER: web.AppKey[RefusalRenderer] = web.AppKey("refusal")


def get_relay(request: web.Request) -> RunningRelay:
    """Return the relay that this request asks something of."""
    return request.app[RELAY]
