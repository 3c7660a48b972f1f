"""A form as it was posted, and the ways to answer: a page, a part of one, a dialog, a redirect."""

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
    """Return every value of a field."""
    return [value for value in (await request.post()).getall(name, []) if isinstance(value, str)]


def parse_selected_ids(fields: MultiMapping[Any]) -> tuple[int, ...]:
    """Return the events that were ticked: `id` once for each row, `ids` those that left the page meanwhile."""
    texts = [text for name in ("id", "ids") for text in fields.getall(name, []) if isinstance(text, str)]
    ids = {parse_digits(part) for text in texts for part in text.split(",") if part}
    known = [id_ for id_ in ids if id_ is not None]
    if len(ids) > 2 * MAX_ROWS or len(known) < len(ids):
        raise UsageError("the selection cannot be read", hint="select the events again")
    return tuple(sorted(known))


def build_selection_query(fields: MultiMapping[Any]) -> str:
    """Return the search that means what was selected: `all` takes every match of `q`.

    Raises UsageError when a form came without a tick.
    """
    ticked = parse_selected_ids(fields)
    if ticked and not fields.get("all"):
        return f"id:{format_spans(ticked)}"
    if "ids" in fields and not fields.get("all"):
        raise UsageError("no event is selected", hint="select some, or all that match")
    return join_search(fields)


def redirect(where: str) -> web.Response:
    """Send a browser without script on to where the result can be seen."""
    return web.Response(status=303, headers={"Location": where})


def safe_redirect_path(text: object) -> str:
    """Return where a form says to go on: a path of this dashboard, never another site."""
    return text if isinstance(text, str) and _LOCAL_PATH.fullmatch(text) else "/events"


def format_error(error: RelayError) -> str:
    """Return an error as one sentence with what to do."""
    return escape_unprintable(f"{error.message.removesuffix('.')}: {error.hint}" if error.hint else error.message, 400)


def toast_header(text: str) -> dict[str, str]:
    """Return the header that makes the page say something for a moment."""
    # A header takes ASCII only: anything else in a target's name becomes an escape of JSON.
    return {"HX-Trigger": json.dumps({"relay:toast": {"text": escape_unprintable(text, 200)}})}


def answer_done(request: web.Request, where: str, text: str) -> web.Response:
    """Show briefly what was done and keep the page; redirect a browser without script."""
    return redirect(where) if get_target_id(request) is None else web.Response(status=204, headers=toast_header(text))


def render_part(
    request: web.Request, template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any
) -> web.Response:
    """Return one template as the answer."""
    return html_response(request.app[RENDERER].part(template, **values), status, headers)


async def render_page(
    request: web.Request, template: str, title: str, nav: str, status: int = 200, **values: Any
) -> web.Response:
    """Return a template that extends `layout.html`; `nav` is the entry of the navigation it belongs to."""
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
    """Return a template as the dialog, or in a page of its own; `back` is where closing it leads, and its name."""
    values |= {"back": back[0], "back_name": back[1]}
    if get_target_id(request) is not None:
        return render_part(request, template, status, standing=False, **values)
    return await render_page(request, "dialog_page.html", title, nav, status, dialog=template, **values)
