"""`relay messages` and `relay email`: outgoing mail and SMS with their statuses, and an event as a mail."""

from collections import Counter
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from relay.cli.deliveries import has_succeeded, print_delivery, wait_for_delivery
from relay.cli.error_output import NothingMatched
from relay.cli.events import fetch_list, query_option
from relay.cli.formatting import format_count, format_moment
from relay.cli.options import Call, limit_option, parse_event_id, parse_limit, parse_message_id, shared_options
from relay.cli.output import Json, Part, open_private_output
from relay.errors import UsageError
from relay.model.message import BAD_STATUSES, MessageStatus
from relay.model.text import format_size

_GOOD_STATES = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.OPENED, MessageStatus.CLICKED)


class MessagesGroup(click.Group):
    """The group of these commands; without a command name it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options that stand alone."""
        if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("messages", cls=MessagesGroup)
def messages_command() -> None:
    """List outgoing mail and SMS, show the statuses of one, or register one sent elsewhere."""


@messages_command.command("list")
@click.option("--channel", type=click.Choice(["email", "sms"]), help="Only these.")
@click.option("--provider", metavar="NAME", help="Sent through one provider, such as twilio.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice([status.value for status in MessageStatus]),
    multiple=True,
    help="In this status; may be given several times.",
)
@click.option("--to", "recipient", metavar="ADDRESS", help="To one recipient.")
@click.option("--since", metavar="AGE|TIME", help="Sent since 2h, 7d or 2026-01-31.")
@click.option("--event", type=parse_event_id, metavar="ID", help="Caused or reported on by this event.")
@limit_option
@shared_options
async def list_messages(call: Call, /, *, statuses: tuple[str, ...], limit: int, **filters: str | int | None) -> None:
    """List messages, newest first."""
    async with call.connect(store_only=True) as api:
        found = await fetch_list(api, "messages", limit, status=",".join(statuses) or None, **filters)
    call.terminal.print_values(found, _format_message_row)
    if not found:
        call.terminal.print_message("there are no such messages")


@messages_command.command("show")
@click.argument("id_", type=parse_message_id, metavar="MESSAGE")
@shared_options
async def show_message(call: Call, /, id_: int) -> None:
    """Show a message with every status it was given."""
    async with call.connect(store_only=True) as api:
        message = await api.get(f"/api/messages/{id_}")
    _print_message(call, message)


@messages_command.command("add")
@click.option("--channel", type=click.Choice(["email", "sms"]), required=True, help="What it is.")
@click.option("--provider", metavar="NAME", required=True, help="The provider that sends it, such as twilio.")
@click.option("--to", "recipient", metavar="ADDRESS", required=True, help="Who gets it.")
@click.option("--external-id", metavar="ID", help="The provider's id, such as SM….")
@click.option("--embedded-id", metavar="ID", help="Your own id, which it carries as X-Message-ID or metadata.")
@click.option("--subject", metavar="TEXT", help="Its subject.")
@click.option("--sent-at", metavar="TIME", help="When it was sent; now by default.")
@click.option("--status", type=click.Choice(["queued", "sent"]), help="The first status; sent by default.")
@shared_options
async def add_message(call: Call, /, **fields: str | None) -> None:
    """Register a message that something else sent, so that its statuses find it; once per id."""
    if sent := fields["sent_at"]:
        with suppress(ValueError, OverflowError, OSError):  # relay reports errors, and may be in another zone
            fields["sent_at"] = datetime.fromisoformat(sent).astimezone().isoformat()
    async with call.connect(creates=True) as api:
        message = await api.post("/api/messages", {name: value for name, value in fields.items() if value is not None})
    call.terminal.print_values([message], _format_message_row)


@messages_command.command("rates")
@click.option("--days", type=parse_limit, metavar="N", default=30, show_default=True, help="How many days.")
@shared_options
async def show_rates(call: Call, /, days: int) -> None:
    """Show how many messages arrived, were opened and clicked, by day (UTC)."""
    async with call.connect(store_only=True) as api:
        found = await api.get("/api/messages/rates", days=days)
    if call.json:
        call.terminal.print_json(found)
        return
    rows = [
        *({"day": f"since {found['since']}", "channel": name} | counts for name, counts in found["totals"].items()),
        *found["days"],
    ]
    call.terminal.print_table(_format_rates(row) for row in rows if row["sent"])
    if not found["days"]:
        call.terminal.print_message("nothing was sent in that period")


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
    style = "red" if status in BAD_STATUSES else "green" if status in _GOOD_STATES else "yellow"
    return status, style


def _describe_reason(status: Json) -> str:
    words = status["code_meaning"]["words"] if status["code_meaning"] else ""
    return ", ".join(filter(None, (status["code"], words, status["detail"])))


def _print_message(call: Call, message: Json) -> None:
    if call.json:
        call.terminal.print_json(message)
        return
    heading = (str(message["id"]), "bold"), f"  {message['channel']}  ", _format_status(message["status"])
    call.terminal.print_line(*heading)
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
    call.terminal.print_facts(facts)
    call.terminal.print_section("History", map(_format_history_row, message["history"]))


def _format_history_row(entry: Json) -> list[Part]:
    event = f"#{entry['event']}" if entry["event"] else ""
    return [_format_status(entry["status"]), entry["at"] or entry["received_at"], event, _describe_reason(entry)]


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


@click.command("email")
@click.argument("words", nargs=-1, metavar="[EVENT] [TEMPLATE]")
@click.option("--to", multiple=True, metavar="ADDRESS", help="Send to this recipient instead of the template's.")
@click.option("--preview", is_flag=True, help="Render it and send nothing.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write its HTML to FILE instead.")
@click.option("--force", is_flag=True, help="Send it even if it was sent before.")
@query_option("With --dry-run: every event that matches; see relay help search.")
@click.option("--target", help="With --dry-run: only mails to this target.")
@click.option("--dry-run", is_flag=True, help="Show what routes, or TEMPLATE, would have sent; send nothing.")
@shared_options
async def email_command(call: Call, /, words: tuple[str, ...], *, dry_run: bool, **how: Any) -> int:
    """Mail an event by a template of relay.toml's [emails]; 1 when the mail could not be handed over.

    relay email 42 welcome sends one; relay email --dry-run --query after:7d says what routes would have
    sent last week, and relay email --dry-run --query after:7d welcome what that template would.
    """
    if dry_run or how["query"] is not None or how["target"] is not None:
        return await _print_dry_run(call, words, dry_run=dry_run, **how)
    if len(words) != 2:
        raise UsageError("an event and a template are needed", hint="relay email 42 welcome")
    event, mail = parse_event_id(words[0]), {"template": words[1], "to": list(how["to"])}
    async with call.connect() as api:
        if how["preview"] or how["html"]:
            _print_mail(call, await api.post(f"/api/events/{event}/email/preview", mail), how["html"])
            return 0
        made = await api.post(f"/api/events/{event}/email", mail | {"force": how["force"]})
        delivery = await wait_for_delivery(api, made["delivery"])
    print_delivery(call, delivery)
    return 0 if has_succeeded(delivery) else 1


def _print_mail(call: Call, mail: Json, path: Path | None) -> None:
    line = call.terminal.print_line
    if path is not None:
        if not mail["html"]:
            raise UsageError("this mail has no HTML, only text", hint="leave --html out")
        with open_private_output(path, replaces=True) as file:
            file.write(mail["html"].encode("utf-8", "replace"))
    if call.json:
        call.terminal.print_json(mail)
        return
    for name, key in (("To", "to"), ("Cc", "cc"), ("Bcc", "bcc"), ("Reply-To", "reply_to")):
        if mail[key]:
            line(f"{name}: ", ", ".join(mail[key]))
    line("Subject: ", mail["subject"])
    for attachment in mail["attachments"]:
        line("Attached: ", f"{attachment['name']} ({format_size(attachment['size'])})")
    line()
    for text in mail["text"].splitlines():
        line(text)
    if path is not None:
        call.terminal.print_message(f"its HTML is in {path}")


_OUTCOME_WORDS = {
    "send": ("would be sent", "green"),
    "sent": ("sent already", "dim"),
    "refused": ("refused", "red"),
    "failed": ("would fail", "red"),
    "untaken": ("no route", "dim"),
}


async def _print_dry_run(call: Call, words: tuple[str, ...], *, dry_run: bool, **how: Any) -> int:
    """Print the mails of a dry run, newest event first. Raises NothingMatched if no event matches."""
    if not dry_run or how["query"] is None:
        raise UsageError(
            "--dry-run and --query belong together",
            hint="relay email --dry-run --query after:7d; relay replay --query … --to TARGET sends",
        )
    if len(words) > 1 or any(how[name] for name in ("to", "preview", "html", "force")):
        raise UsageError("a dry run takes a query, and a template or a target", hint="leave the rest out")
    request = {"q": how["query"], "template": words[0] if words else None, "target": how["target"], "before": None}
    events, outcomes = 0, Counter[str]()
    widths: list[int] = []
    async with call.connect() as api:
        while True:
            page = await api.post("/api/emails/dry-run", request)
            events += page["events"]
            outcomes.update(page["counts"])
            call.terminal.print_values(page["mails"], _format_mail_row, widths)
            if page["next_before"] is None:
                break
            request["before"] = page["next_before"]
    if not events:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    counts = [f"{outcomes[name]} {words}" for name, (words, _) in _OUTCOME_WORDS.items() if outcomes[name]]
    call.terminal.print_message(f"{format_count(events, 'event')}: {', '.join(counts) or 'no mail'}; nothing was sent")
    return 0


def _format_mail_row(mail: Json) -> list[Part]:
    way = f"{mail['template']} -> {mail['target']}" if mail["target"] else mail["template"]
    subject = f'"{mail["subject"]}"' if mail["subject"] else ""
    return [
        (f"#{mail['event']}", "bold"),
        format_moment(mail["received_at"]),
        mail["type"],
        way,
        _OUTCOME_WORDS[mail["outcome"]],
        ", ".join(mail["recipients"]),
        "  ".join(filter(None, (subject, mail["why"]))),
    ]
