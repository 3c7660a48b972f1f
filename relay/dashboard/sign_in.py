"""Signing in: the token in the printed link, or the one typed in, becomes a cookie."""

from aiohttp import web

from relay.dashboard.errors import render_sign_in, safe_redirect_path
from relay.http.guard import Guard


async def handle_login(request: web.Request, guard: Guard) -> web.StreamResponse:
    """Exchange the token in the printed link, or the one typed in, for a cookie, and go to a clean address."""
    if request.method == "POST":
        return await _handle_login_form(request, guard)
    if not guard.is_valid_token(request.query.get("token")):
        return render_sign_in(request, "This link is not valid any more." if "token" in request.query else "")
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        # From a file or another page a Strict cookie is not sent along a redirect; after a page of ours it is.
        response = web.Response(headers={"Refresh": "0; url=/events"})
    else:
        response = web.Response(status=303, headers={"Location": "/events"})
    return _set_session_cookie(response, guard)


async def _handle_login_form(request: web.Request, guard: Guard) -> web.StreamResponse:
    form = await request.post()
    token, wanted = form.get("token"), form.get("next")
    where = safe_redirect_path(wanted if isinstance(wanted, str) else "")
    if not isinstance(token, str) or not guard.is_valid_token(_clean_token(token)):
        return render_sign_in(request, "That is not the token of this relay.", where)
    return _set_session_cookie(web.Response(status=303, headers={"Location": where}), guard)


def _clean_token(text: str) -> str:
    # People paste the whole link as well.
    return text.strip().rpartition("token=")[2]


def _set_session_cookie(response: web.Response, guard: Guard) -> web.Response:
    if guard.token is not None:
        response.set_cookie(guard.cookie, guard.token, httponly=True, samesite="Strict", path="/")
    return response
