"""Dry runs of mails over HTTP."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from relay.api import serializers
from relay.delivery.email_dry_run import DryRunRequest
from relay.errors import UsageError
from relay.http import params
from relay.http.context import get_relay
from relay.http.responses import json_response
from relay.model.mail import Rehearsal, RehearsedMail


async def run_dry_run(request: web.Request) -> web.Response:
    """POST /api/emails/dry-run with `{q, template, target, before, limit}`: what would have gone out."""
    given = await params.read_json_body(request)
    params.reject_unknown_keys(given, {"q", "template", "target", "before", "limit"})
    query = params.get_text(given, "q")
    if query is None:
        raise UsageError("q is missing", hint='send {"q": "after:7d"}; "" means every event')
    wanted = DryRunRequest(
        query=query,
        template=params.get_text(given, "template") or None,
        target=params.get_text(given, "target") or None,
        before=_get_number(given, "before", None),
        limit=min(_get_number(given, "limit", 100) or 100, params.MAX_LIMIT),
    )
    return json_response(_serialize_dry_run(await get_relay(request).email_dry_run.rehearse(wanted)))


def _serialize_dry_run(found: Rehearsal) -> serializers.Json:
    return {
        "dry_run": True,
        "events": found.events,
        "counts": dict(found.counts),
        "mails": [_serialize_mail(mail) for mail in found.mails],
        "next_before": found.next_before,
    }


def _serialize_mail(mail: RehearsedMail) -> serializers.Json:
    return {
        "event": mail.event.id,
        "received_at": serializers.format_time(mail.event.received_at),
        "source": mail.event.source,
        "type": mail.event.type,
        "template": mail.template,
        "target": mail.target or None,
        "outcome": mail.outcome.value,
        "why": mail.why or None,
        "recipients": list(mail.recipients),
        "subject": mail.subject or None,
    }


def _get_number(given: Mapping[str, Any], name: str, default: int | None) -> int | None:
    value = given.get(name, default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**62):
        raise UsageError(f"{name} must be a positive number", hint=f'send {{"{name}": 50}}')
    return value
