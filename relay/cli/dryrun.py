"""A dry run of mails as a command tells it: a line for each mail that would have gone out, or why not."""

from collections import Counter

from relay.cli.client import Api, Json
from relay.cli.faults import NothingMatched
from relay.cli.options import Call
from relay.cli.terminal import Part
from relay.cli.words import counted, day_and_time

_WORDS = {
    "send": ("would be sent", "green"),
    "sent": ("sent already", "dim"),
    "refused": ("refused", "red"),
    "failed": ("would fail", "red"),
    "untaken": ("no route", "dim"),
}


async def tell(call: Call, api: Api, wanted: Json) -> int:
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
            call.terminal.table((_row(mail) for mail in page["mails"]), widths)
        before = page["next_before"]
        if before is None:
            break
    if not events:
        raise NothingMatched("no event matches", hint="relay events QUERY shows what does")
    told = [f"{outcomes[name]} {words}" for name, (words, _) in _WORDS.items() if outcomes[name]]
    call.terminal.say(f"{counted(events, 'event')}: {', '.join(told) or 'no mail'}; nothing was sent")
    return 0


def _row(mail: Json) -> list[Part]:
    way = f"{mail['template']} -> {mail['target']}" if mail["target"] else mail["template"]
    subject = f'"{mail["subject"]}"' if mail["subject"] else ""
    why = mail["why"] or ""
    return [
        (f"#{mail['event']}", "bold"),
        day_and_time(mail["received_at"]),
        mail["type"],
        way,
        _WORDS[mail["outcome"]],
        ", ".join(mail["recipients"]),
        subject if not why else f"{subject}  {why}".strip(),
    ]
