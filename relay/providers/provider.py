"""Provider: who sends webhooks, as data: how it signs, names and labels what it sends."""

import dataclasses
from dataclasses import dataclass

from relay.errors import ConfigError
from relay.model.answer import Answer
from relay.model.event import Headers, Pick, SignatureScheme, StatusReader
from relay.model.items import ItemPaths
from relay.model.text import printable
from relay.providers.lists import alongside, body_digest, each, key, sole
from relay.providers.picks import (
    body,
    constant,
    first,
    form,
    header,
    joined,
    money,
    named,
    optional,
    parse_pick,
    prefixed,
    query,
    short,
    trimmed,
    when,
)
from relay.providers.schemes import OneOf, Scheme, SignedText

__all__ = [
    "Provider",
    "alongside",
    "body",
    "body_digest",
    "constant",
    "each",
    "first",
    "form",
    "header",
    "joined",
    "key",
    "money",
    "named",
    "optional",
    "parse_pick",
    "prefixed",
    "query",
    "short",
    "sole",
    "trimmed",
    "when",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One sender of webhooks.

    `schemes` are its ways to sign, strongest first, each with a name where there are several; none
    means it signs nothing. `secret_env`
    names the variables that usually hold its secret. `steps` say where to paste what and may
    hold `{url}`. Any header of `recognise` says that a request is this provider's. `companions`
    are the headers a real request carries besides its signature, with the placeholders of
    `relay.providers.samples`. `indent` is how its JSON is laid out, None being compact, and
    `ending` what follows it; `samples` is the folder of its sample events where that is not its own.
    `items` says where a request holds several events; `event_type` is asked of a request with each of them alone.
    `answer` says what it expects to be answered, how soon, and how it retries; "" where nobody knows.
    `answer_body` is the text it must be answered with, "" where any will do, `answer_type` its content type;
    `form_answer` is the text for requests that are forms, None where any will do. `message_status` reads
    what became of a mail or SMS, None for who sends none.
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
    items: ItemPaths | None = None
    answer: str = ""
    answer_body: str = ""
    answer_type: str = "text/plain; charset=utf-8"
    form_answer: str | None = None
    message_status: StatusReader | None = None

    @property
    def scheme(self) -> SignatureScheme | None:
        """Return the one scheme a source verifies with: several become a choice by headers."""
        if len(self.schemes) > 1:
            return OneOf(schemes=self.schemes)
        return self.schemes[0] if self.schemes else None

    @property
    def usual_answer(self) -> Answer:
        """Return what it is answered with unless relay.toml says otherwise."""
        if not self.answer_body:
            return Answer(form_body=self.form_answer)
        return Answer(body=self.answer_body, content_type=self.answer_type)

    def pinned(self, name: str) -> Scheme:
        """Return the one scheme of that name, which then takes every secret of its form.

        Raises ConfigError, with the names there are.
        """
        scheme = next((scheme for scheme in self.schemes if name and scheme.name == name), None)
        if scheme is None:
            known = [scheme.name for scheme in self.schemes if scheme.name]
            hint = (
                f"use {' or '.join(known)}" if known else f"leave it out: {self.title} signs in one way only"
            )
            raise ConfigError(f"scheme: {self.title} has no scheme '{printable(name, 40)}'", hint=hint)
        if isinstance(scheme, SignedText) and scheme.key.exclusive:
            # The prefix only told the schemes apart, and that is settled now.
            return dataclasses.replace(scheme, key=dataclasses.replace(scheme.key, exclusive=False))
        return scheme
