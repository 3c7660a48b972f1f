"""The pages Sources (configuration, refusals, catch-up) and Trigger (signed samples)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiohttp import web

from relay.catchup.base import APIS
from relay.dashboard.filters import format_count, format_moment
from relay.dashboard.render import get_target_id
from relay.dashboard.responses import format_error, redirect, render_page, render_part
from relay.errors import NotFoundError, RelayError, UsageError
from relay.http.params import DEFAULT_SINCE, parse_catch_up_request
from relay.http.responses import get_relay
from relay.model.admission import Rate
from relay.model.event import Source
from relay.model.json_paths import format_dotted_path
from relay.model.text import escape_unprintable, format_size
from relay.pipeline.limits import RefusalKind
from relay.pipeline.validate import describe_location
from relay.providers.catalogue import find_provider
from relay.services.relay import RunningRelay

_MAX_DETAIL = 400  # characters
_PAGE_WAIT = 1.5  # seconds that a page waits for a catch-up
_PERIODS = {"2h": "2 hours", "24h": "A day", "3d": "3 days", "7d": "A week"}
# Refused as malformed, not by a rule of their source: only their path or first line shows the cause.
_DETAILED_STATUSES = frozenset({400, 404, 405, 417, 505})
_REFUSAL_WORDS: Mapping[int, tuple[str, str]] = {
    403: ("request came from an address that is not allowed", "requests came from addresses that are not allowed"),
    400: ("request could not be read", "requests could not be read"),
    404: ("request was for no source", "requests were for no source"),
    408: ("request did not send its body in time", "requests did not send their bodies in time"),
    413: ("request was too large", "requests were too large"),
    405: ("request had a method that is not served", "requests had a method that is not served"),
    417: ("request had an unsupported Expect header", "requests had an unsupported Expect header"),
    429: ("request came too fast", "requests came too fast"),
    503: ("connection was one too many", "connections were too many"),
    505: ("request spoke another version of HTTP", "requests spoke another version of HTTP"),
}
# Shorter forms, for a summary of several kinds.
_SHORT_WORDS: Mapping[int, tuple[str, str]] = {
    400: ("not to be read", "not to be read"),
    403: ("address not allowed", "addresses not allowed"),
    408: ("too slow", "too slow"),
    413: ("too large", "too large"),
    429: ("too fast", "too fast"),
}


async def show_sources(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /sources, /sources/{name}: what may send, as configured."""
    is_named = "name" in request.match_info
    sources = relay.sources.by_name
    chosen = _find_source(request) if is_named else next(iter(sources.values()), None)
    return await render_page(
        request,
        "sources/page.html",
        "Sources",
        "sources",
        origin=f"from {relay.config.path.name}" if relay.config.path else "no relay.toml",
        sources=sources.values(),
        chosen=chosen,
        detail_shown=is_named,
        unclaimed=describe_refusals(relay.state.refused.list_others(sources), None, relay.config.server.max_body),
        **(_describe_source(relay, chosen) if chosen else {}),
    )


async def show_trigger(
    request: web.Request, relay: RunningRelay, *, error: str = "", typed: str = "", body: str = ""
) -> web.Response:
    """GET /trigger?source=&type=: a correctly signed sample to send."""
    sources = relay.sources.by_name
    names = list(sources) or ["stripe"]
    requested = request.query.get("source") or ""
    chosen = requested if requested in names else names[0]
    types, source = relay.list_sample_types(chosen), relay.sources.named(chosen)
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
        local=source.local if source else None,
        configured=sources.get(chosen),
    )


async def trigger_sample(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /trigger: a signed sample through the real ingress, then the event it made."""
    body = form.get("body", "").replace("\r\n", "\n").strip()
    type_ = form.get("type", "").strip()
    encoded = body.encode("utf-8", "replace") if body else None
    try:
        row = await relay.trigger_sample(form.get("source", ""), type_, body=encoded)
    except RelayError as error:
        return await show_trigger(request, relay, error=format_error(error), typed=type_, body=body)
    return redirect(f"/events/{row.id}")


def _describe_source(relay: RunningRelay, source: Source) -> dict[str, Any]:
    known = find_provider(source.provider)
    url = (relay.state.public_url or relay.ingress_url) + source.path
    refused = relay.state.refused.of(source.name)
    return {
        "url": url,
        "steps": known.list_steps(url) if known else (),
        "rules": list(list_source_rules(source, relay.config.server.max_body)),
        "catch_up": build_section(relay, source, {}),
        "refused": describe_refusals(refused, source, relay.config.server.max_body),
        "refused_summary": summarize_refusals(refused),
    }


def list_source_rules(source: Source, max_body: int) -> Iterator[tuple[str, str]]:
    """Return the rules of a source, name and words; `max_body` is the limit of a source without its own."""
    rules = source.admission
    networks = [str(network).removesuffix("/32").removesuffix("/128") for network in rules.networks]
    if networks:
        yield "Addresses", ", ".join(networks)
    if rules.rate is not None:
        yield "Rate", _format_rate(rules.rate)
    yield "Largest body", _format_limit(rules.max_body or max_body)
    if rules.content_types:
        yield "Content types", ", ".join(rules.content_types)
    if rules.schema is not None:
        yield "Schema", escape_unprintable(rules.schema.name, 200)
    if source.require_idempotency_key:
        yield "Idempotency key", f"required: {describe_location(source.idempotency_key)[0]}"
    if rules.email is not None:
        kind, name = rules.email.kind, rules.email.name
        place = format_dotted_path(name) if kind == "body" else f"{kind} {name}"
        yield "Mail address", f"{escape_unprintable(place, 120)} must hold one"


def summarize_refusals(kinds: Sequence[RefusalKind]) -> str:
    """Return how many requests were refused and why: `12 too fast, 1 address not allowed`."""
    return ", ".join(format_count(kind.count, *_get_words(_SHORT_WORDS, kind)) for kind in kinds)


def describe_refusals(kinds: Sequence[RefusalKind], source: Source | None, max_body: int) -> list[str]:
    """Return a sentence for each kind of refusal with its limit and the latest one, and details of a few."""
    lines: list[str] = []
    for kind in kinds:
        lines.append(_describe_refusal(kind, source, max_body))
        if kind.latest.status in _DETAILED_STATUSES:
            # Repeated mistakes are one line: a provider resends refused requests.
            details = dict.fromkeys(refused.detail for refused in kind.recent)
            lines += [escape_unprintable(detail, _MAX_DETAIL) for detail in details]
    return lines


def _describe_refusal(kind: RefusalKind, source: Source | None, max_body: int) -> str:
    rules, latest = source.admission if source else None, kind.latest
    limits = {413: _format_limit((rules and rules.max_body) or max_body)}
    if rules is not None and rules.rate is not None:
        limits[429] = _format_rate(rules.rate)
    limit = limits.get(latest.status, "")
    when = format_moment(latest.at).clock if latest.at else ""
    caller = f"from {escape_unprintable(latest.remote, 60)}" if latest.remote else ""
    latest_words = f"{when} {caller}".strip()
    summary = format_count(kind.count, *_get_words(_REFUSAL_WORDS, kind)) + (f" (limit {limit})" if limit else "")
    return f"{summary}. The latest: {latest_words}" if latest_words else f"{summary}."


def _get_words(words: Mapping[int, tuple[str, str]], kind: RefusalKind) -> tuple[str, str]:
    status = kind.latest.status
    return words.get(status, (f"refused with {status}", f"refused with {status}"))


def _format_rate(rate: Rate) -> str:
    return f"{rate.per_minute} a minute, {rate.burst} at once"


def _format_limit(limit: int) -> str:
    return format_size(limit).replace(".0 ", " ")


def build_section(
    relay: RunningRelay, source: Source, form: Mapping[str, str], problem: str = ""
) -> dict[str, Any] | None:
    """Return the catch-up section of a source's page; None for a provider without a list.

    `form` is the posted choice; the default is the usual one. In the section `access` is None
    if the configuration has a mistake, and `problem` says why a catch-up is not possible.
    """
    section: dict[str, Any] = {"source": source, "access": None, "progress": None}
    try:
        access = relay.catch_ups.listing(source).access
    except UsageError as error:
        return section | {"problem": format_error(error)} if source.provider in APIS else None
    with suppress(NotFoundError):
        section["progress"] = relay.catch_ups.progress(source.name)
    since = form.get("since", "")
    return section | {
        "access": access,
        "problem": problem,
        "periods": _PERIODS,
        "since": since if since in _PERIODS else "24h",
        "forward": bool(form.get("forward")) or "since" not in form,
    }


async def begin_catch_up(request: web.Request, relay: RunningRelay, form: dict[str, str]) -> web.Response:
    """POST /sources/{name}/catch-up with `since`, `forward` and `look`: in place, or on the source's page."""
    source = _find_source(request)
    since = form.get("since", DEFAULT_SINCE)
    try:
        relay.catch_ups.start(
            parse_catch_up_request(relay, source.name, since, dry_run="look" in form, forward=bool(form.get("forward")))
        )
    except RelayError as error:
        return _render_section(request, build_section(relay, source, form, format_error(error)), 422)
    await relay.catch_ups.wait_until_over(source.name, _PAGE_WAIT)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(relay, source, form))


async def show_section(request: web.Request, relay: RunningRelay) -> web.Response:
    """GET /sources/{name}/catch-up: the section again, to see how far it is."""
    source = _find_source(request)
    if get_target_id(request) is None:
        return redirect(f"/sources/{source.name}#catch-up")
    return _render_section(request, build_section(relay, source, request.query))


def _render_section(request: web.Request, section: dict[str, Any] | None, status: int = 200) -> web.Response:
    if section is None:
        raise NotFoundError("this source's provider does not list its events", hint="ask it to send them again")
    return render_part(request, "sources/catch_up.html", status, catch_up=section)


def _find_source(request: web.Request) -> Source:
    source = get_relay(request).sources.by_name.get(request.match_info["name"])
    if source is None:
        raise NotFoundError("no such source", hint="the Sources page lists those in relay.toml")
    return source
