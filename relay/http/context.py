"""What a handler finds in its app: the running relay, the token of its forms, how a refusal is shown."""

from typing import Protocol

from aiohttp import web

from relay.services.state import HandlerContext


class RefusalRenderer(Protocol):
    """Turns a refusal into a response: JSON for programs, a page for a person."""

    def __call__(self, request: web.Request, status: int, code: str, message: str, hint: str = "") -> web.Response:
        """Return the response."""
        ...


HANDLER_CONTEXT: web.AppKey[HandlerContext] = web.AppKey("context", HandlerContext)
CSRF_TOKEN: web.AppKey[str] = web.AppKey("csrf", str)
REFUSAL_RENDERER: web.AppKey[RefusalRenderer] = web.AppKey("refusal")


def get_context(request: web.Request) -> HandlerContext:
    """Return what the handler of this request may use."""
    return request.app[HANDLER_CONTEXT]
