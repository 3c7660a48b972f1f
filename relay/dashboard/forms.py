"""A form as it was posted, and the ways to answer one."""

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.events import list_view
from relay.dashboard.layout import DialogForm, StandaloneDialogPage
from relay.dashboard.render import RENDERER, get_target_id, html_response
from relay.errors import RelayError
from relay.model.text import escape_unprintable


async def read_fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a form; of a name given twice the first."""
    form = list((await request.post()).items())
    return {name: value for name, value in reversed(form) if isinstance(value, str)}


async def read_values(request: web.Request, name: str) -> list[str]:
    """Return every value of a field."""
    return [value for value in (await request.post()).getall(name, []) if isinstance(value, str)]


def redirect(where: str) -> web.Response:
    """Send a browser without script on to where the result can be seen."""
    return web.Response(status=303, headers={"Location": where})


def format_error(error: RelayError) -> str:
    """Return an error as one sentence with what to do."""
    return escape_unprintable(f"{error.message.removesuffix('.')}: {error.hint}" if error.hint else error.message, 400)


def toast_header(text: str) -> dict[str, str]:
    """Return the header that makes the page say something for a moment."""
    # A header takes ASCII only: anything else in a target's name becomes an escape of JSON.
    return {"HX-Trigger": list_view.dump_ascii_json({"relay:toast": {"text": escape_unprintable(text, 200)}})}


async def render_dialog(
    request: web.Request, form: DialogForm, title: str, nav: str = "events", status: int = 200
) -> web.Response:
    """Return a form as the dialog, or as a page under `nav`."""
    renderer = request.app[RENDERER]
    if get_target_id(request) is not None:
        return html_response(renderer.part(form.template, form=form, standing=False), status)
    page = StandaloneDialogPage(shell=await page_data.build_shell(request, title, nav), title=title, form=form)
    return html_response(renderer.page(page), status)
