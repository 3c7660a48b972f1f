"""The pages of the delivery lab: a form that begins a run, and its report, live while it goes on."""

import re
from collections.abc import Mapping

from aiohttp import web

from relay.delivery.lab.catalogue import EXPERIMENTS
from relay.errors import RelayError, UsageError
from relay.model.lab import OVER, NewRun, Run
from relay.model.text import printable
from relay.web import gather
from relay.web.asked import identity, number
from relay.web.contexts.dialogs import Field
from relay.web.contexts.lab import LabForm, LabPage, LabRunPage
from relay.web.keys import Desk, desk
from relay.web.posted import every, fields, see, sentence
from relay.web.render import RENDERER, html, partial, wants
from relay.web.view import lab as view
from relay.web.view.deliveries import address

_RUNS = 20
_IDS = re.compile(r"(#?\d{1,18}[\s,;]*)+")
_OTHER = "other"
_DURATION = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


async def lab(request: web.Request) -> web.Response:
    """GET /lab?event=&q=: the form, and the runs there were; the runs alone for htmx."""
    lines, older = await _lines(request)
    if wants(request) == "runs":
        return html(
            request.app[RENDERER].part("parts/lab_runs.html", lines=lines, older=older, place=_place(request))
        )
    given = {"what": request.query.get("event", "") or request.query.get("q", "")}
    return await _page(request, _form(desk(request), given, ("duplicates",)))


async def start(request: web.Request) -> web.Response:
    """POST /lab: begin a run and go to its report."""
    here, given = desk(request), await fields(request)
    chosen = tuple(await every(request, "experiment"))
    try:
        begun = await here.verbs.lab.start(_asked(given, chosen))
    except RelayError as error:
        return await _page(request, _form(here, given, chosen, sentence(error)), 422)
    return see(f"/lab/{begun.id}")


async def run(request: web.Request) -> web.Response:
    """GET /lab/{id}?all=: the report of a run; the report alone for htmx."""
    here = desk(request)
    report = await here.verbs.lab.report(identity(request, "lab run"))
    whole = bool(request.query.get("all"))
    shown = view.shown(report, whole=whole)
    if wants(request) == "report":
        part = request.app[RENDERER].part("parts/lab_report.html", report=shown, whole=whole)
        return html(part if shown.live else part + partial("#cancel", "delete", ""))
    context = LabRunPage(
        shell=await gather.frame(request, f"Lab run {report.run.id}", "lab"),
        report=shown,
        again=_again(report.run),
        whole=whole,
    )
    return html(request.app[RENDERER].page(context))


async def cancel(request: web.Request) -> web.Response:
    """POST /lab/{id}/cancel: no further send."""
    id_ = identity(request, "lab run")
    await desk(request).verbs.lab.cancel(id_)
    return see(f"/lab/{id_}")


async def _page(request: web.Request, form: LabForm, status: int = 200) -> web.Response:
    lines, older = await _lines(request)
    context = LabPage(
        shell=await gather.frame(request, "Lab", "lab"),
        form=form,
        lines=lines,
        older=older,
        place=_place(request),
    )
    return html(request.app[RENDERER].page(context), status)


async def _lines(request: web.Request) -> tuple[tuple[view.RunLine, ...], str]:
    here = desk(request)
    runs = await here.store.labs.page(limit=_RUNS, before=number(request, "before", None))
    lines = []
    for one in runs:
        found = (await here.verbs.lab.report(one.id)).finding if one.state in OVER else None
        lines.append(view.line(one, found))
    return tuple(lines), f"/lab?before={runs[-1].id}" if len(runs) == _RUNS else ""


def _place(request: web.Request) -> str:
    before = number(request, "before", None)
    return f"/lab?before={before}" if before else "/lab"


def _form(here: Desk, given: Mapping[str, str], chosen: tuple[str, ...], error: str = "") -> LabForm:
    names = [name for name, target in here.setup.targets.items() if target.action == "forward"]
    target = given.get("target") or (names[0] if names else _OTHER)
    return LabForm(
        what=given.get("what", ""),
        targets=(
            *(
                Field(
                    value=name,
                    name=name,
                    help=address(here.setup.addresses.get(name, "")),
                    chosen=name == target,
                )
                for name in names
            ),
            Field(value=_OTHER, name="Other URL", chosen=target not in names),
        ),
        url=given.get("url", ""),
        experiments=tuple(
            Field(
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
            Field(value=value, name=name, chosen=given.get("compare", "body") == value)
            for value, name in (("body", "Status and body"), ("status", "Status alone"))
        ),
        error=error,
    )


def _asked(given: Mapping[str, str], chosen: tuple[str, ...]) -> NewRun:
    """Return what a form asks for. Raises UsageError naming what cannot be read."""
    what = given.get("what", "").strip()
    if not what:
        raise UsageError("a run needs events", hint="write their numbers, or a search such as after:1h")
    ids = tuple(int(id_) for id_ in re.findall(r"\d+", what)) if _IDS.fullmatch(what) else ()
    target = given.get("target", _OTHER)
    url = given.get("url", "").strip()
    if target == _OTHER and not url:
        raise UsageError("a run needs a target", hint="choose one, or write a URL")
    if target != _OTHER and url:
        raise UsageError("there is a target and a URL", hint="choose Other URL, or clear the field")
    return NewRun(
        experiments=chosen,
        target=url if target == _OTHER else target,
        query="" if ids else what,
        events=ids,
        times=_whole(given, "times"),
        seed=_whole(given, "seed"),
        delay=_delay(given.get("delay", "").strip()),
        speed=_whole(given, "speed"),
        compare=given.get("compare") or None,
    )


def _whole(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise UsageError(
            f"{name}: '{printable(text, 40)}' is not a whole number", hint="leave it empty for the usual one"
        )
    return int(text)


def _delay(text: str) -> float | None:
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"delay: '{printable(text, 40)}' is not a time", hint="write 2s, 500ms or 5m")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def _again(run_: Run) -> tuple[tuple[str, str], ...]:
    settings = run_.settings
    typed = "://" in run_.target
    filled = {
        "what": run_.query or " ".join(str(id_) for id_ in run_.events),
        "target": _OTHER if typed else run_.target,
        "url": run_.target if typed else "",
        "times": str(settings.times or ""),
        "seed": str(settings.seed),
        "delay": f"{settings.delay:g}s",
        "speed": f"{settings.speed:.0f}" if settings.speed else "",
        "compare": settings.compare,
    }
    return (*filled.items(), *(("experiment", trial.experiment) for trial in run_.trials))
