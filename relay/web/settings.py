"""The Settings page: how the dashboard behaves, and what relay.toml says."""

from itertools import groupby

from aiohttp import web

from relay.errors import UsageError
from relay.model.text import printable
from relay.web import gather
from relay.web.contexts.settings import SettingsPage, Table, Value
from relay.web.keys import Desk, desk
from relay.web.preferences import Preferences, keep_preferences
from relay.web.render import RENDERER, html

_DENSITIES = ("comfortable", "compact")
_ZONES = ("local", "utc")


async def page(request: web.Request) -> web.Response:
    """GET /settings."""
    here = desk(request)
    context = SettingsPage(
        shell=await gather.frame(request, "Settings", "settings"),
        preferences=here.live.preferences,
        file=here.setup.config_path.name if here.setup.config_path else "",
        tables=tuple(_tables(here)),
    )
    return html(request.app[RENDERER].page(context))


async def save(request: web.Request) -> web.Response:
    """POST /settings: take what the form says and show the page again. Raises UsageError."""
    here, form = desk(request), await request.post()
    density, zone = form.get("density"), form.get("zone")
    if density not in _DENSITIES or zone not in _ZONES:
        raise UsageError("that is no setting", hint="choose one of those on the page")
    here.live.preferences = Preferences(
        density="compact" if density == "compact" else "comfortable",
        zone="utc" if zone == "utc" else "local",
        keys="keys" in form,
        announcements="announcements" in form,
    )
    keep_preferences(here.setup.data_dir, here.live.preferences)
    return web.Response(status=303, headers={"Location": "/settings"})


def _tables(here: Desk) -> list[Table]:
    return [
        Table(
            name=_title(name),
            values=tuple(
                Value(
                    key=fact.key,
                    value=printable(fact.value, 300),
                    where=printable(fact.where, 200),
                )
                for fact in group
            ),
        )
        for name, group in groupby(here.setup.facts, key=lambda fact: fact.table)
    ]


def _title(table: str) -> str:
    if table.startswith("routes "):
        return f"[[routes]], number {table.split()[1]}"
    return f"[{table}]" if " " not in table else table.capitalize()
