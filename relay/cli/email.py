"""`relay email`: an event as a mail, sent or only shown."""

import click

from relay.cli.client import connect
from relay.cli.options import Call, event_id, shared
from relay.cli.settle import settled, succeeded, tell


@click.command("email")
@click.argument("event", type=event_id, metavar="EVENT")
@click.argument("template")
@click.option("--to", multiple=True, metavar="ADDRESS", help="To somebody else than the template says.")
@click.option("--preview", is_flag=True, help="Render it and send nothing.")
@shared
async def command(call: Call, event: int, template: str, to: tuple[str, ...], *, preview: bool) -> int:
    """Mail an event by a template of relay.toml's [emails]; 1 when the mail could not be handed over."""
    letter = {"template": template, "to": list(to)}
    async with connect(call.load(), secrets=True) as api:
        if preview:
            _print(call, await api.post(f"/api/events/{event}/email/preview", letter))
            return 0
        made = await api.post(f"/api/events/{event}/email", letter)
        delivery = await settled(api, made["delivery"])
    tell(call, delivery)
    return 0 if succeeded(delivery) else 1


def _print(call: Call, mail: dict[str, object]) -> None:
    if call.json:
        call.terminal.json(mail)
        return
    to = mail["to"]
    call.terminal.line("To: ", ", ".join(to) if isinstance(to, list) else "")
    call.terminal.line("Subject: ", str(mail["subject"]))
    call.terminal.line()
    for text in str(mail["text"]).splitlines():
        call.terminal.line(text)
