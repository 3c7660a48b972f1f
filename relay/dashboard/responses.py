"""Posted forms, and the kinds of responses: a page, a part of one, a dialog, a redirect."""

import json
import re
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from relay.dashboard import layout
from relay.dashboard.event_list import MAX_ROWS, join_search
from relay.dashboard.render import RENDERER, get_target_id, html_response
from relay.errors import RelayError, UsageError
from relay.model.parameters import parse_digits
from relay.model.search import format_spans
from relay.model.text import escape_unprintable

_LOCAL_PATH = re.compile(r"/(?![/\\])[!-~]*")


async def read_values(request: web.Request, name: str) -> list[str]:
    """Return all values of a field."""
    return [value for value in (await request.post()).getall(name, []) if isinstance(value, str)]


def parse_selected_ids(fields: MultiMapping[Any]) -> tuple[int, ...]:
    """Return the ids of the selected events: `id` for each row, `ids` for those no longer on the page."""
    texts = [text for name in ("id", "ids") for text in fields.getall(name, []) if isinstance(text, str)]
    ids = {parse_digits(part) for text in texts for part in text.split(",") if part}
    known = [id_ for id_ in ids if id_ is not None]
    if len(ids) > 2 * MAX_ROWS or len(known) < len(ids):
        raise UsageError("the selection cannot be read", hint="select the events again")
    return tuple(sorted(known))


def build_selection_query(fields: MultiMapping[Any]) -> str:
    """Return a query for the selection: `all` means all matches of `q`.

    Raises UsageError if nothing is selected.
    """
    ticked = parse_selected_ids(fields)
    if ticked and not fields.get("all"):
        return f"id:{format_spans(ticked)}"
    if "ids" in fields and not fields.get("all"):
        raise UsageError("no event is selected", hint="select some, or all that match")
    return join_search(fields)


def redirect(where: str) -> web.Response:
    """Redirect a browser without JavaScript to the result."""
    return web.Response(status=303, headers={"Location": where})


def safe_redirect_path(text: object) -> str:
    """Return the redirect target of a form: a path of this dashboard, never another site."""
    return text if isinstance(text, str) and _LOCAL_PATH.fullmatch(text) else "/events"


def format_error(error: RelayError) -> str:
    """Return an error as one sentence with its hint."""
    return escape_unprintable(f"{error.message.removesuffix('.')}: {error.hint}" if error.hint else error.message, 400)


def toast_header(text: str) -> dict[str, str]:
    """Return the header that shows a toast on the page."""
    # Headers are ASCII: other characters in a target's name become JSON escapes.
    return {"HX-Trigger": json.dumps({"relay:toast": {"text": escape_unprintable(text, 200)}})}


def answer_done(request: web.Request, where: str, text: str) -> web.Response:
    """Show a toast and keep the page; redirect a browser without JavaScript."""
    return redirect(where) if get_target_id(request) is None else web.Response(status=204, headers=toast_header(text))


def render_part(
    request: web.Request, template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> web.Response:
    """Return a rendered template as the response."""
    return html_response(request.app[RENDERER].part(template, **values), status, headers)


async def render_page(
    request: web.Request, template: str, title: str, nav: str, status: int = 200, **values: Any
) -> web.Response:
    """Return a page that extends `layout.html`; `nav` is its entry of the navigation."""
    shell = await layout.build_shell(request, title, nav)
    return render_part(request, template, status, shell=shell, **values)


async def render_dialog(
    request: web.Request,
    template: str,
    title: str,
    back: tuple[str, str],
    *,
    nav: str = "events",
    status: int = 200,
    **values: Any,
) -> web.Response:
    """Return a template as a dialog, or as a page; `back` is the URL and name of the page behind it."""
    values |= {"back": back[0], "back_name": back[1]}
    if get_target_id(request) is not None:
        return render_part(request, template, status, standing=False, **values)
    return await render_page(request, "dialog_page.html", title, nav, status, dialog=template, **values)
