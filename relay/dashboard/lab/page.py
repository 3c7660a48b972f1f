"""The pages of the delivery lab: a form that begins a run, and its report, live while it goes on."""

import re
from collections.abc import Mapping

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.delivery_rows import format_target_address
from relay.dashboard.lab import report as view
from relay.dashboard.lab.report import LabForm, LabPage, LabRunPage
from relay.dashboard.render import RENDERER, get_target_id, html_response, make_partial
from relay.dashboard.responses import format_error, read_fields, read_values, redirect
from relay.dashboard.widgets import FormOption
from relay.delivery.lab.plan import EXPERIMENTS
from relay.errors import RelayError, UsageError
from relay.http.context import get_relay
from relay.http.params import parse_id, parse_number
from relay.model.lab import ENDED_STATES, LabRun, NewLabRun
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_MAX_RUNS = 20
_EVENT_IDS = re.compile(r"(#?\d{1,18}[\s,;]*)+")
_OTHER_TARGET = "other"
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(ms|s|m|h)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


async def show_lab(request: web.Request) -> web.Response:
    """GET /lab?event=&q=: the form, and the runs there were; the runs alone for htmx."""
    lines, older = await _load_run_lines(request)
    if get_target_id(request) == "runs":
        return html_response(
            request.app[RENDERER].part("parts/lab_runs.html", lines=lines, older=older, place=_parse_place(request))
        )
    given = {"what": request.query.get("event", "") or request.query.get("q", "")}
    return await _render_lab(request, _build_form(get_relay(request), given, ("duplicates",)))


async def start_run(request: web.Request) -> web.Response:
    """POST /lab: begin a run and go to its report."""
    relay, given = get_relay(request), await read_fields(request)
    chosen = tuple(await read_values(request, "experiment"))
    try:
        begun = await relay.lab.start(_parse_new_run(given, chosen))
    except RelayError as error:
        return await _render_lab(request, _build_form(relay, given, chosen, format_error(error)), 422)
    return redirect(f"/lab/{begun.id}")


async def show_run(request: web.Request) -> web.Response:
    """GET /lab/{id}?all=: the report of a run; the report alone for htmx."""
    relay = get_relay(request)
    report = await relay.lab.report(parse_id(request, "lab run"))
    whole = bool(request.query.get("all"))
    shown = view.build_report_view(report, whole=whole)
    if get_target_id(request) == "report":
        part = request.app[RENDERER].part("parts/lab_report.html", report=shown, whole=whole)
        return html_response(part if shown.live else part + make_partial("#cancel", "delete", ""))
    context = LabRunPage(
        shell=await page_data.build_shell(request, f"Lab run {report.run.id}", "lab"),
        report=shown,
        again=_rerun_path(report.run),
        whole=whole,
    )
    return html_response(request.app[RENDERER].page(context))


async def cancel_run(request: web.Request) -> web.Response:
    """POST /lab/{id}/cancel: no further send."""
    id_ = parse_id(request, "lab run")
    await get_relay(request).lab.cancel(id_)
    return redirect(f"/lab/{id_}")


async def _render_lab(request: web.Request, form: LabForm, status: int = 200) -> web.Response:
    lines, older = await _load_run_lines(request)
    context = LabPage(
        shell=await page_data.build_shell(request, "Lab", "lab"),
        form=form,
        lines=lines,
        older=older,
        place=_parse_place(request),
    )
    return html_response(request.app[RENDERER].page(context), status)


async def _load_run_lines(request: web.Request) -> tuple[tuple[view.LabRunLine, ...], str]:
    relay = get_relay(request)
    runs = await relay.store.labs.page(limit=_MAX_RUNS, before=parse_number(request, "before", None))
    lines = []
    for one in runs:
        found = (await relay.lab.report(one.id)).finding if one.state in ENDED_STATES else None
        lines.append(view.build_run_line(one, found))
    return tuple(lines), f"/lab?before={runs[-1].id}" if len(runs) == _MAX_RUNS else ""


def _parse_place(request: web.Request) -> str:
    before = parse_number(request, "before", None)
    return f"/lab?before={before}" if before else "/lab"


def _build_form(relay: RunningRelay, given: Mapping[str, str], chosen: tuple[str, ...], error: str = "") -> LabForm:
    names = [name for name, target in relay.config.targets.items() if target.action == "forward"]
    target = given.get("target") or (names[0] if names else _OTHER_TARGET)
    return LabForm(
        what=given.get("what", ""),
        targets=(
            *(
                FormOption(
                    value=name,
                    name=name,
                    help=format_target_address(relay.target_addresses.get(name, "")),
                    chosen=name == target,
                )
                for name in names
            ),
            FormOption(value=_OTHER_TARGET, name="Other URL", chosen=target not in names),
        ),
        url=given.get("url", ""),
        experiments=tuple(
            FormOption(
                value=one.name,
                name=one.title,
                help=f"{one.finds[:1].upper()}{one.finds[1:]}. Good: {one.good}.",
                chosen=one.name in chosen,
            )
            for one in EXPERIMENTS
        ),
        times=given.get("times", ""),
        seed=given.get("seed", ""),
        delay=given.get("delay", ""),
        speed=given.get("speed", ""),
        compare=tuple(
            FormOption(value=value, name=name, chosen=given.get("compare", "body") == value)
            for value, name in (("body", "Status and body"), ("status", "Status alone"))
        ),
        error=error,
    )


def _parse_new_run(given: Mapping[str, str], chosen: tuple[str, ...]) -> NewLabRun:
    """Return what a form asks for. Raises UsageError naming what cannot be read."""
    what = given.get("what", "").strip()
    if not what:
        raise UsageError("a run needs events", hint="write their numbers, or a search such as after:1h")
    ids = tuple(int(id_) for id_ in re.findall(r"\d+", what)) if _EVENT_IDS.fullmatch(what) else ()
    target = given.get("target", _OTHER_TARGET)
    url = given.get("url", "").strip()
    if target == _OTHER_TARGET and not url:
        raise UsageError("a run needs a target", hint="choose one, or write a URL")
    if target != _OTHER_TARGET and url:
        raise UsageError("there is a target and a URL", hint="choose Other URL, or clear the field")
    return NewLabRun(
        experiments=chosen,
        target=url if target == _OTHER_TARGET else target,
        query="" if ids else what,
        events=ids,
        times=_parse_whole_number(given, "times"),
        seed=_parse_whole_number(given, "seed"),
        delay=_parse_delay(given.get("delay", "").strip()),
        speed=_parse_whole_number(given, "speed"),
        compare=given.get("compare") or None,
    )


def _parse_whole_number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise UsageError(
            f"{name}: '{escape_unprintable(text, 40)}' is not a whole number", hint="leave it empty for the usual one"
        )
    return int(text)


def _parse_delay(text: str) -> float | None:
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"delay: '{escape_unprintable(text, 40)}' is not a time", hint="write 2s, 500ms or 5m")
    return float(match[1]) * _UNIT_SECONDS[match[2] or "s"]


def _rerun_path(run_: LabRun) -> tuple[tuple[str, str], ...]:
    settings = run_.settings
    typed = "://" in run_.target
    filled = {
        "what": run_.query or " ".join(str(id_) for id_ in run_.events),
        "target": _OTHER_TARGET if typed else run_.target,
        "url": run_.target if typed else "",
        "times": str(settings.times or ""),
        "seed": str(settings.seed),
        "delay": f"{settings.delay:g}s",
        "speed": f"{settings.speed:.0f}" if settings.speed else "",
        "compare": settings.compare,
    }
    return (*filled.items(), *(("experiment", trial.experiment) for trial in run_.trials))
