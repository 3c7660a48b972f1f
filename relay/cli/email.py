"""`relay email`: an event as a mail, sent or only shown; or what many events would have sent."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from relay.cli.client import ApiClient
from relay.cli.deliveries import has_succeeded, print_delivery, wait_for_delivery
from relay.cli.error_output import NothingMatched
from relay.cli.events import query_option
from relay.cli.formatting import format_count, format_moment
from relay.cli.options import Call, parse_event_id, shared_options
from relay.cli.output import Json, Part, open_private_output
from relay.errors import UsageError
from relay.model.text import format_size


@click.command("email")
@click.argument("words", nargs=-1, metavar="[EVENT] [TEMPLATE]")
@click.option("--to", multiple=True, metavar="ADDRESS", help="To another recipient than the template names.")
@click.option("--preview", is_flag=True, help="Render it and send nothing.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write its HTML to FILE instead.")
@click.option("--force", is_flag=True, help="Send it although it was sent before.")
@query_option("With --dry-run: every event that matches; see relay help search.")
@click.option("--target", help="With --dry-run: only what routes lead to this target.")
@click.option("--dry-run", is_flag=True, help="Say what routes, or TEMPLATE, would have sent; send nothing.")
@shared_options
async def email_command(call: Call, /, words: tuple[str, ...], *, dry_run: bool, **how: Any) -> int:
    """Mail an event by a template of relay.toml's [emails]; 1 when the mail could not be handed over.

    relay email 42 welcome sends one; relay email --dry-run --query after:7d says what routes would have
    sent last week, and relay email --dry-run --query after:7d welcome what that template would.
    """
    if dry_run or how["query"] is not None or how["target"] is not None:
        return await _dry_run(call, words, dry_run=dry_run, **how)
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


async def _dry_run(call: Call, words: tuple[str, ...], *, dry_run: bool, **how: Any) -> int:
    if not dry_run or how["query"] is None:
        raise UsageError(
            "--dry-run and --query belong together",
            hint="relay email --dry-run --query after:7d; relay replay --query … --to TARGET sends",
        )
    if len(words) > 1 or any(how[name] for name in ("to", "preview", "html", "force")):
        raise UsageError("a dry run takes a query, and a template or a target", hint="leave the rest out")
    request = {"q": how["query"], "template": words[0] if words else None, "target": how["target"]}
    async with call.connect() as api:
        await _print_dry_run(call, api, request)
    return 0


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


async def _print_dry_run(call: Call, api: ApiClient, request: Json) -> None:
    """Print what would have gone out, newest event first. Raises NothingMatched where no event matches."""
    events, outcomes = 0, Counter[str]()
    widths: list[int] = []
    before: int | None = None
    while True:
        page: Json = await api.post("/api/emails/dry-run", request | {"before": before})
        events += page["events"]
        outcomes.update(page["counts"])
        call.terminal.print_values(page["mails"], _format_mail_row, widths)
        before = page["next_before"]
        if before is None:
            break
    if not events:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    counts = [f"{outcomes[name]} {words}" for name, (words, _) in _OUTCOME_WORDS.items() if outcomes[name]]
    call.terminal.print_message(f"{format_count(events, 'event')}: {', '.join(counts) or 'no mail'}; nothing was sent")


def _format_mail_row(mail: Json) -> list[Part]:
    way = f"{mail['template']} -> {mail['target']}" if mail["target"] else mail["template"]
    subject = f'"{mail["subject"]}"' if mail["subject"] else ""
    why = mail["why"] or ""
    return [
        (f"#{mail['event']}", "bold"),
        format_moment(mail["received_at"]),
        mail["type"],
        way,
        _OUTCOME_WORDS[mail["outcome"]],
        ", ".join(mail["recipients"]),
        subject if not why else f"{subject}  {why}".strip(),
    ]
