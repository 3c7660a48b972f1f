"""`relay providers`: whose webhooks relay knows, and how to set one up."""

from typing import TYPE_CHECKING

import click

from relay.cli.options import Call, shared_options
from relay.cli.output import Json, Part, quote
from relay.errors import ConfigError, NotFoundError
from relay.model.text import find_similar
from relay.providers.catalogue import PROVIDERS
from relay.providers.provider import Provider

if TYPE_CHECKING:
    from relay.config.build import Config

_UNKNOWN_BASE = "https://<the public address that relay start prints>"


@click.command("providers")
@click.argument("name", required=False)
@shared_options
async def providers_command(call: Call, name: str | None) -> None:
    """List the providers that relay knows, or show how to set NAME up: steps, variable, address to paste."""
    if name is not None:
        await _print_provider(call, _find_provider(name))
        return
    summaries = map(_summarize_provider, PROVIDERS.values())
    call.terminal.print_values(summaries, lambda one: [one["name"], one["title"], ", ".join(one["secret_env"])])


def _find_provider(name: str) -> Provider:
    provider = PROVIDERS.get(name.lower())
    if provider is None:
        near = find_similar(name.lower(), PROVIDERS)
        hint = f"did you mean {near}?" if near else "relay providers lists them"
        raise NotFoundError(f"no provider is called {quote(name)}", hint=hint)
    return provider


async def _print_provider(call: Call, provider: Provider) -> None:
    urls = await _find_urls(call, provider)
    if call.json:
        call.terminal.print_json(_summarize_provider(provider) | _describe_setup(provider, urls))
        return
    call.terminal.print_line((provider.title, "bold"), f"  {provider.docs}")
    for number, step in enumerate(provider.list_steps(urls[0]), start=1):
        call.terminal.print_line(f"{number}. {step}")
    call.terminal.print_line()
    call.terminal.print_table(_format_setup_rows(provider, urls))


def _format_setup_rows(provider: Provider, urls: list[str]) -> list[list[Part]]:
    from relay.providers.samples import sample_types  # the list needs no samples

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


def _summarize_provider(provider: Provider) -> Json:
    return {"name": provider.name, "title": provider.title, "secret_env": list(provider.secret_env)}


def _describe_setup(provider: Provider, urls: list[str]) -> Json:
    from relay.providers.samples import sample_types  # as above

    return {
        "docs": provider.docs,
        "urls": urls,
        "steps": list(provider.list_steps(urls[0])),
        "schemes": [{"name": scheme.name, "title": scheme.title} for scheme in provider.schemes],
        "answer": provider.answer,
        "answer_body": provider.answer_body,
        "samples": list(sample_types(provider)),
    }


async def _find_urls(call: Call, provider: Provider) -> list[str]:
    """Return the address of every source of the provider, else of the one its name would make."""
    try:
        config = call.load()
    except ConfigError:
        # These steps are needed most while the config is not right yet.
        return [f"{_UNKNOWN_BASE}/webhooks/{provider.name}"]
    base = await _find_base_url(config)
    mine = [source for source in config.sources if source.provider == provider.name]
    return [source.public_url or base + source.path for source in mine] or [f"{base}/webhooks/{provider.name}"]


async def _find_base_url(config: "Config") -> str:
    from relay.cli.client import ApiError, connect_running
    from relay.cli.http_client import ConnectionLostError

    try:
        api = await connect_running(config.server.data_dir)
        public = (await api.get("/api/status"))["public_url"] if api else None
    except (ApiError, ConnectionLostError):
        public = None
    return str(public or config.tunnel.public_url or _UNKNOWN_BASE).rstrip("/")
