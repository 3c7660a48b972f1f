"""The Trigger page: a correctly signed sample to send."""

from aiohttp import web

from relay.dashboard.responses import format_error, read_fields, redirect, render_page
from relay.errors import RelayError
from relay.http.responses import get_relay


async def show_trigger(request: web.Request, *, error: str = "", typed: str = "", body: str = "") -> web.Response:
    """GET /trigger?source=&type=: a correctly signed sample to send."""
    relay = get_relay(request)
    sources = relay.sources.by_name
    names = list(sources) or ["stripe"]
    requested = request.query.get("source") or ""
    chosen = requested if requested in names else names[0]
    types = relay.list_sample_types(chosen)
    return await render_page(
        request,
        "trigger.html",
        "Trigger",
        "trigger",
        422 if error else 200,
        titles={name: (sources[name].title if name in sources else "") or name for name in names},
        types=types,
        source=chosen,
        type=typed or request.query.get("type", "") or (types[0] if types else ""),
        body=body,
        error=error,
        local=relay.find_local_key(chosen),
        configured=sources.get(chosen),
    )


async def trigger_sample(request: web.Request) -> web.Response:
    """POST /trigger: a signed sample through the real ingress, then the event it made."""
    form = await read_fields(request)
    body = form.get("body", "").replace("\r\n", "\n").strip()
    type_ = form.get("type", "").strip()
    encoded = body.encode("utf-8", "replace") if body else None
    try:
        row = await get_relay(request).trigger_sample(form.get("source", ""), type_, body=encoded)
    except RelayError as error:
        return await show_trigger(request, error=format_error(error), typed=type_, body=body)
    return redirect(f"/events/{row.id}")
