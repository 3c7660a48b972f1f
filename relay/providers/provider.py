"""Provider: who sends webhooks, as data: how it signs, names and labels what it sends."""

from dataclasses import dataclass

from relay.model.event import Headers, Pick, SignatureScheme
from relay.providers.picks import (
    body,
    constant,
    first,
    form,
    header,
    joined,
    money,
    named,
    parse_pick,
    prefixed,
    query,
    short,
    trimmed,
    when,
)
from relay.providers.schemes import OneOf, Scheme

__all__ = [
    "Provider",
    "body",
    "constant",
    "first",
    "form",
    "header",
    "joined",
    "money",
    "named",
    "parse_pick",
    "prefixed",
    "query",
    "short",
    "trimmed",
    "when",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One sender of webhooks.

    `schemes` are its ways to sign, strongest first; none means it signs nothing. `secret_env`
    names the variables that usually hold its secret. `steps` say where to paste what and may
    hold `{url}`. Any header of `recognise` says that a request is this provider's. `companions`
    are the headers a real request carries besides its signature, with the placeholders of
    `relay.providers.samples`. `indent` is how its JSON is laid out, None being compact, and
    `ending` what follows it; `samples` is the folder of its sample events where that is not its own.
    """

    name: str
    title: str
    monogram: str
    event_type: Pick
    docs: str
    steps: tuple[str, ...]
    schemes: tuple[Scheme, ...] = ()
    idempotency_key: Pick | None = None
    summary: Pick | None = None
    content_type: str = "application/json"
    secret_env: tuple[str, ...] = ()
    recognise: tuple[str, ...] = ()
    companions: Headers = ()
    indent: int | None = None
    ending: bytes = b""
    samples: str = ""

    @property
    def scheme(self) -> SignatureScheme | None:
        """Return the one scheme a source verifies with: several become a choice by headers."""
        if len(self.schemes) > 1:
            return OneOf(schemes=self.schemes)
        return self.schemes[0] if self.schemes else None
