"""The mail that the e-mail dialog is about: which template, to whom, and how it would look."""

from collections.abc import Mapping

from relay.errors import RelayError, SentAlreadyError
from relay.mail.compose import Mail
from relay.model.event import Event
from relay.model.text import printable, size
from relay.web.contexts.dialogs import Preview
from relay.web.keys import Desk
from relay.web.posted import sentence
from relay.web.view import lists

_TEXT = 20_000  # characters of the plain part that are shown


def asked(event: Event, form: Mapping[str, str]) -> tuple[int, str, tuple[str, ...], bool]:
    """Return what `Verbs.email` takes."""
    to = addresses(form.get("to", ""))
    return event.id, form.get("template", ""), to, bool(form.get("force"))


def addresses(text: str) -> tuple[str, ...]:
    """Return the recipients that somebody typed, separated by commas or semicolons."""
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())


def chosen(here: Desk, form: Mapping[str, str]) -> str:
    """Return the template that is asked for, else the first; "" when there is none."""
    names = list(here.setup.emails)
    wanted = form.get("template", "")
    return wanted if wanted in names else (names[0] if names else "")


async def preview(here: Desk, event: Event, form: Mapping[str, str]) -> Preview:
    """Return how the mail would look, or why there is none."""
    template, to = chosen(here, form), form.get("to", "")
    try:
        mail = await here.verbs.preview_email(event.id, template, addresses(to))
    except RelayError as problem:
        return Preview(error=sentence(problem))
    fields = {"template": template, "to": to}
    return Preview(
        headers=tuple(_headers(mail)),
        text=mail.text[:_TEXT],
        frame=f"/events/{event.id}/email/preview?{lists.encoded(fields)}",
        **await _objections(here, event, form),
    )


async def _objections(here: Desk, event: Event, form: Mapping[str, str]) -> dict[str, str]:
    """Return what would keep the mail from going out: `error`, or `notice` where force would help."""
    template, to = chosen(here, form), addresses(form.get("to", ""))
    try:
        await here.verbs.check_email(event.id, template, to, bool(form.get("force")))
    except SentAlreadyError as problem:
        return {"notice": problem.sentence}
    except RelayError as problem:
        return {"error": sentence(problem)}
    return {}


def _headers(mail: Mail) -> list[tuple[str, str]]:
    rows = [
        ("To", ", ".join(mail.to)),
        ("Cc", ", ".join(mail.cc)),
        ("Bcc", ", ".join(mail.bcc)),
        ("Reply-To", ", ".join(mail.reply_to)),
        ("Subject", mail.subject),
        ("Attached", ", ".join(f"{one.name} ({size(len(one.content))})" for one in mail.attachments)),
    ]
    return [(name, printable(value, 400)) for name, value in rows if value or name in ("To", "Subject")]
