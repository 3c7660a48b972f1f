"""A signed sample event, ready to post to a source as its provider would."""

import json
from collections.abc import Mapping
from datetime import datetime
from random import Random
from urllib.parse import quote_plus, urlencode

from relay.errors import SigningError
from relay.model.body_edit import edit_body
from relay.model.event import Capture, Source
from relay.model.payload import PayloadError, parse_json
from relay.providers.provider import Provider
from relay.providers.samples import Filler, Sample, fill_sample, load_sample, plain_sample, sample_types

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

    `set` maps paths (`data.object.amount`, or a JSON Pointer; form fields by name) to values; text that
    is JSON counts as that. `body` replaces the sample. `url` is the address the sender believes in; of
    schemes that sign it. A source with a key pair of relay's own signs with that; one without a secret or
    a scheme gives an unsigned request.
    Raises NotFoundError for a type without a sample, UsageError for a path that leads nowhere,
    SigningError where the source's secret cannot sign, or is in the locked vault.
    """
    sample = _find_sample(provider, type_) if body is None else None
    filler = Filler(now=now, random=random, names=_type_names(sample.type if sample else type_))
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


def _find_sample(provider: Provider | None, type_: str) -> Sample:
    if provider is None or not sample_types(provider):
        return plain_sample(type_)
    return load_sample(provider, type_)


def _type_names(type_: str) -> dict[str, str]:
    event, _, action = type_.partition(".")
    return {"type": type_, "event": event, "action": action}


def _build_content(
    sample: Sample | None, body: bytes | None, provider: Provider | None, filler: Filler, changes: Mapping[str, object]
) -> tuple[str, bytes]:
    usual = provider.content_type if provider else _JSON
    if sample is None:
        content, kind = body or b"", _guess_kind(body or b"", usual)
    else:
        kind = sample.kind
        content = _encode_content(kind, fill_sample(sample, filler), provider.indent if provider else None)
        content += provider.ending if provider and kind == "json" else b""
    content_type = _content_type(kind, usual)
    return content_type, edit_body(content, content_type, changes)


# curl sends any body as a form unless it is told otherwise, so the type is guessed from the bytes.
def _guess_kind(body: bytes, usual: str) -> str:
    """Return whether a body given by hand is JSON or the form it looks like; as usual when it is neither."""
    try:
        parse_json(body)
    except PayloadError:
        pass
    else:
        return "json"
    is_form = b"=" in body and not any(byte <= 0x20 for byte in body.strip())
    return "form" if is_form or _FORM in usual else "json"


def _content_type(kind: str, usual: str) -> str:
    is_form = usual.startswith(_FORM)
    if kind == "json":
        return _JSON if is_form else usual
    return usual if is_form else _FORM


# As JSON.stringify writes it: compact, letters not escaped. Providers that indent (Stripe, Plaid) say so in their
# entry, for the layout is signed.
def _encode_content(kind: str, content: object, indent: int | None) -> bytes:
    if kind == "form" and isinstance(content, dict):
        return urlencode(content, encoding="utf-8", errors="surrogateescape").encode()
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(content, indent=indent, separators=separators, ensure_ascii=False)
    data = text.encode("utf-8", "backslashreplace")
    return b"payload=" + quote_plus(data).encode() if kind == "payload" else data
