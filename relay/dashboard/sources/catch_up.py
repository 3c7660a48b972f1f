"""The catch-up section of a source's page: the form, its progress, its result."""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from aiohttp import web

from relay.catchup.base import APIS
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import format_error, read_fields, redirect, render_part
from relay.errors import NotFoundError, RelayError, UsageError
from relay.http.params import DEFAULT_SINCE, parse_catch_up_request
from relay.http.responses import get_relay
from relay.model.event import Source
from relay.services.relay import RunningRelay

_PAGE_WAIT = 1.5  # seconds that a page waits
_PERIODS = {"2h": "2 hours", "24h": "A day", "3d": "3 days", "7d": "A week"}


def build_section(
    relay: RunningRelay, source: Source, form: Mapping[str, str] = MappingProxyType({}), problem: str = ""
) -> dict[str, Any] | None:
    """Return the section of a source's page; None for a provider that gives out no list.

    `form` is what was chosen, as posted; nothing chosen means what most people want. In the section `access` is None
    where the configuration has a mistake, and `problem` says why the source cannot be caught up with.
    """
    section: dict[str, Any] = {"source": source, "access": None, "progress": None}
    try:
        access = relay.catch_ups.listing(source).access
    except UsageError as error:
        return section | {"problem": format_error(error)} if source.provider in APIS else None
    with suppress(NotFoundError):
        section["progress"] = relay.catch_ups.progress(source.name)
    since = form.get("since", "")
    return section | {
        "access": access,
        "problem": problem,
        "periods": _PERIODS,
        "since": since if since in _PERIODS else "24h",
        "forward": bool(form.get("forward")) or "since" not in form,
    }


async def begin_catch_up(request: web.Request) -> web.Response:
    """POST /sources/{name}/catch-up with `since`, `forward` and `look`: in place, or on the source's page."""
    relay, source = get_relay(request), _find_source(request)
    form = await read_fields(request)
    since = form.get("since", DEFAULT_SINCE)
    try:
        relay.catch_ups.start(
            parse_catch_up_request(relay, source.name, since, dry_run="look" in form, forward=bool(form.get("forward")))
        )
    except RelayError as error:
        return _render_section(request, build_section(relay, source, form, format_error(error)), 422)
    await relay.catch_ups.wait_until_over(source.name, _PAGE_WAIT)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(relay, source, form))


async def show_section(request: web.Request) -> web.Response:
    """GET /sources/{name}/catch-up: the section again, to see how far it is."""
    source = _find_source(request)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(get_relay(request), source, request.query))


def _render_section(request: web.Request, section: dict[str, Any] | None, status: int = 200) -> web.Response:
    if section is None:
        raise NotFoundError("this source's provider gives out no list of its events", hint="ask it to send them again")
    return render_part(request, "sources/catch_up.html", status, catch_up=section)


def _find_source(request: web.Request) -> Source:
    source = get_relay(request).sources.by_name.get(request.match_info["name"])
    if source is None:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    return source
