"""Where a provider's requests say what became of a message, as data, and the reading of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from relay.model.event import Capture, Pick
from relay.model.items import ItemPaths
from relay.model.message import MAX_ADDRESSES, MAX_ID, MessageStatus, StatusReport, addresses, bare_id
from relay.model.payload import Payload
from relay.model.text import printable
from relay.providers.picks import header, query

_DETAIL = 400

_HEADER = "X-Message-ID"
# How people write that name as a tag, a custom argument or a query parameter: X-Message-ID, message_id, messageId.
_NAMES = ("xmessageid", "messageid")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStatuses:
    """How one provider tells of messages; every pick is applied to each item where `items` names a list.

    `word` is the provider's own word with its qualifiers after dots, and `words` what it means:
    the longest that is listed counts (`Bounce.Transient` before `Bounce`), None is no status at all.
    `external_ids` are what a sender may know the message by, the usual one first. `embedded` finds the
    id that the sender put in itself, `at` the provider's time, as ISO 8601 or seconds since 1970.
    """

    provider: str
    channel: str
    word: Pick
    words: tuple[tuple[str, MessageStatus | None], ...]
    external_ids: tuple[Pick, ...]
    embedded: Pick
    recipient: Pick
    at: Pick | None = None
    code: Pick | None = None
    detail: Pick | None = None
    items: ItemPaths | None = None

    def __call__(self, capture: Capture, payload: Payload) -> tuple[StatusReport, ...]:
        """Return a report for each status the request tells. Never raises."""
        made = (self._read(capture, item) for item in self._each(payload))
        return tuple(report for report in made if report is not None)

    def _each(self, payload: Payload) -> Iterator[Payload]:
        if self.items is None:
            yield payload
            return
        for _, item in self.items.split(payload).found:
            yield Payload.of(item)

    def _read(self, capture: Capture, item: Payload) -> StatusReport | None:
        status = self._status(self.word(capture, item))
        if status is None:
            return None
        ids = (pick(capture, item) for pick in self.external_ids)
        return StatusReport(
            status=status,
            provider=self.provider,
            channel=self.channel,
            external_ids=tuple(dict.fromkeys(bare_id(text) for text in ids if text)),
            embedded_id=bare_id(self.embedded(capture, item) or ""),
            recipients=addresses(self.recipient(capture, item) or ""),
            at=moment(self.at(capture, item)) if self.at else None,
            code=printable((self.code(capture, item) if self.code else None) or "", 80),
            detail=printable((self.detail(capture, item) if self.detail else None) or "", _DETAIL),
        )

    def _status(self, word: str | None) -> MessageStatus | None:
        known = dict(self.words)
        while word:
            if word in known:
                return known[word]
            word = word.rpartition(".")[0]
        return None


@dataclass(frozen=True, slots=True)
class EmbeddedPick:
    """The id a sender put into its message: where the provider hands such things back, else a header or the query.

    Each of `places` is an object with it for a key, or a list of pairs of name and value.
    """

    places: tuple[tuple[str | int, ...], ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the id."""
        for place in self.places:
            held = {_plain(name): value for name, value in _pairs(payload.at(*place))}
            found = (held.get(name) for name in _NAMES)
            text = next((str(value) for value in found if type(value) in (str, int)), "")
            if text.strip():
                return printable(text, MAX_ID)
        # The query is part of an address that the sender chose; the header is what a proxy may add.
        given = (query(name)(capture, payload) for name in ("message_id", "message-id", _HEADER))
        return next((text for text in given if text), None) or header(_HEADER)(capture, payload)


@dataclass(frozen=True, slots=True)
class CutPick:
    """A text up to the first of some marks that it holds."""

    pick: Pick
    marks: tuple[str, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return what stands before the mark; the whole text where there is none."""
        text = self.pick(capture, payload)
        for mark in self.marks:
            if text and mark in text:
                return text.partition(mark)[0]
        return text


@dataclass(frozen=True, slots=True)
class TextsPick:
    """A text of the body as long as it is, or the texts of a list joined by commas."""

    path: tuple[str | int, ...]

    def __call__(self, capture: Capture, payload: Payload) -> str | None:
        """Return the text or texts."""
        del capture
        found = payload.at(*self.path)
        held = found[:MAX_ADDRESSES] if isinstance(found, list) else [found]
        return ", ".join(text[:_DETAIL] for text in held if isinstance(text, str)).strip() or None


def embedded(*places: tuple[str | int, ...]) -> Pick:
    """Return a pick of the id that a sender put in: `embedded(("data", "headers"), ("data", "tags"))`."""
    return EmbeddedPick(places)


def cut(pick: Pick, *marks: str) -> Pick:
    """Return a pick of a text up to the first of some marks."""
    return CutPick(pick, marks)


def texts(*path: str | int) -> Pick:
    """Return a pick of a text in the body as long as it is, or of the texts of a list."""
    return TextsPick(path)


def words(told: Mapping[str, MessageStatus | None]) -> tuple[tuple[str, MessageStatus | None], ...]:
    """Return what a provider's words mean, as MessageStatuses holds it."""
    return tuple(told.items())


def moment(text: str | None) -> datetime | None:
    """Return the time that a text stands for: ISO 8601, or seconds since 1970; None for anything else."""
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


def _pairs(held: object) -> Iterator[tuple[object, object]]:
    if isinstance(held, dict):
        yield from held.items()
    for item in held[:100] if isinstance(held, list) else ():
        if isinstance(item, dict):
            yield item.get("name", item.get("Name")), item.get("value", item.get("Value"))
        elif isinstance(item, list) and len(item) == 2:
            yield item[0], item[1]


def _plain(name: object) -> str:
    return name.lower().replace("-", "").replace("_", "") if isinstance(name, str) else ""
