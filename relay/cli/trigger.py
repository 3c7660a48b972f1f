"""`relay trigger`: a signed sample event, through the real ingress and on to its targets."""

import sys
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
    async with connect(call.load(), secrets=True) as api:
        event = await api.post("/api/triggers", wanted)
        if event["local_public_key"] is not None:
            public = event["local_public_key"].strip().replace("\n", "\\n")
            call.terminal.say(
                f"relay: signed with relay's local key; give your app this public key: {public}"
            )
        show(call, [event])
        reached = [await _told(call, api, id_, event) for id_ in await _made(api, event)]
    if event["outcome"] == "rejected":
        return UNVERIFIED
    return 0 if all(reached) else 1


async def _made(api: Api, event: Json) -> list[int]:
    whole = await api.get(f"/api/events/{event['id']}")
    return list(whole["delivery_ids"])


async def _told(call: Call, api: Api, id_: int, event: Json) -> bool:
    try:
        delivery = await settled(api, id_)
    except NothingMatched as error:
        call.terminal.say(f"relay: {error.sentence}")
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
