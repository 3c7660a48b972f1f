"""The first minute: nothing has arrived yet, so say how something can."""

import shlex

from aiohttp import web

from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import Provider
from relay.web import gather
from relay.web.contexts.events import FirstPage, ProviderPick
from relay.web.keys import Desk, desk
from relay.web.render import RENDERER, html
from relay.web.view.marks import mark

_OFFERED = ("stripe", "github", "shopify", "slack", "twilio")
_SAMPLE = "payment_intent.succeeded"


async def first(request: web.Request) -> web.Response:
    """Return the page that stands in for the list until the first event comes."""
    here = desk(request)
    url = here.live.public_url or here.setup.ingress_url
    known = [PROVIDERS[name] for name in _OFFERED if name in PROVIDERS]
    picks = [_pick(provider, url, request.query.get("provider", known[0].name)) for provider in known]
    current = next((pick for pick in picks if pick.current), picks[0])
    context = FirstPage(
        shell=await gather.frame(request, "Waiting for the first webhook", "events"),
        reachable=here.live.public_url is not None,
        curl=_curl(f"{here.setup.ingress_url}/webhooks/test"),
        picks=tuple(picks),
        pick=current,
        targets=_targets(here),
        sample=_SAMPLE,
    )
    return html(request.app[RENDERER].page(context))


def _pick(provider: Provider, url: str, chosen: str) -> ProviderPick:
    there = f"{url}/webhooks/{provider.name}"
    return ProviderPick(
        name=provider.name,
        mark=mark(provider.name, provider.title, provider.monogram),
        current=provider.name == chosen,
        url=there,
        variable=provider.secret_env[0] if provider.secret_env else "",
        steps=tuple(step.replace("{url}", there) for step in provider.steps),
    )


def _curl(url: str) -> str:
    body = shlex.quote('{"hello": "relay"}')
    return f"curl -X POST {shlex.quote(url)} \\\n  -H 'Content-Type: application/json' \\\n  -d {body}"


def _targets(here: Desk) -> tuple[str, ...]:
    return tuple(f"{name}: {here.setup.addresses.get(name, '')}" for name in here.setup.targets)
