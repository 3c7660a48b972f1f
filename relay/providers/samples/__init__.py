"""Sample events: a file each, by provider and type, filled with fresh ids and times, and signed.

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
from dataclasses import field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from urllib.parse import quote, quote_plus, unquote, urlencode

from relay.errors import NotFoundError, SigningError
from relay.model.body_edit import edit_body
from relay.model.event import Capture, Source
from relay.model.parsing import PayloadError, encode_json, parse_json
from relay.model.text import escape_unprintable, find_similar
from relay.model.values import dataclass
from relay.providers.catalogue import find_provider
from relay.providers.provider import Provider

_FOLDER = Path(__file__).parent
_SUFFIXES = (".json", ".form", ".payload")

# The base62 alphabet of ids at Stripe, Svix and others.
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLACEHOLDER = re.compile(r"([$#])\{([a-z_]+)([+-][0-9]+)?(?::([0-9]*))?(?::([a-z_]+))?\}")
_NUMBER = re.compile(r'"(#\{[^{}"]+\})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample event before its placeholders are filled: `kind` is json, form or payload."""

    type: str
    kind: str
    text: str


def sample_types(provider: Provider | str) -> tuple[str, ...]:
    """Return the event types with samples, sorted; none for a provider without samples."""
    folder = _find_folder(provider)
    if not folder.is_dir():
        return ()
    return tuple(sorted(unquote(path.stem) for path in folder.iterdir() if path.suffix in _SUFFIXES))


def load_sample(provider: Provider | str, type_: str) -> Sample:
    """Return the sample of an event type; of `pull_request` also `pull_request.opened`.

    Raises NotFoundError that lists the types.
    """
    types = sample_types(provider)
    known = next((known for known in types if f"{known}.".startswith(f"{type_}.")), None)
    if known is None:
        near = find_similar(type_, types)
        title = provider if isinstance(provider, str) else provider.title
        raise NotFoundError(
            f"There is no {title} sample of type '{escape_unprintable(type_, 60)}'.",
            hint=f"did you mean {near}?" if near else f"there are {', '.join(types) or 'none'}",
        )
    stem = quote(known, safe=" ")
    path = next(path for suffix in _SUFFIXES if (path := _find_folder(provider) / f"{stem}{suffix}").is_file())
    return Sample(type=known, kind=path.suffix[1:], text=path.read_text(encoding="utf-8"))


def plain_sample(type_: str) -> Sample:
    """Return the sample for an unknown sender: id, type, time and data."""
    text = (_FOLDER / "plain.json").read_text(encoding="utf-8")
    return Sample(type=type_, kind="json", text=text)


def fill_sample(sample: Sample, filler: "Filler") -> object:
    """Return the filled content of a sample: JSON, or the fields of a form by name."""
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
        """Return the text with all placeholders filled."""
        return _PLACEHOLDER.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        _, kind, shift, size, name = match.groups()
        if kind in self.names:
            # Inside JSON a type must not end its string.
            return json.dumps(self.names[kind])[1:-1]
        key = (kind, size or "", name or "")
        if name is None or key not in self._seen:
            self._seen[key] = self._make(kind, int(shift or 0), int(size or 0))
        return self._seen[key]

    def _make(self, kind: str, shift: int, size: int) -> str:
        moment = self.now.astimezone(UTC) + timedelta(seconds=shift)
        if kind in ("unix", "unix_ms"):
            return str(int(moment.timestamp() * (1 if kind == "unix" else 1000)))
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


_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


def prepare_sample(
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

    `set` maps paths (`data.object.amount`, or a JSON Pointer; form fields by name) to values; text that is JSON counts
    as that. `body` replaces the sample. `url` is the URL for schemes that sign it. A source
    with a key pair of relay's own signs with that; one without a secret or a scheme gives an unsigned request. Raises
    NotFoundError for a type without a sample, UsageError for a path that does not exist, SigningError if the source's
    secret cannot sign, or is in the locked vault.
    """
    sample = None
    if body is None:
        known = provider if provider and sample_types(provider) else None
        sample = load_sample(known, type_) if known else plain_sample(type_)
        type_ = sample.type
    event, _, action = type_.partition(".")
    filler = Filler(now=now, random=random, names={"type": type_, "event": event, "action": action})
    content_type, content = _build_content(sample, body, provider, filler, set or {})
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
            f"The secret of source {source.name} is in the vault, which is locked.", hint="relay vault unlock opens it"
        )
    if source.scheme is None or not source.secrets:
        return capture
    return source.scheme.sign(source.secrets[0], capture, now)


def _build_content(
    sample: Sample | None, body: bytes | None, provider: Provider | None, filler: Filler, changes: Mapping[str, object]
) -> tuple[str, bytes]:
    usual = provider.content_type if provider else _JSON
    usual_form = usual.startswith(_FORM)
    if sample is None:
        content, kind = body or b"", _guess_kind(body or b"", usual_form=usual_form)
    else:
        kind = sample.kind
        content = _encode_content(kind, fill_sample(sample, filler), provider.indent if provider else None)
        content += provider.ending if provider and kind == "json" else b""
    content_type = usual if (kind == "json") is not usual_form else (_JSON if kind == "json" else _FORM)
    return content_type, edit_body(content, content_type, changes)


# curl sends any body as a form by default, so the type is guessed from the bytes.
def _guess_kind(body: bytes, *, usual_form: bool) -> str:
    """Return whether a typed body is JSON or a form; the usual kind if it is neither."""
    try:
        parse_json(body)
    except PayloadError:
        is_form = b"=" in body and not any(byte <= 0x20 for byte in body.strip())
        return "form" if is_form or usual_form else "json"
    return "json"


# As JSON.stringify writes it: compact, letters not escaped. Providers that indent (Stripe, Plaid) say so in their
# entry, because the layout is signed.
def _encode_content(kind: str, content: object, indent: int | None) -> bytes:
    if kind == "form" and isinstance(content, dict):
        return urlencode(content, encoding="utf-8", errors="surrogateescape").encode()
    data = encode_json(content, indent)
    return b"payload=" + quote_plus(data).encode() if kind == "payload" else data
