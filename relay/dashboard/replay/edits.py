"""The edits of a replay form: parsed into changes, with a description of the differences."""

import json
import re
from itertools import islice

from relay.dashboard.body_text import is_binary
from relay.dashboard.delivery_rows import HIDDEN_VALUE, mask_value
from relay.dashboard.filters import format_count
from relay.model.delivery import Delivery, DeliveryChanges, SignMode
from relay.model.differences import MISSING, compare_json, is_same_value
from relay.model.event import CapturedEvent, Headers, Verdict
from relay.model.payload import PayloadError, parse_json
from relay.model.text import decode_header_text, decode_utf8, escape_unprintable, is_sensitive
from relay.model.values import dataclass

MAX_EDITABLE_BODY = 256 * 1024  # bytes of a body that a form offers for editing
_HTTP_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MAX_DIFFERENCES = 20  # differences listed
_FRAMING_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
ReplayDifference = tuple[str, str, str]  # what is changed, before, after


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOriginal:
    """An event as initially shown in the form."""

    method: str
    headers: str
    body: str
    editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayEdits:
    """The edits of a form: the changes, the differences, and errors by field."""

    changes: DeliveryChanges
    differences: tuple[ReplayDifference, ...]
    errors: dict[str, str]


def build_original(event: CapturedEvent) -> ReplayOriginal:
    """Return the initial values of the form; credentials in headers are replaced by dots."""
    capture, body = event.capture, event.capture.body
    text = decode_utf8(body) if len(body) <= MAX_EDITABLE_BODY and not is_binary(body) else None
    return ReplayOriginal(
        method=capture.method,
        headers="\n".join(f"{name}: {value}" for name, value in _list_editable_headers(event)),
        body=text or "",
        editable=text is not None,
    )


def parse_replay_form(event: CapturedEvent, form: dict[str, str]) -> ReplayEdits:
    """Parse a form. A field that is missing, empty or equal to the event's value changes nothing."""
    start, errors = build_original(event), {}
    method = form.get("method", start.method).strip().upper()
    if not _HTTP_TOKEN.fullmatch(method):
        errors["method"] = "A method is one word, such as POST."
    path = form.get("path", "").strip()
    if path and (not path.startswith("/") or any(ord(character) < 33 for character in path)):
        errors["path"] = "A path starts with / and holds no spaces."
    headers, problem = _parse_headers(event, form.get("headers", start.headers))
    if problem:
        errors["headers"] = problem
    body = _parse_body(event, form["body"]) if start.editable and "body" in form else None
    sign = form.get("sign", "auto")
    place, _, query = path.partition("?")
    changes = DeliveryChanges(
        sign=SignMode(sign) if sign in tuple(SignMode) else SignMode.AUTO,
        method=method if method != start.method else None,
        path=place.encode("utf-8").decode("latin-1") if path else None,
        query=query.encode("utf-8").decode("latin-1") if path else None,
        headers=headers,
        body=body,
    )
    return ReplayEdits(changes=changes, differences=_find_differences(event, start, changes), errors=errors)


def prefill_from_delivery(event: CapturedEvent, delivery: Delivery) -> dict[str, str]:
    """Return the form values that repeat an earlier delivery's edits, as far as they can be edited."""
    changes = delivery.changes
    form = {"url" if "://" in delivery.target else "target": delivery.target}
    if changes.sign is not None:
        form["sign"] = changes.sign.value
    if changes.method is not None:
        form["method"] = changes.method
    if changes.path is not None:
        form["path"] = decode_header_text(changes.path + (f"?{changes.query}" if changes.query else ""))
    if changes.headers is not None:
        kept = set(event.capture.headers)
        form["headers"] = "\n".join(
            f"{name}: {HIDDEN_VALUE if is_sensitive(name) and (name, value) in kept else decode_header_text(value)}"
            for name, value in changes.headers
        )
    if changes.body is not None and (text := decode_utf8(changes.body)) is not None:
        form["body"] = text
    return form


def format_change_count(differences: tuple[ReplayDifference, ...]) -> str:
    """Return the number of changes: `No changes`, `1 change`, `20 or more changes`."""
    if len(differences) >= _MAX_DIFFERENCES:
        return f"{_MAX_DIFFERENCES} or more changes"
    return format_count(len(differences), "change") if differences else "No changes"


def build_replay_warning(event: CapturedEvent, changes: DeliveryChanges, *, signed: bool) -> str:
    """Return a warning if the event is forged, or an edited body is sent with its old signature."""
    if event.row.verdict is Verdict.INVALID:
        if changes.sign is SignMode.FRESH:
            return "This event failed verification. It is signed with the source's secret because you chose Sign again."
        return "This event failed verification. It goes out with the signature it came with."
    if signed and changes.body is not None and changes.sign is SignMode.ORIGINAL:
        return "Your verification will fail: the body changed and the old signature stays."
    return ""


def _list_editable_headers(event: CapturedEvent) -> list[tuple[str, str]]:
    return [
        (escape_unprintable(decode_header_text(name)), mask_value(name, value))
        for name, value in event.capture.headers
        if name.lower() not in _FRAMING_HEADERS
    ]


def _parse_headers(event: CapturedEvent, text: str) -> tuple[Headers | None, str]:
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if lines == [f"{name}: {value}".strip() for name, value in _list_editable_headers(event)]:
        return None, ""
    kept: dict[str, list[str]] = {}
    for name, value in event.capture.headers:
        kept.setdefault(name.lower(), []).append(value)
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _HTTP_TOKEN.fullmatch(name):
            return None, f"Line {number} is not a header: write Name: value."
        if value == HIDDEN_VALUE:
            values = kept.get(name.lower(), [])
            value = values.pop(0) if values else ""
        else:
            value = value.encode("utf-8", "replace").decode("latin-1")
        pairs.append((name, value))
    return tuple(pairs), ""


def _parse_body(event: CapturedEvent, text: str) -> bytes | None:
    # Forms without JavaScript send all line breaks as CRLF: compare without, and restore the original ones.
    plain, body = text.replace("\r\n", "\n"), event.capture.body
    was = body.decode()
    if plain == was.replace("\r\n", "\n"):
        return None
    return (plain.replace("\n", "\r\n") if "\r\n" in was else plain).encode("utf-8", "replace")


def _find_differences(
    event: CapturedEvent, start: ReplayOriginal, changes: DeliveryChanges
) -> tuple[ReplayDifference, ...]:
    found: list[ReplayDifference] = []
    if changes.method is not None:
        found.append(("Method", start.method, escape_unprintable(changes.method, 40)))
    if changes.path is not None:
        after = changes.path + (f"?{changes.query}" if changes.query else "")
        found.append(("Path", "the target's", escape_unprintable(decode_header_text(after), 120)))
    if changes.headers is not None:
        found += _find_header_differences(event, changes.headers)
    if changes.body is not None:
        found += _find_body_differences(event.capture.body, changes.body)
    return tuple(found[:_MAX_DIFFERENCES])


def _find_header_differences(event: CapturedEvent, headers: Headers) -> list[ReplayDifference]:
    before = {
        name.lower(): (name, value) for name, value in event.capture.headers if name.lower() not in _FRAMING_HEADERS
    }
    after = {name.lower(): (name, value) for name, value in headers}
    return [
        (escape_unprintable((after.get(key) or before[key])[0], 80), old, new)
        for key in {**before, **after}
        if (old := _format_header_value(before.get(key))) != (new := _format_header_value(after.get(key)))
    ]


def _format_header_value(header: tuple[str, str] | None) -> str:
    return "" if header is None else mask_value(*header, 120)


def _find_body_differences(before: bytes, after: bytes) -> list[ReplayDifference]:
    try:
        old, new = parse_json(before), parse_json(after)
    except PayloadError:
        return [("Body", f"{len(before):,} bytes", f"{len(after):,} bytes")]
    changed = (leaf for leaf in compare_json(old, new) if not is_same_value(leaf[1], leaf[2]))
    found = [
        (escape_unprintable(path or "Body", 200), _format_json_value(mine), _format_json_value(yours))
        for path, mine, yours in islice(changed, _MAX_DIFFERENCES)
    ]
    return found or [("Body", "as received", "other spaces, same values")]


def _format_json_value(value: object) -> str:
    return "" if value is MISSING else escape_unprintable(json.dumps(value, ensure_ascii=False), 60)
