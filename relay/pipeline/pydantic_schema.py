"""Validation of a body with the user's own Pydantic model, which may raise anything."""

import logging
import re
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from relay.model.admission import Problem
from relay.model.json_paths import find_below, format_pointer
from relay.model.text import is_sensitive
from relay.model.values import dataclass
from relay.pipeline.validate import limit_problems, make_problem

log = logging.getLogger(__name__)

# "Input should be a valid integer" follows the name of the field: "should be a valid integer".
_SUBJECT = re.compile(r"(?:[A-Z]\w*|JSON \w+) (?=should |must )")
_RAISED = re.compile(r"(?:Value error|Assertion failed), ")
_SENSITIVE = frozenset({"literal_error", "enum", "union_tag_invalid"})

_MISSING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class PydanticSchema:
    """A validator made from the user's model, and its name in relay.toml, such as `models:WebhookPayload`."""

    name: str
    adapter: TypeAdapter[Any]

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Return nothing: a model checks all of its fields."""
        return ()

    def problems(self, value: object, text: str | None) -> tuple[Problem, ...]:
        """Return all problems of a body; never raises."""
        try:
            if text is None:
                self.adapter.validate_python(value)
            else:
                # As JSON, so that a strict model accepts a time as text.
                self.adapter.validate_json(text)
        except ValidationError as error:
            return limit_problems(_describe_problem(error, value))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's code may raise anything, and a sender must be answered
            kind = type(error).__name__
            log.warning("the model %s raised %s%s", self.name, kind, _describe_raise_location(error))
            return (Problem(rule="schema", message=f"could not be judged: the model raised {kind}"),)
        return ()


def _describe_problem(error: ValidationError, value: object) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        keys = tuple(_field_keys(detail, value))
        yield make_problem("schema", format_pointer(keys), _error_message(detail, str(keys[-1]) if keys else ""))


def _field_keys(detail: ErrorDetails, value: object) -> Iterator[str | int]:
    """Return the keys that lead to a field, without the branch names of unions that pydantic adds."""
    last = len(detail["loc"]) - 1
    for place, part in enumerate(detail["loc"]):
        member = find_below(value, (part,), _MISSING)
        if member is not _MISSING:
            value = member
        elif not (place == last and detail["type"] == "missing"):
            continue
        yield part


def _error_message(detail: ErrorDetails, name: str) -> str:
    kind, message = detail["type"], detail["msg"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not allowed here"
    if kind in _SENSITIVE and is_sensitive(name):
        return "is not what the model asks for"
    if kind == "union_tag_invalid":
        return "names no alternative that the model knows"
    short = _SUBJECT.sub("", message, count=1) if _SUBJECT.match(message) else ""
    return short or f"is not accepted: {_RAISED.sub('', message, count=1)}"


def _describe_raise_location(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" in line {trace.tb_lineno}" if trace is not None else ""
