"""Rules for accepting requests: the rules of a source, and the problems of a request."""

from dataclasses import replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol, Self

from relay.model.payload import FORM
from relay.model.values import dataclass

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A problem of a request: the violated rule (a reason code), the field, and a message.

    `field` is a dotted path (`data.items[0]`), the name of a header or a parameter, or ""
    for the body as a whole; `pointer` is the JSON Pointer of a field of the body. `message` goes on
    after the field's name: `is missing`. All texts are printable and short, and quote no value.
    """

    rule: str
    message: str
    field: str = ""
    pointer: str = ""

    @property
    def sentence(self) -> str:
        """Return field and message together, such as `data.amount is missing`."""
        return f"{self.field or 'the body'} {self.message}"


class BodySchema(Protocol):
    """A validator of bodies: a JSON Schema or a model, compiled once."""

    @property
    def name(self) -> str:
        """Return its name in relay.toml."""
        ...

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Return the formats that it uses but that are not checked."""
        ...

    def problems(self, value: object, text: str | None) -> tuple[Problem, ...]:
        """Return everything wrong with a body; never raises.

        `value` is the parsed body, `text` the JSON it was read from, None if it was a form.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A rate limit: `burst` requests at once, then `per_minute`."""

    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailField:
    """The location of a mail address in an event. `kind` is header, body or query.

    `name` is the header's or the parameter's; in the body it is a JSON Pointer.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rules of a source; empty or None means no rule. `max_body` in bytes."""

    networks: tuple[Network, ...] = ()
    rate: Rate | None = None
    max_body: int | None = None
    content_types: tuple[str, ...] = ()
    schema: BodySchema | None = None
    email: EmailField | None = None


NO_RULES = Admission()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The response to the provider. `body` None means relay's own JSON; `timeout` in seconds.

    `form_body` is for form requests, if their sender treats any other body as an error.
    """

    mode: str = "ack"
    status: int = 200
    body: str | None = None
    content_type: str = "application/json"
    timeout: float = 10.0
    form_body: str | None = None

    def to_request(self, media_type: str) -> Self:
        """Return the response for a request with a body of that media type."""
        if self.form_body is None or media_type != FORM:
            return self
        return replace(self, body=self.form_body, content_type="text/plain; charset=utf-8")


class Claim(StrEnum):
    """The key belongs to the caller, is being handled by another, or was handled before."""

    MINE = "mine"
    BUSY = "busy"
    DONE = "done"


REASONS = {
    "signature_missing": "No signature header: something removed it, or this is not the provider.",
    "signature_mismatch": "No known secret gives this signature: the secret is wrong or the body changed.",
    "header_malformed": "The signature header cannot be read.",
    "timestamp_stale": "The signature is too old.",
    "timestamp_future": "The signature is from the future: one of the two clocks is wrong.",
    "body_malformed": "The body lacks what the signature is made of.",
    "secret_missing": "There is no secret for this source, so nothing could be checked.",
    "certificate_missing": "The certificate behind the signature is not available, so nothing was checked.",
    "verifier_failed": "The verifier of this source failed, so the request counts as not verified.",
    "secret_unusable": "The secret is not in the form this provider gives out.",
    "verification_off": "Verification is off for this source.",
    "vault_locked": "The vault is locked, so nothing could be checked.",
    "no_source": "No source is configured for this path.",
    "no_signature_expected": "This source does not sign its requests.",
    "event_not_listed": "The source does not list this event type.",
    "idempotency_key_missing": "The source requires an idempotency key and the request has none.",
    "schema": "The body does not fit the source's schema.",
    "content_type": "The source does not take this content type.",
    "invalid_recipient": "The field that mail goes to holds no mail address.",
    "handshake": "A setup handshake, answered as the provider expects.",
    "recovered": "Fetched from the provider's own API afterwards, so no signature could be checked.",
    "loop": "The request came from a relay: a forward came back.",
}


def describe_reason(reason: str) -> str:
    """Return the sentence for a reason code; an unknown code is returned unchanged."""
    return REASONS.get(reason, reason)
