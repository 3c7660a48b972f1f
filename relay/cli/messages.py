"""`relay messages`: outgoing mail and SMS, what became of them, and those that an app sent itself."""

import click

from relay.cli.client import Json, connect
from relay.cli.options import Call, parse_event_id, parse_limit, parse_message_id, shared_options
from relay.cli.output import Part, format_moment
from relay.cli.search import fetch_list
from relay.model.message import LOST, MessageStatus

_GOOD_STATES = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.OPENED, MessageStatus.CLICKED)
_BAD_STATES = (*LOST, MessageStatus.COMPLAINED)


class MessagesGroup(click.Group):
    """The group of these commands; without the name of one it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options that stand alone."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("messages", cls=MessagesGroup)
def messages_command() -> None:
    """List outgoing mail and SMS, show what became of one, or register one sent elsewhere."""


@messages_command.command("list")
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
@click.option("--event", type=parse_event_id, metavar="ID", help="That one event caused or tells of.")
@click.option("--limit", type=parse_limit, metavar="N", default=50, show_default=True, help="How many at most.")
@shared_options
async def list_messages(
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
        found = await fetch_list(api, "messages", limit, **filters)
    for message in found if call.json else ():
        call.terminal.json(message)
    if not call.json:
        call.terminal.table(_format_message_row(message) for message in found)
    if not found:
        call.terminal.say("there are no such messages")
    return 0


@messages_command.command("show")
@click.argument("id_", type=parse_message_id, metavar="MESSAGE")
@shared_options
async def show_message(call: Call, /, id_: int) -> int:
    """Show a message with every status it was told."""
    async with connect(call.load()) as api:
        message = await api.get(f"/api/messages/{id_}")
    _print_message(call, message)
    return 0


@messages_command.command("add")
@click.option("--channel", type=click.Choice(["email", "sms"]), required=True, help="What it is.")
@click.option("--provider", metavar="NAME", required=True, help="Who carries it, such as twilio.")
@click.option("--to", "recipient", metavar="ADDRESS", required=True, help="Who gets it.")
@click.option("--external-id", metavar="ID", help="The provider's id of it, such as SM….")
@click.option("--embedded-id", metavar="ID", help="Your own id, which it carries as X-Message-ID or metadata.")
@click.option("--subject", metavar="TEXT", help="What it is about.")
@click.option("--sent-at", metavar="TIME", help="When it was sent; now where nothing is said.")
@click.option("--status", type=click.Choice(["queued", "sent"]), help="Where it begins; sent by default.")
@shared_options
async def add_message(call: Call, /, **given: str | None) -> int:
    """Register a message that something else sent, so that its statuses find it; once for each id."""
    async with connect(call.load(), creates=True) as api:
        message = await api.post("/api/messages", {name: value for name, value in given.items() if value is not None})
    if call.json:
        call.terminal.json(message)
    else:
        call.terminal.table([_format_message_row(message)])
    return 0


@messages_command.command("rates")
@click.option("--days", type=parse_limit, metavar="N", default=30, show_default=True, help="How many days.")
@shared_options
async def show_rates(call: Call, /, days: int) -> int:
    """Show how many messages arrived, were opened and clicked, by day (UTC)."""
    async with connect(call.load()) as api:
        found = await api.get("/api/messages/rates", days=days)
    if call.json:
        call.terminal.json(found)
        return 0
    rows = [
        *({"day": f"since {found['since']}", "channel": name} | counts for name, counts in found["totals"].items()),
        *found["days"],
    ]
    call.terminal.table(_format_rates(row) for row in rows if row["sent"])
    if not found["days"]:
        call.terminal.say("nothing was sent in that time")
    return 0


def _format_message_row(message: Json) -> list[Part]:
    return [
        (str(message["id"]), "bold"),
        format_moment(message["sent_at"]),
        message["channel"],
        message["provider"],
        message["recipient"],
        _format_status(message["status"]),
        _describe_reason(message) or message["subject"],
    ]


def _format_status(status: str) -> tuple[str, str]:
    style = "red" if status in _BAD_STATES else "green" if status in _GOOD_STATES else "yellow"
    return status, style


def _describe_reason(told: Json) -> str:
    """Return a code with its words, and what else was told."""
    words = told["code_meaning"]["words"] if told["code_meaning"] else ""
    return ", ".join(part for part in (told["code"], words, told["detail"]) if part)


def _print_message(call: Call, message: Json) -> None:
    if call.json:
        call.terminal.json(message)
        return
    line = call.terminal.line
    line((str(message["id"]), "bold"), f"  {message['channel']}  ", _format_status(message["status"]))
    facts = {
        "to": message["recipient"],
        "subject": message["subject"],
        "provider": message["provider"],
        "external id": message["external_id"],
        "embedded id": message["embedded_id"],
        "sent": message["sent_at"],
        "caused by": f"event #{message['event']}" if message["event"] else "",
        "delivery": message["delivery"],
        "code": _describe_reason(message | {"detail": ""}),
        "see": message["code_meaning"]["source"] if message["code_meaning"] else "",
    }
    call.terminal.table([[(name, "dim"), str(value)] for name, value in facts.items() if value])
    line()
    line(("History", "bold"))
    call.terminal.table(
        [
            "  ",
            _format_status(entry["status"]),
            entry["at"] or entry["received_at"],
            f"#{entry['event']}" if entry["event"] else "",
            _describe_reason(entry),
        ]
        for entry in message["history"]
    )


def _format_rates(row: Json) -> list[Part]:
    return [
        row["day"],
        row["channel"],
        f"{row['sent']} sent",
        f"{_format_percent(row['delivery_rate'])} delivered",
        f"{_format_percent(row['open_rate'])} opened",
        f"{_format_percent(row['click_rate'])} clicked",
        f"{row['failed']} failed",
    ]


def _format_percent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate * 100:.1f} %"
