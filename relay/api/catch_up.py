"""Catching up over HTTP: the calls of the API, and the section of a source's page."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from relay.api.serializers import Json
from relay.api.serializers import format_time as iso
from relay.catchup.base import APIS
from relay.catchup.recovery import CatchUpProgress, CatchUpRequest
from relay.dashboard.forms import format_error, read_fields, redirect
from relay.dashboard.render import RENDERER, get_target_id, html_response
from relay.dashboard.sources import context as view
from relay.errors import NotFoundError, RelayError, UsageError
from relay.http import params
from relay.http.responses import json_response
from relay.model.event import Source
from relay.model.search import parse_moment
from relay.services.state import HandlerContext, get_context

_DEFAULT_SINCE = "24h"
_DEFAULT_WAIT = 20.0  # seconds that a call waits for the end before it says how far it is
_MAX_WAIT = 50.0
_PAGE_WAIT = 1.5  # seconds that a page waits


async def start_catch_up(request: web.Request) -> web.Response:
    """POST /api/catch-up with `{source, since, dry_run, forward, wait}`: 200 with what came of it.

    202 says how far it is where it takes longer than `wait` seconds; GET /api/catch-up/{source} tells more.
    """
    here = get_context(request)
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"source", "since", "dry_run", "forward", "wait"})
    name = params.get_text(given, "source")
    if not name:
        raise UsageError("source is missing", hint='send {"source": "github", "since": "2h"}')
    wanted = _parse_request(
        here,
        name,
        params.get_text(given, "since") or _DEFAULT_SINCE,
        dry_run=_get_flag(given, "dry_run", otherwise=False),
        forward=_get_flag(given, "forward", otherwise=True),
    )
    here.verbs.catch_ups.start(wanted)
    progress = await here.verbs.catch_ups.settled(name, _get_wait_seconds(given))
    if progress.error is not None:
        raise make_failure(progress, progress.error)
    return json_response(serialize_progress(progress), 200 if progress.over else 202)


async def get_catch_up(request: web.Request) -> web.Response:
    """GET /api/catch-up/{source}: how far the newest one is."""
    return json_response(
        serialize_progress(get_context(request).verbs.catch_ups.progress(request.match_info["source"]))
    )


async def cancel_catch_up(request: web.Request) -> web.Response:
    """POST /api/catch-up/{source}/cancel: what is stored stays."""
    name = request.match_info["source"]
    catch_ups = get_context(request).verbs.catch_ups
    catch_ups.cancel(name)
    return json_response(serialize_progress(await catch_ups.settled(name, _PAGE_WAIT)))


def serialize_progress(progress: CatchUpProgress) -> Json:
    """Return a catch-up as JSON."""
    wanted, error = progress.wanted, progress.error
    return {
        "source": wanted.source,
        "since": iso(wanted.since),
        "dry_run": wanted.dry_run,
        "forward": wanted.forward,
        "state": progress.state.value,
        "detail": progress.detail,
        "summary": progress.words,
        "found": progress.found,
        "known": progress.known,
        "unlisted": progress.unlisted,
        "missed": progress.missed,
        "recovered": progress.recovered,
        "lost": progress.lost,
        "events": [
            {"id": item.id, "type": item.type, "key": item.key, "sent_at": iso(item.sent_at)} for item in progress.items
        ],
        "error": error and {"code": error.code, "message": error.sentence, "hint": error.hint},
        "started_at": iso(progress.started_at),
        "finished_at": progress.finished_at and iso(progress.finished_at),
    }


def make_failure(progress: CatchUpProgress, error: RelayError) -> RelayError:
    """Return the error that ended a catch-up, with how far it came."""
    if not progress.recovered:
        return error
    return type(error)(
        f"{error.sentence}; {progress.recovered} of {progress.missed} were recovered before", hint=error.hint
    )


def build_section(
    here: HandlerContext, source: Source, form: Mapping[str, str] = MappingProxyType({}), problem: str = ""
) -> view.CatchUpSection | None:
    """Return the section of a source's page, `form` as it was posted; None for a provider that gives out no list."""
    try:
        listing = here.verbs.catch_ups.listing(source)
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
        progress = here.verbs.catch_ups.progress(source.name)
    except NotFoundError:
        progress = None
    return view.build_catch_up_section(source.name, access, progress, form, problem)


async def begin_catch_up(request: web.Request) -> web.Response:
    """POST /sources/{name}/catch-up with `since`, `forward` and `look`: in place, or on the source's page."""
    here = get_context(request)
    source = _find_source(request)
    form = await read_fields(request)
    since = form.get("since", _DEFAULT_SINCE)
    try:
        here.verbs.catch_ups.start(
            _parse_request(here, source.name, since, dry_run="look" in form, forward=bool(form.get("forward")))
        )
    except RelayError as error:
        return _render_section(request, build_section(here, source, form, format_error(error)), 422)
    await here.verbs.catch_ups.settled(source.name, _PAGE_WAIT)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(here, source, form))


async def show_section(request: web.Request) -> web.Response:
    """GET /sources/{name}/catch-up: the section again, to see how far it is."""
    source = _find_source(request)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(get_context(request), source, request.query))


def _render_section(request: web.Request, shown: view.CatchUpSection | None, status: int = 200) -> web.Response:
    return html_response(request.app[RENDERER].part("parts/catch_up.html", catch_up=shown), status)


def _find_source(request: web.Request) -> Source:
    source = get_context(request).setup.sources.get(request.match_info["name"])
    if source is None:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    return source


def _parse_request(here: HandlerContext, source: str, since: str, *, dry_run: bool, forward: bool) -> CatchUpRequest:
    when = parse_moment(since.strip(), here.clock.now())
    if when is None:
        raise UsageError(
            "since is no time", hint="write an age such as 90m, 2h or 7d, or a time such as 2026-01-31T12:00"
        )
    return CatchUpRequest(source=source, since=when, dry_run=dry_run, forward=forward)


def _get_flag(given: Mapping[str, Any], name: str, *, otherwise: bool) -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false", hint=f"leave {name} out for {str(otherwise).lower()}")
    return otherwise if value is None else value


def _get_wait_seconds(given: Mapping[str, Any]) -> float:
    value = given.get("wait")
    if value is None:
        return _DEFAULT_WAIT
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_WAIT:
        raise UsageError("wait must be a number of seconds", hint=f"at most {_MAX_WAIT:g}; 0 does not wait")
    return float(value)
