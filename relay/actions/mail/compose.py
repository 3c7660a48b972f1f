"""Composes a mail as bytes, with headers that captured data cannot break."""

import json
import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from pathlib import Path

from relay.actions.mail.addresses import parse_named_address
from relay.errors import MailError
from relay.model.event import CapturedEvent
from relay.model.text import format_size
from relay.model.values import dataclass
from relay.platform import make_private_folder, write_private

PAYLOAD, BODY = "payload", "body"
MAX_BYTES = 10_000_000  # of one attachment; a third more on the wire, which is the usual limit of servers

# The sender's content type is used only if no mail program would execute the content.
_FILE_TYPES = {
    "application/json": ("json", "application/json"),
    "application/xml": ("xml", "application/xml"),
    "text/xml": ("xml", "application/xml"),
    "text/plain": ("txt", "text/plain"),
    "application/x-www-form-urlencoded": ("txt", "text/plain"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file in a mail: its name, its media type, its bytes."""

    name: str
    type: str
    content: bytes


def build_attachments(kinds: tuple[str, ...], event: CapturedEvent) -> tuple[Attachment, ...]:
    """Return the attachments of `kinds`, named after the event; an empty body gives none.

    `payload` is the body as indented JSON, also a form's fields; other bodies are unchanged.
    `body` is always as received. Raises MailError for one above MAX_BYTES.
    """
    made = (_attach_payload(event) if kind == PAYLOAD else _attach_body(event) for kind in dict.fromkeys(kinds))
    found = tuple(dict.fromkeys(one for one in made if one is not None))
    for one in found:
        if len(one.content) > MAX_BYTES:
            raise MailError(
                f"{one.name} has {format_size(len(one.content))}; at most {MAX_BYTES // 1_000_000} MB are attached",
                hint="take attach out of the template",
            )
    return found


def _attach_payload(event: CapturedEvent) -> Attachment | None:
    value = event.payload
    if value is None or len(event.capture.body) > MAX_BYTES:
        return _attach_body(event)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can write only as an escape
        content = json.dumps(value, indent=2).encode()
    return Attachment(name=f"event-{event.id}.json", type="application/json", content=content + b"\n")


def _attach_body(event: CapturedEvent) -> Attachment | None:
    if not event.capture.body:
        return None
    ending, type_ = _FILE_TYPES.get(event.capture.content_type, ("bin", "application/octet-stream"))
    return Attachment(name=f"event-{event.id}-body.{ending}", type=type_, content=event.capture.body)


MAX_SUBJECT = 200

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_POLICY = SMTP.clone(cte_type="7bit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail as rendered. Addresses are plain; `fixed` are those recipients that no payload chose.

    `names` are the display names of addresses that have one.

    `html` is "" for a mail of plain text only.
    """

    to: tuple[str, ...]
    fixed: tuple[str, ...]
    subject: str
    html: str
    text: str
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def recipients(self) -> tuple[str, ...]:
        """Return all recipients, each once."""
        return tuple(dict.fromkeys((*self.to, *self.cc, *self.bcc)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MailMetadata:
    """What relay writes on a mail: who sends it, its Message-ID in angle brackets, its date and its event."""

    sender: str
    message_id: str
    date: datetime
    event_id: int


def compose_mail(mail: Mail, stamp: MailMetadata) -> bytes:
    """Return the mail as RFC 5322 bytes, lines ending in CRLF; ASCII only unless an address is beyond it.

    It does not contain Bcc. Raises MailError if the result does not have
    exactly the headers that were set.
    """
    name, address = parse_named_address(stamp.sender)
    beyond = not all(one.isascii() for one in (address, *mail.to, *mail.cc, *mail.reply_to))
    policy = _POLICY.clone(utf8=True) if beyond else _POLICY  # RFC 6532, which takes SMTPUTF8
    message = EmailMessage(policy=policy)
    message["From"] = _format_mailbox(address, clean_header(name))
    for header, addresses in (("To", mail.to), ("Cc", mail.cc), ("Reply-To", mail.reply_to)):
        if addresses:
            message[header] = tuple(_format_mailbox(one, clean_header(mail.names.get(one, ""))) for one in addresses)
    message["Subject"] = clean_header(mail.subject)
    message["Date"] = stamp.date
    message["Message-ID"] = stamp.message_id
    message["X-Message-ID"] = stamp.message_id  # identifies the mail at providers that rewrite the Message-ID
    message["X-Relay-Event"] = str(stamp.event_id)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
    message.set_content(mail.text, charset="utf-8", cte="quoted-printable")
    if mail.html:
        message.add_alternative(mail.html, subtype="html", charset="utf-8", cte="quoted-printable")
    for one in mail.attachments:
        main, _, sub = one.type.partition("/")
        message.add_attachment(one.content, maintype=main, subtype=sub, filename=one.name)
    source = message.as_bytes(policy=policy)
    check_headers(source, message.keys())
    return source


def check_headers(source: bytes, names: list[str]) -> None:
    """Raise MailError unless the mail, parsed again, has exactly the headers of these names.

    CPython 3.11.7 decodes a subject `=?utf-8?q?a=0D=0ABcc:?=` and writes it as a separate header
    (CVE-2024-6923); `clean_header` prevents that, and this check would detect it.
    """
    if BytesParser(policy=_POLICY).parsebytes(source, headersonly=True).keys() != names:
        raise MailError("the mail would have other headers than those it was given, so it was not sent")


def clean_header(value: str) -> str:
    """Return a header value as one line without encoded words, at most 200 characters."""
    line = _CONTROLS.sub(" ", drop_surrogates(value)).replace("=?", "= ?")
    return " ".join(line.split())[:MAX_SUBJECT]


def drop_surrogates(text: str) -> str:
    """Return text without lone surrogates, which JSON may contain but a mail cannot."""
    return text.encode("utf-8", "replace").decode()


def _format_mailbox(address: str, name: str) -> Address:
    # In two parts: Python accepts a whole address only in ASCII, although it can write others.
    user, _, domain = address.rpartition("@")
    return Address(display_name=name, username=user, domain=domain)


def write_to_outbox(folder: Path, message_id: str, source: bytes) -> None:
    """Write a mail to `folder` with mode 0600, atomically. Raises MailError."""
    try:
        make_private_folder(folder)
        write_private(folder / f"{message_id.strip('<>')}.eml", source)
    except OSError as error:
        raise MailError(f"cannot keep a mail in {folder}: {error.strerror}", hint="is the disk full?") from error
