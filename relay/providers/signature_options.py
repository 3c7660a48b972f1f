"""The keys of `[sources.NAME.signature]`, converted to the parts of schemes."""

from typing import Annotated, Any, TypeVar

from relay.errors import ConfigError
from relay.model.text import escape_unprintable, find_similar
from relay.model.values import dataclass
from relay.providers.schemes.content import BodyHash, Template, UrlForm, template
from relay.providers.schemes.encoding import Encoding, Items, KeyForm, Layout, Prefix
from relay.providers.schemes.locations import InEach, InEveryHeader, InForm, InHeader, InJson, InQuery, Location
from relay.providers.schemes.shared_secret import Algo
from relay.providers.schemes.timestamps import Time, Unit

_Known = TypeVar("_Known", bound=str)

_DIGESTS: tuple[Algo, ...] = ("sha1", "sha256", "sha512")
ENCODINGS: tuple[Encoding, ...] = ("hex", "base64", "base64url")
KEY_FORMS: tuple[KeyForm, ...] = ("text", "base64", "base64url", "hex")
_UNITS: tuple[Unit, ...] = ("s", "ms", "iso")
# The spellings that Twilio's and HubSpot's signers use, see schemes/content.py.
_URLS: tuple[UrlForm, ...] = ("as_given", "no_port", "with_port", "unescaped")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureOptions:
    """The keys of `[sources.NAME.signature]`, as written.

    Each is declared once: its type, meaning and default, for relay.toml and for schemes.
    """

    scheme: Annotated[
        str, "The kind of signature; `digest` hashes a text with the secret in it, `python` is a class of yours."
    ] = "hmac"
    header: Annotated[
        str | list[str] | None, "The header of the signature or token; of several, the first that the request has."
    ] = None
    query: Annotated[str | None, "The query parameter that holds it instead."] = None
    json: Annotated[
        str | None, "The place in a JSON body that holds it instead: `data.token`, or `value[].token` for each item."
    ] = None
    form: Annotated[str | None, "The field of a form that holds it instead."] = None
    repeated: Annotated[bool, "Whether the header may be repeated; any of them may match."] = False
    digest: Annotated[str, "`sha1`, `sha256` or `sha512`."] = "sha256"
    encoding: Annotated[str | None, "How the signature is written, such as `hex` or `base64`."] = None
    any_case: Annotated[bool, "Whether hex may be in capital letters."] = False
    prefix: Annotated[str, 'What precedes the signature, such as `"sha256="`.'] = ""
    item: Annotated[str | None, "The name of the signature in a list such as `t=1699,v1=ab`."] = None
    separator: Annotated[str | None, "What separates the items of that list."] = None
    equals: Annotated[str, "What separates name and value of an item."] = "="
    key: Annotated[str | None, "How the secret is written: `text`, `base64`, `base64url` or `hex`."] = None
    key_prefix: Annotated[str, 'What the secret begins with and the key does not, such as `"whsec_"`.'] = ""
    content: Annotated[
        str | None, "The signed text: `{body}`, `{timestamp}`, `{id}`, `{url}`, `{method}`, `{path}` and others."
    ] = None
    distinct: Annotated[bool, "Whether fields of a form that are sent twice count once in the signed text."] = False
    urls: Annotated[
        list[str] | None,
        "Further spellings of the URL that may be signed: `as_given`, `no_port`, `with_port`, `unescaped`.",
    ] = None
    body_hash: Annotated[
        str | None, "The parameter of the signed URL that holds a hash of the body, such as `query:bodySHA256`."
    ] = None
    id: Annotated[str | None, "Where the id of the delivery is: `header:Name`, `json:a.b` or `form:name`."] = None
    timestamp: Annotated[
        str | None, "Where its time is: `header:Name`, `json:a.b`, `form:name`, `query:name` or `item:t`."
    ] = None
    timestamp_unit: Annotated[str, "Seconds, milliseconds, or a date as text."] = "s"
    past: Annotated[float | str, "How old a signature may be; `off` checks no age."] = 300
    future: Annotated[float | str, "How far ahead of this computer's clock it may be."] = 300
    claim: Annotated[str, "The claim of a JWT that holds the hash of the body."] = "request_body_sha256"
    verifier: Annotated[
        str | None, 'The class that checks, in a file next to relay.toml: `"verifiers:MyVerifier"`.'
    ] = None


def build_parts(options: SignatureOptions) -> dict[str, Any]:
    """Return the fields of all SignedText schemes. Raises ConfigError prefixed with the key at fault."""
    parts: dict[str, Any] = {
        "place": parse_location(options, "a signature"),
        "layout": _parse_layout(options),
        "time": _parse_timestamp(options),
        "ident": _parse_field_location("id", options.id, ("header", "json", "form")) if options.id else None,
        "signed": _parse_content(options),
        "urls": tuple(require_choice("urls", text, "a spelling", _URLS) for text in options.urls or ("as_given",)),
        "body_hash": _parse_body_hash(options),
    }
    _check_consistency(options, parts["signed"])
    return parts


def parse_location(options: SignatureOptions, what: str) -> Location:
    """Return the location of the signature or token: exactly one of header, query, json and form."""
    places = [name for name in ("header", "query", "json", "form") if getattr(options, name)]
    if not places and what == "a signature":
        raise ConfigError("signature.header: missing", hint='name the header of the signature: header = "X-Signature"')
    if len(places) != 1:
        named = " and ".join(places) or "nothing"
        raise ConfigError(
            f"signature: {what} belongs in exactly one place, not in {named}",
            hint='set one of header = "X-Token", query = "token", json = "data.token" or form = "token"',
        )
    if options.query:
        return InQuery(options.query)
    if options.form:
        return InForm(options.form)
    if options.json:
        items, each, name = options.json.partition("[].")
        return InEach(items, name) if each else InJson(tuple(options.json.split(".")))
    names = parse_header_names(options)
    return InEveryHeader(*names) if options.repeated else InHeader(*names)


def parse_header_names(options: SignatureOptions) -> tuple[str, ...]:
    """Return the names of the header, of which the first present one is used."""
    names = [options.header] if isinstance(options.header, str) else options.header or []
    return tuple(_header_name("header", name) for name in names)


def parse_digest(options: SignatureOptions) -> Algo:
    """Return the hash."""
    return require_choice("digest", options.digest, "a digest", _DIGESTS)


def parse_encoding(options: SignatureOptions, usual: Encoding) -> Encoding:
    """Return how the signature is written."""
    return require_choice("encoding", options.encoding or usual, "an encoding", ENCODINGS)


def parse_age_limits(options: SignatureOptions) -> tuple[float | None, float | None]:
    """Return how old, and how far ahead, a signature may be in seconds; None is no limit."""
    past, future = (None if isinstance(limit, str) else limit for limit in (options.past, options.future))
    return past, future


def require_choice(key: str, value: str, what: str, known: tuple[_Known, ...]) -> _Known:
    """Return a value that is one of those known. Raises ConfigError with the nearest."""
    for item in known:
        if item == value:
            return item
    raise unknown_value_error(key, value, what, known)


def unknown_value_error(key: str, value: str, what: str, known: tuple[str, ...]) -> ConfigError:
    """Return the error of a value that is none of those known, with the nearest."""
    choices = f"{', '.join(known[:-1])} or {known[-1]}"
    near = find_similar(value, known)
    hint = f"did you mean '{near}'?" if near else ""
    return ConfigError(f"signature.{key}: '{escape_unprintable(value, 40)}' is not {what}; use {choices}", hint=hint)


def _header_name(key: str, value: str) -> str:
    name = value.strip()
    if not name or not name.isascii() or not name.isprintable() or any(sign in name for sign in ' ,:;"()'):
        raise ConfigError(f"signature.{key}: '{escape_unprintable(value, 60)}' is not a header name")
    return name


def _parse_field_location(key: str, text: str, kinds: tuple[str, ...]) -> Location:
    hint = f"write {', '.join(f'{kind}:NAME' for kind in kinds)}"
    kind, name = "header", text
    if ":" in text or not text.strip():
        kind, name = _split_location(key, text, kinds, "it", hint)
    if kind == "header":
        return InHeader(_header_name(key, name))
    if kind == "json":
        return InJson(tuple(name.split(".")))
    return InForm(name) if kind == "form" else InQuery(name)


def _split_location(key: str, text: str, kinds: tuple[str, ...], what: str, hint: str) -> tuple[str, str]:
    """Return the kind of place that a key names, and its name there. Raises ConfigError for another kind."""
    kind, _, name = text.partition(":")
    if kind not in kinds or not name.strip():
        quoted = escape_unprintable(text, 60)
        raise ConfigError(f"signature.{key}: '{quoted}' does not say where {what} stands", hint=hint)
    return kind, name


# Two families: one text with a prefix (GitHub, Slack) or a list of named items (Stripe, Paddle, Svix).
def _parse_layout(options: SignatureOptions) -> Layout:
    kind, _, name = (options.timestamp or "").partition(":")
    stamp = name.encode() if kind == "item" else None
    if stamp is None and options.item is None and options.separator is None:
        return Prefix(options.prefix.encode())
    if options.prefix:
        raise ConfigError("signature.prefix: a list of items has none", hint='name the signature\'s item: item = "v1"')
    separator, equals = (options.separator or ",").encode(), options.equals.encode()
    sig = (options.item or "v1").encode()
    emit = b"%s%s{sig}" % (sig, equals)
    return Items(
        separator=separator,
        equals=equals,
        sig=sig,
        ts=stamp,
        emit=emit if stamp is None else b"%s%s{ts}%s%s" % (stamp, equals, separator, emit),
        trim=bool(separator.strip()),
    )


def _parse_timestamp(options: SignatureOptions) -> Time | None:
    unit = require_choice("timestamp_unit", options.timestamp_unit, "a unit", _UNITS)
    if options.timestamp is None:
        return None
    kinds = ("header", "item", "json", "form", "query")
    hint = 'write timestamp = "header:X-Timestamp", or "item:t" for a header such as t=...,v1=...'
    kind, _ = _split_location("timestamp", options.timestamp, kinds, "the time", hint)
    past, future = parse_age_limits(options)
    spot = None if kind == "item" else _parse_field_location("timestamp", options.timestamp, (kind,))
    return Time(place=spot, unit=unit, past=past, future=future)


def _parse_body_hash(options: SignatureOptions) -> BodyHash | None:
    if options.body_hash is None:
        return None
    hint = 'write body_hash = "query:bodySHA256"'
    return BodyHash(query=_split_location("body_hash", options.body_hash, ("query",), "the hash", hint)[1])


def _parse_content(options: SignatureOptions) -> Template:
    try:
        return template(options.content if options.content is not None else "{body}", distinct=options.distinct)
    except ConfigError as error:
        raise ConfigError(f"signature.content: {error.message}", hint=error.hint) from error


def _check_consistency(options: SignatureOptions, content: Template) -> None:
    """Refuse a content that names what no other key says where to find, or that leaves the body out."""
    text = content.text
    if "{secret}" in text and options.scheme != "digest":
        raise ConfigError("signature.content: {secret} is never part of the content")
    if not any(token in text for token in ("{body}", "{url}", "{form", "{json:", "{crc32}")):
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
    # A time inside a signed body is signed with it, as Linear's is.
    in_body = (options.timestamp or "").startswith(("json:", "form:")) and ("{body}" in text or "{form" in text)
    if options.timestamp is not None and not (stamped or in_body or f"{{{options.timestamp}}}" in text):
        raise ConfigError(
            "signature.content: leaves {timestamp} out, so anybody could change the time",
            hint='sign it, content = "{timestamp}.{body}", or leave timestamp out',
        )
    if "{id}" in text and options.id is None:
        raise ConfigError("signature.id: missing, though content has {id}", hint='id = "header:X-Id"')
