"""A signed sample event, ready to post to a source as its provider would."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from urllib.parse import quote_plus, urlencode

from relay.errors import SigningError, UsageError
from relay.model.event import Capture, Source
from relay.model.payload import PayloadError, parse_form, parse_json
from relay.model.text import printable
from relay.providers.provider import Provider
from relay.providers.samples import Filler, Sample, load, plain, sample_types, value

_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """A body before it is bytes: JSON or form fields, and in which of the two it travels."""

    kind: str
    value: object


def prepare(
    source: Source,
    provider: Provider | None,
    type_: str,
    now: datetime,
    *,
    random: Random,
    set: Mapping[str, object] | None = None,  # noqa: A002 - the word of the contract and of --set
    body: bytes | None = None,
    url: str = "",
) -> Capture:
    """Return a request such as the provider sends for an event type, signed with the source's newest secret.

    `set` maps paths (`data.object.amount`, or a JSON Pointer; form fields by name) to values; text that
    is JSON counts as that. `body` replaces the sample. `url` is the address the sender believes in; of
    schemes that sign it. A source with a key pair of relay's own signs with that; one without a secret or
    a scheme gives an unsigned request.
    Raises NotFoundError for a type without a sample, UsageError for a path that leads nowhere,
    SigningError where the source's secret cannot sign, or is in the locked vault.
    """
    sample = _sample(provider, type_) if body is None else None
    filler = Filler(now=now, random=random, names=_names(sample.type if sample else type_))
    content_type, content = _content(sample, body, provider, filler, set or {})
    capture = Capture(
        source=source.name,
        method="POST",
        path=source.path,
        query=url.partition("#")[0].partition("?")[2],
        headers=(
            ("Content-Type", content_type),
            *((name, filler.fill(text)) for name, text in (provider.companions if provider else ())),
        ),
        body=content,
        remote="127.0.0.1",
        received_at=now,
        url=url,
    )
    if source.local is not None:
        return source.local.scheme.sign(source.local.secret, capture, now)
    if source.scheme is not None and source.locked_secrets and not source.secrets:
        raise SigningError(
            f"The secret of source {source.name} is in the vault, which is locked.",
            hint="relay vault unlock opens it",
        )
    if source.scheme is None or not source.secrets:
        return capture
    return source.scheme.sign(source.secrets[0], capture, now)


def edit(body: bytes, changes: Mapping[str, object]) -> bytes:
    """Return a JSON or form body with fields changed, by the same paths as `prepare` takes.

    Raises UsageError for a path that leads nowhere, and for a body without fields.
    """
    content = _read(body)
    if content is None:
        _refuse_changes(changes)
        return body
    return _written(content.kind, _changed(content, changes), None)


def _sample(provider: Provider | None, type_: str) -> Sample:
    if provider is None or not sample_types(provider):
        return plain(type_)
    return load(provider, type_)


def _names(type_: str) -> dict[str, str]:
    event, _, action = type_.partition(".")
    return {"type": type_, "event": event, "action": action}


def _content(
    sample: Sample | None,
    body: bytes | None,
    provider: Provider | None,
    filler: Filler,
    changes: Mapping[str, object],
) -> tuple[str, bytes]:
    usual = provider.content_type if provider else _JSON
    if sample is None:
        given = body or b""
        content = _read(given)
        kind = content.kind if content else ("form" if _FORM in usual else "json")
        if content is None or not changes:
            _refuse_changes(changes)
            return _content_type(kind, usual), given
    else:
        content = Sampled(kind=sample.kind, value=value(sample, filler))
    changed = _changed(content, changes)
    written = _written(content.kind, changed, provider.indent if provider else None)
    ending = provider.ending if provider and content.kind == "json" else b""
    return _content_type(content.kind, usual), written + ending


def _read(body: bytes) -> Sampled | None:
    """Return a body given by hand as JSON or as the form it looks like, None when it is neither."""
    try:
        return Sampled(kind="json", value=parse_json(body))
    except PayloadError:
        pass
    if b"=" not in body or any(byte <= 0x20 for byte in body.strip()):
        return None
    try:
        return Sampled(kind="form", value=dict(parse_form(body.strip())))
    except PayloadError:
        return None


def _refuse_changes(changes: Mapping[str, object]) -> None:
    if changes:
        path = printable(next(iter(changes)), 60)
        raise UsageError(f"'{path}' cannot be set: the body is neither JSON nor a form.")


def _content_type(kind: str, usual: str) -> str:
    is_form = usual.startswith(_FORM)
    if kind == "json":
        return _JSON if is_form else usual
    return usual if is_form else _FORM


def _changed(content: Sampled, changes: Mapping[str, object]) -> object:
    here = content.value
    if content.kind == "form" and isinstance(here, dict):
        return {**here, **{name: _field(new) for name, new in changes.items()}}
    for path, new in changes.items():
        here = _with(here, _steps(path), new, path)
    return here


def _field(new: object) -> str:
    return new if isinstance(new, str) else json.dumps(new)


def _steps(path: str) -> list[str]:
    if path.startswith("/"):
        return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
    return path.split(".")


def _with(here: object, steps: list[str], new: object, path: str) -> object:
    """Return a copy of a JSON value in which the place below `steps` holds something new."""
    if not steps:
        return _meant(here, new)
    step, rest = steps[0], steps[1:]
    if isinstance(here, dict) or here is None:
        there = here or {}
        return {**there, step: _with(there.get(step), rest, new, path)}
    if isinstance(here, list) and step.isascii() and step.isdigit() and int(step) <= len(here):
        place = int(step)
        old = here[place] if place < len(here) else None
        return [*here[:place], _with(old, rest, new, path), *here[place + 1 :]]
    shown = printable(path, 60)
    raise UsageError(
        f"'{shown}' cannot be set: there is nothing in the body at '{printable(step, 40)}'.",
        hint="name a field of an object, or a position in a list from 0 to its length",
    )


def _meant(old: object, new: object) -> object:
    """Return a value typed in as JSON where it is JSON; a number in place of a text stays text."""
    if not isinstance(new, str):
        return new
    try:
        parsed = parse_json(new)
    except PayloadError:
        return new
    is_number = isinstance(parsed, int | float) and not isinstance(parsed, bool)
    return new if is_number and isinstance(old, str) else parsed


def _written(kind: str, content: object, indent: int | None) -> bytes:
    if kind == "form" and isinstance(content, dict):
        return urlencode(content, encoding="utf-8", errors="surrogateescape").encode()
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(content, indent=indent, separators=separators, ensure_ascii=False)
    data = text.encode("utf-8", "backslashreplace")
    return b"payload=" + quote_plus(data).encode() if kind == "payload" else data
