"""An event as a mail: rendered, and written with headers that nothing captured can break out of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from pathlib import Path

from relay.errors import MailError
from relay.mail.addresses import MAX_RECIPIENTS, named_address, one_address
from relay.mail.plain import text_of
from relay.mail.template import Templates
from relay.model.event import Event
from relay.model.text import header_text

MAX_SUBJECT = 200

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_POLICY = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailOptions:
    """A table of [emails]: `to` and `subject` are Jinja, `template` is a file of HTML (or .txt), `text` is Jinja.

    A .txt beside the template is the plain part; without it the HTML is made into one.
    """

    name: str
    to: tuple[str, ...]
    subject: str
    template: Path | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as rendered. `to` are plain addresses, `fixed` those of them that no payload chose.

    `html` is "" for a mail of plain text only.
    """

    to: tuple[str, ...]
    fixed: tuple[str, ...]
    subject: str
    html: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What relay writes on a mail: who sends it, its Message-ID in angle brackets, its date and its event."""

    sender: str
    message_id: str
    date: datetime
    event_id: int


def render(options: EmailOptions, event: Event, to: tuple[str, ...] = ()) -> Mail:
    """Return the mail that `options` make of `event`; `to` replaces the configured recipients.

    Raises MailError naming the template, its line and what is missing there.
    """
    context = {"event": _facts(event), "payload": event.payload}
    plain = _templates(options, autoescape=False)
    # Recipients somebody typed are no templates; only the configuration's own are.
    recipients = to or tuple(plain.fill(one, context).strip(" \n") for one in options.to)
    if not 0 < len(recipients) <= MAX_RECIPIENTS:
        raise MailError(f"emails.{options.name}: a mail needs 1 to {MAX_RECIPIENTS} recipients")
    addresses = tuple(one_address(recipient) for recipient in recipients)
    # Only what stands in the configuration letter for letter is its own; a payload chose the rest.
    fixed = tuple(one_address(one) for one in recipients if one in options.to)
    html, text = _parts(plain, options, context)
    return Mail(
        to=addresses,
        fixed=fixed,
        subject=clean(plain.fill(options.subject, context)),
        html=_encodable(html),
        text=_encodable(text),
    )


def compose(mail: Mail, stamp: Stamp) -> bytes:
    """Return the mail as RFC 5322 bytes, lines ending in CRLF, ASCII only.

    Raises MailError when what would go out does not have exactly the headers that were set.
    """
    name, address = named_address(stamp.sender)
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(display_name=clean(name), addr_spec=address)
    message["To"] = tuple(Address(addr_spec=recipient) for recipient in mail.to)
    message["Subject"] = clean(mail.subject)
    message["Date"] = stamp.date
    message["Message-ID"] = stamp.message_id
    message["X-Message-ID"] = (
        stamp.message_id
    )  # what a provider that rewrites the Message-ID still tells us by
    message["X-Relay-Event"] = str(stamp.event_id)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: holiday notices do not answer this
    message.set_content(mail.text, charset="utf-8", cte="quoted-printable")
    if mail.html:
        message.add_alternative(mail.html, subtype="html", charset="utf-8", cte="quoted-printable")
    source = message.as_bytes(policy=_POLICY)
    check_headers(source, message.keys())
    return source


def check_headers(source: bytes, names: list[str]) -> None:
    """Raise MailError unless the mail, read back, has exactly the headers of these names.

    CPython 3.11.7 decodes a subject `=?utf-8?q?a=0D=0ABcc:?=` and writes it out as a header of its own
    (CVE-2024-6923); `clean` prevents that, and this would notice.
    """
    if BytesParser(policy=_POLICY).parsebytes(source, headersonly=True).keys() != names:
        raise MailError("the mail would have other headers than those it was given, so it was not sent")


def clean(value: str) -> str:
    """Return a header value on one line, without encoded words of its own, at most 200 characters."""
    line = _CONTROLS.sub(" ", _encodable(value)).replace("=?", "= ?")
    return " ".join(line.split())[:MAX_SUBJECT]


def _parts(plain: Templates, options: EmailOptions, context: Mapping[str, object]) -> tuple[str, str]:
    """Return the HTML ("" for none) and the text."""
    html, text = "", ""
    template = options.template
    if template is not None and template.suffix != ".txt":
        html = _templates(options, autoescape=True).fill_file(template.name, context)
        template = template.with_suffix(".txt")
    if options.text is not None:
        text = plain.fill(options.text, context)
    elif template is not None and (not html or template.is_file()):
        text = plain.fill_file(template.name, context)
    return html, text or text_of(html)


def _templates(options: EmailOptions, *, autoescape: bool) -> Templates:
    folder = options.template.parent if options.template else None
    return Templates(f"emails.{options.name}", folder, autoescape=autoescape)


def _facts(event: Event) -> dict[str, object]:
    row, capture = event.row, event.capture
    return {
        "id": row.id,
        "type": row.type,
        "source": row.source,
        "provider": row.provider,
        "idempotency_key": row.idempotency_key,
        "verdict": row.verdict.value,
        "outcome": row.outcome.value,
        "method": row.method,
        "path": header_text(row.path),
        "query": header_text(row.query),
        "received_at": row.received_at.isoformat(),
        "summary": row.summary,
        "headers": {name.lower(): header_text(value) for name, value in capture.headers},
    }


def _encodable(text: str) -> str:
    # JSON may hold lone surrogates, which no mail can.
    return text.encode("utf-8", "replace").decode()
