"""Schemes a user declares in relay.toml, under `[sources.NAME.signature]`."""

import dataclasses
from collections.abc import Callable, Mapping
from difflib import get_close_matches

from relay.errors import ConfigError
from relay.model.text import printable
from relay.providers import declared
from relay.providers.catalogue.standard import standard_ed25519, standard_hmac
from relay.providers.declared import SignatureOptions
from relay.providers.python import PythonScheme, Verifier
from relay.providers.schemes import (
    Basic,
    Digest,
    Ecdsa,
    Ed25519,
    Hmac,
    InHeader,
    Jwt,
    Key,
    OneOf,
    Rsa,
    Scheme,
    Time,
    Token,
)

__all__ = ["SCHEMES", "Load", "SignatureOptions", "custom_scheme", "read_options"]

Load = Callable[[str], Verifier]

_PLACES = ("header", "query", "json", "form")
_TIMES = ("timestamp", "timestamp_unit", "past", "future")
_SIGNED = (
    *(*_PLACES, "repeated", "encoding", "prefix", "item", "separator", "equals"),
    *("content", "distinct", "urls", "body_hash", "id", *_TIMES),
)
_KEYS: Mapping[str, tuple[str, ...]] = {
    "hmac": ("digest", "key", "key_prefix", "any_case", *_SIGNED),
    "digest": ("digest", *_SIGNED),
    "ed25519": ("key", "key_prefix", *_SIGNED),
    "ecdsa": _SIGNED,
    "rsa": ("digest", *_SIGNED),
    "token": (*_PLACES, "prefix"),
    "basic": ("header",),
    "standard-webhooks": ("item", "past", "future"),
    "jwt": (*_PLACES, "claim", "past", "future"),
    "python": ("verifier",),
}
SCHEMES = tuple(_KEYS)


def custom_scheme(options: Mapping[str, object] | SignatureOptions, load: Load | None = None) -> Scheme:
    """Return the scheme that a source declares; `load` finds the class that `verifier` names.

    Raises ConfigError whose sentence starts with the key at fault, `signature.digest: ...`.
    """
    given = options if isinstance(options, SignatureOptions) else read_options(options)
    if given.scheme not in _MAKERS and given.scheme != "python":
        raise declared.unknown("scheme", given.scheme, "a scheme", SCHEMES)
    if given.scheme == "python":
        return _python(given, load)
    return _MAKERS[given.scheme](given)


def read_options(options: Mapping[str, object]) -> SignatureOptions:
    """Return the options of a plain table.

    Raises ConfigError for a key that is unknown or that its scheme has no use for, and for a value
    of another kind.
    """
    fields = {field.name: field for field in dataclasses.fields(SignatureOptions)}
    read: dict[str, object] = {}
    for key, value in options.items():
        if key not in fields:
            near = get_close_matches(key, fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(fields)}"
            raise ConfigError(f"signature.{printable(key, 40)}: unknown key", hint=hint)
        read[key] = _typed(key, value, fields[key].type)
    _used(str(read.get("scheme", "hmac")), read)
    return SignatureOptions(**read)  # type: ignore[arg-type] # each value was held against its field's type


def _typed(key: str, value: object, kind: object) -> object:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    fits = {
        "bool": isinstance(value, bool),
        "float | str": value == "off" or (isinstance(value, int | float) and not isinstance(value, bool)),
        "list[str] | None": texts,
        "str | list[str] | None": texts or isinstance(value, str),
    }
    name = kind.__name__ if isinstance(kind, type) else str(kind)
    if fits.get(name, isinstance(value, str)):
        return value
    wanted = {
        "bool": "true or false",
        "float | str": 'seconds or "off"',
        "list[str] | None": "a list of texts",
    }
    raise ConfigError(
        f"signature.{key}: must be {wanted.get(name, 'text')}, not {type(value).__name__}",
        hint="" if name in wanted else "put it in quotes",
    )


def _used(scheme: str, given: Mapping[str, object]) -> None:
    known = _KEYS.get(scheme)
    idle = [key for key in given if known is not None and key not in ("scheme", *known)]
    if idle:
        raise ConfigError(
            f"signature.{idle[0]}: has no use where scheme is '{scheme}'",
            hint=f"use {', '.join(known or ())}",
        )


def _hmac(options: SignatureOptions) -> Scheme:
    strip = (options.key_prefix,) if options.key_prefix else ()
    return Hmac(
        algo=declared.digest(options),
        encoding=declared.encoding(options, "hex"),
        any_case=options.any_case,
        key=Key(form=declared.form(options, "text"), strip=strip),
        **declared.parts(options),
    )


def _digest(options: SignatureOptions) -> Scheme:
    if "{secret}" not in (options.content or ""):
        raise ConfigError(
            "signature.content: a digest without {secret} proves nothing",
            hint='write content = "{secret}{body}"',
        )
    return Digest(
        algo=declared.digest(options), encoding=declared.encoding(options, "hex"), **declared.parts(options)
    )


def _ed25519(options: SignatureOptions) -> Scheme:
    strip = ("whpk_", options.key_prefix) if options.key_prefix else ("whpk_",)
    return Ed25519(
        encoding=declared.encoding(options, "hex"),
        key=Key(form=declared.key_encoding(options), strip=strip),
        **declared.parts(options),
    )


def _ecdsa(options: SignatureOptions) -> Scheme:
    return Ecdsa(encoding=declared.encoding(options, "base64"), **declared.parts(options))


def _rsa(options: SignatureOptions) -> Scheme:
    return Rsa(
        digest=declared.digest(options),
        encoding=declared.encoding(options, "base64"),
        **declared.parts(options),
    )


def _token(options: SignatureOptions) -> Scheme:
    return Token(place=declared.place(options, "a token"), prefix=options.prefix)


def _basic(options: SignatureOptions) -> Scheme:
    names = declared.header_names(options) if options.header else ("Authorization",)
    return Basic(place=InHeader(*names))


def _standard(options: SignatureOptions) -> Scheme:
    schemes = {"v1a": standard_ed25519("webhook", "svix"), "v1": standard_hmac("webhook", "svix")}
    past, future = declared.limits(options)
    if options.item is not None:
        version = declared.one_of("item", options.item, "a version", ("v1", "v1a"))
        return schemes[version].tolerating(past, future)
    return OneOf(schemes=tuple(schemes.values())).tolerating(past, future)


def _jwt(options: SignatureOptions) -> Scheme:
    past, future = declared.limits(options)
    return Jwt(
        place=declared.place(options, "a token"), claim=options.claim, time=Time(past=past, future=future)
    )


def _python(options: SignatureOptions, load: Load | None) -> Scheme:
    if not options.verifier or load is None:
        raise ConfigError(
            "signature.verifier: missing",
            hint='name a class in a file beside relay.toml: verifier = "verifiers:MyVerifier"',
        )
    return PythonScheme(verifier=load(options.verifier), called=options.verifier)


_MAKERS: Mapping[str, Callable[[SignatureOptions], Scheme]] = {
    "hmac": _hmac,
    "digest": _digest,
    "ed25519": _ed25519,
    "ecdsa": _ecdsa,
    "rsa": _rsa,
    "token": _token,
    "basic": _basic,
    "standard-webhooks": _standard,
    "jwt": _jwt,
}
