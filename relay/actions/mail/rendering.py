"""Renders an event as a mail: fills in the templates of [emails] and parses the addresses."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser

from relay.actions.mail import EmailOptions
from relay.actions.mail.addresses import MAX_RECIPIENTS, parse_address, parse_named_address
from relay.actions.mail.compose import Mail, build_attachments, clean_header, drop_surrogates
from relay.actions.mail.templates import Templates
from relay.errors import MailError
from relay.model.event import CapturedEvent
from relay.model.text import decode_header_text, escape_unprintable

_ADDRESSES = ("to", "cc", "bcc", "reply_to")


def render_mail(options: EmailOptions, event: CapturedEvent, to: tuple[str, ...] = ()) -> Mail:
    """Return the mail for `event` by `options`; `to` replaces all configured recipients.

    Raises MailError naming the template, its line and the missing field, or the invalid address.
    """
    context = {"event": _template_context(event), "payload": event.payload, "items": event.split.values}
    plain = _make_templates(options, autoescape=False)

    names: dict[str, str] = {}

    def filled(key: str, templates: tuple[str, ...]) -> tuple[str, ...]:
        """Return the addresses from templates, each once; a template of `to` without addresses is an error."""
        found: dict[str, None] = {}
        for template in templates:
            given = plain.fill_list(key, template, context) if "{" in template else [template]
            texts = [text for text in (one.strip(" \n") for one in given) if text]
            for text in texts or ([""] if key == "to" else []):
                name, address = _read_address(options, key, text, template)
                found[address] = None
                names.setdefault(address, name)
        return tuple(found)

    # Typed recipients are not templates; only configured ones are.
    first = tuple(dict.fromkeys(parse_address(one) for one in to)) if to else filled("to", options.to)
    cc, bcc = ((), ()) if to else (filled("cc", options.cc), filled("bcc", options.bcc))
    everybody = dict.fromkeys((*first, *cc, *bcc))
    if not first or len(everybody) > MAX_RECIPIENTS:
        raise MailError(f"emails.{options.name}: a mail needs 1 to {MAX_RECIPIENTS} recipients")
    html, text = _render_parts(plain, options, context)
    # Only literal text of the configuration is trusted; the rest comes from a payload.
    written = {text for text in (*options.to, *options.cc, *options.bcc) if "{" not in text}
    own = {parse_address(text) for text in written}
    return Mail(
        to=first,
        cc=cc,
        bcc=bcc,
        reply_to=filled("reply_to", options.reply_to),
        fixed=tuple(one for one in everybody if one in own),
        subject=clean_header(plain.fill("subject", options.subject, context)),
        html=drop_surrogates(html),
        text=drop_surrogates(text),
        attachments=build_attachments(options.attach, event),
        names={address: name for address, name in names.items() if name},
    )


def check_template(options: EmailOptions) -> tuple[str, ...]:
    """Return the problems of the templates of `options`, a sentence each naming key or file, and line."""
    plain, problems = _make_templates(options, autoescape=False), []
    keys = {key: getattr(options, key) for key in _ADDRESSES}
    keys |= {"subject": (options.subject,), "text": (options.text,) if options.text is not None else ()}
    for key, texts in keys.items():
        for text in texts:
            try:
                plain.check(key, text)
                if key in _ADDRESSES and "{" not in text:
                    _read_address(options, key, text, text)
            except MailError as error:
                problems.append(error.message)
    for file in (options.template, options.template and options.template.with_suffix(".txt")):
        try:
            if file is not None and file.is_file():
                plain.check_file(file)
        except MailError as error:
            problems.append(error.message)
    return tuple(dict.fromkeys(problems))


def _read_address(options: EmailOptions, key: str, text: str, template: str) -> tuple[str, str]:
    """Return display name and address of a text from `template`."""
    try:
        return parse_named_address(text)
    except MailError as error:
        origin = f"; it came from {escape_unprintable(template, 100)}" if text != template else ""
        raise MailError(f"emails.{options.name}.{key}: {error.message}{origin}", hint=error.hint) from error


def _render_parts(plain: Templates, options: EmailOptions, context: Mapping[str, object]) -> tuple[str, str]:
    """Return the HTML ("" for none) and the text."""
    html, text = "", ""
    template = options.template
    if template is not None and template.suffix != ".txt":
        html = _make_templates(options, autoescape=True).fill_file(template, context)
        template = template.with_suffix(".txt")
    if options.text is not None:
        text = plain.fill("text", options.text, context)
    elif template is not None and (not html or template.is_file()):
        text = plain.fill_file(template, context)
    return html, text or html_to_text(html)


def _make_templates(options: EmailOptions, *, autoescape: bool) -> Templates:
    """Return the templates: their files are in the project's folder, else in the template's own folder."""
    folder, template = options.folder, options.template
    if template is not None and not (folder is not None and template.is_relative_to(folder)):
        folder = template.parent
    return Templates(f"emails.{options.name}", folder, autoescape=autoescape)


def _template_context(event: CapturedEvent) -> dict[str, object]:
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
        "method": capture.method,
        "path": decode_header_text(capture.path),
        "query": decode_header_text(capture.query),
        "received_at": row.received_at.isoformat(),
        "summary": row.summary,
        "headers": {name.lower(): decode_header_text(value) for name, value in capture.headers},
    }


_BLOCK_TAG = re.compile(
    "address|article|aside|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|main|nav|ol|p|pre|"
    "section|table|tr|ul"
)
_SILENT_TAGS = frozenset({"script", "style", "template", "title"})


def html_to_text(html: str) -> str:
    """Return the HTML as plain text, a line for each block, links with their addresses."""
    reader = _TextReader()
    reader.feed(html)
    reader.close()
    lines = (re.sub(r"[ \t\r\f\v]+", " ", line).strip() for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _TextReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []
        self._links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT_TAGS:
            self._silent.append(tag)
        elif _BLOCK_TAG.fullmatch(tag):
            self.parts.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")

    def handle_endtag(self, tag: str) -> None:
        if self._silent and tag == self._silent[-1]:
            self._silent.pop()
        elif _BLOCK_TAG.fullmatch(tag):
            self.parts.append("\n")
        elif tag == "a" and self._links:
            link = self._links.pop()
            if link.startswith(("http:", "https:", "mailto:")) and self.parts[-1:] != [link]:
                self.parts.append(f" ({link})")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"\s+", " ", data))
