"""How a provider's requests report the status of a mail or SMS, as data; and what its codes mean."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from relay.model.event import Capture, Extractor
from relay.model.message import MAX_ADDRESSES, MAX_ID, MessageStatus, StatusReport, normalize_id, parse_addresses
from relay.model.payload import Payload
from relay.model.request_items import ItemPaths
from relay.model.text import escape_unprintable
from relay.providers.extractors import header, make_extractor, query, split_path

# A bounce may quote a whole SMTP dialogue.
_MAX_DETAIL = 400

_HEADER = "X-Message-ID"
# How people write that name as a tag, a custom argument or a query parameter: X-Message-ID, message_id, messageId.
# Mail providers write custom headers, tags and arguments back in their own case, some without the X.
_NAMES = ("xmessageid", "messageid")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatuses:
    """How one provider reports on messages; everything is read from each item where `items` names a list.

    `word` is the provider's own word with its qualifiers after dots, and `words` what it means:
    the longest that is listed counts (`Bounce.Transient` before `Bounce`), None is no status at all.
    `external_ids` are what a sender may know the message by, the usual one first. `embedded` finds the
    id that the sender put in itself, `at` the provider's time, as ISO 8601 or seconds since 1970.
    """

    provider: str
    channel: str
    word: Extractor
    words: tuple[tuple[str, MessageStatus | None], ...]  # pairs, because a source is hashed
    external_ids: tuple[Extractor, ...]
    embedded: Extractor
    recipient: Extractor
    at: Extractor | None = None
    code: Extractor | None = None
    detail: Extractor | None = None
    items: ItemPaths | None = None

    def __call__(self, capture: Capture, payload: Payload) -> tuple[StatusReport, ...]:
        """Return a report for each status the request tells. Never raises."""
        items = [Payload.of(item) for _, item in self.items.split(payload).found] if self.items else [payload]
        made = (self._read(capture, item) for item in items)
        return tuple(report for report in made if report is not None)

    def _read(self, capture: Capture, item: Payload) -> StatusReport | None:
        word, known = self.word(capture, item), dict(self.words)
        while word and word not in known:
            word = word.rpartition(".")[0]
        status = known[word] if word else None
        if status is None:
            return None
        ids = (extract(capture, item) for extract in self.external_ids)
        code = self.code(capture, item) if self.code else None
        detail = self.detail(capture, item) if self.detail else None
        return StatusReport(
            status=status,
            provider=self.provider,
            channel=self.channel,
            external_ids=tuple(dict.fromkeys(normalize_id(text) for text in ids if text)),
            embedded_id=normalize_id(self.embedded(capture, item) or ""),
            recipients=parse_addresses(self.recipient(capture, item) or ""),
            at=parse_moment(self.at(capture, item)) if self.at else None,
            code=escape_unprintable(code or "", 80),
            detail=escape_unprintable(detail or "", _MAX_DETAIL),
        )


@make_extractor
def embedded_id(capture: Capture, payload: Payload, *paths: str) -> str | None:
    """Extract the id a sender put into its message: `embedded_id("data.headers", "data.tags")`, "" being the body.

    It is where the provider hands such things back, each of `paths` leading to an object with it for a key, or to a
    list of pairs of name and value; else it is in a header or the query.
    """
    for path in paths:
        held = {_normalize_name(name): value for name, value in _name_value_pairs(payload.at(*split_path(path)))}
        found = (held.get(name) for name in _NAMES)
        text = next((str(value) for value in found if type(value) in (str, int)), "")
        if text.strip():
            return escape_unprintable(text, MAX_ID)
    # The query is part of an address that the sender chose; the header is what a proxy may add.
    texts = (query(name)(capture, payload) for name in ("message_id", "message-id", _HEADER))
    return next((text for text in texts if text), None) or header(_HEADER)(capture, payload)


@make_extractor
def text_list(_: Capture, payload: Payload, path: str) -> str | None:
    """Extract a text of the body as long as it is, or the texts of a list joined by commas."""
    found = payload.at(*split_path(path))
    held = found[:MAX_ADDRESSES] if isinstance(found, list) else [found]
    return ", ".join(text[:_MAX_DETAIL] for text in held if isinstance(text, str)).strip() or None


def status_words(words: Mapping[MessageStatus | None, str]) -> tuple[tuple[str, MessageStatus | None], ...]:
    """Return what each of a provider's words means, from the words of each status; None is no status at all."""
    return tuple((word, status) for status, listed in words.items() for word in listed.split())


# Twilio tells no time, SendGrid and Mailgun seconds (Mailgun with a fraction), Resend and Postmark ISO 8601.
def parse_moment(text: str | None) -> datetime | None:
    """Return the time that a text means: ISO 8601, or seconds since 1970; None for anything else."""
    if not text:
        return None
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        pass
    try:
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _name_value_pairs(held: object) -> Iterator[tuple[object, object]]:
    if isinstance(held, dict):
        yield from held.items()
    for item in held[:100] if isinstance(held, list) else ():
        if isinstance(item, dict):
            yield item.get("name", item.get("Name")), item.get("value", item.get("Value"))
        elif isinstance(item, list) and len(item) == 2:
            yield item[0], item[1]


def _normalize_name(name: object) -> str:
    return name.lower().replace("-", "").replace("_", "") if isinstance(name, str) else ""


# The commonest of https://www.twilio.com/docs/api/errors, each with a page of its own there.
_TWILIO_CODES = {
    "21211": "the recipient's number is not valid",
    "21408": "sending to that country is not switched on for the account",
    "21606": "the sender's number cannot send SMS, or is not the account's",
    "21608": "a trial account may only write to numbers it has verified",
    "21610": "the recipient has answered STOP and gets nothing more from this sender",
    "21612": "no way leads from this sender to this recipient",
    "21614": "the recipient's number is not a mobile one",
    "21617": "the text is longer than 1600 characters",
    "30001": "the queue was full: more was sent than this number may send",
    "30002": "the account was suspended",
    "30003": "the phone could not be reached: switched off, or out of range",
    "30004": "the message was blocked by the carrier, or by the recipient",
    "30005": "the number is not in use, or it takes no messages any more",
    "30006": "that number is a landline, or its carrier could not be reached",
    "30007": "the carrier, or Twilio, filtered the message as unwanted",
    "30008": "the carrier gave no reason",
    "30009": "a part of a long message did not arrive",
    "30010": "the message costs more than the highest price that was set",
    "30011": "the recipient's number takes no pictures (MMS)",
    "30017": "the carrier's network is congested",
    "30022": "more was sent at a time than its A2P 10DLC campaign may send",
    "30023": "this A2P 10DLC brand has sent all it may today",
    "30024": "the carrier does not know this sender's number yet",
    "30032": "the toll-free number that sent it has not been verified",
    "30034": "the number that sent it belongs to no registered A2P 10DLC campaign",
    "30036": "it waited longer in the queue than its validity period allows",
    "30410": "the carrier did not answer in time",
    "30450": "blocked by Twilio's protection from SMS pumping",
    "30500": "something went wrong inside Twilio",
    "63016": "outside the 24 hours after the recipient's last message WhatsApp takes templates only",
    "63024": "the recipient is not on WhatsApp, or not reachable there",
}

# RFC 3463, section 3; what comes after a first number of 4 is tried again, after a 5 it is not.
_SMTP_CODES = {
    "1.1": "there is no such mailbox",
    "1.2": "there is no such mail domain",
    "1.3": "the address is not valid",
    "1.6": "the mailbox has moved",
    "1.8": "the sender's domain does not exist",
    "2.0": "the mailbox did not take it",
    "2.1": "the mailbox is switched off",
    "2.2": "the mailbox is full",
    "2.3": "the mail is larger than the mailbox allows",
    "3.0": "the mail server had a trouble of its own",
    "3.1": "the mail server's disk is full",
    "3.2": "the mail server takes no mail at the moment",
    "3.4": "the mail is larger than the server allows",
    "4.1": "the mail server did not answer",
    "4.4": "no mail server could be found for the domain",
    "4.7": "it could not be delivered in time",
    "5.0": "the two mail servers did not understand each other",
    "5.3": "the mail has too many recipients",
    "6.0": "the mail's content was not accepted",
    "7.0": "refused for reasons of security",
    "7.1": "the recipient's server refuses mail from this sender",
    "7.26": "neither SPF nor DKIM vouches for the sender",
}
_POSTMARK_CODES = {
    "HardBounce": "there is no such mailbox",
    "Transient": "the recipient's server had a passing trouble",
    "SoftBounce": "the mailbox is full or does not take mail for now",
    "DnsError": "no mail server could be found for the domain",
    "SpamNotification": "the recipient's server took it for spam",
    "Blocked": "the recipient's server blocked the sender",
    "DMARCPolicy": "the sender's DMARC policy forbids it",
    "BadEmailAddress": "the address is not valid",
    "ManuallyDeactivated": "the address was switched off in Postmark",
    "SpamComplaint": "the recipient marked it as spam",
}
# Resend sends through Amazon SES and passes its bounce types on.
_RESEND_CODES = {
    "Permanent": "the recipient's server refused it for good",
    "Permanent General": "the recipient's server refused it for good",
    "Permanent NoEmail": "the address could not be read from the bounce",
    "Permanent Suppressed": "the address bounced before, so it was not tried again",
    "Permanent OnAccountSuppressionList": "the address is on the account's suppression list",
    "Transient": "the recipient's server had a passing trouble",
    "Transient General": "the recipient's server had a passing trouble",
    "Transient MailboxFull": "the mailbox is full",
    "Transient MessageTooLarge": "the mail is larger than the server allows",
    "Transient ContentRejected": "the mail's content was not accepted",
    "Transient AttachmentRejected": "an attachment was not accepted",
}
_CODES = (
    (("twilio",), _TWILIO_CODES, "https://www.twilio.com/docs/api/errors/{code}"),
    (("postmark", "smtp"), _POSTMARK_CODES, "https://postmarkapp.com/developer/api/bounce-api#bounce-types"),
    (
        ("resend", "smtp"),
        _RESEND_CODES,
        "https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html#bounce-types",
    ),
)
# Only the class of the first number is fixed: 2 is success, 4 is tried again, 5 is final. The rest is looked up.
_ENHANCED_CODE = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeMeaning:
    """What a code means in a few words, and the page that says so."""

    words: str
    source: str


def explain_code(provider: str, code: str) -> CodeMeaning | None:
    """Return what a provider's code means; None for one that is not listed here."""
    for providers, codes, source in _CODES:
        if provider in providers and code in codes:
            return CodeMeaning(words=codes[code], source=source.format(code=code))
    enhanced = _ENHANCED_CODE.fullmatch(code)
    if enhanced and provider != "twilio" and enhanced[1] in _SMTP_CODES:
        return CodeMeaning(words=_SMTP_CODES[enhanced[1]], source="https://www.rfc-editor.org/rfc/rfc3463#section-3")
    return None
