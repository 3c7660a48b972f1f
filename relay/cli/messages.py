"""`relay messages`: outgoing mail and SMS, what became of them, and those that an app sent itself."""

import click

from relay.cli.client import Json, connect
from relay.cli.listing import listed
from relay.cli.options import Call, at_most, event_id, message_id, shared
from relay.cli.terminal import Part
from relay.cli.words import day_and_time
from relay.model.message import LOST, MessageStatus

_GOOD = (
    MessageStatus.SENT,
    MessageStatus.DELIVERED,
    MessageStatus.OPENED,
    MessageStatus.CLICKED,
)
_BAD = (*LOST, MessageStatus.COMPLAINED)


class Messages(click.Group):
    """The group of these commands; without the name of one it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options that stand alone."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("messages", cls=Messages)
def command() -> None:
    """List outgoing mail and SMS, show what became of one, or register one sent elsewhere."""


@command.command("list")
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Only these.")
@click.option("--provider", metavar="NAME", help="Sent through one provider, such as twilio.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in MessageStatus]),
    multiple=True,
    help="Standing there; may be given several times.",
)
@click.option("--to", metavar="ADDRESS", help="To one recipient.")
@click.option("--since", metavar="AGE|TIME", help="Sent since 2h, 7d or 2026-01-31.")
@click.option("--event", type=event_id, metavar="ID", help="That one event caused or tells of.")
@click.option("--limit", type=at_most, metavar="N", default=50, show_default=True, help="How many at most.")
@shared
async def list_(
    call: Call,
    /,
    *,
    channel: str | None,
    provider: str | None,
    statuses: tuple[str, ...],
    to: str | None,
    since: str | None,
    event: int | None,
    limit: int,
) -> int:
    """List messages, newest first."""
    filters: dict[str, str | int | None] = {
        "channel": channel,
        "provider": provider,
        "status": ",".join(statuses) or None,
        "recipient": to,
        "since": since,
        "event": event,
    }
    async with connect(call.load()) as api:
        found = await listed(api, "messages", limit, **filters)
    for message in found if call.json else ():
        call.terminal.json(message)
    if not call.json:
        call.terminal.table(_row(message) for message in found)
    if not found:
        call.terminal.say("there are no such messages")
    return 0


@command.command("show")
@click.argument("id_", type=message_id, metavar="MESSAGE")
@shared
async def show(call: Call, /, id_: int) -> int:
    """Show a message with every status it was told."""
    async with connect(call.load()) as api:
        message = await api.get(f"/api/messages/{id_}")
    _print(call, message)
    return 0


@command.command("add")
@click.option("--channel", type=click.Choice(["email", "sms"]), required=True, help="What it is.")
@click.option("--provider", metavar="NAME", required=True, help="Who carries it, such as twilio.")
@click.option("--to", "recipient", metavar="ADDRESS", required=True, help="Who gets it.")
@click.option("--external-id", metavar="ID", help="The provider's id of it, such as SM….")
@click.option(
    "--embedded-id", metavar="ID", help="Your own id, which it carries as X-Message-ID or metadata."
)
@click.option("--subject", metavar="TEXT", help="What it is about.")
@click.option("--sent-at", metavar="TIME", help="When it was sent; now where nothing is said.")
@click.option("--status", type=click.Choice(["queued", "sent"]), help="Where it begins; sent by default.")
@shared
async def add(call: Call, /, **given: str | None) -> int:
    """Register a message that something else sent, so that its statuses find it; once for each id."""
    async with connect(call.load(), creates=True) as api:
        message = await api.post(
            "/api/messages", {name: value for name, value in given.items() if value is not None}
        )
    if call.json:
        call.terminal.json(message)
    else:
        call.terminal.table([_row(message)])
    return 0


@command.command("rates")
@click.option("--days", type=at_most, metavar="N", default=30, show_default=True, help="How many days.")
@shared
async def rates(call: Call, /, days: int) -> int:
    """Show how many messages arrived, were opened and clicked, by day (UTC)."""
    async with connect(call.load()) as api:
        found = await api.get("/api/messages/rates", days=days)
    if call.json:
        call.terminal.json(found)
        return 0
    rows = [
        *(
            {"day": f"since {found['since']}", "channel": name} | counts
            for name, counts in found["totals"].items()
        ),
        *found["days"],
    ]
    call.terminal.table(_counted(row) for row in rows if row["sent"])
    if not found["days"]:
        call.terminal.say("nothing was sent in that time")
    return 0


def _row(message: Json) -> list[Part]:
    return [
        (str(message["id"]), "bold"),
        day_and_time(message["sent_at"]),
        message["channel"],
        message["provider"],
        message["recipient"],
        _status(message["status"]),
        _why(message) or message["subject"],
    ]


def _status(status: str) -> tuple[str, str]:
    style = "red" if status in _BAD else "green" if status in _GOOD else "yellow"
    return status, style


def _why(told: Json) -> str:
    """Return a code with its words, and what else was told."""
    words = told["code_meaning"]["words"] if told["code_meaning"] else ""
    return ", ".join(part for part in (told["code"], words, told["detail"]) if part)


def _print(call: Call, message: Json) -> None:
    if call.json:
        call.terminal.json(message)
        return
    line = call.terminal.line
    line((str(message["id"]), "bold"), f"  {message['channel']}  ", _status(message["status"]))
    facts = {
        "to": message["recipient"],
        "subject": message["subject"],
        "provider": message["provider"],
        "external id": message["external_id"],
        "embedded id": message["embedded_id"],
        "sent": message["sent_at"],
        "caused by": f"event #{message['event']}" if message["event"] else "",
        "delivery": message["delivery"],
        "code": _why(message | {"detail": ""}),
        "see": message["code_meaning"]["source"] if message["code_meaning"] else "",
    }
    call.terminal.table([[(name, "dim"), str(value)] for name, value in facts.items() if value])
    line()
    line(("History", "bold"))
    call.terminal.table(
        [
            "  ",
            _status(entry["status"]),
            entry["at"] or entry["received_at"],
            f"#{entry['event']}" if entry["event"] else "",
            _why(entry),
        ]
        for entry in message["history"]
    )


def _counted(row: Json) -> list[Part]:
    return [
        row["day"],
        row["channel"],
        f"{row['sent']} sent",
        f"{_percent(row['delivery_rate'])} delivered",
        f"{_percent(row['open_rate'])} opened",
        f"{_percent(row['click_rate'])} clicked",
        f"{row['failed']} failed",
    ]


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate * 100:.1f} %"
