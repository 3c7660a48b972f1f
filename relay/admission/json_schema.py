"""A body held against a JSON Schema that was compiled at start."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from relay.admission.told import listed
from relay.admission.wording import told
from relay.model.admission import Problem

log = logging.getLogger(__name__)


def placing(kind: type[Validator]) -> type[Validator]:
    """Return a validator class that also says of a key whose schema is `false` which key it is."""
    # Drafts 3 and 4 have no such schemas, and properties of their own.
    if "const" not in kind.VALIDATORS:
        return kind
    made: type[Validator] = extend(kind, {"properties": _properties})  # type: ignore[no-untyped-call] # its stubs lack it
    return made


def _properties(
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
    """A validator, and how relay.toml names its file; `unchecked` are formats that nothing here knows."""

    name: str
    validator: Validator
    unchecked: tuple[str, ...] = ()

    def problems(self, value: object, text: str | None) -> tuple[Problem, ...]:
        """Return everything wrong with a body; never raises."""
        del text
        body: Any = value
        try:
            return listed(told(self.validator.iter_errors(body)))
        except RecursionError:
            return (Problem(rule="schema", message="is nested too deeply for its schema"),)
        except Exception as error:  # noqa: BLE001 - whatever a schema meets in a body, the sender must be answered
            kind = type(error).__name__
            log.warning("the schema %s raised %s", self.name, kind)
            return (Problem(rule="schema", message=f"could not be judged: the schema raised {kind}"),)
