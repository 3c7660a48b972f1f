"""Dry runs of mails as a page: what would have gone out for events of the past."""

from aiohttp import web

from relay.dashboard.responses import format_error, render_page
from relay.delivery.email_dry_run import DryRunRequest
from relay.errors import NotFoundError, RelayError
from relay.http import params
from relay.http.responses import get_relay
from relay.model.mail import Rehearsal

_PAGE_SIZE = 50
_DEFAULT_QUERY = "after:7d"


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
        chosen=template,
        target=target,
        templates=relay.email_recipients,
        found=found,
        error=error,
    )
