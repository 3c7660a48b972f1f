"""`relay providers`, `relay samples` and `relay trigger`: the known providers, and their signed samples."""

from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import click

from relay.cli.formatting import UNVERIFIED
from relay.cli.options import Call, parse_target, shared_options
from relay.cli.output import Json, Part, quote
from relay.errors import ConfigError, NotFoundError, UsageError
from relay.model.text import find_similar

if TYPE_CHECKING:
    from relay.config.build import Config
    from relay.providers.provider import Provider

_UNKNOWN_BASE = "https://<the public address that relay start prints>"


@click.command("providers")
@click.argument("name", required=False)
@shared_options
def providers_command(call: Call, name: str | None) -> Coroutine[Any, Any, None] | None:
    """List the providers that relay knows, or show how to set NAME up: steps, variable, address to paste."""
    from relay.providers.catalogue import PROVIDERS  # not needed by samples and trigger

    if name is None:
        summaries = map(_summarize_provider, PROVIDERS.values())
        call.terminal.print_values(summaries, lambda one: [one["name"], one["title"], ", ".join(one["secret_env"])])
        return None
    provider = PROVIDERS.get(name.lower())
    if provider is None:
        near = find_similar(name.lower(), PROVIDERS)
        hint = f"did you mean {near}?" if near else "relay providers lists them"
        raise NotFoundError(f"no provider is called {quote(name)}", hint=hint)
    return _print_provider(call, provider)


async def _print_provider(call: Call, provider: "Provider") -> None:
    from relay.providers.samples import sample_types  # not needed by the list

    urls = await _find_urls(call, provider)
    steps, samples = list(provider.list_steps(urls[0])), list(sample_types(provider))
    if call.json:
        setup = {
            "docs": provider.docs,
            "urls": urls,
            "steps": steps,
            "schemes": [{"name": scheme.name, "title": scheme.title} for scheme in provider.schemes],
            "answer": provider.answer,
            "answer_body": provider.answer_body,
            "samples": samples,
        }
        call.terminal.print_json(_summarize_provider(provider) | setup)
        return
    call.terminal.print_line((provider.title, "bold"), f"  {provider.docs}")
    for number, step in enumerate(steps, start=1):
        call.terminal.print_line(f"{number}. {step}")
    call.terminal.print_line()
    call.terminal.print_table(_format_setup_rows(provider, urls, samples))


def _format_setup_rows(provider: "Provider", urls: list[str], samples: list[str]) -> list[list[Part]]:
    rows: list[list[Part]] = [["address", url] for url in urls]
    rows += [["variable", name] for name in provider.secret_env[:1]]
    rows += [["or", name] for name in provider.secret_env[1:]]
    rows.append(["signature", ", ".join(scheme.title for scheme in provider.schemes)])
    if len(provider.schemes) > 1:
        rows.append(["scheme", ", ".join(scheme.name for scheme in provider.schemes)])
    if provider.answer:
        rows.append(["answer", provider.answer])
    rows.append(["samples", ", ".join(samples)])
    return rows


def _summarize_provider(provider: "Provider") -> Json:
    return {"name": provider.name, "title": provider.title, "secret_env": list(provider.secret_env)}


async def _find_urls(call: Call, provider: "Provider") -> list[str]:
    """Return the URLs of all sources of the provider, else of the inbox source of its name."""
    try:
        config = call.load()
    except ConfigError:
        # These steps are needed most while the config is still invalid.
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


@click.command("samples")
@click.argument("source", required=False)
@shared_options
async def samples_command(call: Call, source: str | None) -> None:
    """List the sample events of SOURCE, or of every source there is; without any, of every provider."""
    async with call.connect() as api:
        found: dict[str, list[str]] = (await api.get("/api/samples", source=source))["samples"]
    if not found:
        from relay.providers.catalogue import PROVIDERS  # as above, if there is no source
        from relay.providers.samples import sample_types

        found = {name: list(sample_types(provider)) for name, provider in PROVIDERS.items()}
    samples = [{"source": name, "type": type_} for name, types in found.items() for type_ in types]
    call.terminal.print_values(samples, lambda sample: [sample["source"], sample["type"]])
    if not samples:
        call.terminal.print_message("there are no samples; relay trigger takes any type with --body FILE")


@click.command("trigger")
@click.argument("source")
@click.argument("type_", metavar="TYPE")
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="Change a field of the sample.")
@click.option("--body", "body", metavar="FILE", help="Your own body instead of the sample; - is stdin.")
@click.option("--to", type=parse_target, metavar="TARGET|URL", help="Also send the stored event to this target or URL.")
@shared_options
async def trigger_command(
    call: Call, source: str, type_: str, changes: tuple[str, ...], *, body: str | None, to: str | None
) -> int:
    """Send a signed sample event through the real ingress: relay samples lists them.

    Exits 5 when the event was rejected, 1 when it did not reach a target.
    """
    from relay.cli.deliveries import has_succeeded, report_delivery  # imports asyncio; the list does without
    from relay.cli.events import print_events
    from relay.cli.request_edits import parse_assignments

    request: Json = {"source": source, "type": type_, "set": parse_assignments(changes)}
    if body is not None:
        request["body"] = _read_body_text(body)
    if to is not None:
        request["to"] = to
    async with call.connect(secrets=True, creates=True) as api:
        event = await api.post("/api/triggers", request)
        for note in _list_signing_notes(event):
            call.terminal.print_message(f"relay: {note}")
        print_events(call, [event], with_deliveries=False)  # reported next, on their own lines
        whole = await api.get(f"/api/events/{event['id']}")
        sent = [await report_delivery(call, api, id_, event) for id_ in whole["delivery_ids"]]
    if event["outcome"] == "rejected":
        return UNVERIFIED
    return 0 if all(map(has_succeeded, sent)) else 1


def _list_signing_notes(event: Json) -> Iterator[str]:
    """Yield what the app needs to verify the sample, if it was not signed with the source's secret."""
    if event["local_public_key"] is not None:
        public = event["local_public_key"].strip().replace("\n", "\\n")
        yield f"signed with relay's local key; give your app this public key: {public}"
        return
    kind, _, name = (event.get("missing_secret") or "").partition(":")
    where = name or f'secret = "env:NAME" under [sources.{event["source"]}]'
    where = f"it with relay vault set {name}" if kind == "vault" else where
    if event["run_secret"] is not None:
        yield (
            f"{event['source']} has no secret, so relay signed with one that it made for this run: "
            f"{event['run_secret']}; give it to your app, or set {where} to the provider's"
        )
    elif event["reason"] == "secret_missing":
        yield f"{event['source']} has no secret, so the sample is not signed; set {where}"


def _read_body_text(name: str) -> str:
    from relay.cli.request_edits import read_body_file

    try:
        return read_body_file(name).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"--body: {quote(name)} is not UTF-8 text", hint="only text can be triggered") from error
