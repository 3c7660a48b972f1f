"""The types of values in relay.toml."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from relay.vault.file_format import NAME, NAME_RULE

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([KkMmGg]?[Bb])")
_BYTES = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_ENDPOINT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5}|auto)")
_LONGEST_DAYS = 365_000  # a thousand years: added to or subtracted from now, it is still a date
_LARGEST_GB = 1_000_000_000  # fits into an integer of SQLite
_HEADER_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER_VALUE = r"[^\r\n\0]*"


def parse_duration(value: object) -> float:
    """Return the seconds of a duration such as "250ms" or "5m". Raises ValueError."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write one such as 250ms, 30s, 5m, 2h or 7d")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_DAYS * _SECONDS["d"]:
        raise ValueError(f"{value!r} is too long; at most {_LONGEST_DAYS}d")
    return seconds


def parse_size(value: object) -> int:
    """Return the bytes of a size such as "64KB" or "25MB". Raises ValueError."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a size; write one such as 64KB or 25MB")
    found = int(float(match[1]) * _BYTES[match[2].upper()])
    if found > _LARGEST_GB * _BYTES["GB"]:
        raise ValueError(f"{value!r} is too large; at most {_LARGEST_GB}GB")
    return found


def parse_positive_size(value: object) -> int:
    """Return the bytes of a size. Raises ValueError, also for 0, which would refuse every body."""
    found = parse_size(value)
    if found < 1:
        raise ValueError(f"{value!r} would refuse every body; write one such as 64KB or 25MB")
    return found


def parse_endpoint(value: object) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:8400"; port 0 means "auto". Raises ValueError."""
    match = _ENDPOINT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not host:port; write one such as 127.0.0.1:8400")
    if match[3] == "auto":
        return match[1] or match[2], 0
    port = int(match[3])
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is not a port (1-65535)")
    return match[1] or match[2], port


def format_duration(value: float) -> str:
    """Return seconds as a duration of relay.toml, in the largest unit that gives a whole number."""
    for unit in ("d", "h", "m", "s"):
        if value >= _SECONDS[unit] and value % _SECONDS[unit] == 0:
            return f"{value / _SECONDS[unit]:.0f}{unit}"
    return f"{value * 1000:.0f}ms"


def format_size(value: int) -> str:
    """Return bytes as a size of relay.toml, in the largest unit that gives a whole number."""
    unit = next(unit for unit in ("GB", "MB", "KB", "B") if value % _BYTES[unit] == 0)
    return f"{value // _BYTES[unit]}{unit}"


DURATION_SCHEMA = {"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["30s"]}
SIZE_SCHEMA = {"type": "string", "pattern": f"^{_SIZE.pattern}$", "examples": ["25MB"]}
ENDPOINT_SCHEMA = {"type": "string", "pattern": f"^{_ENDPOINT.pattern}$", "examples": ["127.0.0.1:8400"]}

Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(parse_size), WithJsonSchema(SIZE_SCHEMA)]
BodyLimit = Annotated[int, BeforeValidator(parse_positive_size), WithJsonSchema(SIZE_SCHEMA)]
Endpoint = Annotated[tuple[str, int], BeforeValidator(parse_endpoint), WithJsonSchema(ENDPOINT_SCHEMA)]


def _check_reference(value: str) -> str:
    kind, _, name = value.partition(":")
    if not value.startswith(("env:", "vault:")):
        raise ValueError(
            'must be a reference, never the value itself: write "env:NAME", or "vault:name" and relay vault set name'
        )
    if not name:
        raise ValueError(f'{value!r} names nothing; write "env:NAME" or "vault:name"')
    if kind == "vault" and not NAME.fullmatch(name):
        raise ValueError(NAME_RULE)
    return value


def _refuse_bool_and_text(value: object) -> object:
    kind = {bool: "true or false", str: "text"}.get(type(value))
    if kind:
        raise ValueError(f"must be a number, got {kind}")
    return value


def _check_text_or_number(value: object) -> object:
    if type(value) in (str, int):
        return value
    raise ValueError("must be text or a whole number")


def _parse_tolerance(value: object) -> object:
    return value if value == "off" else parse_duration(value)


def as_list(value: object) -> object:
    """Return a list of one item for text written without brackets."""
    return [value] if isinstance(value, str) else value


def _check_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    return value


def _require_pattern(pattern: str, mistake: str) -> AfterValidator:
    """Return a validator for text that matches a pattern; `mistake` is the message, with `{!r}` for the text."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(mistake.format(value))
        return value

    return AfterValidator(check)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LOCATIONS = '`"header:Name"`, `"query:name"` or `"body:/pointer"`'
REFERENCE_SCHEMA = {"type": "string", "pattern": "^(env|vault):.+$", "examples": ["env:NAME", "vault:name"]}
TOLERANCE_SCHEMA = {"type": "string", "pattern": f"^off$|{DURATION_SCHEMA['pattern']}", "examples": ["5m", "off"]}


def schema_or_list(item: dict[str, Any]) -> WithJsonSchema:
    """Return the schema for editors: a list of one may be written without brackets."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


Reference = Annotated[str, AfterValidator(_check_reference), WithJsonSchema(REFERENCE_SCHEMA)]
References = Annotated[list[Reference], BeforeValidator(as_list), schema_or_list(REFERENCE_SCHEMA)]
Names = Annotated[list[str], BeforeValidator(as_list), schema_or_list({"type": "string"})]
_MEDIA_TYPE = r"[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+( *;[ -~]*)?"
MediaType = Annotated[
    str,
    _require_pattern(rf"(?=.{{0,200}}\Z){_MEDIA_TYPE}", "{!r} is not a media type; write one such as application/json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_MEDIA_TYPE}$"}),
]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
FilePath = Annotated[str, _require_pattern(r"[^\0]*", "{!r} cannot be the name of a file: it holds a NUL")]
_HEADER_NAME_SCHEMA = {"type": "string", "pattern": f"^{_HEADER_NAME}$"}
HeaderName = Annotated[
    str,
    _require_pattern(_HEADER_NAME, "{!r} is not the name of a header; write one such as X-Env"),
    WithJsonSchema(_HEADER_NAME_SCHEMA),
]
HeaderNames = Annotated[list[HeaderName], BeforeValidator(as_list), schema_or_list(_HEADER_NAME_SCHEMA)]
HeaderValue = Annotated[
    str,
    _require_pattern(_HEADER_VALUE, "the value of a header is one line"),
    WithJsonSchema({"type": "string", "pattern": f"^{_HEADER_VALUE}$"}),
]
TextOrNumber = Annotated[str | int, BeforeValidator(_check_text_or_number)]
# Not strict: an integer may be written too, but nothing else.
Number = Annotated[float, Field(strict=False), BeforeValidator(_refuse_bool_and_text)]
Tolerance = Annotated[float | Literal["off"], BeforeValidator(_parse_tolerance), WithJsonSchema(TOLERANCE_SCHEMA)]


class ConfigTable(BaseModel):
    """A table of relay.toml: no unknown keys, no silent conversions.

    Defaults of table keys are made by `model_construct()`: calling the class would build its validator at
    import, although that of the file contains it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    def list_values(self) -> dict[str, Any]:
        """Return the value of each key, lists as tuples."""
        return {name: tuple(value) if isinstance(value, list) else value for name, value in self}


def declare(default: Any, meaning: str, **limits: Any) -> Any:
    """Declare a key of a table; `limits` are those of pydantic's Field."""
    return Field(default=default, description=meaning, **limits)
