"""Refusals and failures of the dashboard: JSON for programs, a page or a message in place for a person."""

from urllib.parse import urlsplit

from aiohttp import web

from relay.model.text import printable
from relay.web.answers import error_response
from relay.web.assets import OPEN_PREFIX, PREFIX
from relay.web.posted import toast
from relay.web.render import RENDERER, html, wants

_FOR_PROGRAMS = ("/api/", "/metrics", "/healthz", "/stream", PREFIX, OPEN_PREFIX)
_HOME = "/events"


def refused(request: web.Request, status: int, code: str, message: str, hint: str = "") -> web.Response:
    """Return an error as JSON, as a page of its own, or as the message that htmx puts in place.

    Nothing of the request is echoed. Needs neither the store nor a session.
    """
    is_htmx = "HX-Request" in request.headers
    if request.path.startswith(_FOR_PROGRAMS) or not (is_htmx or _is_page(request)):
        return error_response(status, code, message, hint)
    if is_htmx and status == 401:
        # The session has ended: the whole page is of no use any more.
        return html("", status, {"HX-Redirect": "/login"})
    if wants(request) is not None:
        return part_error(request, f"{_sentence(message)} {_sentence(hint)}".strip(), status)
    return _page(request, status, code, message, hint)


def part_error(request: web.Request, said: str, status: int) -> web.Response:
    """Return an error where htmx asked for a part: in the dialog it wanted to open, in place, or as a toast."""
    renderer, target = request.app[RENDERER], wants(request)
    if target == "dialog":
        return html(renderer.part("parts/error_dialog.html", said=said), status)
    # Where nothing is to be swapped there is no place of its own to say it.
    headers = None if target else toast(said)
    return html(renderer.part("parts/errors.html", errors={"": said}), status, headers)


def sign_in(request: web.Request, wrong: str = "", wanted: str = "") -> web.Response:
    """Return the page that takes a token, 401, and then leads to what was wanted.

    `wrong` says what was wrong with the one that was given.
    """
    if not wanted and request.method == "GET" and request.path != "/login":
        wanted = request.path_qs
    return _bare(
        request,
        401,
        title="Sign in",
        sentence="This dashboard shows captured webhooks, so it asks who you are.",
        sign_in=True,
        next=safe_next(wanted),
        wrong=wrong,
    )


def safe_next(text: str) -> str:
    """Return where to go after signing in: a path of this dashboard, never another site."""
    parts = urlsplit(text)
    inside = (
        text.startswith("/") and not text.startswith(("//", "/\\")) and not (parts.scheme or parts.netloc)
    )
    return text if inside and text.isascii() and text.isprintable() else _HOME


def _is_page(request: web.Request) -> bool:
    navigates = request.headers.get("Sec-Fetch-Mode") == "navigate"
    return navigates or "text/html" in request.headers.get("Accept", "")


def _page(request: web.Request, status: int, code: str, message: str, hint: str) -> web.Response:
    if code == "no_token":
        return sign_in(request)
    title = {404: "Not found"}.get(status, "That did not work")
    return _bare(request, status, title=title, sentence=_sentence(message), hint=_sentence(hint))


def _bare(request: web.Request, status: int, **values: object) -> web.Response:
    given: dict[str, object] = {
        "hint": "",
        "sign_in": False,
        "next": "",
        "wrong": "",
        "broken": status >= 500,
    }
    return html(request.app[RENDERER].part("pages/bare.html", **given | values), status)


def _sentence(text: str) -> str:
    shown = printable(text, 400).strip().removesuffix(".")
    return f"{shown[:1].upper()}{shown[1:]}." if shown else ""
