"""Validation of a body by a JSON Schema that was compiled at start."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from relay.model.admission import Problem
from relay.model.json_paths import format_pointer
from relay.model.text import escape_unprintable, is_sensitive
from relay.model.values import dataclass
from relay.pipeline.validate import limit_problems, make_problem

log = logging.getLogger(__name__)


def extend_validator(kind: type[Validator]) -> type[Validator]:
    """Return a validator class that names the key if a schema is `false`, and that divides exactly."""
    own: dict[str, Any] = {"multipleOf": _validate_multiple} if "multipleOf" in kind.VALIDATORS else {}
    # Drafts 3 and 4 have no boolean schemas.
    if "const" in kind.VALIDATORS:
        own["properties"] = _validate_properties
    made: type[Validator] = extend(kind, own)  # type: ignore[no-untyped-call] # its stubs lack it
    return made


# jsonschema divides floats: 0.29 is not a multiple of 0.01 then, a rule often used for prices.
def _validate_multiple(validator: Any, divisor: Any, instance: Any, _: object) -> Iterator[ValidationError]:
    if validator.is_type(instance, "number") and Fraction(str(instance)) % Fraction(str(divisor)):
        yield ValidationError(f"{instance!r} is not a multiple of {divisor!r}")


def _validate_properties(
    validator: Any, properties: Mapping[str, Any], instance: Any, _: object
) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "object"):
        return
    for key, schema in properties.items():
        if key not in instance:
            continue
        if schema is False:
            yield ValidationError("", validator="false", path=[key], schema_path=[key])
        else:
            yield from validator.descend(instance[key], schema, path=key, schema_path=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSchema:
    """A validator, and its file in relay.toml; `unchecked` are the formats it does not check."""

    name: str
    validator: Validator
    unchecked: tuple[str, ...] = ()

    def problems(self, value: object, text: str | None) -> tuple[Problem, ...]:
        """Return all problems of a body; never raises."""
        del text
        body: Any = value
        try:
            return limit_problems(describe_errors(self.validator.iter_errors(body)))
        except RecursionError:
            return (Problem(rule="schema", message="is nested too deeply for its schema"),)
        except Exception as error:  # noqa: BLE001 - whatever a schema meets in a body, the sender must be answered
            kind = type(error).__name__
            log.warning("the schema %s raised %s", self.name, kind)
            return (Problem(rule="schema", message=f"could not be judged: the schema raised {kind}"),)


_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FOUND: Mapping[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_NAME_KEYWORDS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_MOST_NAMES = 6  # maximum number of allowed values that are listed


def describe_errors(errors: Iterable[ValidationError]) -> Iterator[Problem]:
    """Return a problem for each field of each error; one error may concern several fields."""
    seen: set[tuple[object, ...]] = set()
    for error in errors:
        several = _MULTI_PROBLEM_KEYWORDS.get(str(error.validator))
        if several is None or _is_about_a_key(error):
            yield make_problem("schema", format_pointer(error.absolute_path), _describe_error(error))
            continue
        # Errors for missing keys share a location: all of them are reported with the first.
        place = (tuple(error.absolute_path), tuple(error.absolute_schema_path))
        if place not in seen:
            seen.add(place)
            # Never empty: an error that is not reported would accept the body.
            found = list(several(error))
            yield from found or (make_problem("schema", format_pointer(error.absolute_path), _describe_error(error)),)


def _is_about_a_key(error: ValidationError) -> bool:
    path = list(error.absolute_schema_path)
    return any(
        word == "propertyNames" and (not place or path[place - 1] not in _NAME_KEYWORDS)
        for place, word in enumerate(path)
    )


def _describe_missing(error: ValidationError) -> Iterator[Problem]:
    # In draft 3 `required` is next to the missing key, and is true.
    there: Any = error.instance
    required = error.validator_value if isinstance(error.validator_value, list) else []
    for key in required:
        if key not in there:
            yield make_problem("schema", format_pointer((*error.absolute_path, key)), "is missing")


def _describe_unexpected(error: ValidationError) -> Iterator[Problem]:
    schema: Any = error.schema
    there: Any = error.instance
    known = schema.get("properties", {})
    fits = _make_key_matcher(schema.get("patternProperties", {}))
    for key in there:
        if key not in known and not fits(key):
            yield make_problem("schema", format_pointer((*error.absolute_path, key)), "is not allowed here")


def _make_key_matcher(patterns: Mapping[str, object]) -> Callable[[str], bool]:
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda key: any(pattern.search(key) for pattern in compiled)


_MULTI_PROBLEM_KEYWORDS: Mapping[str, Callable[[ValidationError], Iterator[Problem]]] = {
    "required": _describe_missing,
    "additionalProperties": _describe_unexpected,
}


def _describe_error(error: ValidationError) -> str:
    if _is_about_a_key(error):
        return "has a key that its schema does not allow"
    if not error.validator:
        return "holds something that is not allowed"
    word, expected = str(error.validator), error.validator_value
    if word in ("enum", "const"):
        return _describe_enum(error, expected if word == "enum" else [expected])
    if word in ("anyOf", "oneOf"):
        return _describe_alternatives(error)
    make = _DESCRIBERS.get(word)
    return make(expected, error.instance) if make else f"does not fit the schema ({escape_unprintable(word, 40)})"


def _describe_enum(error: ValidationError, allowed: Any) -> str:
    # The expected value of such a field may itself be a secret in the schema.
    if is_sensitive(str(next(reversed(error.absolute_path), ""))):
        return "is not what the schema asks for"
    shown = [escape_unprintable(json.dumps(one, ensure_ascii=False), 60) for one in allowed[:_MOST_NAMES]]
    more = f" and {len(allowed) - _MOST_NAMES} more" if len(allowed) > _MOST_NAMES else ""
    return f"must be one of {', '.join(shown)}{more}" if len(allowed) > 1 else f"must be {shown[0]}"


def _describe_alternatives(error: ValidationError) -> str:
    if not error.context:
        return "fits more than one alternative of the schema"
    types = [one.validator_value for one in error.context if one.validator == "type" and not one.path]
    if len(types) == len(error.context) and all(isinstance(one, str) for one in types):
        return _DESCRIBERS["type"](types, error.instance)
    nearest = best_match(error.context)
    nearest_error = next(describe_errors([nearest]), None) if nearest is not None else None
    count = len(error.validator_value) if isinstance(error.validator_value, list) else 0
    return f"fits none of {count} alternatives" + (f"; in one, {nearest_error.sentence}" if nearest_error else "")


def _describe_type(expected: Any, found: object) -> str:
    names = [expected] if isinstance(expected, str) else list(expected)
    types = " or ".join(_TYPES.get(str(name), escape_unprintable(str(name), 40)) for name in names)
    return f"must be {types}, got {_FOUND.get(type(found), 'something else')}"


def _format_count(text: str, one: str, many: str) -> Callable[[Any, object], str]:
    return lambda expected, _: f"{text} {escape_unprintable(str(expected), 40)} {one if expected == 1 else many}"


def _make_bound_describer(text: str) -> Callable[[Any, object], str]:
    return lambda expected, _: f"must be {text} {escape_unprintable(str(expected), 40)}"


_ARTICLES = {"email": "an", "idn-email": "an", "ipv4": "an", "ipv6": "an"}


def _describe_format(expected: Any, _: object) -> str:
    return f"is not {_ARTICLES.get(expected, 'a')} {escape_unprintable(str(expected), 40)}"


_DESCRIBERS: Mapping[str, Callable[[Any, object], str]] = {
    "type": _describe_type,
    "false": lambda *_: "is not allowed here",
    "items": lambda *_: "has more items than are allowed",
    "additionalItems": lambda *_: "has more items than are allowed",
    "format": _describe_format,
    "pattern": lambda expected, _: f"does not match the pattern {escape_unprintable(str(expected), 80)}",
    "minimum": _make_bound_describer("at least"),
    "maximum": _make_bound_describer("at most"),
    "exclusiveMinimum": _make_bound_describer("more than"),
    "exclusiveMaximum": _make_bound_describer("less than"),
    "multipleOf": _make_bound_describer("a multiple of"),
    "minLength": _format_count("must have at least", "character", "characters"),
    "maxLength": _format_count("must have at most", "character", "characters"),
    "minItems": _format_count("must have at least", "item", "items"),
    "maxItems": _format_count("must have at most", "item", "items"),
    "minProperties": _format_count("must have at least", "key", "keys"),
    "maxProperties": _format_count("must have at most", "key", "keys"),
    "uniqueItems": lambda *_: "holds the same item twice",
    "contains": lambda *_: "holds no item, or too many, of the kind that is asked for",
    "not": lambda *_: "is what the schema excludes",
    "dependentRequired": lambda *_: "lacks a key that another one of it asks for",
    "dependencies": lambda *_: "lacks a key that another one of it asks for",
    "unevaluatedProperties": lambda *_: "holds a key that is not allowed here",
    "unevaluatedItems": lambda *_: "holds an item that is not allowed here",
}
