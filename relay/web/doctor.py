"""The Doctor page and its JSON: everything relay needs, looked at when it is asked for."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from aiohttp import web

from relay.model.finding import Finding
from relay.model.text import printable
from relay.web import gather
from relay.web.answers import json_response
from relay.web.keys import desk
from relay.web.render import RENDERER, html
from relay.web.view.shell import Shell
from relay.web.view.words import plural

_KINDS = {"ok": "ok", "warning": "warn", "failed": "err"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One look: `kind` is ok, warn or err; `fix` says what mends it."""

    kind: str
    name: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorPage:
    """What was found, the worst first in words; `report` is all of it as text, without secrets."""

    template: ClassVar[str] = "pages/doctor.html"
    shell: Shell
    verdict: str
    kind: str
    steps: tuple[Step, ...]
    report: str


async def findings(request: web.Request) -> web.Response:
    """GET /api/doctor: everything relay needs, looked at now."""
    return json_response({"findings": [asdict(one) for one in await desk(request).verbs.checkup()]})


async def page(request: web.Request) -> web.Response:
    """GET /doctor."""
    here = desk(request)
    found = await here.verbs.checkup()
    failed, doubtful = (sum(one.state == state for one in found) for state in ("failed", "warning"))
    context = DoctorPage(
        shell=await gather.frame(request, "Doctor", "doctor"),
        verdict=_verdict(failed, doubtful),
        kind="err" if failed else "warn" if doubtful else "ok",
        steps=tuple(
            Step(
                kind=_KINDS[one.state],
                name=one.name,
                detail=printable(one.detail, 400),
                fix=printable(one.fix, 300),
            )
            for one in found
        ),
        report=f"relay {here.setup.version}\n" + "\n".join(_line(one) for one in found),
    )
    return html(request.app[RENDERER].page(context))


def _verdict(failed: int, doubtful: int) -> str:
    if failed:
        return f"{plural(failed, 'thing does', 'things do')} not work"
    return (
        f"{plural(doubtful, 'thing deserves', 'things deserve')} a look" if doubtful else "Everything works"
    )


def _line(one: Finding) -> str:
    return printable(f"{one.state:<8} {one.name}: {one.detail}{f'; {one.fix}' if one.fix else ''}")
