"""An event as a mail: every template of [emails] filled in, every address read, everything named that is wrong."""

from collections.abc import Mapping
from pathlib import Path

from relay.errors import MailError
from relay.mail.addresses import MAX_RECIPIENTS, named_address, one_address
from relay.mail.attach import attach
from relay.mail.compose import EmailOptions, Mail, clean, encodable
from relay.mail.plain import text_of
from relay.mail.template import Templates
from relay.model.event import Event
from relay.model.text import header_text, printable

_ADDRESSES = ("to", "cc", "bcc", "reply_to")


def render(options: EmailOptions, event: Event, to: tuple[str, ...] = ()) -> Mail:
    """Return the mail that `options` make of `event`; `to` replaces all configured recipients.

    Raises MailError naming the template, its line and what is missing there, or the address that is none.
    """
    context = {"event": _facts(event), "payload": event.payload, "items": event.split.values}
    plain = _templates(options, autoescape=False)

    names: dict[str, str] = {}

    def filled(key: str, templates: tuple[str, ...]) -> tuple[str, ...]:
        """Return the addresses that templates give, each once; one of `to` that gives none is a mistake."""
        found: dict[str, None] = {}
        for template in templates:
            given = plain.fill_list(key, template, context) if "{" in template else [template]
            texts = [text for text in (one.strip(" \n") for one in given) if text]
            for text in texts or ([""] if key == "to" else []):
                name, address = _address(options, key, text, template)
                found[address] = None
                names.setdefault(address, name)
        return tuple(found)

    # Recipients somebody typed are no templates; only the configuration's own are.
    first = tuple(dict.fromkeys(one_address(one) for one in to)) if to else filled("to", options.to)
    cc, bcc = ((), ()) if to else (filled("cc", options.cc), filled("bcc", options.bcc))
    everybody = dict.fromkeys((*first, *cc, *bcc))
    if not first or len(everybody) > MAX_RECIPIENTS:
        raise MailError(f"emails.{options.name}: a mail needs 1 to {MAX_RECIPIENTS} recipients")
    html, text = _parts(plain, options, context)
    # Only what stands in the configuration letter for letter is its own; a payload chose the rest.
    written = {text for text in (*options.to, *options.cc, *options.bcc) if "{" not in text}
    own = {one_address(text) for text in written}
    return Mail(
        to=first,
        cc=cc,
        bcc=bcc,
        reply_to=filled("reply_to", options.reply_to),
        fixed=tuple(one for one in everybody if one in own),
        subject=clean(plain.fill("subject", options.subject, context)),
        html=encodable(html),
        text=encodable(text),
        attachments=attach(options.attach, event),
        names={address: name for address, name in names.items() if name},
    )


def check_template(options: EmailOptions) -> tuple[str, ...]:
    """Return what is wrong with the templates of `options`, a sentence each naming key or file, and line."""
    plain, problems = _templates(options, autoescape=False), []
    keys = {key: getattr(options, key) for key in _ADDRESSES}
    keys |= {"subject": (options.subject,), "text": (options.text,) if options.text is not None else ()}
    for key, texts in keys.items():
        for text in texts:
            try:
                plain.check(key, text)
                if key in _ADDRESSES and "{" not in text:
                    _address(options, key, text, text)
            except MailError as error:
                problems.append(error.sentence)
    for file in (options.template, options.template and options.template.with_suffix(".txt")):
        try:
            if file is not None and file.is_file():
                plain.check_file(_name(options, file))
        except MailError as error:
            problems.append(error.sentence)
    return tuple(dict.fromkeys(problems))


def _address(options: EmailOptions, key: str, text: str, template: str) -> tuple[str, str]:
    """Return display name and address of a text that `template` gave."""
    try:
        return named_address(text)
    except MailError as error:
        origin = f"; it came from {printable(template, 100)}" if text != template else ""
        raise MailError(f"emails.{options.name}.{key}: {error.sentence}{origin}", hint=error.hint) from error


def _parts(plain: Templates, options: EmailOptions, context: Mapping[str, object]) -> tuple[str, str]:
    """Return the HTML ("" for none) and the text."""
    html, text = "", ""
    template = options.template
    if template is not None and template.suffix != ".txt":
        html = _templates(options, autoescape=True).fill_file(_name(options, template), context)
        template = template.with_suffix(".txt")
    if options.text is not None:
        text = plain.fill("text", options.text, context)
    elif template is not None and (not html or template.is_file()):
        text = plain.fill_file(_name(options, template), context)
    return html, text or text_of(html)


def _templates(options: EmailOptions, *, autoescape: bool) -> Templates:
    folder = _folder(options, options.template) if options.template else None
    return Templates(f"emails.{options.name}", folder, autoescape=autoescape)


def _folder(options: EmailOptions, template: Path) -> Path:
    """Return the folder whose files a template may include: the project's, or its own where it lies elsewhere."""
    project = options.folder
    return project if project is not None and template.is_relative_to(project) else template.parent


def _name(options: EmailOptions, template: Path) -> str:
    return template.relative_to(_folder(options, template)).as_posix()


def _facts(event: Event) -> dict[str, object]:
    row, capture = event.row, event.capture
    return {
        "id": row.id,
        "type": row.type,
        "types": row.types,
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
