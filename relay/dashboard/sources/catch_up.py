"""The catch-up section of a source's page."""

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from relay.catchup.base import APIS
from relay.dashboard.render import RENDERER, get_target_id, html_response
from relay.dashboard.responses import format_error, read_fields, redirect
from relay.dashboard.sources import context as view
from relay.errors import NotFoundError, RelayError, UsageError
from relay.http.context import get_relay
from relay.http.params import DEFAULT_SINCE, parse_catch_up_request
from relay.model.event import Source
from relay.services.relay import RunningRelay

_PAGE_WAIT = 1.5  # seconds that a page waits


def build_section(
    relay: RunningRelay, source: Source, form: Mapping[str, str] = MappingProxyType({}), problem: str = ""
) -> view.CatchUpSection | None:
    """Return the section of a source's page, `form` as it was posted; None for a provider that gives out no list."""
    try:
        listing = relay.catch_ups.listing(source)
    except UsageError as error:
        if source.provider not in APIS:
            return None
        return view.build_unavailable_section(source.name, format_error(error), f"[sources.{source.name}.catch_up]")
    access = listing.access
    if access.credential is None:
        kind, _, variable = access.reference.partition(":")
        line = f"{variable}=" if kind == "env" else ""
        return view.build_unavailable_section(source.name, f"{access.absence}: it needs {access.needs}.", line)
    try:
        progress = relay.catch_ups.progress(source.name)
    except NotFoundError:
        progress = None
    return view.build_catch_up_section(source.name, access, progress, form, problem)


async def begin_catch_up(request: web.Request) -> web.Response:
    """POST /sources/{name}/catch-up with `since`, `forward` and `look`: in place, or on the source's page."""
    relay = get_relay(request)
    source = _find_source(request)
    form = await read_fields(request)
    since = form.get("since", DEFAULT_SINCE)
    try:
        relay.catch_ups.start(
            parse_catch_up_request(relay, source.name, since, dry_run="look" in form, forward=bool(form.get("forward")))
        )
    except RelayError as error:
        return _render_section(request, build_section(relay, source, form, format_error(error)), 422)
    await relay.catch_ups.settled(source.name, _PAGE_WAIT)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(relay, source, form))


async def show_section(request: web.Request) -> web.Response:
    """GET /sources/{name}/catch-up: the section again, to see how far it is."""
    source = _find_source(request)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(get_relay(request), source, request.query))


def _render_section(request: web.Request, shown: view.CatchUpSection | None, status: int = 200) -> web.Response:
    return html_response(request.app[RENDERER].part("parts/catch_up.html", catch_up=shown), status)


def _find_source(request: web.Request) -> Source:
    source = get_relay(request).sources.by_name.get(request.match_info["name"])
    if source is None:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    return source
