"""Schemes a user declares in relay.toml, under `[sources.NAME.signature]`."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

from relay.errors import ConfigError
from relay.model.event import SignatureScheme
from relay.model.text import printable
from relay.providers.catalogue.standard import standard_ed25519, standard_hmac
from relay.providers.schemes import (
    Algo,
    Basic,
    Ed25519,
    Encoding,
    Form,
    Hmac,
    InHeader,
    InJson,
    InQuery,
    Items,
    Key,
    OneOf,
    Prefix,
    Raw,
    Template,
    Time,
    Token,
    Unit,
    template,
)

SCHEMES = ("hmac", "standard-webhooks", "ed25519", "token", "basic")

_Known = TypeVar("_Known", bound=str)

_DIGESTS: tuple[Algo, ...] = ("sha1", "sha256", "sha512")
_ENCODINGS: tuple[Encoding, ...] = ("hex", "base64")
_KEYS: tuple[Form, ...] = ("text", "base64", "hex")
_UNITS: tuple[Unit, ...] = ("s", "ms", "iso")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureOptions:
    """The keys of `[sources.NAME.signature]`, as written.

    `timestamp` is `header:NAME`, or `item:NAME` for an item of a list such as `t=1699,v1=ab`, where
    `item` names the signature's own. `key` is how the secret is written (for ed25519: hex or base64).
    A token stands in one of `header`, `query` and `json` (`data.token`).
    """

    scheme: str = "hmac"
    digest: str = "sha256"
    header: str | None = None
    encoding: str = "hex"
    prefix: str = ""
    content: str | None = None
    timestamp: str | None = None
    timestamp_unit: str = "s"
    item: str = "v1"
    id: str | None = None
    key: str | None = None
    query: str | None = None
    json: str | None = None


def custom_scheme(options: Mapping[str, object] | SignatureOptions) -> SignatureScheme:
    """Return the scheme that a source of provider "custom" declares.

    Raises ConfigError whose sentence starts with the key at fault, `signature.digest: ...`.
    """
    given = options if isinstance(options, SignatureOptions) else read_options(options)
    if given.scheme == "standard-webhooks":
        return OneOf(schemes=(standard_ed25519("webhook", "svix"), standard_hmac("webhook", "svix")))
    if given.scheme == "basic":
        return Basic(place=InHeader(given.header or "Authorization"))
    if given.scheme == "token":
        return _token(given)
    if given.scheme == "ed25519":
        return _ed25519(given)
    if given.scheme == "hmac":
        return _hmac(given)
    raise _unknown("scheme", given.scheme, "a scheme", SCHEMES)


def read_options(options: Mapping[str, object]) -> SignatureOptions:
    """Return the options of a plain table. Raises ConfigError for an unknown key or a value that is no text."""
    known = [field.name for field in dataclasses.fields(SignatureOptions)]
    texts: dict[str, str] = {}
    for key, value in options.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"signature.{printable(key, 40)}: unknown key", hint=hint)
        if not isinstance(value, str):
            raise ConfigError(
                f"signature.{key}: must be text, not {type(value).__name__}", hint="put it in quotes"
            )
        texts[key] = value
    return dataclasses.replace(SignatureOptions(), **texts)


def _hmac(options: SignatureOptions) -> Hmac:
    time, ident, content = _time(options), _ident(options), _content(options)
    _agree(options, content)
    return Hmac(
        algo=_one_of("digest", options.digest, "a digest", _DIGESTS),
        encoding=_one_of("encoding", options.encoding, "an encoding", _ENCODINGS),
        key=Key(form=_one_of("key", options.key or "text", "a form of key", _KEYS)),
        signed=content,
        place=InHeader(_header(options)),
        layout=_layout(options),
        time=time,
        ident=ident,
    )


def _ed25519(options: SignatureOptions) -> Ed25519:
    time, ident, content = _time(options), _ident(options), _content(options)
    _agree(options, content)
    form: Form = _one_of("key", options.key or "hex", "a form of public key", _ENCODINGS)
    return Ed25519(
        encoding=_one_of("encoding", options.encoding, "an encoding", _ENCODINGS),
        key=Key(form=form, strip=("whpk_",)),
        signed=content,
        place=InHeader(_header(options)),
        layout=_layout(options),
        time=time,
        ident=ident,
    )


def _token(options: SignatureOptions) -> Token:
    places = [name for name in ("header", "query", "json") if getattr(options, name)]
    if len(places) != 1:
        said = " and ".join(places) or "nothing"
        raise ConfigError(
            f"signature: a token stands in exactly one place, not in {said}",
            hint='set one of header = "X-Token", query = "token" or json = "data.token"',
        )
    if options.query:
        return Token(place=InQuery(options.query), prefix=options.prefix)
    if options.json:
        return Token(place=InJson(tuple(options.json.split("."))), prefix=options.prefix)
    return Token(place=InHeader(_header(options)), prefix=options.prefix)


def _header(options: SignatureOptions) -> str:
    if not options.header or not options.header.strip():
        raise ConfigError(
            "signature.header: missing", hint='name the header of the signature: header = "X-Signature"'
        )
    return _name("header", options.header)


def _name(key: str, value: str) -> str:
    name = value.strip()
    if not name or not name.isascii() or not name.isprintable() or any(sign in name for sign in ' ,:;"()'):
        raise ConfigError(f"signature.{key}: '{printable(value, 60)}' is not a header name")
    return name


def _layout(options: SignatureOptions) -> Raw | Prefix | Items:
    kind, _, name = (options.timestamp or "").partition(":")
    if kind == "item":
        sig = options.item.encode()
        emit = b"%s={ts},%s={sig}" % (name.encode(), sig)
        return Items(separator=b",", equals=b"=", sig=sig, ts=name.encode(), emit=emit, trim=True)
    return Prefix(options.prefix.encode()) if options.prefix else Raw()


def _time(options: SignatureOptions) -> Time | None:
    unit = _one_of("timestamp_unit", options.timestamp_unit, "a unit", _UNITS)
    if options.timestamp is None:
        return None
    kind, _, name = options.timestamp.partition(":")
    if kind not in ("header", "item") or not name.strip():
        raise ConfigError(
            f"signature.timestamp: '{printable(options.timestamp, 60)}' does not say where the time stands",
            hint='write timestamp = "header:X-Timestamp", or "item:t" for a header such as t=...,v1=...',
        )
    place = InHeader(_name("timestamp", name)) if kind == "header" else None
    return Time(place=place, unit=unit, past=300, future=300)


def _ident(options: SignatureOptions) -> InHeader | None:
    return None if options.id is None else InHeader(_name("id", options.id.removeprefix("header:")))


def _content(options: SignatureOptions) -> Template:
    try:
        return template(options.content if options.content is not None else "{body}")
    except ConfigError as error:
        raise ConfigError(f"signature.content: {error.sentence}", hint=error.hint) from error


def _agree(options: SignatureOptions, content: Template) -> None:
    """Refuse a content that names what no other key says where to find, or that leaves the body out."""
    text = content.text
    if "{secret}" in text:
        raise ConfigError("signature.content: {secret} is never part of the content")
    if not any(token in text for token in ("{body}", "{url}", "{form", "{json:")):
        raise ConfigError(
            "signature.content: without {body} anybody could change what arrives",
            hint='write content = "{timestamp}.{body}" or as the sender documents it',
        )
    stamped = "{timestamp}" in text or "{ts}" in text
    if stamped and options.timestamp is None:
        raise ConfigError(
            "signature.timestamp: missing, though content has {timestamp}",
            hint='say where it stands: timestamp = "header:X-Timestamp"',
        )
    if options.timestamp is not None and not stamped:
        raise ConfigError(
            "signature.content: leaves {timestamp} out, so anybody could change the time",
            hint='sign it, content = "{timestamp}.{body}", or leave timestamp out',
        )
    if "{id}" in text and options.id is None:
        raise ConfigError("signature.id: missing, though content has {id}", hint='id = "header:X-Id"')


def _one_of(key: str, value: str, what: str, known: tuple[_Known, ...]) -> _Known:
    for item in known:
        if item == value:
            return item
    raise _unknown(key, value, what, known)


def _unknown(key: str, value: str, what: str, known: tuple[str, ...]) -> ConfigError:
    choices = f"{', '.join(known[:-1])} or {known[-1]}"
    near = get_close_matches(value, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else ""
    return ConfigError(f"signature.{key}: '{printable(value, 40)}' is not {what}; use {choices}", hint=hint)
