"""`relay email`: an event as a mail, sent or only shown; or what many events would have sent."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import click

from relay.cli.client import ApiClient, Json, connect
from relay.cli.deliveries import has_succeeded, print_delivery, wait_for_delivery
from relay.cli.error_output import NothingMatched
from relay.cli.options import Call, parse_event_id, shared_options
from relay.cli.output import Part, format_count, format_moment, quote
from relay.cli.search import parse_search_option
from relay.errors import UsageError
from relay.model.text import format_size


@click.command("email")
@click.argument("words", nargs=-1, metavar="[EVENT] [TEMPLATE]")
@click.option("--to", multiple=True, metavar="ADDRESS", help="To somebody else than the template says.")
@click.option("--preview", is_flag=True, help="Render it and send nothing.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write its HTML to FILE instead.")
@click.option("--force", is_flag=True, help="Send it although it was sent before.")
@click.option(
    "--query",
    type=parse_search_option,
    metavar="QUERY",
    help="With --dry-run: every event that matches; see relay help search.",
)
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
    event, letter = parse_event_id(words[0]), {"template": words[1], "to": list(how["to"])}
    async with connect(call.load()) as api:
        if how["preview"] or how["html"]:
            mail = await api.post(f"/api/events/{event}/email/preview", letter)
            return _print_mail(call, mail, how["html"])
        made = await api.post(f"/api/events/{event}/email", letter | {"force": how["force"]})
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
    wanted = {"q": how["query"], "template": words[0] if words else None, "target": how["target"]}
    async with connect(call.load()) as api:
        return await print_dry_run(call, api, wanted)


def _print_mail(call: Call, mail: Json, path: Path | None) -> int:
    if path is not None:
        _write_html(path, mail["html"])
    if call.json:
        call.terminal.json(mail)
        return 0
    for name, key in (("To", "to"), ("Cc", "cc"), ("Bcc", "bcc"), ("Reply-To", "reply_to")):
        if mail[key]:
            call.terminal.line(f"{name}: ", ", ".join(mail[key]))
    call.terminal.line("Subject: ", mail["subject"])
    for one in mail["attachments"]:
        call.terminal.line("Attached: ", f"{one['name']} ({format_size(one['size'])})")
    call.terminal.line()
    for text in mail["text"].splitlines():
        call.terminal.line(text)
    if path is not None:
        call.terminal.say(f"its HTML is in {path}")
    return 0


def _write_html(path: Path, html: str) -> None:
    if not html:
        raise UsageError("this mail has no HTML, only text", hint="leave --html out")
    try:
        # What is in a mail is for few eyes, and a file that is there keeps its rights.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(html)
    except OSError as error:
        raise UsageError(f"cannot write {quote(str(path))}: {error.strerror}", hint="name another file") from None


_OUTCOME_WORDS = {
    "send": ("would be sent", "green"),
    "sent": ("sent already", "dim"),
    "refused": ("refused", "red"),
    "failed": ("would fail", "red"),
    "untaken": ("no route", "dim"),
}


async def print_dry_run(call: Call, api: ApiClient, wanted: Json) -> int:
    """Print what would have gone out, newest event first. Raises NothingMatched where no event matches."""
    events, outcomes = 0, Counter[str]()
    widths: list[int] = []
    before: int | None = None
    while True:
        page: Json = await api.post("/api/emails/dry-run", wanted | {"before": before})
        events += page["events"]
        outcomes.update(page["counts"])
        for mail in page["mails"] if call.json else ():
            call.terminal.json(mail)
        if not call.json:
            call.terminal.table((_format_mail_row(mail) for mail in page["mails"]), widths)
        before = page["next_before"]
        if before is None:
            break
    if not events:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    told = [f"{outcomes[name]} {words}" for name, (words, _) in _OUTCOME_WORDS.items() if outcomes[name]]
    call.terminal.say(f"{format_count(events, 'event')}: {', '.join(told) or 'no mail'}; nothing was sent")
    return 0


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
