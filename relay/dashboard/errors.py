"""Errors of the dashboard: JSON for programs, a page or an inline message for people."""

from collections.abc import Awaitable, Callable
from datetime import UTC

from aiohttp import web
from aiohttp.typedefs import Handler

from relay.dashboard.assets import STATIC_PREFIX
from relay.dashboard.filters import TIME_ZONE, capitalize_first
from relay.dashboard.render import RENDERER, get_target_id, html_response
from relay.dashboard.responses import redirect, render_page, safe_redirect_path, toast_header
from relay.errors import RelayError
from relay.http.guard import LOGIN_STATIC_PREFIX, Guard
from relay.http.params import call_handler, read_fields
from relay.http.responses import error_response, get_relay
from relay.model.text import escape_unprintable

_PROGRAM_PREFIXES = ("/api/", "/metrics", "/healthz", "/stream", STATIC_PREFIX, LOGIN_STATIC_PREFIX)

PageHandler = Callable[..., Awaitable[web.StreamResponse]]
"""A handler of a page, whose parameters `call_handler` fills in."""


def error_response_for(request: web.Request, status: int, code: str, message: str, hint: str = "") -> web.Response:
    """Return an error as JSON, as a page, or as a message that htmx inserts.

    Nothing of the request is echoed. Needs neither the store nor a session.
    """
    is_htmx = "HX-Request" in request.headers
    if request.path.startswith(_PROGRAM_PREFIXES) or not (is_htmx or _is_page(request)):
        return error_response(status, code, message, hint)
    if is_htmx and status == 401:
        # The session has ended: the whole page has to be replaced.
        return html_response("", status, {"HX-Redirect": "/login"})
    if get_target_id(request) is not None:
        return _render_error_part(request, f"{_format_sentence(message)} {_format_sentence(hint)}".strip(), status)
    if code == "no_token":
        return render_sign_in(request)
    title = {404: "Not found"}.get(status, "That did not work")
    values = {"message": _format_sentence(message), "hint": _format_sentence(hint)}
    return _render_bare_page(request, status, title=title, **values)


def _render_error_part(request: web.Request, message: str, status: int) -> web.Response:
    """Return an error for an htmx request: in the dialog, in place, or as a toast."""
    renderer, target = request.app[RENDERER], get_target_id(request)
    if target == "dialog":
        return html_response(renderer.part("error_dialog.html", message=message), status)
    # If nothing is swapped there is no place for the message.
    headers = None if target else toast_header(message)
    return html_response(renderer.part("errors.html", errors={"": message}), status, headers)


def render_sign_in(request: web.Request, wrong: str = "", destination: str = "") -> web.Response:
    """Return the sign-in page with status 401; `wrong` says why the given token was refused."""
    if not destination and request.method == "GET" and request.path != "/login":
        destination = request.path_qs
    return _render_bare_page(
        request,
        401,
        title="Sign in",
        message="This dashboard shows captured webhooks, so it asks who you are.",
        sign_in=True,
        next=safe_redirect_path(destination),
        wrong=wrong,
    )


def _is_page(request: web.Request) -> bool:
    navigates = request.headers.get("Sec-Fetch-Mode") == "navigate"
    return navigates or "text/html" in request.headers.get("Accept", "")


def _render_bare_page(request: web.Request, status: int, **values: object) -> web.Response:
    defaults: dict[str, object] = {"hint": "", "sign_in": False, "next": "", "wrong": "", "broken": status >= 500}
    return html_response(request.app[RENDERER].part("bare.html", **defaults | values), status)


def _format_sentence(text: str) -> str:
    sentence = escape_unprintable(text, 400).strip().removesuffix(".")
    return f"{capitalize_first(sentence)}." if sentence else ""


def handle_page_errors(handler: PageHandler) -> Handler:
    """Wrap a handler: pass the arguments it names, and show a RelayError as HTML."""

    async def answer(request: web.Request) -> web.StreamResponse:
        TIME_ZONE.set(UTC if get_relay(request).state.preferences.zone == "utc" else None)
        try:
            return await call_handler(handler, request)
        except RelayError as error:
            return await _render_error_page(request, error)

    return answer


async def _render_error_page(request: web.Request, error: RelayError) -> web.Response:
    message, hint = escape_unprintable(error.message, 400).removesuffix("."), escape_unprintable(error.hint, 400)
    if get_target_id(request) is not None:
        text = f"That did not work: {message}.{f' To go on: {hint}.' if hint else ''}"
        return _render_error_part(request, text, error.status)
    title, message = "That did not work", f"{capitalize_first(message)}."
    return await render_page(request, "error.html", title, "", error.status, message=message, hint=hint)


async def handle_login(request: web.Request, guard: Guard) -> web.StreamResponse:
    """Exchange the token in the printed link, or a typed one, for a cookie, and redirect to a clean URL."""
    if request.method == "POST":
        form = await read_fields(request)
        where = safe_redirect_path(form.get("next"))
        # People paste the whole link as well.
        if "token" not in form or not guard.is_valid_token(form["token"].strip().rpartition("token=")[2]):
            return render_sign_in(request, "That is not the token of this relay.", where)
        return _set_session_cookie(redirect(where), guard)
    if not guard.is_valid_token(request.query.get("token")):
        return render_sign_in(request, "This link is not valid any more." if "token" in request.query else "")
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # After a link from a file or another site a Strict cookie is not sent with a redirect; from our own page it is.
        response = web.Response(headers={"Refresh": "0; url=/events"})
    else:
        response = redirect("/events")
    return _set_session_cookie(response, guard)


def _set_session_cookie(response: web.Response, guard: Guard) -> web.Response:
    if guard.token is not None:
        response.set_cookie(guard.cookie, guard.token, httponly=True, samesite="Strict", path="/")
    return response
