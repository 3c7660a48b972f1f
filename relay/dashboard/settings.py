"""The pages Settings, with the effective configuration, and Doctor, with the health checks."""

import json
from itertools import groupby

from aiohttp import web

from relay.dashboard.layout import THEME_COOKIE
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import redirect, render_page, safe_redirect_path
from relay.errors import UsageError
from relay.services.relay import RunningRelay
from relay.services.state import Preferences, save_preferences

_DENSITIES = ("comfortable", "compact")
_ZONES = ("local", "utc")
_NEXT_THEME = {"": "light", "light": "dark", "dark": ""}
_COOKIE_AGE = 365 * 86400


async def show_settings(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /settings."""
    return await render_page(
        request,
        "settings.html",
        "Settings",
        "settings",
        preferences=relay.state.preferences,
        file=relay.config.path.name if relay.config.path else "",
        tables=[
            (_format_table_title(name), list(facts))
            for name, facts in groupby(relay.config_facts, key=lambda fact: fact.table)
        ],
    )


async def save_settings(request: web.Request, relay: RunningRelay) -> web.Response:
    """POST /settings: save what the form says and show the page again. Raises UsageError."""
    form = await request.post()
    density, zone = form.get("density"), form.get("zone")
    if density not in _DENSITIES or zone not in _ZONES:
        raise UsageError("that setting does not exist", hint="choose one of those on the page")
    relay.state.preferences = Preferences(
        density="compact" if density == "compact" else "comfortable",
        zone="utc" if zone == "utc" else "local",
        keys="keys" in form,
        announcements="announcements" in form,
    )
    save_preferences(relay.config.server.data_dir, relay.state.preferences)
    return redirect("/settings")


def _format_table_title(table: str) -> str:
    if table.startswith("routes "):
        return f"[[routes]], number {table.split()[1]}"
    return f"[{table}]" if " " not in table else table.capitalize()


async def switch_theme(request: web.Request, form: dict[str, str]) -> web.Response:
    """POST /theme: the next one; a browser without script goes back to the page named by `back`."""
    theme = _NEXT_THEME.get(request.cookies.get(THEME_COOKIE, ""), "light")
    if get_target_id(request) is None:
        response = redirect(safe_redirect_path(form.get("back")))
    else:
        signals = {"relay:theme": {"theme": theme}, "relay:toast": {"text": f"Theme: {theme or 'system'}"}}
        response = web.Response(status=204, headers={"HX-Trigger": json.dumps(signals)})
    response.set_cookie(THEME_COOKIE, theme, max_age=_COOKIE_AGE, path="/", samesite="Strict")
    return response


async def show_health_check(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /doctor: everything that relay needs, checked when the page is opened."""
    findings = await relay.check_health()
    return await render_page(request, "doctor.html", "Doctor", "doctor", findings=findings, version=relay.version)
