"""Custom schemes declared in relay.toml, under `[sources.NAME.signature]`."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import get_args

from relay.errors import ConfigError
from relay.model.text import escape_unprintable, find_similar
from relay.providers.catalogue.standard_webhooks import standard_ed25519, standard_hmac
from relay.providers.schemes.base import Scheme
from relay.providers.schemes.encoding import KeyFormat
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.locations import InHeader
from relay.providers.schemes.one_of import OneOf
from relay.providers.schemes.public_key import Ecdsa, Ed25519, Rsa
from relay.providers.schemes.python_verifier import Verifier, VerifierScheme
from relay.providers.schemes.shared_secret import Basic, Digest, Hmac, SharedToken
from relay.providers.signature_options import (
    ENCODINGS,
    KEY_FORMS,
    SignatureOptions,
    build_parts,
    parse_age_limits,
    parse_digest,
    parse_encoding,
    parse_header_names,
    parse_location,
    require_choice,
    unknown_value_error,
)

VerifierLoader = Callable[[str], Verifier]

_LOCATION_KEYS = ("header", "query", "json", "form")
_TIME_KEYS = ("timestamp", "timestamp_unit", "past", "future")
_SIGNED_TEXT_KEYS = (
    *(*_LOCATION_KEYS, "repeated", "encoding", "prefix", "item", "separator", "equals"),
    *("content", "distinct", "urls", "body_hash", "id", *_TIME_KEYS),
)
_SCHEME_KEYS: Mapping[str, tuple[str, ...]] = {
    "hmac": ("digest", "key", "key_prefix", "any_case", *_SIGNED_TEXT_KEYS),
    "digest": ("digest", *_SIGNED_TEXT_KEYS),
    "ed25519": ("key", "key_prefix", *_SIGNED_TEXT_KEYS),
    "ecdsa": _SIGNED_TEXT_KEYS,
    "rsa": ("digest", *_SIGNED_TEXT_KEYS),
    "token": (*_LOCATION_KEYS, "prefix"),
    "basic": ("header",),
    "standard-webhooks": ("item", "past", "future"),
    "jwt": (*_LOCATION_KEYS, "claim", "past", "future"),
    "python": ("verifier",),
}
SCHEMES = tuple(_SCHEME_KEYS)


def build_custom_scheme(options: Mapping[str, object], load: VerifierLoader | None = None) -> Scheme:
    """Return the scheme that a source declares; `load` imports the class of `verifier`.

    Raises ConfigError whose message starts with the key at fault, `signature.digest: ...`.
    """
    declared = _read_options(options)
    if declared.scheme == "python":
        return _build_python(declared, load)
    if declared.scheme not in _BUILDERS:
        raise unknown_value_error("scheme", declared.scheme, "a scheme", SCHEMES)
    return _BUILDERS[declared.scheme](declared)


def list_mistakes(options: Mapping[str, object], load: VerifierLoader) -> Iterator[str]:
    """Return all mistakes of a table: each is corrected or removed in turn to find the next one."""
    rest, known = dict(options), set[str]()
    while True:
        try:
            build_custom_scheme(rest, load)
        except ConfigError as error:
            key = error.message.partition(":")[0].removeprefix("signature.")
            if key in known:
                return
            known.add(key)
            yield error.full_text
            # Another scheme has other keys, which are not known yet.
            if key == "scheme" or (rest.pop(key, None) is None and key not in _REPLACEMENTS):
                return
            rest |= {key: _REPLACEMENTS[key]} if key in _REPLACEMENTS else {}
        else:
            return


_REPLACEMENTS = {"header": "X-Signature", "timestamp": "header:X-Timestamp", "id": "header:X-Id"}


def _read_options(options: Mapping[str, object]) -> SignatureOptions:
    fields = {field.name: field for field in dataclasses.fields(SignatureOptions)}
    read: dict[str, object] = {}
    for key, value in options.items():
        if key not in fields:
            near = find_similar(key, fields)
            hint = f"did you mean '{near}'?" if near else f"known are {', '.join(fields)}"
            raise ConfigError(f"signature.{escape_unprintable(key, 40)}: unknown key", hint=hint)
        read[key] = _check_type(key, value, get_args(fields[key].type)[0])
    scheme = str(read.get("scheme", "hmac"))
    known = _SCHEME_KEYS.get(scheme, ())
    unused = next((key for key in read if known and key not in ("scheme", *known)), None)
    if unused:
        raise ConfigError(f"signature.{unused}: has no use where scheme is '{scheme}'", hint=f"use {', '.join(known)}")
    return SignatureOptions(**read)  # type: ignore[arg-type] # each value was held against its field's type


def _check_type(key: str, value: object, kind: object) -> object:
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
    kinds = {"bool": "true or false", "float | str": 'seconds or "off"', "list[str] | None": "a list of texts"}
    raise ConfigError(
        f"signature.{key}: must be {kinds.get(name, 'text')}, not {type(value).__name__}",
        hint="" if name in kinds else "put it in quotes",
    )


def _build_hmac(options: SignatureOptions) -> Scheme:
    strip = (options.key_prefix,) if options.key_prefix else ()
    return Hmac(
        algo=parse_digest(options),
        encoding=parse_encoding(options, "hex"),
        any_case=options.any_case,
        key=KeyFormat(form=require_choice("key", options.key or "text", "a form of key", KEY_FORMS), strip=strip),
        **build_parts(options),
    )


def _build_digest(options: SignatureOptions) -> Scheme:
    if "{secret}" not in (options.content or ""):
        raise ConfigError(
            "signature.content: a digest without {secret} proves nothing", hint='write content = "{secret}{body}"'
        )
    return Digest(algo=parse_digest(options), encoding=parse_encoding(options, "hex"), **build_parts(options))


# whpk_ is the prefix of Standard Webhooks, which senders use for raw keys too.
def _build_ed25519(options: SignatureOptions) -> Scheme:
    strip = ("whpk_", options.key_prefix) if options.key_prefix else ("whpk_",)
    # PEM is known by its first line.
    form = require_choice("key", options.key or "hex", "a form of public key", ENCODINGS)
    key = KeyFormat(form=form, strip=strip)
    return Ed25519(encoding=parse_encoding(options, "hex"), key=key, **build_parts(options))


# v1a first: a public key shows that its owner meant it, see OneOf.
def _build_standard_webhooks(options: SignatureOptions) -> Scheme:
    schemes = {"v1a": standard_ed25519("webhook", "svix"), "v1": standard_hmac("webhook", "svix")}
    past, future = parse_age_limits(options)
    if options.item is not None:
        version = require_choice("item", options.item, "a version", ("v1", "v1a"))
        return schemes[version].tolerating(past, future)
    return OneOf(schemes=tuple(schemes.values())).tolerating(past, future)


def _build_python(options: SignatureOptions, load: VerifierLoader | None) -> Scheme:
    if not options.verifier or load is None:
        raise ConfigError(
            "signature.verifier: missing",
            hint='name a class in a file next to relay.toml: verifier = "verifiers:MyVerifier"',
        )
    return VerifierScheme(verifier=load(options.verifier), reference=options.verifier)


_BUILDERS: Mapping[str, Callable[[SignatureOptions], Scheme]] = {
    "hmac": _build_hmac,
    "digest": _build_digest,
    "ed25519": _build_ed25519,
    "ecdsa": lambda options: Ecdsa(encoding=parse_encoding(options, "base64"), **build_parts(options)),
    "rsa": lambda options: Rsa(
        digest=parse_digest(options), encoding=parse_encoding(options, "base64"), **build_parts(options)
    ),
    "token": lambda options: SharedToken(place=parse_location(options, "a token"), prefix=options.prefix),
    # `header` is for gateways that do not forward Authorization.
    "basic": lambda options: Basic(
        place=InHeader(*(parse_header_names(options) if options.header else ("Authorization",)))
    ),
    "standard-webhooks": _build_standard_webhooks,
    "jwt": lambda options: Jwt(place=parse_location(options, "a token"), claim=options.claim).tolerating(
        *parse_age_limits(options)
    ),
}
