"""Builds a validator from `schema = "schemas/payment.json"` and all files that it refers to."""

from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from email_validator import EmailNotValidError, validate_email
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY as SPECIFICATIONS  # type: ignore[import-untyped] # a companion of jsonschema, without types
from referencing import Registry, Resource
from referencing.exceptions import NoSuchResource, Unresolvable
from referencing.jsonschema import DRAFT202012

from relay.errors import ConfigError
from relay.model.json_paths import format_pointer
from relay.model.payload import PayloadError, parse_json
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.json_schema import JsonSchema, extend_validator

_MAX_FILE = 1_000_000  # bytes
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def load_json_schema(name: str, folder: Path) -> JsonSchema:
    """Return a validator for the schema file `name` of a folder.

    Nothing is fetched: a reference is a file, or a part of one. Raises ConfigError, prefixed with the
    key `schema`, naming the file and the place at fault.
    """
    path = (folder / name).resolve()
    files = _SchemaFiles()
    document = files.read(path, name)
    kind = extend_validator(_validator_class(document, name))
    formats = _resolve_references(files, path.as_uri(), name)
    checker = _format_checker(kind)
    registry: Registry[Any] = Registry().with_resources(files.found.items()).crawl()
    validator = kind({"$ref": path.as_uri()}, registry=registry, format_checker=checker)
    unchecked = tuple(sorted(formats - checker.checkers.keys()))
    return JsonSchema(name=name, validator=validator, unchecked=unchecked)


@dataclass(slots=True)
class _SchemaFiles:
    """The files read so far, by URI; `why` is the problem of the last one that could not be read.

    If a schema's id is `https://example.com/schemas/payment.json`, its references to neighbours of that URL
    are files of its folder.
    """

    found: dict[str, Resource[Any]] = field(default_factory=dict)
    why: str = ""
    bases: list[tuple[str, Path]] = field(default_factory=list)

    def read(self, path: Path, name: str) -> Any:
        """Return the content of a schema file, checked as a schema. Raises ConfigError."""
        document = _read_document(path, name)
        if not isinstance(document, dict | bool):
            raise ConfigError(f"schema: {name} is not a JSON Schema", hint="a schema is an object")
        _check_schema(document, name)
        called = str(document.get("$id", "")) if isinstance(document, dict) else ""
        if called.startswith(("https://", "http://")):
            self.bases.append((called.rpartition("/")[0] + "/", path.parent))
        self.found[path.as_uri()] = Resource.from_contents(document, default_specification=DRAFT202012)
        return document

    def retrieve(self, uri: str) -> Resource[Any]:
        """Return the file of a URI. Raises NoSuchResource, and sets `why` to the reason."""
        path = self._path(uri)
        if path is None:
            self.why = "is a network address, and relay fetches nothing; save the schema next to the file"
        elif path.as_uri() not in self.found:
            try:
                self.read(path, path.name)
            except ConfigError as error:
                self.why = error.message.removeprefix("schema: ")
        if self.why or path is None:
            raise NoSuchResource(uri)
        return self.found.setdefault(uri, self.found[path.as_uri()])

    def _path(self, uri: str) -> Path | None:
        if uri.startswith("file:///"):
            return Path(unquote(urlsplit(uri).path))
        near = [(base, folder) for base, folder in self.bases if uri.startswith(base)]
        return next((folder / unquote(uri.removeprefix(base)) for base, folder in near), None)


def _read_document(path: Path, name: str) -> object:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        hint = "" if name.endswith(".json") else 'a model is named like "models:WebhookPayload"'
        raise ConfigError(f"schema: there is no file {path}", hint=hint) from None
    except OSError as error:
        raise ConfigError(f"schema: cannot read {path}: {error.strerror}") from None
    if len(raw) > _MAX_FILE:
        raise ConfigError(f"schema: {name} is too large to be a schema", hint=f"at most {_MAX_FILE} bytes")
    try:
        return parse_json(raw, strict=True)
    except PayloadError as error:
        where = f", line {error.line}, column {error.column}" if error.line else ""
        raise ConfigError(f"schema: {name} is not JSON: {error.message}{where}", hint="correct that place") from None


def _validator_class(document: object, name: str) -> type[Validator]:
    """Return the validator class of a schema's draft, 2020-12 if it names none."""
    dialect = document.get("$schema") if isinstance(document, dict) else None
    if dialect is None:
        return Draft202012Validator
    # Looked up by name only: for a schema without a name the default would be returned.
    found: Any = None
    if isinstance(dialect, str):
        found = validator_for({"$schema": dialect}, default=found)
    if found is None:
        raise ConfigError(
            f"schema: {name} names a $schema that relay does not know: {escape_unprintable(repr(dialect), 80)}",
            hint="https://json-schema.org/draft/2020-12/schema, or an earlier draft down to 3",
        )
    kind: type[Validator] = found
    return kind


def _check_schema(document: Any, name: str) -> None:
    kind = _validator_class(document, name)
    checker = kind(kind.META_SCHEMA, format_checker=kind.FORMAT_CHECKER)
    error = best_match(checker.iter_errors(document))
    if error is not None:
        place = format_pointer(error.absolute_path) or "its outermost level"
        raise ConfigError(
            f"schema: {name} is not a JSON Schema: at {escape_unprintable(place, 120)}, "
            f"{escape_unprintable(error.message, 160)}",
            hint="correct that place",
        )


def _resolve_references(files: _SchemaFiles, uri: str, name: str) -> set[str]:
    """Follow all references and return the formats used. Raises ConfigError."""
    empty: Registry[Any] = Registry(retrieve=files.retrieve)  # type: ignore[call-arg] # made by attrs, which mypy cannot see
    registry = empty.with_resources(SPECIFICATIONS.items())
    formats: set[str] = set()
    seen: set[int] = set()
    first = registry.resolver().lookup(uri)
    waiting = [(first.contents, first.resolver)]
    while waiting:
        contents, resolver = waiting.pop()
        if not isinstance(contents, dict) or id(contents) in seen:
            continue
        seen.add(id(contents))
        if isinstance(contents.get("format"), str):
            formats.add(contents["format"])
        for reference in filter(None, (contents.get(word) for word in _REFERENCES)):
            files.why = ""
            try:
                led = resolver.lookup(str(reference))
            except Unresolvable:
                why = files.why or "leads nowhere"
                quoted = escape_unprintable(str(reference), 120)
                raise ConfigError(f"schema: {name} refers to {quoted}, which {why}") from None
            waiting.append((led.contents, led.resolver))
        parts = Resource.from_contents(contents, default_specification=DRAFT202012).subresources()
        waiting += [(part.contents, resolver.in_subresource(part)) for part in parts]
    return formats


def _format_checker(kind: type[Validator]) -> FormatChecker:
    checker = FormatChecker(formats=())
    checker.checkers = dict(kind.FORMAT_CHECKER.checkers)
    # The library only checks for an @.
    checker.checks("email", raises=EmailNotValidError)(_is_email)
    return checker


def _is_email(value: object) -> bool:
    if isinstance(value, str):
        validate_email(value, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    return True
