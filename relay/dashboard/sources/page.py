"""The pages beside Events: sources, targets."""

from urllib.parse import urlencode

from aiohttp import web

from relay.dashboard import page_data
from relay.dashboard.filters import find_provider, format_count, source_avatar
from relay.dashboard.render import RENDERER, html_response
from relay.dashboard.sources import catch_up, rules
from relay.dashboard.sources.context import SourceLine, SourcesPage, TargetLine, TargetsPage, TriggerPage
from relay.dashboard.sources.rules import build_secret_lines
from relay.dashboard.widgets import FormOption
from relay.errors import NotFoundError
from relay.http.context import get_relay
from relay.model.delivery import Target
from relay.model.event import LocalKey, Source, VerifyMode
from relay.model.text import escape_unprintable
from relay.services.relay import RunningRelay

_PAGE_SIZE = 50


async def show_sources(request: web.Request) -> web.Response:
    """GET /sources, /sources/{name}: what may send, as configured."""
    relay = get_relay(request)
    name = request.match_info.get("name")
    if name is not None and name not in relay.sources.by_name:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    made = {key: _build_source_line(relay, source) for key, source in relay.sources.by_name.items()}
    context = SourcesPage(
        shell=await page_data.build_shell(request, "Sources", "sources"),
        origin=f"from {relay.config.path.name}" if relay.config.path else "no relay.toml",
        lines=tuple(made.values()),
        chosen=made[name] if name else next(iter(made.values()), None),
        detail_shown=name is not None,
        unclaimed=rules.describe_refusals(
            relay.state.refused.list_others(relay.sources.by_name), None, relay.config.server.max_body
        ),
    )
    return html_response(request.app[RENDERER].page(context))


def _build_source_line(relay: RunningRelay, source: Source) -> SourceLine:
    known = find_provider(source.provider)
    url = (relay.state.public_url or relay.ingress_url) + source.path
    state, kind = _describe_verification(source)
    refused = relay.state.refused.of(source.name)
    return SourceLine(
        name=source.name,
        mark=source_avatar(source),
        path=source.path,
        url=url,
        state=state,
        kind=kind,
        facts=(*_list_behaviour_facts(source), *rules.list_source_rules(source, relay.config.server.max_body)),
        secrets=build_secret_lines(source),
        steps=known.list_steps(url) if known else (),
        catch_up=catch_up.build_section(relay, source),
        refused=rules.describe_refusals(refused, source, relay.config.server.max_body),
        turned_away=rules.summarize_refusals(refused),
    )


def _describe_verification(source: Source) -> tuple[str, str]:
    if source.verify is VerifyMode.OFF:
        return "Not checked", ""
    if source.scheme is None:
        return "Unsigned", ""
    if source.locked_secrets:
        return "Vault locked", "t-warn"
    return ("Has a secret", "t-ok") if source.secrets else ("No secret", "t-warn")


def _list_behaviour_facts(source: Source) -> tuple[tuple[str, str], ...]:
    fails = {
        VerifyMode.ENFORCE: "Answer 401 and store it as rejected",
        VerifyMode.REPORT: "Take it in, flagged",
        VerifyMode.OFF: "Nothing is checked",
    }
    answer = (
        "The first target's own answer" if source.answer.mode == "wait" else f"{source.answer.status} straight away"
    )
    return (
        ("When a check fails", fails[source.verify]),
        ("Signature", source.scheme.title if source.scheme else "none expected"),
        ("Answer", answer),
        ("Seen before", "Delivered again" if source.deliver_duplicates else "Stored, not delivered again"),
        ("Event types", ", ".join(source.events) or "all"),
    )


async def show_targets(request: web.Request) -> web.Response:
    """GET /targets: where events go, and how that does."""
    relay = get_relay(request)
    waiting = await relay.store.deliveries.waiting()
    context = TargetsPage(
        shell=await page_data.build_shell(request, "Targets", "targets"),
        lines=tuple(
            _build_target_line(relay, target, waiting.get(target.name, 0)) for target in relay.config.targets.values()
        ),
    )
    return html_response(request.app[RENDERER].page(context))


def _build_target_line(relay: RunningRelay, target: Target, waiting: int) -> TargetLine:
    retry = target.retry
    routes = [route for route in relay.config.routes if target.name in route.targets]
    return TargetLine(
        name=target.name,
        action=target.action,
        leads=escape_unprintable(relay.target_addresses.get(target.name, ""), 200),
        facts=(
            ("Tries", f"{retry.attempts}, the first again after {retry.first:g} s, at most {retry.max:g} s apart"),
            ("Order", "strictly one after another, per source" if target.fifo else "any"),
        ),
        routes=tuple(", ".join((*(route.sources or ("any source",)), *route.events)) for route in routes),
        waiting=format_count(waiting, "delivery", "deliveries") if waiting else "",
        down=escape_unprintable(relay.state.state_of(target.name)[1], 300),
        rehearse=f"/emails/dry-run?{urlencode({'target': target.name})}" if target.action == "email" else "",
    )


async def show_trigger(request: web.Request, *, error: str = "", typed: str = "", body: str = "") -> web.Response:
    """GET /trigger?source=&type=: a correctly signed sample to send."""
    relay = get_relay(request)
    names = list(relay.sources.by_name) or ["stripe"]
    wanted = request.query.get("source") or ""
    chosen = wanted if wanted in names else names[0]
    types = relay.list_sample_types(chosen)
    context = TriggerPage(
        shell=await page_data.build_shell(request, "Trigger", "trigger"),
        sources=tuple(
            FormOption(value=name, name=relay.sources.by_name[name].title or name, chosen=name == chosen)
            if name in relay.sources.by_name
            else FormOption(value=name, name=name, chosen=name == chosen)
            for name in names
        ),
        types=types,
        source=chosen,
        type=typed or request.query.get("type", "") or (types[0] if types else ""),
        body=body,
        error=error,
        signing=_describe_signing(relay.find_local_key(chosen), relay.sources.by_name.get(chosen)),
    )
    return html_response(request.app[RENDERER].page(context), 422 if error else 200)


def _describe_signing(local: LocalKey | None, source: Source | None) -> str:
    """Return what signs samples where that is not the source's own secret, "" where it is."""
    if local is not None and local.is_run_secret:
        return f"It has no secret. relay signs samples with one that it made for this run: {local.secret.reveal()}"
    if local is not None or source is None or source.scheme is None or source.secrets:
        return ""
    return "It has no secret. relay makes one for this run with the first sample, and shows it here."
