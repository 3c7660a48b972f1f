"""What a mail carries beside its text: the event's payload as JSON, or its body byte for byte."""

import json
from dataclasses import dataclass

from relay.errors import MailError
from relay.model.event import Event
from relay.model.text import size

PAYLOAD, BODY = "payload", "body"
KINDS = (PAYLOAD, BODY)
MAX_BYTES = 10_000_000  # of one attachment; a third more on the wire, which is what servers usually take

# What the sender calls its body is only believed where no mail program would run it.
_KNOWN = {
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


def attach(kinds: tuple[str, ...], event: Event) -> tuple[Attachment, ...]:
    """Return what `kinds` name, as files called after the event; an empty body is no file.

    `payload` is the body as indented JSON, a form's fields too; what is neither goes as it came.
    `body` is always as it came. Raises MailError for one beyond MAX_BYTES.
    """
    made = (_payload(event) if kind == PAYLOAD else _body(event) for kind in dict.fromkeys(kinds))
    found = tuple(dict.fromkeys(one for one in made if one is not None))
    for one in found:
        if len(one.content) > MAX_BYTES:
            raise MailError(
                f"{one.name} has {size(len(one.content))}; at most {MAX_BYTES // 1_000_000} MB are attached",
                hint="take attach out of the template",
            )
    return found


def _payload(event: Event) -> Attachment | None:
    value = event.payload
    if value is None or len(event.capture.body) > MAX_BYTES:
        return _body(event)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        content = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can say only as an escape
        content = json.dumps(value, indent=2).encode()
    return Attachment(name=f"event-{event.id}.json", type="application/json", content=content + b"\n")


def _body(event: Event) -> Attachment | None:
    if not event.capture.body:
        return None
    ending, type_ = _KNOWN.get(event.capture.content_type, ("bin", "application/octet-stream"))
    return Attachment(name=f"event-{event.id}-body.{ending}", type=type_, content=event.capture.body)
