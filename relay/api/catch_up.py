"""Catching up over HTTP."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from relay.api.serializers import Json
from relay.api.serializers import format_time as iso
from relay.catchup.recovery import CatchUpProgress
from relay.errors import RelayError, UsageError
from relay.http import params
from relay.http.context import get_relay
from relay.http.params import DEFAULT_SINCE, parse_catch_up_request
from relay.http.responses import json_response

_DEFAULT_WAIT = 20.0  # seconds that a call waits for the end before it says how far it is
_MAX_WAIT = 50.0
_CANCEL_WAIT = 1.5  # seconds that a call waits for the end of what it cancels


async def start_catch_up(request: web.Request) -> web.Response:
    """POST /api/catch-up with `{source, since, dry_run, forward, wait}`: 200 with what came of it.

    202 says how far it is where it takes longer than `wait` seconds; GET /api/catch-up/{source} tells more.
    """
    relay = get_relay(request)
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"source", "since", "dry_run", "forward", "wait"})
    name = params.get_text(given, "source")
    if not name:
        raise UsageError("source is missing", hint='send {"source": "github", "since": "2h"}')
    wanted = parse_catch_up_request(
        relay,
        name,
        params.get_text(given, "since") or DEFAULT_SINCE,
        dry_run=_get_flag(given, "dry_run", otherwise=False),
        forward=_get_flag(given, "forward", otherwise=True),
    )
    relay.catch_ups.start(wanted)
    progress = await relay.catch_ups.settled(name, _get_wait_seconds(given))
    if progress.error is not None:
        raise make_failure(progress, progress.error)
    return json_response(serialize_progress(progress), 200 if progress.over else 202)


async def get_catch_up(request: web.Request) -> web.Response:
    """GET /api/catch-up/{source}: how far the newest one is."""
    return json_response(serialize_progress(get_relay(request).catch_ups.progress(request.match_info["source"])))


async def cancel_catch_up(request: web.Request) -> web.Response:
    """POST /api/catch-up/{source}/cancel: what is stored stays."""
    name = request.match_info["source"]
    catch_ups = get_relay(request).catch_ups
    catch_ups.cancel(name)
    return json_response(serialize_progress(await catch_ups.settled(name, _CANCEL_WAIT)))


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
        "error": error and {"code": error.code, "message": error.message, "hint": error.hint},
        "started_at": iso(progress.started_at),
        "finished_at": progress.finished_at and iso(progress.finished_at),
    }


def make_failure(progress: CatchUpProgress, error: RelayError) -> RelayError:
    """Return the error that ended a catch-up, with how far it came."""
    if not progress.recovered:
        return error
    return type(error)(
        f"{error.message}; {progress.recovered} of {progress.missed} were recovered before", hint=error.hint
    )


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
