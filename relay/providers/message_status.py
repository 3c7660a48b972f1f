"""Status reports of mails and SMS in a provider's requests, as data; and the meaning of its codes."""

import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from relay.model.clock import parse_time
from relay.model.event import Capture, Extractor
from relay.model.message import MAX_ADDRESSES, MAX_ID, MessageStatus, StatusReport, normalize_id, parse_addresses
from relay.model.payload import Payload
from relay.model.request_items import ItemPaths
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.extractors import header, make_extractor, query, split_path

# A bounce may quote a whole SMTP dialogue.
_MAX_DETAIL = 400

_HEADER = "X-Message-ID"
# Spellings of that name as a tag, a custom argument or a query parameter: X-Message-ID, message_id, messageId.
# Mail providers write custom headers, tags and arguments back in their own case, some without the X.
_NAMES = ("xmessageid", "messageid")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatuses:
    """How one provider reports on messages; everything is read from each item where `items` names a list.

    `word` is the provider's own word with its qualifiers after dots, and `words` its meaning:
    the longest listed one is used (`Bounce.Transient` before `Bounce`), None is not a status.
    `external_ids` are the ids known to a sender, the usual one first. `embedded` finds the
    sender's own id in the message, `at` the provider's time, as ISO 8601 or seconds since 1970.
    """

    provider: str
    word: Extractor
    words: tuple[tuple[str, MessageStatus | None], ...]  # pairs, because a source is hashed
    external_ids: tuple[Extractor, ...]
    embedded: Extractor
    recipient: Extractor
    channel: str = "email"
    at: Extractor | None = None
    code: Extractor | None = None
    detail: Extractor | None = None
    items: ItemPaths | None = None

    def __call__(self, capture: Capture, payload: Payload) -> tuple[StatusReport, ...]:
        """Return the status reports in a request. Never raises."""
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
            # Twilio sends no time, SendGrid and Mailgun seconds (Mailgun with a fraction), the others ISO 8601.
            at=parse_time(self.at(capture, item)) if self.at else None,
            code=escape_unprintable(code or "", 80),
            detail=escape_unprintable(detail or "", _MAX_DETAIL),
        )


@make_extractor
def embedded_id(capture: Capture, payload: Payload, *paths: str) -> str | None:
    """Extract the id a sender put into its message: `embedded_id("data.headers", "data.tags")`, "" being the body.

    It is where the provider returns such values: each of `paths` is an object with it as a key, or a
    list of pairs of name and value; else it is in a header or the query.
    """
    for path in paths:
        held = {_normalize_name(name): value for name, value in _name_value_pairs(payload.at(*split_path(path)))}
        found = (held.get(name) for name in _NAMES)
        text = next((str(value) for value in found if type(value) in (str, int)), "")
        if text.strip():
            return escape_unprintable(text, MAX_ID)
    # The query is part of the sender's URL; a header may be added by a proxy.
    texts = (query(name)(capture, payload) for name in ("message_id", "message-id", _HEADER))
    return next((text for text in texts if text), None) or header(_HEADER)(capture, payload)


@make_extractor
def text_list(_: Capture, payload: Payload, path: str) -> str | None:
    """Extract a text of the body without a limit, or the texts of a list joined by commas."""
    found = payload.at(*split_path(path))
    held = found[:MAX_ADDRESSES] if isinstance(found, list) else [found]
    return ", ".join(text[:_MAX_DETAIL] for text in held if isinstance(text, str)).strip() or None


def status_words(**words: str) -> tuple[tuple[str, MessageStatus | None], ...]:
    """Return what each of a provider's words means, from the words of each status; those of `none` mean no status."""
    meant: dict[str, MessageStatus | None] = {"none": None, **{status.value: status for status in MessageStatus}}
    return tuple((word, meant[status]) for status, listed in words.items() for word in listed.split())


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


# Only the first digit is fixed: 2 is success, 4 is temporary, 5 is permanent. The rest is looked up.
_ENHANCED_CODE = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeMeaning:
    """What a code means in a few words, and the page that says so."""

    words: str
    source: str


def explain_code(provider: str, code: str) -> CodeMeaning | None:
    """Return the meaning of a provider's code; None if it is not listed."""
    tables = _load_codes()
    for table in tables.values():
        if provider in table["providers"] and code in table["codes"]:
            return CodeMeaning(words=table["codes"][code], source=table["source"].format(code=code))
    enhanced = _ENHANCED_CODE.fullmatch(code)
    words = tables["enhanced"]["codes"].get(enhanced[1]) if enhanced and provider != "twilio" else None
    return CodeMeaning(words=words, source=tables["enhanced"]["source"]) if words else None


@lru_cache(maxsize=1)
def _load_codes() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("message_codes.toml").read_text(encoding="utf-8"))
