"""Dry runs of mails as a page: what would have gone out for events of the past."""

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from aiohttp import web

from relay.dashboard.filters import build_url, format_count
from relay.dashboard.responses import format_error, render_page
from relay.dashboard.widgets import NavLink, StatusChip
from relay.delivery.email_dry_run import DryRunRequest
from relay.errors import NotFoundError, RelayError
from relay.http import params
from relay.http.responses import get_relay
from relay.model.mail import Rehearsal, RehearsalOutcome
from relay.model.text import escape_unprintable

_PAGE_SIZE = 50
_DEFAULT_QUERY = "after:7d"
_STATE_CHIPS = {
    RehearsalOutcome.SEND: StatusChip("done", "Would be sent"),
    RehearsalOutcome.SENT: StatusChip("dim", "Sent already"),
    RehearsalOutcome.REFUSED: StatusChip("no", "Refused"),
    RehearsalOutcome.FAILED: StatusChip("no", "Fails"),
    RehearsalOutcome.UNTAKEN: StatusChip("dim", "No route"),
}


async def show_dry_run(request: web.Request) -> web.Response:
    """GET /emails/dry-run?q=&target=&template=&before=, /emails/{name}/dry-run?q=: the same, to look at."""
    relay = get_relay(request)
    template = request.match_info.get("name") or request.query.get("template", "")
    target = request.query.get("target", "")
    query = request.query.get("q", _DEFAULT_QUERY)
    if template and template not in relay.email_recipients:
        raise NotFoundError("no such mail template", hint="relay.toml names them under [emails]")
    dry_run = DryRunRequest(
        query=query,
        template=template or None,
        target=target or None,
        before=params.parse_number(request, "before", None),
        limit=_PAGE_SIZE,
    )
    error, found = "", Rehearsal(mails=(), events=0, next_before=None)
    try:
        found = await relay.email_dry_run.rehearse(dry_run)
    except RelayError as problem:
        error = format_error(problem)
    return await render_page(
        request,
        "messages/dry_run.html",
        "Dry run of e-mails",
        "targets",
        422 if error else 200,
        query=query,
        kept=tuple((name, value) for name, value in (("template", template), ("target", target)) if value),
        views=tuple(_build_template_links(relay.email_recipients, query, template, target)),
        summary=_format_summary(found),
        mails=found.mails,
        chips=_STATE_CHIPS,
        older=_build_path("/emails/dry-run", query, template=template, target=target, before=found.next_before)
        if found.next_before
        else "",
        error=error,
    )


def _build_template_links(names: Mapping[str, str], query: str, template: str, target: str) -> Iterator[NavLink]:
    name = f"By route to {escape_unprintable(target, 40)}" if target else "By route"
    yield NavLink(name, _build_path("/emails/dry-run", query, target=target), current=template == "")
    for one in names:
        href = _build_path(f"/emails/{one}/dry-run", query)
        yield NavLink(escape_unprintable(one, 40), href, current=one == template)


def _build_path(path: str, query: str, **more: object) -> str:
    # Without `q` it is the default; an empty one is every event.
    address = build_url(path, **more)
    return f"{address}{'&' if '?' in address else '?'}q={quote(query)}"


def _format_summary(found: Rehearsal) -> str:
    words = {
        RehearsalOutcome.SEND: "would be sent",
        RehearsalOutcome.SENT: "sent already",
        RehearsalOutcome.REFUSED: "refused",
        RehearsalOutcome.FAILED: "would fail",
        RehearsalOutcome.UNTAKEN: "on no route",
    }
    counts = found.counts
    parts = [f"{counts[outcome]} {text}" for outcome, text in words.items() if counts[outcome]]
    return f"{format_count(found.events, 'event')}: {', '.join(parts) or 'no mail'}. Nothing was sent."
