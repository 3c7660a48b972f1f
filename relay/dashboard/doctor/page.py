"""The Doctor page and its JSON: everything relay needs, looked at when it is asked for."""

from dataclasses import dataclass
from typing import ClassVar

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.filters import format_count
from relay.dashboard.layout import PageLayout
from relay.dashboard.render import RENDERER, html_response
from relay.http.context import get_relay
from relay.model.text import escape_unprintable
from relay.services.health import HealthFinding

_STATE_KINDS = {"ok": "ok", "warning": "warn", "failed": "err"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckLine:
    """One look: `kind` is ok, warn or err; `fix` says what mends it."""

    kind: str
    name: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckPage:
    """What was found, the worst first in words; `report` is all of it as text, without secrets."""

    template: ClassVar[str] = "pages/doctor.html"
    shell: PageLayout
    verdict: str
    kind: str
    steps: tuple[HealthCheckLine, ...]
    report: str


async def show_health_check(request: web.Request) -> web.Response:
    """GET /doctor."""
    relay = get_relay(request)
    found = await relay.check_health()
    failed, doubtful = (sum(one.state == state for one in found) for state in ("failed", "warning"))
    context = HealthCheckPage(
        shell=await page_data.build_shell(request, "Doctor", "doctor"),
        verdict=_format_verdict(failed, doubtful),
        kind="err" if failed else "warn" if doubtful else "ok",
        steps=tuple(
            HealthCheckLine(
                kind=_STATE_KINDS[one.state],
                name=one.name,
                detail=escape_unprintable(one.detail, 400),
                fix=escape_unprintable(one.fix, 300),
            )
            for one in found
        ),
        report=f"relay {relay.version}\n" + "\n".join(_format_finding(one) for one in found),
    )
    return html_response(request.app[RENDERER].page(context))


def _format_verdict(failed: int, doubtful: int) -> str:
    if failed:
        return f"{format_count(failed, 'thing does', 'things do')} not work"
    return f"{format_count(doubtful, 'thing deserves', 'things deserve')} a look" if doubtful else "Everything works"


def _format_finding(one: HealthFinding) -> str:
    return escape_unprintable(f"{one.state:<8} {one.name}: {one.detail}{f'; {one.fix}' if one.fix else ''}")
