"""Sample events: one file each, found by provider and type, with fresh ids and times filled in.

`<provider>/<type>.json` is a JSON body, `.form` a form with one `name=value` a line, `.payload`
JSON that is sent in a form's `payload` field. A type is percent-encoded where a file name needs it.

Placeholders: `${unix}`, `${unix_ms}`, `${iso}`, `${iso_ms}` (with `+60` or `-3600` seconds),
`${id:24}`, `${hex:40}`, `${digits:9}`, `${uuid}`; a third part names a value, so that it comes
again: `${id:14:customer}`. `${type}`, `${event}` and `${action}` are the type, and what stands
before and after its first dot. A JSON text that is one `#{...}` becomes a number.
"""

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from random import Random
from urllib.parse import quote, unquote

from relay.errors import NotFoundError
from relay.model.text import escape_unprintable
from relay.providers.catalogue import find_provider
from relay.providers.provider import Provider

_FOLDER = Path(__file__).parent
_KINDS = {".json": "application/json", ".form": "application/x-www-form-urlencoded"}
_KINDS[".payload"] = _KINDS[".form"]

# The alphabet of base62, which Stripe, Svix and others draw their ids from.
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLACEHOLDER = re.compile(r"([$#])\{([a-z_]+)([+-][0-9]+)?(?::([0-9]*))?(?::([a-z_]+))?\}")
_NUMBER = re.compile(r'"(#\{[^{}"]+\})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample event before its placeholders are filled: `kind` is json, form or payload."""

    type: str
    kind: str
    text: str


def sample_types(provider: Provider | str) -> tuple[str, ...]:
    """Return the event types there are samples of, sorted; none for a provider without any."""
    folder = _find_folder(provider)
    if not folder.is_dir():
        return ()
    return tuple(sorted(unquote(path.stem) for path in folder.iterdir() if path.suffix in _KINDS))


def load_sample(provider: Provider | str, type_: str) -> Sample:
    """Return the sample of an event type; of `pull_request` also `pull_request.opened`.

    Raises NotFoundError, with the types there are.
    """
    types = sample_types(provider)
    exact = next((known for known in types if known == type_), None)
    known = exact or next((known for known in types if known.startswith(f"{type_}.")), None)
    if known is None:
        near = get_close_matches(type_, types, n=1)
        title = provider if isinstance(provider, str) else provider.title
        raise NotFoundError(
            f"There is no {title} sample of type '{escape_unprintable(type_, 60)}'.",
            hint=f"did you mean {near[0]}?" if near else f"there are {', '.join(types) or 'none'}",
        )
    stem = quote(known, safe=" ")
    path = next(path for suffix in _KINDS if (path := _find_folder(provider) / f"{stem}{suffix}").is_file())
    return Sample(type=known, kind=path.suffix[1:], text=path.read_text(encoding="utf-8"))


def plain_sample(type_: str) -> Sample:
    """Return the sample for a sender relay knows nothing of: id, type, time and data."""
    text = (_FOLDER / "plain.json").read_text(encoding="utf-8")
    return Sample(type=type_, kind="json", text=text)


def fill_sample(sample: Sample, filler: "Filler") -> object:
    """Return what a sample holds, filled: JSON, or for a form its fields by name."""
    if sample.kind == "form":
        pairs = (line.partition("=") for line in sample.text.splitlines() if line.strip())
        return {name: filler.fill(text) for name, _, text in pairs}
    # Samples are read as JSON after filling, so that a broken one fails at its first trigger.
    return json.loads(filler.fill(_NUMBER.sub(r"\1", sample.text)))


@dataclass(slots=True, kw_only=True)
class Filler:
    """Fills placeholders: the same `now` and a `random` of the same seed give the same text."""

    now: datetime
    random: Random
    names: Mapping[str, str]
    _seen: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def fill(self, text: str) -> str:
        """Return the text with every placeholder filled."""
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        _, kind, shift, size, name = match.groups()
        if kind in self.names:
            text = self.names[kind]
            # Inside JSON a type must not end the text it is in.
            return json.dumps(text)[1:-1]
        if name is None:
            return self._make(kind, int(shift or 0), int(size or 0))
        key = (kind, size or "", name)
        if key not in self._seen:
            self._seen[key] = self._make(kind, int(shift or 0), int(size or 0))
        return self._seen[key]

    def _make(self, kind: str, shift: int, size: int) -> str:
        moment = self.now.astimezone(UTC) + timedelta(seconds=shift)
        if kind == "unix":
            return str(int(moment.timestamp()))
        if kind == "unix_ms":
            return str(int(moment.timestamp() * 1000))
        if kind in ("iso", "iso_ms"):
            spec = "seconds" if kind == "iso" else "milliseconds"
            return moment.isoformat(timespec=spec).replace("+00:00", "Z")
        if kind == "uuid":
            return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        if kind == "digits":
            return self.random.choice("123456789") + "".join(self.random.choices("0123456789", k=size - 1))
        return "".join(self.random.choices("0123456789abcdef" if kind == "hex" else _LETTERS, k=size))


def _find_folder(provider: Provider | str) -> Path:
    known = find_provider(provider) if isinstance(provider, str) else provider
    if known is None:
        return _FOLDER / "none"
    return _FOLDER / (known.samples or known.name)
