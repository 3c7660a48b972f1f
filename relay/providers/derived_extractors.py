"""Extractors derived from others, such as short ids, and the extractors of sources without a provider."""

import hashlib
import re
from urllib.parse import unquote

from relay.model.event import Capture, Extractor
from relay.model.json_paths import find_below
from relay.model.payload import Payload
from relay.model.request_items import ItemPaths
from relay.model.text import escape_unprintable
from relay.providers.extractors import body, derive_text, first_of, header, join, make_extractor, only_with, split_path

_MAX_LENGTH = 160
# SendGrid and HubSpot send many events at once; a longer list is not a batch of events.
_MAX_ITEMS = 10_000
# Prefixed ids (pi_, cus_, txn_) are shortened to prefix and first characters, as in dashboards.
_ID = re.compile(r"(?:.*_)?[^_]{1,4}")
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,4})?")
_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥", "INR": "₹", "KRW": "₩", "ILS": "₪", "NGN": "₦"}
# Currencies without a minor unit: https://docs.stripe.com/currencies
_WITHOUT_CENTS = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF")
)


@derive_text
def text_if(_: str, text: str) -> str | None:
    """Extract a fixed text if another extractor finds something."""
    return text


@derive_text
def lookup(text: str, *names: str) -> str | None:
    """Extract the name of a code, or a code without a name: `lookup("type", "1 ping")`."""
    return dict(name.split() for name in names).get(text, text)


@derive_text
def strip_prefix(text: str, *prefixes: str) -> str | None:
    """Extract a text without the first matching prefix, such as `refs/heads/`."""
    return next((text.removeprefix(prefix) for prefix in prefixes if text.startswith(prefix)), text) or None


@derive_text
def cut_at(text: str, *marks: str) -> str | None:
    """Extract a text up to the first of some marks; the whole text if there is none."""
    return next((text.partition(mark)[0] for mark in marks if mark in text), text) or None


@derive_text
def short_id(text: str) -> str | None:
    """Extract an id shortened for a list: `pi_3Rk2Qe8LmN0p` becomes `pi_3Rk2`."""
    match = _ID.match(text)
    return match[0] if match else None


@derive_text
def _format_amount(text: str, minor: bool) -> str | None:
    amount, _, unit = text.rpartition(" ")
    return format_money(float(amount), unit.upper(), minor=minor) if _NUMBER.fullmatch(amount) else None


def format_amount(amount: Extractor | str, currency: Extractor | str, *, minor: bool = True) -> Extractor:
    """Extract an amount with its currency, in cents where it is `minor`: 4800 and `eur` become `€48.00`."""
    return _format_amount(join(" ", amount, currency, whole=True), minor)


@make_extractor
def each_item(_: Capture, payload: Payload, items: str, *paths: str) -> str | None:
    """Extract the values of all items of a list, as one text: `each_item("value", "id", "resource?")`.

    "" is a body that is a list, or one such item. None if any item lacks a value whose path does not end in a
    question mark.
    """
    listed = payload.at(*split_path(items))
    listed = [listed] if isinstance(listed, dict) and not items else listed
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_ITEMS:
        return None
    split = [(split_path(path.removesuffix("?")), path.endswith("?")) for path in paths]
    found: list[str] = []
    for item in listed:
        for keys, may_lack in split:
            value = find_below(item, keys)
            if not isinstance(value, str | int) and not may_lack:
                return None
            found.append(str(value) if isinstance(value, str | int) else "")
    text = "-".join(found)
    if len(text) <= _MAX_LENGTH:
        return escape_unprintable(text)
    # Two batches with the same start must not get the same key: the second would count as a duplicate.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@make_extractor
def first_key(_: Capture, payload: Payload, besides: str, ending: str = "") -> str | None:
    """Extract the body's first key that ends so, besides one: `first_key("update_id")`, `first_key("", "_events")`."""
    keys = payload.json if isinstance(payload.json, dict) else ()
    found = (key for key in keys if key != besides and key.endswith(ending))
    return escape_unprintable(next(found, ""), 100) or None


@make_extractor
def body_digest(capture: Capture, _: Payload) -> str | None:
    """Extract half of the body's SHA-256, for senders whose ids are not unique."""
    return hashlib.sha256(capture.body).hexdigest()[:32] if capture.body else None


@make_extractor
def only_single(capture: Capture, payload: Payload, extractor: Extractor, *lists: str) -> str | None:
    """Extract a text if each of some lists has one element, because it describes only the first."""
    found = (payload.at(*split_path(path)) for path in lists)
    if any(not isinstance(held, list) or len(held) != 1 for held in found):
        return None
    return extractor(capture, payload)


def format_money(amount: float, currency: str, *, minor: bool) -> str:
    """Return an amount with its currency (ISO 4217); with `minor` the amount is in the minor unit."""
    digits = 0 if currency in _WITHOUT_CENTS else 2
    text = f"{abs(amount) / (100 if minor and digits else 1):,.{digits}f}"
    symbol, sign = _SYMBOLS.get(currency), "-" if amount < 0 else ""
    return f"{sign}{symbol}{text}" if symbol else f"{sign}{text} {currency}"


# https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/http-protocol-binding.md, section 3.3.
_BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"


@make_extractor
def _attribute(capture: Capture, payload: Payload, name: str) -> str | None:
    """Extract an attribute in binary mode: a header `ce-…`, its value percent-encoded (section 3.1.3.2)."""
    value = header(f"ce-{name}")(capture, payload)
    return None if value is None else unquote(value)


@make_extractor
def _if_structured(capture: Capture, payload: Payload, extractor: Extractor) -> str | None:
    """Extract a text from a body that is a CloudEvent itself, which has a `specversion`."""
    return None if payload.json_at("specversion") is None else extractor(capture, payload)


@make_extractor
def _if_batched(capture: Capture, payload: Payload, extractor: Extractor) -> str | None:
    """Extract a text from a batch of CloudEvents."""
    return extractor(capture, payload) if capture.content_type == _BATCH_CONTENT_TYPE else None


cloudevent_type = first_of(_attribute("type"), _if_structured(body("type")), _if_batched(body("0.type")))
"""The type of a CloudEvent, of the first one in a batch."""

# An id is unique only within its source. The source is first: as a URI reference it contains no space.
cloudevent_key = first_of(
    join(" ", _attribute("source"), _attribute("id"), whole=True),
    _if_structured(join(" ", "source", "id", whole=True)),
    _if_batched(each_item("", "source", "id")),
)
"""The key of a CloudEvent, or of a whole batch of them: source and id."""


# Names of the type at the catalogue's senders, the commonest first; a nested one before its object.
_TYPE_NAMES = ("type", "event_type", "eventType", "event.type", "event.name", "event", "topic", "action")

default_event_type = first_of(
    cloudevent_type,
    header("X-Event-Type"),
    header("X-Event-Name"),
    header("X-Webhook-Event"),
    header("X-Webhook-Topic"),
    *(body(f"{where}{name}") for where in ("", "0.", "events.0.") for name in _TYPE_NAMES),
)
"""The event type of a source that has no provider."""

default_items = ItemPaths(((None,), ("events", None)), unless=tuple({name.partition(".")[0] for name in _TYPE_NAMES}))
"""Where a request of a source without provider holds several events: CloudEvents and Event Grid send lists."""

default_idempotency_key = first_of(
    cloudevent_key,
    header("Idempotency-Key"),
    # The message's id only with its companions (Standard Webhooks); elsewhere it may be the webhook's id.
    only_with(header("webhook-id"), header("webhook-timestamp")),
    only_with(header("svix-id"), header("svix-timestamp")),
)
"""The idempotency key of a source that has no provider: only what is meant as one."""
