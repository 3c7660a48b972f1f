"""The JSON API of the delivery lab: begin a run, look at its report, end it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from relay.api.serializers import Json, format_time
from relay.delivery.lab.plan import EXPERIMENTS
from relay.errors import UsageError
from relay.http import params
from relay.http.context import get_relay
from relay.http.responses import json_response
from relay.model.lab import LabReport, LabRun, LabSend, LabTrial, Latency, NewLabRun, PlannedLabRun, TrialResult

_MAX_NUMBER = 1e12  # beyond any number that means something here
_REQUEST_KEYS = {"experiments", "q", "events", "target", "url", "times", "seed", "delay", "speed", "compare", "dry_run"}


async def list_labs(request: web.Request) -> web.Response:
    """GET /api/labs?limit=&before=: runs, newest first; with what each experiment finds."""
    found = await get_relay(request).store.labs.page(
        limit=(wanted := params.parse_limit(request)), before=params.parse_number(request, "before", None)
    )
    last = found[-1].id if len(found) == wanted else None
    known = [{"name": one.name, "title": one.title, "finds": one.finds, "good": one.good} for one in EXPERIMENTS]
    return json_response({"labs": [serialize_run(one) for one in found], "next_before": last, "experiments": known})


async def start_lab(request: web.Request) -> web.Response:
    """POST /api/labs with `{experiments, q or events, target or url, times, seed, delay, speed, compare, dry_run}`.

    Answers the plan of a dry run, or the run begun.
    """
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, _REQUEST_KEYS)
    new = NewLabRun(
        experiments=_parse_experiment_names(given),
        target=params.get_text(given, "url") or params.get_text(given, "target"),
        query=params.get_text(given, "q") or "",
        events=_parse_event_ids(given),
        times=_get_whole_number(given, "times"),
        seed=_get_whole_number(given, "seed"),
        delay=_get_number(given, "delay"),
        speed=_get_number(given, "speed"),
        compare=params.get_text(given, "compare"),
    )
    if not new.events and "q" not in given:
        raise UsageError("a run needs events", hint='send {"events": [42]}, or {"q": "type:invoice.*"}')
    lab = get_relay(request).lab
    if _get_compare_flag(given):
        return json_response({"dry_run": True} | serialize_planned_run(await lab.plan(new)))
    begun = await lab.start(new)
    return json_response(serialize_report(await lab.report(begun.id)), 202)


async def get_lab(request: web.Request) -> web.Response:
    """GET /api/labs/{id}: the report so far."""
    return json_response(serialize_report(await get_relay(request).lab.report(params.parse_id(request, "lab run"))))


async def cancel_lab(request: web.Request) -> web.Response:
    """POST /api/labs/{id}/cancel."""
    relay, id_ = get_relay(request), params.parse_id(request, "lab run")
    await relay.lab.cancel(id_)
    return json_response(serialize_report(await relay.lab.report(id_)))


def serialize_planned_run(item: PlannedLabRun) -> Json:
    """Return what a run would do."""
    return {
        "q": item.query or None,
        "events": list(item.events),
        "target": item.target,
        **asdict(item.settings),
        "sends": item.sends,
        "experiments": [serialize_trial(one) for one in item.trials],
        "notes": list(item.notes),
    }


def serialize_run(item: LabRun) -> Json:
    """Return a run as it stands in lists."""
    return serialize_planned_run(item) | {
        "id": item.id,
        "state": item.state.value,
        "detail": item.detail,
        "created_at": format_time(item.created_at),
        "finished_at": item.finished_at and format_time(item.finished_at),
        "sends": {"planned": item.sends, "made": item.made},
        "experiments": [one.experiment for one in item.trials],
    }


def serialize_trial(item: LabTrial) -> Json:
    """Return an experiment as planned."""
    return {
        "name": item.experiment,
        "events": list(item.events),
        "sends": item.sends,
        "skipped": [{"event": event, "reason": reason} for event, reason in item.skipped],
        "notes": list(item.notes),
    }


def serialize_report(item: LabReport) -> Json:
    """Return a run with everything it showed."""
    return serialize_run(item.run) | {
        "finding": item.finding and item.finding.value,
        "experiments": [serialize_result(one) for one in item.results],
    }


def serialize_result(item: TrialResult) -> Json:
    """Return one experiment of a run with its sends."""
    judged = item.judged
    return serialize_trial(item.trial) | {
        "title": item.title,
        "finds": item.finds,
        "finding": judged.finding and judged.finding.value,
        "sentence": judged.sentence,
        "advice": judged.advice,
        "statuses": dict(item.statuses),
        "latency_ms": _serialize_latency(item.latency),
        "at_once": item.at_once,
        "orders": [
            {
                "number": order.number,
                "events": list(order.events),
                "failed": list(order.failed),
                "original": order.original,
                "passed": not order.failed if order.over else None,
            }
            for order in item.orders
        ],
        "planned_sends": item.trial.sends,
        "sends": [_serialize_send(one, differs=one.place in item.differing) for one in item.sends],
    }


def _serialize_send(one: LabSend, *, differs: bool) -> Json:
    return {
        "number": one.place,
        "round": one.round + 1,
        "role": one.role,
        "label": one.label,
        "event": one.event_id,
        "delivery": one.delivery_id,
        "attempt": one.attempt,
        "started_at": one.started_at and format_time(one.started_at),
        "took_ms": None if one.took is None else round(one.took * 1000, 3),
        "status": one.status,
        "detail": one.detail,
        "answer": one.said,
        "delivered": one.good,
        "differs": differs,
        "note": one.note,
    }


def _serialize_latency(found: Latency | None) -> Json | None:
    if found is None:
        return None
    return {name: round(value * 1000, 3) for name, value in asdict(found).items()}


def _parse_experiment_names(given: Mapping[str, Any]) -> tuple[str, ...]:
    value = given.get("experiments")
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError("experiments must be a list of names", hint='send {"experiments": ["duplicates"]}, or ["all"]')
    return tuple(names)


def _parse_event_ids(given: Mapping[str, Any]) -> tuple[int, ...]:
    value = given.get("events")
    if value is None:
        return ()
    if not isinstance(value, list) or not value or not all(_is_whole_number(one) and one > 0 for one in value):
        raise UsageError("events must be a list of event numbers", hint='send {"events": [42, 43]}')
    return tuple(value)


def _get_whole_number(given: Mapping[str, Any], name: str) -> int | None:
    value = given.get(name)
    if value is not None and not _is_whole_number(value):
        raise UsageError(f"{name} must be a whole number", hint=f"leave {name} out for the usual one")
    return value


def _get_number(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > _MAX_NUMBER:
        raise UsageError(f"{name} must be a number", hint=f"leave {name} out for the usual one")
    return float(value)


def _get_compare_flag(given: Mapping[str, Any]) -> bool:
    value = given.get("dry_run", False)
    if not isinstance(value, bool):
        raise UsageError("dry_run must be true or false", hint="leave it out for false")
    return value


def _is_whole_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62
