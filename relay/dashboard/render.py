"""Renders templates to HTML: autoescaped, strict about undefined names, shared by page, part and stream."""

import re
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension

from relay.dashboard.assets import Assets, find_resource_folder
from relay.dashboard.delivery_rows import DELIVERY_FILTERS
from relay.dashboard.event_list import EVENT_FILTERS
from relay.dashboard.filters import FILTERS, escape_output

CSRF_HEADER = "X-Relay-CSRF"
CSRF_FIELD = "csrf"
# In this order; css/lab.css is only for the pages of the lab.
STYLES = tuple(
    f"css/{name}.css" for name in ("tokens", "base", "layout", "components", "events", "dialogs", "pages", "adapt")
)
# In this order, at the end of the body, without `defer`: else htmx starts before its extensions register.
SCRIPTS = ("vendor/htmx.min.js", "vendor/hx-sse.min.js", "vendor/hx-preload.min.js")
# The first one loads the others; they run before htmx starts, which waits for the whole page.
MODULES = tuple(
    f"js/{name}.js"
    for name in ("main", "announcements", "dialogs", "dom", "live", "payload", "rows", "selection", "shortcuts")
)
_PIECE = re.compile(
    r"""
    (?P<kept><(pre|textarea)\b.*?</\2\s*>)       # all its white space is visible
    | (?P<tag><[/!]?[a-zA-Z](?:"[^"]*"|'[^']*'|\{%.*?%\}|\{\{.*?\}\}|[^>"'])*>)
    | (?P<code>\{%.*?%\}|\{\{.*?\}\}|\{\#.*?\#\})
    | (?P<break>\s*\n\s*)
    """,
    re.DOTALL | re.VERBOSE,
)
_IN_TAG = re.compile(
    r"""
    (?P<value>"[^"]*"|'[^']*')
    | (?:\s*\n\s*(?=\{%\ *if\b)|\s*(?=\{%\ *el))(?P<condition>\{%.*?%\})\s*
    | (?P<end>\s*\n\s*(?=/?>|\{%\ *endif\b))
    | (?P<break>\s*\n\s*)
    """,
    re.DOTALL | re.VERBOSE,
)


class Renderer:
    """Renders templates."""

    def __init__(self, csrf: str, assets: Assets, origin: str) -> None:
        # An undefined name in a template is an error, not an empty string.
        self._environment = Environment(
            loader=FileSystemLoader(find_resource_folder("ui")),
            extensions=[TemplateLines, "jinja2.ext.do"],
            autoescape=True,
            undefined=StrictUndefined,
            finalize=escape_output,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update({**FILTERS, **EVENT_FILTERS, **DELIVERY_FILTERS})
        self._environment.globals.update(
            asset=assets.url,
            open_asset=assets.login_url_of,
            origin=origin,
            styles=STYLES,
            scripts=SCRIPTS,
            modules=MODULES,
            csrf_token=csrf,
            csrf_field=CSRF_FIELD,
            csrf_header=CSRF_HEADER,
        )

    def part(self, template: str, **values: Any) -> str:
        """Return a rendered template."""
        return self._environment.get_template(template).render(**values)

    def compile_templates(self, *names: str) -> None:
        """Compile templates before the first page needs them; each takes about ten milliseconds."""
        for name in names:
            self._environment.get_template(name)

    def render_macro(self, name: str, *arguments: Any) -> str:
        """Return the output of a macro of `macros.html`: a row, a chip."""
        module = self._environment.get_template("macros.html").module
        return str(getattr(module, name)(*arguments))


RENDERER: web.AppKey[Renderer] = web.AppKey("renderer", Renderer)


def make_partial(target: str, swap: str, html: str) -> str:
    """Return a part of a response that htmx swaps out of band; both arguments are relay's own, never captured."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


def html_response(text: str, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return HTML as a response that caches do not confuse with other variants of the same URL."""
    return web.Response(
        status=status,
        body=text.encode("utf-8", "backslashreplace"),
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Vary": "HX-Request, HX-Request-Type, HX-Target",
            **(headers or {}),
        },
    )


def sandboxed_response(text: str) -> web.Response:
    """Return a mail's HTML with a policy under which it can neither run scripts nor load anything."""
    policy = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return html_response(text, headers={"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"})


def get_target_id(request: web.Request) -> str | None:
    """Return the id of the element that a partial response is for; None for a whole page."""
    if request.headers.get("HX-Request-Type") != "partial":
        return None
    return request.headers.get("HX-Target", "").partition("#")[2]


class TemplateLines(Extension):
    """Drops line breaks and indents when a template is compiled.

    A line break between two words is a space. Next to a tag, `{{ }}` or `{% %}` it is dropped: a visible space
    has to be on the same line, or written `{{ ' ' }}`. Between attributes it is a space, which belongs
    to the condition if one is on a separate line. `<pre>` and `<textarea>` are unchanged.
    Comments keep the line numbers, for errors.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002 (jinja2 names them)
        """Return the source to compile."""
        return _PIECE.sub(_join, source)


def _join(piece: re.Match[str]) -> str:
    if piece["tag"]:
        return _IN_TAG.sub(_join_attributes, piece["tag"])
    if piece["break"]:
        before, after = piece.string[: piece.start()][-1:], piece.string[piece.end() :][:1]
        space = "" if before in ("", ">", "}") or after in ("", "<", "{") else " "
        return space + _count_lines(piece)
    return piece[0]


def _join_attributes(piece: re.Match[str]) -> str:
    if piece["value"]:
        return piece["value"]
    if piece["condition"]:
        return f"{_count_lines(piece)}{piece['condition']} "
    return _count_lines(piece) if piece["end"] is not None else f" {_count_lines(piece)}"


def _count_lines(piece: re.Match[str]) -> str:
    lines = piece[0].count("\n")
    return "{#" + "\n" * lines + "#}" if lines else ""
