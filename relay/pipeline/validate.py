"""Validation of a genuine request by its source's rules: content type, schema, idempotency key, mail address."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import islice
from urllib.parse import parse_qsl

from relay.actions.mail.addresses import AddressError, parse_address
from relay.model.admission import BodySchema, EmailField, Problem
from relay.model.event import Capture, EventOutcome, Extractor, NewEvent, Source
from relay.model.json_paths import format_dotted_path, format_pointer
from relay.model.payload import Payload, PayloadError
from relay.model.text import decode_header_text, escape_unprintable
from relay.providers.extractors import (
    BodyExtractor,
    FirstExtractor,
    FormExtractor,
    HeaderExtractor,
    OnlyWithExtractor,
    QueryExtractor,
)

_SUMMARY = 120


def has_rules(source: Source) -> bool:
    """Return whether the source has rules beyond its limits."""
    rules = source.admission
    has_content_rules = bool(rules.content_types) or rules.schema is not None or rules.email is not None
    return has_content_rules or source.require_idempotency_key


def validate_event(source: Source, event: NewEvent) -> NewEvent:
    """Return the event, rejected with 400 if it breaks a rule of its source; pure.

    Rejected and ignored events are unchanged: a forger learns nothing about the rules, and events
    that a source does not list need not match its schema.
    """
    if event.outcome is not EventOutcome.ACCEPTED or not has_rules(source):
        return event
    found = find_problems(source, event.capture)
    if not found:
        return event
    return replace(
        event,
        outcome=EventOutcome.REJECTED,
        claims_key=False,
        status=400,
        reason=found[0].rule,
        summary=_summarise_problems(found),
        problems=found,
    )


def find_problems(source: Source, capture: Capture) -> tuple[Problem, ...]:
    """Return all problems of a request by all rules of its source; pure, never raises."""
    rules = source.admission
    payload = capture.payload
    found = [
        *_check_content_type(rules.content_types, capture),
        *(check_schema(rules.schema, payload) if rules.schema else ()),
        *_check_idempotency_key(source, capture, payload),
    ]
    wrong = check_recipient(rules.email, capture, payload) if rules.email else None
    if wrong is not None and not any(one.pointer and one.pointer == wrong.pointer for one in found):
        found.append(wrong)
    return limit_problems(found)


def check_schema(schema: BodySchema, payload: Payload) -> tuple[Problem, ...]:
    """Return the problems of a body by a schema, first whether it can be parsed; pure."""
    if payload.is_empty:
        return (Problem(rule="schema", message="is empty"),)
    try:
        value, text = payload.strict_document()
    except PayloadError as error:
        where = f" (line {error.line}, column {error.column})" if error.line else ""
        reason = escape_unprintable(error.message, 160)
        return (Problem(rule="schema", message=f"cannot be read: {reason}{where}"),)
    return schema.problems(value, text)


def _check_content_type(allowed: tuple[str, ...], capture: Capture) -> Iterator[Problem]:
    got = capture.content_type
    if not allowed or any(fnmatchcase(got, pattern) for pattern in allowed):
        return
    message = (
        f"must be {' or '.join(allowed)}, got {escape_unprintable(decode_header_text(got), 80)}"
        if got
        else "is missing"
    )
    yield Problem(rule="content_type", field="Content-Type", message=message)


def _check_idempotency_key(source: Source, capture: Capture, payload: Payload) -> Iterator[Problem]:
    if not source.require_idempotency_key:
        return
    extract = source.idempotency_key
    if extract is None or extract(capture, payload) is None:
        field, pointer = describe_location(extract)
        message = "is missing, and the source requires an idempotency key"
        yield Problem(rule="idempotency_key_missing", field=field, pointer=pointer, message=message)


def _summarise_problems(found: tuple[Problem, ...]) -> str:
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{escape_unprintable(found[0].sentence, _SUMMARY - len(more))}{more}"


_LONGEST_NAME = 200
_UNNAMED = "idempotency key"


def describe_location(extractor: Extractor | None) -> tuple[str, str]:
    """Return the name of the field that an extractor reads, and its JSON Pointer if it is in the body.

    An extractor with several locations is named by all of them; a composed text is named by its purpose.
    """
    match extractor:
        case HeaderExtractor(name=name) | QueryExtractor(name=name) | FormExtractor(name=name):
            return escape_unprintable(name, _LONGEST_NAME), ""
        case BodyExtractor(keys=keys):
            path = format_pointer(keys)
            return escape_unprintable(format_dotted_path(path), _LONGEST_NAME), path
        case OnlyWithExtractor(extractor=named):
            return describe_location(named)
        case FirstExtractor(extractors=extractors):
            # A composed value, such as a CloudEvent's id, has no name that a sender would know.
            names = [name for name in (describe_location(one)[0] for one in extractors) if name != _UNNAMED]
            return escape_unprintable(" or ".join(names) or _UNNAMED, _LONGEST_NAME), ""
    return _UNNAMED, ""


RULE = "invalid_recipient"


def check_recipient(where: EmailField, capture: Capture, payload: Payload) -> Problem | None:
    """Return the problem of an event's mail address; None if a mail could be sent to it."""
    value = _find_recipient(where, capture, payload)
    if value is None:
        message = "is missing"
    elif not isinstance(value, str):
        message = "must be text, one mail address"
    else:
        message = _address_error(value)
    if not message:
        return None
    if where.kind == "body":
        return make_problem(RULE, where.name, message)
    return Problem(rule=RULE, field=escape_unprintable(where.name, 80), message=message)


def _find_recipient(where: EmailField, capture: Capture, payload: Payload) -> object:
    if where.kind == "header":
        value = capture.header(where.name)
        return None if value is None else decode_header_text(value)
    if where.kind == "query":
        pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
        return next((value for name, value in pairs if name == where.name), None)
    return payload.pointer(where.name)


def _address_error(text: str) -> str:
    try:
        parse_address(text)
    except AddressError as error:
        return f"is not one mail address: {error.why}"
    return ""


MOST_PROBLEMS = 50
_LONGEST_FIELD = 200
_LONGEST_MESSAGE = 300


def make_problem(rule: str, pointer: str, message: str) -> Problem:
    """Return a problem with a field of the body; a `pointer` of "" means the whole body."""
    return Problem(
        rule=rule,
        message=escape_unprintable(message, _LONGEST_MESSAGE),
        field=escape_unprintable(format_dotted_path(pointer), _LONGEST_FIELD),
        pointer=escape_unprintable(pointer, _LONGEST_FIELD),
    )


def limit_problems(found: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the first MOST_PROBLEMS distinct problems, and a last one that says if there are more."""
    some = list(dict.fromkeys(islice(found, MOST_PROBLEMS + 1)))
    if len(some) <= MOST_PROBLEMS:
        return tuple(some)
    return (*some[:MOST_PROBLEMS], Problem(rule="schema", message=f"has more than {MOST_PROBLEMS} problems"))
