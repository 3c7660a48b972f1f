"""What a request must be like to come in: the rules of a source, and what is wrong with a request."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a request: the rule that says so (a reason code), the field, and what.

    `field` is a path as people write it (`data.items[0]`), the name of a header or a parameter, or ""
    for the body as a whole; `pointer` is the JSON Pointer of a field of the body. `message` goes on
    where the field's name ends: `is missing`. All of it is printable and short, and quotes no value.
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
    """What a body must be like: a JSON Schema or a model, compiled once."""

    @property
    def name(self) -> str:
        """Return how relay.toml names it."""
        ...

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Return the formats that it names and that nothing here can check."""
        ...

    def problems(self, value: object, text: str | None) -> tuple[Problem, ...]:
        """Return everything wrong with a body; never raises.

        `value` is what the body stands for, `text` the JSON it was read from, None where it was a form.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast requests may come: `burst` at once, and `per_minute` after that."""

    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailField:
    """Where an event carries the address that mail goes to. `kind` is header, body or query.

    `name` is the header's or the parameter's; in the body it is a JSON Pointer.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The rules of one source; what is empty or None is no rule. `max_body` in bytes."""

    networks: tuple[Network, ...] = ()
    rate: Rate | None = None
    max_body: int | None = None
    content_types: tuple[str, ...] = ()
    schema: BodySchema | None = None
    email: EmailField | None = None

    @property
    def examines(self) -> bool:
        """Say whether there is anything to look for in a request that was let in at the door."""
        return bool(self.content_types) or self.schema is not None or self.email is not None


OPEN = Admission()
