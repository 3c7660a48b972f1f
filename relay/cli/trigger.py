"""`relay trigger`: a signed sample event, through the real ingress and on to its targets."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from relay.cli.client import Api, Json, connect
from relay.cli.edits import assignments
from relay.cli.faults import NothingMatched
from relay.cli.listing import show
from relay.cli.options import Call, shared
from relay.cli.settle import settled, succeeded, tell
from relay.cli.terminal import quote
from relay.cli.verify import UNVERIFIED
from relay.config import Config
from relay.errors import UsageError


@click.command("trigger")
@click.argument("source")
@click.argument("type_", metavar="TYPE")
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="Change a field of the sample.")
@click.option("--body", "body", metavar="FILE", help="A body of your own instead of the sample; - is stdin.")
@click.option("--to", metavar="TARGET|URL", help="Send the stored event there as well: a target or a URL.")
@shared
async def command(
    call: Call, source: str, type_: str, changes: tuple[str, ...], *, body: str | None, to: str | None
) -> int:
    """Send a signed sample event through the real ingress: relay samples lists them.

    Exits 5 when the event was rejected, 1 when it did not reach a target.
    """
    wanted: Json = {"source": source, "type": type_, "set": assignments(changes)}
    if body is not None:
        wanted["body"] = _text(body)
    if to is not None:
        wanted["to"] = to
    config = call.load()
    async with connect(config, secrets=True, creates=True) as api:
        event = await api.post("/api/triggers", wanted)
        for told in _signing_notes(event, config):
            call.terminal.say(f"relay: {told}")
        show(call, [event])
        reached = [await _told(call, api, id_, event) for id_ in await _made(api, event)]
    if event["outcome"] == "rejected":
        return UNVERIFIED
    return 0 if all(reached) else 1


def _signing_notes(event: Json, config: Config) -> Iterator[str]:
    """Yield what the app needs so that the sample verifies there, where it was not signed with the source's secret."""
    if event["local_public_key"] is not None:
        public = event["local_public_key"].strip().replace("\n", "\\n")
        yield f"signed with relay's local key; give your app this public key: {public}"
        return
    where = _place_of_secret(config, event["source"])
    if event["run_secret"] is not None:
        yield (
            f"{event['source']} has no secret, so relay signed with one that it made for this run: "
            f"{event['run_secret']}; give it to your app, or set {where} to the provider's"
        )
    elif event["reason"] == "secret_missing":
        yield f"{event['source']} has no secret, so the sample is not signed; set {where}"


def _place_of_secret(config: Config, name: str) -> str:
    source = next((one for one in config.sources if one.name == name), None)
    if source is None and config.inbox is not None:
        source = config.inbox(name)
    missing = source.missing_secrets[0] if source and source.missing_secrets else ""
    kind, _, rest = missing.partition(":")
    if kind == "vault":
        return f"it with relay vault set {rest}"
    return rest or f'secret = "env:NAME" under [sources.{name}]'


async def _made(api: Api, event: Json) -> list[int]:
    whole = await api.get(f"/api/events/{event['id']}")
    return list(whole["delivery_ids"])


async def _told(call: Call, api: Api, id_: int, event: Json) -> bool:
    try:
        delivery = await settled(api, id_)
    except NothingMatched as error:
        call.terminal.say(f"relay: {error.full_text}")
        return False
    tell(call, delivery, event)
    return succeeded(delivery)


def _text(name: str) -> str:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return content.decode()
    except OSError as error:
        raise UsageError(f"--body: cannot read {quote(name)}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"--body: {quote(name)} is not UTF-8 text", hint="only text can be triggered"
        ) from error
