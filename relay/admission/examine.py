"""A genuine request held against its source's rules: content type, schema, idempotency key, address of a mail."""

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from relay.admission.naming import place
from relay.admission.recipient import misaddressed
from relay.admission.told import listed
from relay.model.admission import BodySchema, Problem
from relay.model.event import Capture, EventOutcome, NewEvent, Source
from relay.model.payload import Payload, PayloadError
from relay.model.text import header_text, printable

_SUMMARY = 120


def wanted(source: Source) -> bool:
    """Say whether the source asks for anything at all."""
    return source.admission.examines or source.require_idempotency_key


def examine(source: Source, event: NewEvent) -> NewEvent:
    """Return the event, rejected with 400 where it breaks a rule of its source; pure.

    What was rejected or ignored already stays as it is: a forger learns nothing of the rules, and what
    a source does not list need not fit its schema.
    """
    if event.outcome is not EventOutcome.ACCEPTED or not wanted(source):
        return event
    found = problems(source, event.capture)
    if not found:
        return event
    return replace(
        event,
        outcome=EventOutcome.REJECTED,
        claims_key=False,
        status=400,
        reason=found[0].rule,
        summary=_headline(found),
        problems=found,
    )


def problems(source: Source, capture: Capture) -> tuple[Problem, ...]:
    """Return everything a source has against a request, over all of its rules; pure, never raises."""
    rules = source.admission
    payload = capture.payload
    found = [
        *_content_type(rules.content_types, capture),
        *(judge(rules.schema, payload) if rules.schema else ()),
        *_key(source, capture, payload),
    ]
    wrong = misaddressed(rules.email, capture, payload) if rules.email else None
    if wrong is not None and not any(one.pointer and one.pointer == wrong.pointer for one in found):
        found.append(wrong)
    return listed(found)


def judge(schema: BodySchema, payload: Payload) -> tuple[Problem, ...]:
    """Return what a schema has against a body, first of all whether the body can be read; pure."""
    if payload.is_empty:
        return (Problem(rule="schema", message="is empty"),)
    try:
        value, text = payload.document(strict=True)
    except PayloadError as error:
        where = f" (line {error.line}, column {error.column})" if error.line else ""
        said = printable(error.sentence, 160)
        return (Problem(rule="schema", message=f"cannot be read: {said}{where}"),)
    return schema.problems(value, text)


def _content_type(allowed: tuple[str, ...], capture: Capture) -> Iterator[Problem]:
    got = capture.content_type
    if not allowed or any(fnmatchcase(got, pattern) for pattern in allowed):
        return
    message = (
        f"must be {' or '.join(allowed)}, got {printable(header_text(got), 80)}" if got else "is missing"
    )
    yield Problem(rule="content_type", field="Content-Type", message=message)


def _key(source: Source, capture: Capture, payload: Payload) -> Iterator[Problem]:
    if not source.require_idempotency_key:
        return
    pick = source.idempotency_key
    if pick is None or pick(capture, payload) is None:
        field, pointer = place(pick)
        message = "is missing, and the source requires an idempotency key"
        yield Problem(rule="idempotency_key_missing", field=field, pointer=pointer, message=message)


def _headline(found: tuple[Problem, ...]) -> str:
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{printable(found[0].sentence, _SUMMARY - len(more))}{more}"
