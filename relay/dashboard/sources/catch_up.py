"""The catch-up section of a source's page: the form, its progress, its result."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp import web

from relay.catchup.base import APIS, CatchUpProgress, CatchUpState
from relay.dashboard.filters import build_events_url, capitalize_first, encode_query
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import format_error, read_fields, redirect, render_part
from relay.errors import NotFoundError, RelayError, UsageError
from relay.http.params import DEFAULT_SINCE, parse_catch_up_request
from relay.http.responses import get_relay
from relay.model.event import Source
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_PAGE_WAIT = 1.5  # seconds that a page waits
_PERIODS = {"2h": "2 hours", "24h": "A day", "3d": "3 days", "7d": "A week"}
_STOPPED_WORDS = {CatchUpState.FAILED: "Stopped", CatchUpState.CANCELLED: "Cancelled"}


_NO_SECTION: Mapping[str, Any] = {"action": "", "asks": "", "progress": None, "line": ""}


def build_section(
    relay: RunningRelay, source: Source, form: Mapping[str, str] = MappingProxyType({}), problem: str = ""
) -> dict[str, Any] | None:
    """Return the section of a source's page; None for a provider that gives out no list.

    `form` is what was chosen, as posted; nothing chosen means what most people want. In the section `problem` says
    why it cannot be caught up with, `line` what would help; `poll_url` is where the section is loaded again while a
    catch-up runs. `kind` is how `progress` is shown: "", warn or err; `events_url` lists what was recovered.
    """
    back = f"/sources/{source.name}"
    try:
        access = relay.catch_ups.listing(source).access
    except UsageError as error:
        if source.provider not in APIS:
            return None
        line = f"[sources.{source.name}.catch_up]"
        return {**_NO_SECTION, "problem": escape_unprintable(format_error(error), 300), "line": line}
    if access.credential is None:
        kind, _, variable = access.reference.partition(":")
        absence = escape_unprintable(f"{access.absence}: it needs {access.needs}.", 300)
        return {**_NO_SECTION, "problem": absence, "line": f"{variable}=" if kind == "env" else ""}
    try:
        progress = relay.catch_ups.progress(source.name)
    except NotFoundError:
        progress = None
    since = form.get("since", "")
    chosen = since if since in _PERIODS else "24h"
    forward = bool(form.get("forward")) or "since" not in form
    section = {
        **_NO_SECTION,
        "back": back,
        "action": f"{back}/catch-up",
        "asks": escape_unprintable(f"Asks {access.host} with {access.reference} for what it sent.", 200),
        "periods": _PERIODS,
        "since": chosen,
        "forward": forward,
        "poll_url": f"{back}/catch-up?{encode_query({'since': chosen, 'forward': '1' if forward else ''})}",
        "problem": escape_unprintable(problem, 400),
    }
    if progress is None:
        return section
    stopped = "warn" if progress.state in _STOPPED_WORDS else ""
    return section | {
        "progress": progress,
        "kind": "err" if progress.error is not None else stopped,
        "words": _describe_progress(progress),
        "events_url": build_events_url(f"source:{source.name} is:recovered") if progress.recovered else "",
    }


def _describe_progress(progress: CatchUpProgress) -> str:
    words = progress.words
    if not progress.over:
        words = f"{progress.recovered} of {progress.missed} recovered" if progress.missed else f"Listing: {words}"
    stopped = _STOPPED_WORDS.get(progress.state)
    return escape_unprintable(f"{stopped}: {words}" if stopped else capitalize_first(words), 300)


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
    return render_part(request, "sources/catch_up.html", status, catch_up=section)


def _find_source(request: web.Request) -> Source:
    source = get_relay(request).sources.by_name.get(request.match_info["name"])
    if source is None:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    return source
