"""The address that mail goes to, as an event carries it: there, and one that can get mail."""

from urllib.parse import parse_qsl

from relay.admission.told import problem
from relay.model.admission import EmailField, Problem
from relay.model.event import Capture
from relay.model.payload import Payload
from relay.model.text import header_text, printable

RULE = "invalid_recipient"


def misaddressed(where: EmailField, capture: Capture, payload: Payload) -> Problem | None:
    """Return what is wrong with the address of an event; None where it is one plain mail address."""
    value = _found(where, capture, payload)
    if value is None:
        message = "is missing"
    elif not isinstance(value, str):
        message = "must be text, one mail address"
    else:
        message = f"is not a mail address: {why}" if (why := fault(value)) else ""
    if not message:
        return None
    if where.kind == "body":
        return problem(RULE, where.name, message)
    return Problem(rule=RULE, field=printable(where.name, 80), message=message)


def fault(address: str) -> str:
    """Return in a sentence why a text is not one plain mail address, "" where it is one."""
    from email_validator import (  # noqa: PLC0415 - 15 ms to import, and few sources name an address
        EmailNotValidError,
        validate_email,
    )

    try:
        # Nobody is asked about the domain: that would take seconds, and be known outside.
        validate_email(address, check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        return printable(str(error), 160)
    return ""


def _found(where: EmailField, capture: Capture, payload: Payload) -> object:
    if where.kind == "header":
        value = capture.header(where.name)
        return None if value is None else header_text(value)
    if where.kind == "query":
        pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
        return next((value for name, value in pairs if name == where.name), None)
    if payload.is_form and payload.json is None:
        return dict(payload.form).get(where.name.removeprefix("/"))
    return payload.pointer(where.name)
