"""The address that mail goes to, as an event carries it: there, and one that a mail could be sent to."""

from urllib.parse import parse_qsl

from relay.admission.told import problem
from relay.mail.addresses import AddressError, one_address
from relay.model.admission import EmailField, Problem
from relay.model.event import Capture
from relay.model.payload import Payload
from relay.model.text import header_text, printable

RULE = "invalid_recipient"


def misaddressed(where: EmailField, capture: Capture, payload: Payload) -> Problem | None:
    """Return what is wrong with the address of an event; None where a mail could be sent to it."""
    value = _found(where, capture, payload)
    if value is None:
        message = "is missing"
    elif not isinstance(value, str):
        message = "must be text, one mail address"
    else:
        message = _fault(value)
    if not message:
        return None
    if where.kind == "body":
        return problem(RULE, where.name, message)
    return Problem(rule=RULE, field=printable(where.name, 80), message=message)


def _found(where: EmailField, capture: Capture, payload: Payload) -> object:
    if where.kind == "header":
        value = capture.header(where.name)
        return None if value is None else header_text(value)
    if where.kind == "query":
        pairs = parse_qsl(capture.query, keep_blank_values=True, errors="replace")
        return next((value for name, value in pairs if name == where.name), None)
    return payload.pointer(where.name)


def _fault(text: str) -> str:
    try:
        one_address(text)
    except AddressError as error:
        return f"is not one mail address: {error.why}"
    return ""
