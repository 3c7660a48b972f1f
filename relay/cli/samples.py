"""`relay samples` and `relay trigger`: the sample events that there are, and one of them sent."""

from collections.abc import Iterator

import click

from relay.cli.deliveries import has_succeeded, report_delivery
from relay.cli.events import print_new_event
from relay.cli.formatting import UNVERIFIED
from relay.cli.options import Call, shared_options
from relay.cli.output import Json, quote
from relay.cli.request_edits import parse_assignments, read_body_file
from relay.errors import UsageError


@click.command("samples")
@click.argument("source", required=False)
@shared_options
async def samples_command(call: Call, source: str | None) -> None:
    """List the sample events of SOURCE, or of every source there is; without any, of every provider."""
    async with call.connect() as api:
        found: dict[str, list[str]] = (await api.get("/api/samples", source=source))["samples"]
    if not found:
        from relay.providers.catalogue import PROVIDERS  # only where there is no source
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
@click.option("--body", "body", metavar="FILE", help="A body of your own instead of the sample; - is stdin.")
@click.option("--to", metavar="TARGET|URL", help="Send the stored event there as well: a target or a URL.")
@shared_options
async def trigger_command(
    call: Call, source: str, type_: str, changes: tuple[str, ...], *, body: str | None, to: str | None
) -> int:
    """Send a signed sample event through the real ingress: relay samples lists them.

    Exits 5 when the event was rejected, 1 when it did not reach a target.
    """
    request: Json = {"source": source, "type": type_, "set": parse_assignments(changes)}
    if body is not None:
        request["body"] = _read_body_text(body)
    if to is not None:
        request["to"] = to
    async with call.connect(secrets=True, creates=True) as api:
        event = await api.post("/api/triggers", request)
        for note in _list_signing_notes(event):
            call.terminal.print_message(f"relay: {note}")
        print_new_event(call, event)
        whole = await api.get(f"/api/events/{event['id']}")
        sent = [await report_delivery(call, api, id_, event) for id_ in whole["delivery_ids"]]
    if event["outcome"] == "rejected":
        return UNVERIFIED
    return 0 if all(map(has_succeeded, sent)) else 1


def _list_signing_notes(event: Json) -> Iterator[str]:
    """Yield what the app needs so that the sample verifies there, where it was not signed with the source's secret."""
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
    try:
        return read_body_file(name).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"--body: {quote(name)} is not UTF-8 text", hint="only text can be triggered") from error
