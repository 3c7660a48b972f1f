"""Dry runs of mails, as JSON and as a page: what would have gone out for events of the past."""

from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from relay.delivery.rehearsals import Wanted
from relay.errors import NotFoundError, RelayError, UsageError
from relay.model.rehearsal import Rehearsal, Rehearsed, RehearsedMail
from relay.model.text import printable
from relay.web import asked, gather, shapes
from relay.web.answers import json_response
from relay.web.contexts.events import Link
from relay.web.contexts.rehearsal import DryRunLine, DryRunPage
from relay.web.keys import desk
from relay.web.posted import sentence
from relay.web.render import RENDERER, html
from relay.web.senders import event_mark
from relay.web.view import lists
from relay.web.view.rows import Chip, named
from relay.web.view.words import moment, plural

_PAGE = 50
_LAST_WEEK = "after:7d"
_CHIPS = {
    Rehearsed.SEND: Chip(kind="done", text="Would be sent"),
    Rehearsed.SENT: Chip(kind="dim", text="Sent already"),
    Rehearsed.REFUSED: Chip(kind="no", text="Refused"),
    Rehearsed.FAILED: Chip(kind="no", text="Fails"),
    Rehearsed.UNTAKEN: Chip(kind="dim", text="No route"),
}


async def dry_run(request: web.Request) -> web.Response:
    """POST /api/emails/dry-run with `{q, template, target, before, limit}`: what would have gone out."""
    given = await asked.json_body(request)
    asked.known(given, {"q", "template", "target", "before", "limit"})
    query = asked.text(given, "q")
    if query is None:
        raise UsageError("q is missing", hint='send {"q": "after:7d"}; "" means every event')
    wanted = Wanted(
        query=query,
        template=asked.text(given, "template") or None,
        target=asked.text(given, "target") or None,
        before=_number(given, "before", None),
        limit=min(_number(given, "limit", 100) or 100, asked.MAX_LIMIT),
    )
    return json_response(_shape(await desk(request).verbs.rehearse(wanted)))


async def dry_run_page(request: web.Request) -> web.Response:
    """GET /emails/dry-run?q=&target=&template=&before=, /emails/{name}/dry-run?q=: the same, to look at."""
    here = desk(request)
    template = request.match_info.get("name") or request.query.get("template", "")
    target = request.query.get("target", "")
    query = request.query.get("q", _LAST_WEEK)
    if template and template not in here.setup.emails:
        raise NotFoundError("no such mail template", hint="relay.toml names them under [emails]")
    wanted = Wanted(
        query=query,
        template=template or None,
        target=target or None,
        before=asked.number(request, "before", None),
        limit=_PAGE,
    )
    error, found = "", Rehearsal(mails=(), events=0, next_before=None)
    try:
        found = await here.verbs.rehearse(wanted)
    except RelayError as problem:
        error = sentence(problem)
    context = DryRunPage(
        shell=await gather.frame(request, "Dry run of e-mails", "targets"),
        query=query,
        kept=tuple((name, value) for name, value in (("template", template), ("target", target)) if value),
        views=tuple(_views(here.setup.emails, query, template, target)),
        summary=_summary(found),
        lines=tuple(_line(mail) for mail in found.mails),
        older=_older(wanted, found),
        error=error,
    )
    return html(request.app[RENDERER].page(context), 422 if error else 200)


def _shape(found: Rehearsal) -> shapes.Json:
    return {
        "dry_run": True,
        "events": found.events,
        "counts": dict(found.counts),
        "mails": [_mail(mail) for mail in found.mails],
        "next_before": found.next_before,
    }


def _mail(mail: RehearsedMail) -> shapes.Json:
    return {
        "event": mail.event.id,
        "received_at": shapes.moment(mail.event.received_at),
        "source": mail.event.source,
        "type": mail.event.type,
        "template": mail.template,
        "target": mail.target or None,
        "outcome": mail.outcome.value,
        "why": mail.why or None,
        "recipients": list(mail.recipients),
        "subject": mail.subject or None,
    }


def _number(given: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = given.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**62):
        raise UsageError(f"{name} must be a positive number", hint=f'send {{"{name}": 50}}')
    return value


def _views(names: Mapping[str, str], query: str, template: str, target: str) -> Iterator[Link]:
    routed = template == ""
    name = f"By route to {printable(target, 40)}" if target else "By route"
    kept = {"q": query, "target": target} if target else {"q": query}
    yield Link(name=name, href=f"/emails/dry-run?{lists.encoded(kept)}", current=routed)
    for one in names:
        href = f"/emails/{one}/dry-run?{lists.encoded({'q': query})}"
        yield Link(name=printable(one, 40), href=href, current=one == template)


def _summary(found: Rehearsal) -> str:
    words = {
        Rehearsed.SEND: "would be sent",
        Rehearsed.SENT: "sent already",
        Rehearsed.REFUSED: "refused",
        Rehearsed.FAILED: "would fail",
        Rehearsed.UNTAKEN: "on no route",
    }
    counts = found.counts
    told = [f"{counts[outcome]} {text}" for outcome, text in words.items() if counts[outcome]]
    return f"{plural(found.events, 'event')}: {', '.join(told) or 'no mail'}. Nothing was sent."


def _line(mail: RehearsedMail) -> DryRunLine:
    fields = lists.encoded({"template": mail.template})
    return DryRunLine(
        mark=event_mark(mail.event),
        type=named(mail.event),
        event_id=mail.event.id,
        received=moment(mail.event.received_at),
        template=mail.template,
        target=printable(mail.target, 80),
        chip=_CHIPS[mail.outcome],
        to=printable(", ".join(mail.recipients), 300),
        subject=printable(mail.subject, 200),
        why=printable(mail.why, 400),
        preview=f"/events/{mail.event.id}/email?{fields}" if mail.outcome is not Rehearsed.FAILED else "",
    )


def _older(wanted: Wanted, found: Rehearsal) -> str:
    if found.next_before is None:
        return ""
    fields = {
        "q": wanted.query,
        "template": wanted.template or "",
        "target": wanted.target or "",
        "before": str(found.next_before),
    }
    return f"/emails/dry-run?{lists.encoded({name: value for name, value in fields.items() if value})}"
