"""`relay providers`: whose webhooks relay knows, and how to set one of them up."""

from difflib import get_close_matches

import click

from relay.cli.client import ApiError, GoneError, Json, connect_running
from relay.cli.options import Call, shared
from relay.cli.terminal import Part, quote
from relay.config import Config
from relay.errors import ConfigError, NotFoundError
from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import Provider
from relay.providers.samples import sample_types

_UNKNOWN_BASE = "https://<the public address that relay start prints>"


@click.command("providers")
@click.argument("name", required=False)
@shared
async def command(call: Call, name: str | None) -> int:
    """List the providers that relay knows, or show how to set NAME up: steps, variable, address to paste."""
    if name is not None:
        await _show(call, _find(name))
        return 0
    for provider in PROVIDERS.values() if call.json else ():
        call.terminal.json(_row(provider))
    if not call.json:
        call.terminal.table(
            [provider.name, provider.title, ", ".join(provider.secret_env)] for provider in PROVIDERS.values()
        )
    return 0


def _find(name: str) -> Provider:
    provider = PROVIDERS.get(name.lower())
    if provider is None:
        near = get_close_matches(name.lower(), PROVIDERS, n=1)
        hint = f"did you mean {near[0]}?" if near else "relay providers lists them"
        raise NotFoundError(f"no provider is called {quote(name)}", hint=hint)
    return provider


async def _show(call: Call, provider: Provider) -> None:
    urls = await _urls(call, provider)
    if call.json:
        call.terminal.json(_row(provider) | _details(provider, urls))
        return
    call.terminal.line((provider.title, "bold"), f"  {provider.docs}")
    for number, step in enumerate(provider.steps, start=1):
        call.terminal.line(f"{number}. {step.replace('{url}', urls[0])}")
    call.terminal.line("")
    call.terminal.table(_facts(provider, urls))


def _facts(provider: Provider, urls: list[str]) -> list[list[Part]]:
    rows: list[list[Part]] = [["address", url] for url in urls]
    rows += [["variable", name] for name in provider.secret_env[:1]]
    rows += [["or", name] for name in provider.secret_env[1:]]
    rows.append(["signature", ", ".join(scheme.title for scheme in provider.schemes)])
    if len(provider.schemes) > 1:
        rows.append(["scheme", ", ".join(scheme.name for scheme in provider.schemes)])
    if provider.answer:
        rows.append(["answer", provider.answer])
    rows.append(["samples", ", ".join(sample_types(provider))])
    return rows


def _row(provider: Provider) -> Json:
    return {"name": provider.name, "title": provider.title, "secret_env": list(provider.secret_env)}


def _details(provider: Provider, urls: list[str]) -> Json:
    return {
        "docs": provider.docs,
        "urls": urls,
        "steps": [step.replace("{url}", urls[0]) for step in provider.steps],
        "schemes": [{"name": scheme.name, "title": scheme.title} for scheme in provider.schemes],
        "answer": provider.answer,
        "answer_body": provider.answer_body,
        "samples": list(sample_types(provider)),
    }


async def _urls(call: Call, provider: Provider) -> list[str]:
    """Return the address of every source of the provider, else of the one its name would make."""
    try:
        config = call.load()
    except ConfigError:
        # What a provider wants is needed most while the config is not right yet.
        return [f"{_UNKNOWN_BASE}/webhooks/{provider.name}"]
    base = await _base(config)
    mine = [source for source in config.sources if source.provider == provider.name]
    return [source.public_url or base + source.path for source in mine] or [
        f"{base}/webhooks/{provider.name}"
    ]


async def _base(config: Config) -> str:
    try:
        async with connect_running(config) as api:
            public = (await api.get("/api/status"))["public_url"] if api else None
    except (ApiError, GoneError):
        public = None
    return str(public or config.tunnel.public_url or _UNKNOWN_BASE).rstrip("/")
