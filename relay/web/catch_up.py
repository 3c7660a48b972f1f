"""Catching up over HTTP: the calls of the API, and the section of a source's page."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from relay.catchup.listing import APIS
from relay.catchup.progress import Progress, Wanted
from relay.errors import NotFoundError, RelayError, UsageError
from relay.model.event import Source
from relay.model.search import moment
from relay.web import asked
from relay.web.answers import json_response
from relay.web.keys import Desk, desk
from relay.web.posted import fields, see, sentence
from relay.web.render import RENDERER, html, wants
from relay.web.shapes import Json
from relay.web.shapes import moment as iso
from relay.web.view import catch_up as view

_USUAL = "24h"
_PATIENCE = 20.0  # seconds that a call waits for the end before it says how far it is
_LONGEST = 50.0
_GLANCE = 1.5  # seconds that a page waits


async def start(request: web.Request) -> web.Response:
    """POST /api/catch-up with `{source, since, dry_run, forward, wait}`: 200 with what came of it.

    202 says how far it is where it takes longer than `wait` seconds; GET /api/catch-up/{source} tells more.
    """
    here = desk(request)
    given = await asked.json_body(request)
    asked.known(given, {"source", "since", "dry_run", "forward", "wait"})
    name = asked.text(given, "source")
    if not name:
        raise UsageError("source is missing", hint='send {"source": "github", "since": "2h"}')
    wanted = _wanted(
        here,
        name,
        asked.text(given, "since") or _USUAL,
        dry_run=_flag(given, "dry_run", otherwise=False),
        forward=_flag(given, "forward", otherwise=True),
    )
    here.verbs.catch_ups.start(wanted)
    progress = await here.verbs.catch_ups.settled(name, _wait(given))
    if progress.error is not None:
        raise failure(progress, progress.error)
    return json_response(shape(progress), 200 if progress.over else 202)


async def state(request: web.Request) -> web.Response:
    """GET /api/catch-up/{source}: how far the newest one is."""
    return json_response(shape(desk(request).verbs.catch_ups.progress(request.match_info["source"])))


async def cancel(request: web.Request) -> web.Response:
    """POST /api/catch-up/{source}/cancel: what is stored stays."""
    name = request.match_info["source"]
    catch_ups = desk(request).verbs.catch_ups
    catch_ups.cancel(name)
    return json_response(shape(await catch_ups.settled(name, _GLANCE)))


def shape(progress: Progress) -> Json:
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
            {"id": item.id, "type": item.type, "key": item.key, "sent_at": iso(item.sent_at)}
            for item in progress.items
        ],
        "error": error and {"code": error.code, "message": error.sentence, "hint": error.hint},
        "started_at": iso(progress.started_at),
        "finished_at": progress.finished_at and iso(progress.finished_at),
    }


def failure(progress: Progress, error: RelayError) -> RelayError:
    """Return the error that ended a catch-up, with how far it came."""
    if not progress.recovered:
        return error
    return type(error)(
        f"{error.sentence}; {progress.recovered} of {progress.missed} were recovered before", hint=error.hint
    )


def section(
    here: Desk, source: Source, form: Mapping[str, str] = MappingProxyType({}), problem: str = ""
) -> view.CatchUp | None:
    """Return the section of a source's page, `form` as it was posted; None for a provider that gives out no list."""
    try:
        listing = here.verbs.catch_ups.listing(source)
    except UsageError as error:
        if source.provider not in APIS:
            return None
        return view.impossible(source.name, sentence(error), f"[sources.{source.name}.catch_up]")
    access = listing.access
    if access.credential is None:
        kind, _, variable = access.reference.partition(":")
        line = f"{variable}=" if kind == "env" else ""
        return view.impossible(source.name, f"{access.absence}: it needs {access.needs}.", line)
    try:
        progress = here.verbs.catch_ups.progress(source.name)
    except NotFoundError:
        progress = None
    return view.possible(source.name, access, progress, form, problem)


async def begin(request: web.Request) -> web.Response:
    """POST /sources/{name}/catch-up with `since`, `forward` and `look`: in place, or on the source's page."""
    here = desk(request)
    source = _source(request)
    form = await fields(request)
    since = form.get("since", _USUAL)
    try:
        here.verbs.catch_ups.start(
            _wanted(here, source.name, since, dry_run="look" in form, forward=bool(form.get("forward")))
        )
    except RelayError as error:
        return _part(request, section(here, source, form, sentence(error)), 422)
    await here.verbs.catch_ups.settled(source.name, _GLANCE)
    if wants(request) is None:
        return see(f"/sources/{source.name}#catch-up")
    return _part(request, section(here, source, form))


async def part(request: web.Request) -> web.Response:
    """GET /sources/{name}/catch-up: the section again, to see how far it is."""
    source = _source(request)
    if wants(request) is None:
        return see(f"/sources/{source.name}#catch-up")
    return _part(request, section(desk(request), source, request.query))


def _part(request: web.Request, shown: view.CatchUp | None, status: int = 200) -> web.Response:
    return html(request.app[RENDERER].part("parts/catch_up.html", catch_up=shown), status)


def _source(request: web.Request) -> Source:
    source = desk(request).setup.sources.get(request.match_info["name"])
    if source is None:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    return source


def _wanted(here: Desk, source: str, since: str, *, dry_run: bool, forward: bool) -> Wanted:
    when = moment(since.strip(), here.clock.now())
    if when is None:
        raise UsageError(
            "since is no time", hint="write an age such as 90m, 2h or 7d, or a time such as 2026-01-31T12:00"
        )
    return Wanted(source=source, since=when, dry_run=dry_run, forward=forward)


def _flag(given: Mapping[str, Any], name: str, *, otherwise: bool) -> bool:
    value = given.get(name)
    if value is not None and not isinstance(value, bool):
        raise UsageError(
            f"{name} must be true or false", hint=f"leave {name} out for {str(otherwise).lower()}"
        )
    return otherwise if value is None else value


def _wait(given: Mapping[str, Any]) -> float:
    value = given.get("wait")
    if value is None:
        return _PATIENCE
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST:
        raise UsageError("wait must be a number of seconds", hint=f"at most {_LONGEST:g}; 0 does not wait")
    return float(value)
