"""Errors as a person at the dashboard sees them: a sentence in place, or a page of its own."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from relay.errors import RelayError
from relay.model.text import printable
from relay.web import gather
from relay.web.contexts.pages import ErrorPage
from relay.web.keys import desk
from relay.web.refused import part_error
from relay.web.render import RENDERER, html, wants
from relay.web.view.words import ZONE

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def shown(handler: Handler) -> Handler:
    """Return the handler with what it raises on purpose shown as HTML."""

    async def answer(request: web.Request) -> web.StreamResponse:
        ZONE.set(desk(request).live.preferences.tz)
        try:
            return await handler(request)
        except RelayError as error:
            return await _page(request, error)

    return answer


async def _page(request: web.Request, error: RelayError) -> web.Response:
    sentence, hint = printable(error.sentence, 400).removesuffix("."), printable(error.hint, 400)
    if wants(request) is not None:
        said = f"That did not work: {sentence}.{f' To go on: {hint}.' if hint else ''}"
        return part_error(request, said, error.status)
    page = ErrorPage(
        shell=await gather.frame(request, "That did not work", ""),
        title="That did not work",
        sentence=f"{sentence[:1].upper()}{sentence[1:]}.",
        hint=hint,
    )
    return html(request.app[RENDERER].page(page), error.status)
