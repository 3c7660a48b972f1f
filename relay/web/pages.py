"""The pages beside Events: sources, targets."""

from urllib.parse import urlencode

from aiohttp import web

from relay.errors import NotFoundError
from relay.model.delivery import Target
from relay.model.event import LocalKey, Source, VerifyMode
from relay.model.text import printable
from relay.web import catch_up, gather
from relay.web.contexts.dialogs import Field
from relay.web.contexts.pages import SourceLine, SourcesPage, TargetLine, TargetsPage, TriggerPage
from relay.web.keys import Desk, desk
from relay.web.render import RENDERER, html
from relay.web.senders import provider, source_mark
from relay.web.view import admission
from relay.web.view.secrets import secret_lines
from relay.web.view.words import plural

_PAGE = 50


async def sources(request: web.Request) -> web.Response:
    """GET /sources, /sources/{name}: what may send, as configured."""
    here = desk(request)
    name = request.match_info.get("name")
    if name is not None and name not in here.setup.sources:
        raise NotFoundError("no such source", hint="the page Sources lists those in relay.toml")
    made = {key: _source(here, source) for key, source in here.setup.sources.items()}
    context = SourcesPage(
        shell=await gather.frame(request, "Sources", "sources"),
        origin=f"from {here.setup.config_path.name}" if here.setup.config_path else "no relay.toml",
        lines=tuple(made.values()),
        chosen=made[name] if name else next(iter(made.values()), None),
        detail_shown=name is not None,
        unclaimed=admission.lines(here.live.refused.of_others(here.setup.sources), None, here.setup.max_body),
    )
    return html(request.app[RENDERER].page(context))


def _source(here: Desk, source: Source) -> SourceLine:
    known = provider(source.provider)
    url = (here.live.public_url or here.setup.ingress_url) + source.path
    state, kind = _standing(source)
    refused = here.live.refused.of(source.name)
    return SourceLine(
        name=source.name,
        mark=source_mark(source),
        path=source.path,
        url=url,
        state=state,
        kind=kind,
        facts=(*_behaviour(source), *admission.facts(source, here.setup.max_body)),
        secrets=secret_lines(source),
        steps=tuple(step.replace("{url}", url) for step in known.steps) if known else (),
        catch_up=catch_up.section(here, source),
        refused=admission.lines(refused, source, here.setup.max_body),
        turned_away=admission.summary(refused),
    )


def _standing(source: Source) -> tuple[str, str]:
    if source.verify is VerifyMode.OFF:
        return "Not checked", ""
    if source.scheme is None:
        return "Unsigned", ""
    if source.locked_secrets:
        return "Vault locked", "t-warn"
    return ("Has a secret", "t-ok") if source.secrets else ("No secret", "t-warn")


def _behaviour(source: Source) -> tuple[tuple[str, str], ...]:
    fails = {
        VerifyMode.ENFORCE: "Answer 401 and store it as rejected",
        VerifyMode.REPORT: "Take it in, flagged",
        VerifyMode.OFF: "Nothing is checked",
    }
    answer = (
        "The first target's own answer"
        if source.answer.mode == "wait"
        else f"{source.answer.status} straight away"
    )
    return (
        ("When a check fails", fails[source.verify]),
        ("Signature", source.scheme.title if source.scheme else "none expected"),
        ("Answer", answer),
        ("Seen before", "Delivered again" if source.deliver_duplicates else "Stored, not delivered again"),
        ("Event types", ", ".join(source.events) or "all"),
    )


async def targets(request: web.Request) -> web.Response:
    """GET /targets: where events go, and how that does."""
    here = desk(request)
    waiting = await here.store.deliveries.waiting()
    context = TargetsPage(
        shell=await gather.frame(request, "Targets", "targets"),
        lines=tuple(
            _target(here, target, waiting.get(target.name, 0)) for target in here.setup.targets.values()
        ),
    )
    return html(request.app[RENDERER].page(context))


def _target(here: Desk, target: Target, waiting: int) -> TargetLine:
    retry = target.retry
    routes = [route for route in here.setup.routes if target.name in route.targets]
    return TargetLine(
        name=target.name,
        action=target.action,
        leads=printable(here.setup.addresses.get(target.name, ""), 200),
        facts=(
            (
                "Tries",
                f"{retry.attempts}, the first again after {retry.first:g} s, at most {retry.max:g} s apart",
            ),
            ("Order", "strictly one after another, per source" if target.fifo else "any"),
        ),
        routes=tuple(", ".join((*(route.sources or ("any source",)), *route.events)) for route in routes),
        waiting=plural(waiting, "delivery", "deliveries") if waiting else "",
        down=printable(here.live.state_of(target.name)[1], 300),
        rehearse=f"/emails/dry-run?{urlencode({'target': target.name})}" if target.action == "email" else "",
    )


async def trigger(request: web.Request, *, error: str = "", typed: str = "", body: str = "") -> web.Response:
    """GET /trigger?source=&type=: a correctly signed sample to send."""
    here = desk(request)
    names = list(here.setup.sources) or ["stripe"]
    wanted = request.query.get("source") or ""
    chosen = wanted if wanted in names else names[0]
    types = here.verbs.samples(chosen)
    context = TriggerPage(
        shell=await gather.frame(request, "Trigger", "trigger"),
        sources=tuple(
            Field(value=name, name=here.setup.sources[name].title or name, chosen=name == chosen)
            if name in here.setup.sources
            else Field(value=name, name=name, chosen=name == chosen)
            for name in names
        ),
        types=types,
        source=chosen,
        type=typed or request.query.get("type", "") or (types[0] if types else ""),
        body=body,
        error=error,
        signing=_signing(here.verbs.local_key(chosen), here.setup.sources.get(chosen)),
    )
    return html(request.app[RENDERER].page(context), 422 if error else 200)


def _signing(local: LocalKey | None, source: Source | None) -> str:
    """Return what signs samples where that is not the source's own secret, "" where it is."""
    if local is not None and local.is_run_secret:
        return f"It has no secret. relay signs samples with one that it made for this run: {local.secret.reveal()}"
    if local is not None or source is None or source.scheme is None or source.secrets:
        return ""
    return "It has no secret. relay makes one for this run with the first sample, and shows it here."
