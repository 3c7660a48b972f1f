"""The Doctor page: everything that relay needs, checked when the page is opened."""

from aiohttp import web

from relay.dashboard.filters import format_count
from relay.dashboard.responses import render_page
from relay.http.responses import get_relay
from relay.model.text import escape_unprintable
from relay.services.health import HealthFinding


async def show_health_check(request: web.Request) -> web.Response:
    """GET /doctor."""
    relay = get_relay(request)
    findings = await relay.check_health()
    failed, doubtful = (sum(one.state == state for one in findings) for state in ("failed", "warning"))
    return await render_page(
        request,
        "doctor.html",
        "Doctor",
        "doctor",
        verdict=_format_verdict(failed, doubtful),
        worst="failed" if failed else "warning" if doubtful else "ok",
        findings=findings,
        report=f"relay {relay.version}\n" + "\n".join(_format_finding(one) for one in findings),
    )


def _format_verdict(failed: int, doubtful: int) -> str:
    if failed:
        return f"{format_count(failed, 'thing does', 'things do')} not work"
    return f"{format_count(doubtful, 'thing deserves', 'things deserve')} a look" if doubtful else "Everything works"


def _format_finding(one: HealthFinding) -> str:
    return escape_unprintable(f"{one.state:<8} {one.name}: {one.detail}{f'; {one.fix}' if one.fix else ''}")
