"""The page Sources: what may send, as configured, and what was refused."""

from typing import Any

from aiohttp import web

from relay.dashboard.filters import find_provider
from relay.dashboard.responses import render_page
from relay.dashboard.sources import catch_up, rules
from relay.errors import NotFoundError
from relay.http.context import get_relay
from relay.model.event import Source, VerifyMode
from relay.services.relay import RunningRelay

_FAILED_CHECK_TEXTS = {
    VerifyMode.ENFORCE: "Answer 401 and store it as rejected",
    VerifyMode.REPORT: "Take it in, flagged",
    VerifyMode.OFF: "Nothing is checked",
}


async def show_sources(request: web.Request) -> web.Response:
    """GET /sources, /sources/{name}: what may send, as configured."""
    relay, name = get_relay(request), request.match_info.get("name")
    sources = relay.sources.by_name
    if name is not None and name not in sources:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    chosen = sources[name] if name else next(iter(sources.values()), None)
    return await render_page(
        request,
        "sources/page.html",
        "Sources",
        "sources",
        origin=f"from {relay.config.path.name}" if relay.config.path else "no relay.toml",
        sources=[(source, *_describe_verification(source)) for source in sources.values()],
        chosen=chosen,
        detail_shown=name is not None,
        unclaimed=rules.describe_refusals(relay.state.refused.list_others(sources), None, relay.config.server.max_body),
        **(_describe_source(relay, chosen) if chosen else {}),
    )


def _describe_source(relay: RunningRelay, source: Source) -> dict[str, Any]:
    known = find_provider(source.provider)
    url = (relay.state.public_url or relay.ingress_url) + source.path
    refused = relay.state.refused.of(source.name)
    return {
        "url": url,
        "steps": known.list_steps(url) if known else (),
        "facts": (*_list_behaviour_facts(source), *rules.list_source_rules(source, relay.config.server.max_body)),
        "secrets": rules.build_secret_lines(source),
        "catch_up": catch_up.build_section(relay, source),
        "refused": rules.describe_refusals(refused, source, relay.config.server.max_body),
        "refused_summary": rules.summarize_refusals(refused),
    }


def _describe_verification(source: Source) -> tuple[str, str]:
    """Return the state of a source's check in words, and their class."""
    if source.verify is VerifyMode.OFF:
        return "Not checked", ""
    if source.scheme is None:
        return "Unsigned", ""
    if source.locked_secrets:
        return "Vault locked", "t-warn"
    return ("Has a secret", "t-ok") if source.secrets else ("No secret", "t-warn")


def _list_behaviour_facts(source: Source) -> tuple[tuple[str, str], ...]:
    waits = source.answer.mode == "wait"
    return (
        ("When a check fails", _FAILED_CHECK_TEXTS[source.verify]),
        ("Signature", source.scheme.title if source.scheme else "none expected"),
        ("Answer", "The first target's own answer" if waits else f"{source.answer.status} straight away"),
        ("Seen before", "Delivered again" if source.deliver_duplicates else "Stored, not delivered again"),
        ("Event types", ", ".join(source.events) or "all"),
    )
