"""Dry runs of mails, as JSON and as a page: what would have gone out for events of the past."""

from collections.abc import Iterator, Mapping

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.event_rows import StatusChip, format_event_title
from relay.dashboard.filters import event_avatar, format_count, format_moment
from relay.dashboard.messages.context import DryRunLine, DryRunPage
from relay.dashboard.render import RENDERER, html_response
from relay.dashboard.responses import format_error
from relay.dashboard.urls import encode_query
from relay.dashboard.widgets import NavLink
from relay.delivery.email_dry_run import DryRunRequest
from relay.errors import NotFoundError, RelayError
from relay.http import params
from relay.http.context import get_relay
from relay.model.mail import Rehearsal, RehearsalOutcome, RehearsedMail
from relay.model.text import escape_unprintable

_PAGE_SIZE = 50
_DEFAULT_QUERY = "after:7d"
_STATE_CHIPS = {
    RehearsalOutcome.SEND: StatusChip(kind="done", text="Would be sent"),
    RehearsalOutcome.SENT: StatusChip(kind="dim", text="Sent already"),
    RehearsalOutcome.REFUSED: StatusChip(kind="no", text="Refused"),
    RehearsalOutcome.FAILED: StatusChip(kind="no", text="Fails"),
    RehearsalOutcome.UNTAKEN: StatusChip(kind="dim", text="No route"),
}


async def show_dry_run(request: web.Request) -> web.Response:
    """GET /emails/dry-run?q=&target=&template=&before=, /emails/{name}/dry-run?q=: the same, to look at."""
    relay = get_relay(request)
    template = request.match_info.get("name") or request.query.get("template", "")
    target = request.query.get("target", "")
    query = request.query.get("q", _DEFAULT_QUERY)
    if template and template not in relay.email_recipients:
        raise NotFoundError("no such mail template", hint="relay.toml names them under [emails]")
    wanted = DryRunRequest(
        query=query,
        template=template or None,
        target=target or None,
        before=params.parse_number(request, "before", None),
        limit=_PAGE_SIZE,
    )
    error, found = "", Rehearsal(mails=(), events=0, next_before=None)
    try:
        found = await relay.email_dry_run.rehearse(wanted)
    except RelayError as problem:
        error = format_error(problem)
    context = DryRunPage(
        shell=await page_data.build_shell(request, "Dry run of e-mails", "targets"),
        query=query,
        kept=tuple((name, value) for name, value in (("template", template), ("target", target)) if value),
        views=tuple(_build_template_links(relay.email_recipients, query, template, target)),
        summary=_format_summary(found),
        lines=tuple(_build_line(mail) for mail in found.mails),
        older=_older_path(wanted, found),
        error=error,
    )
    return html_response(request.app[RENDERER].page(context), 422 if error else 200)


def _build_template_links(names: Mapping[str, str], query: str, template: str, target: str) -> Iterator[NavLink]:
    routed = template == ""
    name = f"By route to {escape_unprintable(target, 40)}" if target else "By route"
    kept = {"q": query, "target": target} if target else {"q": query}
    yield NavLink(name=name, href=f"/emails/dry-run?{encode_query(kept)}", current=routed)
    for one in names:
        href = f"/emails/{one}/dry-run?{encode_query({'q': query})}"
        yield NavLink(name=escape_unprintable(one, 40), href=href, current=one == template)


def _format_summary(found: Rehearsal) -> str:
    words = {
        RehearsalOutcome.SEND: "would be sent",
        RehearsalOutcome.SENT: "sent already",
        RehearsalOutcome.REFUSED: "refused",
        RehearsalOutcome.FAILED: "would fail",
        RehearsalOutcome.UNTAKEN: "on no route",
    }
    counts = found.counts
    told = [f"{counts[outcome]} {text}" for outcome, text in words.items() if counts[outcome]]
    return f"{format_count(found.events, 'event')}: {', '.join(told) or 'no mail'}. Nothing was sent."


def _build_line(mail: RehearsedMail) -> DryRunLine:
    fields = encode_query({"template": mail.template})
    return DryRunLine(
        mark=event_avatar(mail.event),
        type=format_event_title(mail.event),
        event_id=mail.event.id,
        received=format_moment(mail.event.received_at),
        template=mail.template,
        target=escape_unprintable(mail.target, 80),
        chip=_STATE_CHIPS[mail.outcome],
        to=escape_unprintable(", ".join(mail.recipients), 300),
        subject=escape_unprintable(mail.subject, 200),
        why=escape_unprintable(mail.why, 400),
        preview=f"/events/{mail.event.id}/email?{fields}" if mail.outcome is not RehearsalOutcome.FAILED else "",
    )


def _older_path(wanted: DryRunRequest, found: Rehearsal) -> str:
    if found.next_before is None:
        return ""
    fields = {
        "q": wanted.query,
        "template": wanted.template or "",
        "target": wanted.target or "",
        "before": str(found.next_before),
    }
    return f"/emails/dry-run?{encode_query({name: value for name, value in fields.items() if value})}"
