"""A dialog: alone where htmx asked for it, on a page of its own otherwise."""

from aiohttp import web

from relay.web import gather
from relay.web.contexts.asking import Form, StandingPage
from relay.web.render import RENDERER, html, wants


async def dialog(
    request: web.Request, form: Form, title: str, nav: str = "events", status: int = 200
) -> web.Response:
    """Return a form as the dialog, or as a page under `nav`."""
    renderer = request.app[RENDERER]
    if wants(request) is not None:
        return html(renderer.part(form.template, form=form, standing=False), status)
    page = StandingPage(shell=await gather.frame(request, title, nav), title=title, form=form)
    return html(renderer.page(page), status)
