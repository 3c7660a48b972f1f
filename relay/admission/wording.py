"""What a JSON Schema has against a body, field by field, in words that quote nothing of the body's values."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jsonschema.exceptions import ValidationError, best_match

from relay.admission.told import problem
from relay.model.admission import Problem
from relay.model.paths import pointer_to
from relay.model.text import is_sensitive, printable

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
_NAMING = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SHOWN = 6  # allowed values that are listed


def told(errors: Iterable[ValidationError]) -> Iterator[Problem]:
    """Return a problem for each field that an error is about; one error may be about several."""
    seen: set[tuple[object, ...]] = set()
    for error in errors:
        several = _SEVERAL.get(str(error.validator))
        if several is None or _about_a_key(error):
            yield problem("schema", pointer_to(error.absolute_path), _message(error))
            continue
        # An error for each missing key comes with the same place: all of them are told of at the first.
        place = (tuple(error.absolute_path), tuple(error.absolute_schema_path))
        if place not in seen:
            seen.add(place)
            # Never nothing at all: an error that is not told of would let the body in.
            found = list(several(error))
            yield from found or (problem("schema", pointer_to(error.absolute_path), _message(error)),)


def _about_a_key(error: ValidationError) -> bool:
    path = list(error.absolute_schema_path)
    return any(
        word == "propertyNames" and (not place or path[place - 1] not in _NAMING)
        for place, word in enumerate(path)
    )


def _missing(error: ValidationError) -> Iterator[Problem]:
    # In draft 3 the word stands beside the key that is missing, and holds true.
    there: Any = error.instance
    wanted = error.validator_value if isinstance(error.validator_value, list) else []
    for key in wanted:
        if key not in there:
            yield problem("schema", pointer_to((*error.absolute_path, key)), "is missing")


def _unexpected(error: ValidationError) -> Iterator[Problem]:
    schema: Any = error.schema
    there: Any = error.instance
    known = schema.get("properties", {})
    fits = _patterned(schema.get("patternProperties", {}))
    for key in there:
        if key not in known and not fits(key):
            yield problem("schema", pointer_to((*error.absolute_path, key)), "is not allowed here")


def _patterned(patterns: Mapping[str, object]) -> Callable[[str], bool]:
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda key: any(pattern.search(key) for pattern in compiled)


_SEVERAL: Mapping[str, Callable[[ValidationError], Iterator[Problem]]] = {
    "required": _missing,
    "additionalProperties": _unexpected,
}


def _message(error: ValidationError) -> str:
    if _about_a_key(error):
        return "has a key that its schema does not allow"
    if not error.validator:
        return "holds something that is not allowed"
    word, wanted = str(error.validator), error.validator_value
    if word in ("enum", "const"):
        return _one_of(error, wanted if word == "enum" else [wanted])
    if word in ("anyOf", "oneOf"):
        return _alternatives(error)
    make = _WORDS.get(word)
    return make(wanted, error.instance) if make else f"does not fit the schema ({printable(word, 40)})"


def _one_of(error: ValidationError, allowed: Any) -> str:
    # What such a field must be may itself be a secret that the schema holds.
    if is_sensitive(str(next(reversed(error.absolute_path), ""))):
        return "is not what the schema asks for"
    shown = [printable(json.dumps(one, ensure_ascii=False), 60) for one in allowed[:_SHOWN]]
    more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
    return f"must be one of {', '.join(shown)}{more}" if len(allowed) > 1 else f"must be {shown[0]}"


def _alternatives(error: ValidationError) -> str:
    if not error.context:
        return "fits more than one alternative of the schema"
    types = [one.validator_value for one in error.context if one.validator == "type" and not one.path]
    if len(types) == len(error.context) and all(isinstance(one, str) for one in types):
        return _WORDS["type"](types, error.instance)
    nearest = best_match(error.context)
    told_of = next(told([nearest]), None) if nearest is not None else None
    count = len(error.validator_value) if isinstance(error.validator_value, list) else 0
    return f"fits none of {count} alternatives" + (f"; in one, {told_of.sentence}" if told_of else "")


def _type(wanted: Any, found: object) -> str:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    said = " or ".join(_TYPES.get(str(name), printable(str(name), 40)) for name in names)
    return f"must be {said}, got {_FOUND.get(type(found), 'something else')}"


def _counted(text: str, one: str, many: str) -> Callable[[Any, object], str]:
    return lambda wanted, _: f"{text} {printable(str(wanted), 40)} {one if wanted == 1 else many}"


def _than(text: str) -> Callable[[Any, object], str]:
    return lambda wanted, _: f"must be {text} {printable(str(wanted), 40)}"


_ARTICLES = {"email": "an", "idn-email": "an", "ipv4": "an", "ipv6": "an"}


def _format(wanted: Any, _: object) -> str:
    return f"is not {_ARTICLES.get(wanted, 'a')} {printable(str(wanted), 40)}"


_WORDS: Mapping[str, Callable[[Any, object], str]] = {
    "type": _type,
    "false": lambda *_: "is not allowed here",
    "items": lambda *_: "has more items than are allowed",
    "additionalItems": lambda *_: "has more items than are allowed",
    "format": _format,
    "pattern": lambda wanted, _: f"does not match the pattern {printable(str(wanted), 80)}",
    "minimum": _than("at least"),
    "maximum": _than("at most"),
    "exclusiveMinimum": _than("more than"),
    "exclusiveMaximum": _than("less than"),
    "multipleOf": _than("a multiple of"),
    "minLength": _counted("must have at least", "character", "characters"),
    "maxLength": _counted("must have at most", "character", "characters"),
    "minItems": _counted("must have at least", "item", "items"),
    "maxItems": _counted("must have at most", "item", "items"),
    "minProperties": _counted("must have at least", "key", "keys"),
    "maxProperties": _counted("must have at most", "key", "keys"),
    "uniqueItems": lambda *_: "holds the same item twice",
    "contains": lambda *_: "holds no item, or too many, of the kind that is asked for",
    "not": lambda *_: "is what the schema excludes",
    "dependentRequired": lambda *_: "lacks a key that another one of it asks for",
    "dependencies": lambda *_: "lacks a key that another one of it asks for",
    "unevaluatedProperties": lambda *_: "holds a key that is not allowed here",
    "unevaluatedItems": lambda *_: "holds an item that is not allowed here",
}
