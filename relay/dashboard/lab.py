"""The pages of the delivery lab: a form that starts a run, and its report, which updates while it runs."""

import re
from collections.abc import Mapping
from shlex import quote
from typing import Any

from aiohttp import web

from relay.config.types import parse_duration
from relay.dashboard.delivery_rows import format_target_address
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import format_error, read_values, redirect, render_page, render_part
from relay.delivery.lab import EXPERIMENTS
from relay.errors import RelayError, UsageError
from relay.http.responses import get_relay
from relay.model.lab import ENDED_STATES, LabRun, LabSend, NewLabRun, TrialResult
from relay.model.parameters import parse_digits, parse_number
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_MAX_RUNS = 20
_EVENT_IDS = re.compile(r"(#?\d{1,18}[\s,;]*)+")
_OTHER_TARGET = "other"
_EMPTY_FORM = dict.fromkeys(("what", "url", "times", "seed", "delay", "speed"), "") | {"compare": "body"}
SENDS_SHOWN = 40  # sends of an experiment that a page shows initially
MAX_SENDS_SHOWN = 500  # and if all are requested


async def show_lab(request: web.Request) -> web.Response:
    """GET /lab?event=&q=: the form, and the runs there were; the runs alone for htmx."""
    if get_target_id(request) == "runs":
        return render_part(request, "lab/runs.html", **await _load_runs(request))
    form = {"what": request.query.get("event", "") or request.query.get("q", "")}
    return await _render_lab(request, form, ("duplicates",))


async def start_run(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /lab: begin a run and go to its report."""
    chosen = tuple(await read_values(request, "experiment"))
    try:
        started = await relay.lab.start(_parse_new_run(form, chosen))
    except RelayError as error:
        return await _render_lab(request, form, chosen, format_error(error))
    return redirect(f"/lab/{started.id}")


async def show_run(request: web.Request, relay: RunningRelay, id_: int) -> web.Response:
    """GET /lab/{id}?all=: the report of a run; the report alone for htmx."""
    report = await relay.lab.report(id_)
    run, whole = report.run, bool(request.query.get("all"))
    most = MAX_SENDS_SHOWN if whole else SENDS_SHOWN
    values: dict[str, Any] = {
        "run": run,
        "live": run.state not in ENDED_STATES,
        "whole": whole,
        "finding": report.finding,
        "results": [(result, _select_sends(result, most)) for result in report.results],
    }
    if get_target_id(request) == "report":
        part = request.app[RENDERER].part("lab/report.html", **values)
        return html_response(part if values["live"] else part + make_partial("#cancel", "delete", ""))
    return await render_page(
        request, "lab/run.html", f"Lab run {run.id}", "lab", command=format_command(run), other=_OTHER_TARGET, **values
    )


async def cancel_run(relay: RunningRelay, id_: int) -> web.Response:
    """POST /lab/{id}/cancel: no further send."""
    await relay.lab.cancel(id_)
    return redirect(f"/lab/{id_}")


async def _render_lab(
    request: web.Request, form: Mapping[str, str], chosen: tuple[str, ...], error: str = ""
) -> web.Response:
    relay = get_relay(request)
    names = [name for name, target in relay.config.targets.items() if target.action == "forward"]
    target = form.get("target") or (names[0] if names else _OTHER_TARGET)
    targets = [(name, name, format_target_address(relay.target_addresses[name])) for name in names]
    return await render_page(
        request,
        "lab/page.html",
        "Lab",
        "lab",
        422 if error else 200,
        form={**_EMPTY_FORM, **form},
        targets=[*targets, (_OTHER_TARGET, "Other URL", "")],
        target=target if target in names else _OTHER_TARGET,
        experiments=EXPERIMENTS.values(),
        chosen=chosen,
        error=error,
        **await _load_runs(request),
    )


async def _load_runs(request: web.Request) -> dict[str, Any]:
    """Return the values for the template of the runs; `place` is the URL to load them again."""
    relay, before = get_relay(request), parse_number(request.query, "before", None)
    runs = [
        (run, (await relay.lab.report(run.id)).finding if run.state in ENDED_STATES else None)
        for run in await relay.store.labs.page(limit=_MAX_RUNS, before=before)
    ]
    return {
        "runs": runs,
        "older": f"/lab?before={runs[-1][0].id}" if len(runs) == _MAX_RUNS else "",
        "place": f"/lab?before={before}" if before else "/lab",
    }


def _parse_new_run(form: Mapping[str, str], chosen: tuple[str, ...]) -> NewLabRun:
    """Return the run requested by a form. Raises UsageError that names invalid fields."""
    what = form.get("what", "").strip()
    if not what:
        raise UsageError("a run needs events", hint="write their numbers, or a search such as after:1h")
    ids = tuple(int(id_) for id_ in re.findall(r"\d+", what)) if _EVENT_IDS.fullmatch(what) else ()
    target = form.get("target", _OTHER_TARGET)
    url = form.get("url", "").strip()
    if target == _OTHER_TARGET and not url:
        raise UsageError("a run needs a target", hint="choose one, or write a URL")
    if target != _OTHER_TARGET and url:
        raise UsageError("a target and a URL cannot be combined", hint="choose Other URL, or clear the field")
    return NewLabRun(
        experiments=chosen,
        target=url if target == _OTHER_TARGET else target,
        query="" if ids else what,
        events=ids,
        times=_parse_whole_number(form, "times"),
        seed=_parse_whole_number(form, "seed"),
        delay=_parse_delay(form.get("delay", "").strip()),
        speed=_parse_whole_number(form, "speed"),
        compare=form.get("compare") or None,
    )


def _parse_whole_number(form: Mapping[str, str], name: str) -> int | None:
    text = form.get(name, "").strip()
    if not text:
        return None
    if (number := parse_digits(text)) is None:
        raise UsageError(
            f"{name}: '{escape_unprintable(text, 40)}' is not a whole number", hint="leave it empty for the default"
        )
    return number


def _parse_delay(text: str) -> float | None:
    try:
        return parse_duration(f"{text}s" if text[-1].isdigit() else text) if text else None
    except ValueError:
        hint = "write 2s, 500ms or 5m"
        raise UsageError(f"delay: '{escape_unprintable(text, 40)}' is not a time", hint=hint) from None


def _select_sends(result: TrialResult, most: int) -> tuple[LabSend, ...]:
    """Return at most `most` sends, unusual ones first, in the order they were made."""
    if len(result.sends) <= most:
        return result.sends
    usual = result.statuses[0][0] if result.statuses else ""
    odd = [send for send in result.sends if send.place in result.differing or send.short_answer != usual or send.note]
    places = {send.place for send in odd[:most]}
    for send in result.sends:
        if len(places) < most:
            places.add(send.place)
    return tuple(send for send in result.sends if send.place in places)


def format_command(run: LabRun) -> str:
    """Return the command that runs the same again."""
    names = " ".join(trial.experiment for trial in run.trials)
    what = f"--query {quote(run.query)}" if run.query else " ".join(str(id_) for id_ in run.events)
    settings = run.settings
    options = [f"--to {quote(run.target)}", f"--seed {settings.seed}"]
    options += [f"--times {settings.times}"] if settings.times else []
    options += [f"--speed {settings.speed:g}"] if settings.speed else []
    options += ["--compare status"] if settings.compare == "status" else []
    return escape_unprintable(f"relay lab {names} {what} {' '.join(options)}", 2000)
