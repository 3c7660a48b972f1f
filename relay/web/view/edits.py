"""A replay as edited in a form: read back into changes, and what differs in plain words."""

import json
import re
from dataclasses import dataclass
from itertools import islice

from relay.model.delivery import Changes, Delivery, SignMode
from relay.model.differences import MISSING, leaves, same
from relay.model.event import Event, Headers, Verdict
from relay.model.payload import PayloadError, parse_json
from relay.model.text import header_text, is_sensitive, printable
from relay.web.view.deliveries import HIDDEN
from relay.web.view.text import is_binary

EDITABLE = 256 * 1024  # bytes of a body that a form offers for editing
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SHOWN = 20  # differences listed
_FRAMING = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """An event as the form shows it to begin with."""

    method: str
    headers: str
    body: str
    editable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that would be sent otherwise than it was received."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """What a form asks for: the changes, what differs, and mistakes by field."""

    changes: Changes
    differences: tuple[Difference, ...]
    errors: dict[str, str]


def original(event: Event) -> Original:
    """Return what the form starts from; credentials in headers are dots that stand for the real ones."""
    capture, body = event.capture, event.capture.body
    editable = len(body) <= EDITABLE and not is_binary(body) and _is_utf8(body)
    return Original(
        method=capture.method,
        headers="\n".join(f"{name}: {value}" for name, value in _offered(event)),
        body=body.decode() if editable else "",
        editable=editable,
    )


def edited(event: Event, form: dict[str, str]) -> Edited:
    """Read a form back. A field that is missing, empty or says what the event says changes nothing."""
    start, errors = original(event), {}
    method = form.get("method", start.method).strip().upper()
    if not _TOKEN.fullmatch(method):
        errors["method"] = "A method is one word, such as POST."
    path = form.get("path", "").strip()
    if path and (not path.startswith("/") or any(ord(character) < 33 for character in path)):
        errors["path"] = "A path starts with / and holds no spaces."
    headers, problem = _headers(event, form.get("headers", start.headers))
    if problem:
        errors["headers"] = problem
    body = _body(event, form["body"]) if start.editable and "body" in form else None
    sign = form.get("sign", "auto")
    place, _, query = path.partition("?")
    changes = Changes(
        sign=SignMode(sign) if sign in tuple(SignMode) else SignMode.AUTO,
        method=method if method != start.method else None,
        path=place.encode("utf-8").decode("latin-1") if path else None,
        query=query.encode("utf-8").decode("latin-1") if path else None,
        headers=headers,
        body=body,
    )
    return Edited(changes=changes, differences=_differences(event, start, changes), errors=errors)


def again(event: Event, delivery: Delivery) -> dict[str, str]:
    """Return what the form holds so that it asks for what an earlier delivery sent, where that can be edited."""
    changes = delivery.changes
    form = {"url" if "://" in delivery.target else "target": delivery.target}
    if changes.sign is not None:
        form["sign"] = changes.sign.value
    if changes.method is not None:
        form["method"] = changes.method
    if changes.path is not None:
        form["path"] = header_text(changes.path + (f"?{changes.query}" if changes.query else ""))
    if changes.headers is not None:
        kept = set(event.capture.headers)
        form["headers"] = "\n".join(
            f"{name}: {HIDDEN if is_sensitive(name) and (name, value) in kept else header_text(value)}"
            for name, value in changes.headers
        )
    if changes.body is not None and _is_utf8(changes.body):
        form["body"] = changes.body.decode()
    return form


def words(differences: tuple[Difference, ...]) -> str:
    """Return how much differs: `No changes`, `1 change`, `20 or more changes`."""
    if not differences:
        return "No changes"
    if len(differences) >= _SHOWN:
        return f"{_SHOWN} or more changes"
    return f"{len(differences)} change{'' if len(differences) == 1 else 's'}"


def warning(event: Event, changes: Changes, *, signed: bool) -> str:
    """Return what a person should know: the event is forged, or an edited body goes out under its old signature."""
    if event.row.verdict is Verdict.INVALID:
        if changes.sign is SignMode.FRESH:
            return "This event failed verification. It is signed with the source's secret because you chose Sign again."
        return "This event failed verification. It goes out with the signature it came with."
    touched = changes.body is not None
    if signed and touched and changes.sign is SignMode.ORIGINAL:
        return "Your verification will fail: the body changed and the old signature stays."
    return ""


def _offered(event: Event) -> list[tuple[str, str]]:
    return [
        (printable(header_text(name)), HIDDEN if is_sensitive(name) else printable(header_text(value)))
        for name, value in event.capture.headers
        if name.lower() not in _FRAMING
    ]


def _headers(event: Event, text: str) -> tuple[Headers | None, str]:
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if lines == [f"{name}: {value}".strip() for name, value in _offered(event)]:
        return None, ""
    kept: dict[str, list[str]] = {}
    for name, value in event.capture.headers:
        kept.setdefault(name.lower(), []).append(value)
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines, start=1):
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _TOKEN.fullmatch(name):
            return None, f"Line {number} is not a header: write Name: value."
        if value == HIDDEN:
            values = kept.get(name.lower(), [])
            value = values.pop(0) if values else ""
        else:
            value = value.encode("utf-8", "replace").decode("latin-1")
        pairs.append((name, value))
    return tuple(pairs), ""


def _body(event: Event, text: str) -> bytes | None:
    # Forms sent without script turn every line break into CRLF: compare without, and put back what was there.
    plain, body = text.replace("\r\n", "\n"), event.capture.body
    was = body.decode()
    if plain == was.replace("\r\n", "\n"):
        return None
    return (plain.replace("\n", "\r\n") if "\r\n" in was else plain).encode("utf-8", "replace")


def _differences(event: Event, start: Original, changes: Changes) -> tuple[Difference, ...]:
    found: list[Difference] = []
    if changes.method is not None:
        found.append(Difference(path="Method", before=start.method, after=printable(changes.method, 40)))
    if changes.path is not None:
        after = changes.path + (f"?{changes.query}" if changes.query else "")
        found.append(Difference(path="Path", before="the target's", after=printable(header_text(after), 120)))
    if changes.headers is not None:
        found += _header_differences(event, changes.headers)
    if changes.body is not None:
        found += _body_differences(event.capture.body, changes.body)
    return tuple(found[:_SHOWN])


def _header_differences(event: Event, headers: Headers) -> list[Difference]:
    before = {
        name.lower(): (name, value) for name, value in event.capture.headers if name.lower() not in _FRAMING
    }
    after = {name.lower(): (name, value) for name, value in headers}
    return [
        Difference(path=printable((after.get(key) or before[key])[0], 80), before=old, after=new)
        for key in {**before, **after}
        if (old := _shown(before.get(key))) != (new := _shown(after.get(key)))
    ]


def _shown(header: tuple[str, str] | None) -> str:
    if header is None:
        return ""
    return HIDDEN if is_sensitive(header[0]) else printable(header_text(header[1]), 120)


def _body_differences(before: bytes, after: bytes) -> list[Difference]:
    try:
        old, new = parse_json(before), parse_json(after)
    except PayloadError:
        return [Difference(path="Body", before=f"{len(before):,} bytes", after=f"{len(after):,} bytes")]
    changed = (leaf for leaf in leaves(old, new) if not same(leaf[1], leaf[2]))
    found = [
        Difference(path=printable(path or "Body", 200), before=_value(mine), after=_value(yours))
        for path, mine, yours in islice(changed, _SHOWN)
    ]
    return found or [Difference(path="Body", before="as received", after="other spaces, same values")]


def _value(value: object) -> str:
    return "" if value is MISSING else printable(json.dumps(value, ensure_ascii=False), 60)


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
