"""The theme: light, dark, or as the system has it; a cookie remembers it, so that no page flashes."""

import re

from aiohttp import web

from relay.web.posted import fields, see
from relay.web.render import wants
from relay.web.view.lists import as_json

COOKIE = "relay_theme"
_NEXT = {"": "light", "light": "dark", "dark": ""}
_YEAR = 365 * 86400
_OURS = re.compile(r"/(?![/\\])[!-~]*")


async def switch(request: web.Request) -> web.Response:
    """POST /theme: the next one; a browser without script goes back to the page named by `back`."""
    theme = _NEXT.get(request.cookies.get(COOKIE, ""), "light")
    if wants(request) is None:
        back = (await fields(request)).get("back", "")
        response = see(back if _OURS.fullmatch(back) else "/events")
    else:
        told = {"relay:theme": {"theme": theme}, "relay:toast": {"text": f"Theme: {theme or 'system'}"}}
        response = web.Response(status=204, headers={"HX-Trigger": as_json(told)})
    response.set_cookie(COOKIE, theme, max_age=_YEAR, path="/", samesite="Strict")
    return response
