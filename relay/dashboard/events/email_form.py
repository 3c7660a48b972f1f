"""The mail that the e-mail dialog is about: which template, to whom, and how it would look."""

from collections.abc import Mapping

from relay.actions.mail.compose import Mail
from relay.dashboard.filters import encode_query
from relay.dashboard.replay.edits import MailPreview
from relay.dashboard.responses import format_error
from relay.errors import RelayError, SentAlreadyError
from relay.model.event import CapturedEvent
from relay.model.text import escape_unprintable, format_size
from relay.services.relay import RunningRelay

_MAX_TEXT = 20_000  # characters of the plain part that are shown


def parse_email_form(form: Mapping[str, str]) -> tuple[str, tuple[str, ...], bool]:
    """Return template, recipients and whether it is sent although it was sent before."""
    to = split_addresses(form.get("to", ""))
    return form.get("template", ""), to, bool(form.get("force"))


def split_addresses(text: str) -> tuple[str, ...]:
    """Return the recipients that somebody typed, separated by commas or semicolons."""
    return tuple(part.strip() for part in text.replace(";", ",").split(",") if part.strip())


def choose_template(relay: RunningRelay, form: Mapping[str, str]) -> str:
    """Return the template that is asked for, else the first; "" when there is none."""
    names = list(relay.email_recipients)
    wanted = form.get("template", "")
    return wanted if wanted in names else (names[0] if names else "")


async def build_preview(relay: RunningRelay, event: CapturedEvent, form: Mapping[str, str]) -> MailPreview:
    """Return how the mail would look, or why there is none."""
    template, to = choose_template(relay, form), form.get("to", "")
    try:
        mail = await relay.replays.preview_email(event, template, split_addresses(to))
    except RelayError as problem:
        return MailPreview(error=format_error(problem))
    fields = {"template": template, "to": to}
    return MailPreview(
        headers=tuple(_format_mail_headers(mail)),
        text=mail.text[:_MAX_TEXT],
        frame=f"/events/{event.id}/email/preview?{encode_query(fields)}",
        **await _find_objections(relay, event, form),
    )


async def _find_objections(relay: RunningRelay, event: CapturedEvent, form: Mapping[str, str]) -> dict[str, str]:
    """Return what would keep the mail from going out: `error`, or `notice` where force would help."""
    template, to = choose_template(relay, form), split_addresses(form.get("to", ""))
    try:
        await relay.replays.check_email(event, template, to, bool(form.get("force")))
    except SentAlreadyError as problem:
        return {"notice": problem.message}
    except RelayError as problem:
        return {"error": format_error(problem)}
    return {}


def _format_mail_headers(mail: Mail) -> list[tuple[str, str]]:
    rows = [
        ("To", ", ".join(mail.to)),
        ("Cc", ", ".join(mail.cc)),
        ("Bcc", ", ".join(mail.bcc)),
        ("Reply-To", ", ".join(mail.reply_to)),
        ("Subject", mail.subject),
        ("Attached", ", ".join(f"{one.name} ({format_size(len(one.content))})" for one in mail.attachments)),
    ]
    return [(name, escape_unprintable(value, 400)) for name, value in rows if value or name in ("To", "Subject")]
