"""What values of relay.toml may be: the types that its tables are made of."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StringConstraints, WithJsonSchema

from relay.config.units import DURATION_SCHEMA, parse_duration
from relay.vault.file_format import NAME, NAME_RULE


def _check_reference(value: object) -> object:
    if isinstance(value, str) and not value.startswith(("env:", "vault:")):
        raise ValueError(
            'must be a reference, never the value itself: write "env:NAME", or "vault:name" and relay vault set name'
        )
    if isinstance(value, str) and not value.partition(":")[2]:
        raise ValueError(f'{value!r} names nothing; write "env:NAME" or "vault:name"')
    if isinstance(value, str) and value.startswith("vault:") and not NAME.fullmatch(value.partition(":")[2]):
        raise ValueError(NAME_RULE)
    return value


def _parse_tolerance(value: object) -> object:
    return value if value == "off" else parse_duration(value)


def as_list(value: object) -> object:
    """Return a list of one for a text that is written without brackets."""
    return [value] if isinstance(value, str) else value


def _check_pattern(value: object) -> object:
    if isinstance(value, str):
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
LOCATIONS = '`"header:Name"`, `"query:name"` or `"body:/pointer"`'
REFERENCE_SCHEMA = {"type": "string", "pattern": "^(env|vault):.+$", "examples": ["env:NAME", "vault:name"]}
TOLERANCE_SCHEMA = {"type": "string", "pattern": f"^off$|{DURATION_SCHEMA['pattern']}", "examples": ["5m", "off"]}


def schema_or_list(item: dict[str, Any]) -> WithJsonSchema:
    """Return for editors that a list of one may be written without its brackets."""
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item}]})


Reference = Annotated[str, BeforeValidator(_check_reference), WithJsonSchema(REFERENCE_SCHEMA)]
References = Annotated[list[Reference], BeforeValidator(as_list), schema_or_list(REFERENCE_SCHEMA)]
Names = Annotated[list[str], BeforeValidator(as_list), schema_or_list({"type": "string"})]
Pattern = Annotated[str, BeforeValidator(_check_pattern)]
Tolerance = Annotated[float | Literal["off"], BeforeValidator(_parse_tolerance), WithJsonSchema(TOLERANCE_SCHEMA)]


class ConfigTable(BaseModel):
    """A table of relay.toml: nothing unknown, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
