"""A provider as data: how it signs and names its webhooks, and the response it expects."""

import dataclasses
import re
from typing import NamedTuple

from relay.errors import ConfigError
from relay.model.admission import Answer
from relay.model.event import Extractor, Headers, SignatureScheme, StatusReader
from relay.model.request_items import ItemPaths
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.generic_challenges import Challenge
from relay.providers.schemes.base import Scheme
from relay.providers.schemes.one_of import OneOf
from relay.providers.schemes.signed_text import SignedText

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_SUCCESS = frozenset(range(200, 300))
ONLY_200 = frozenset({200})
# 429 asks for a later attempt, so it does not end the retries of providers that give up on other 4xx.
CLIENT_ERRORS = frozenset(range(400, 500)) - {429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How one provider retries an event that was not accepted.

    `waits` are the seconds before each retry. If only their number and total span are published, relay
    spreads them: `spread` is both, and the growth factor from one to the next (2 if left out).
    `limit` is how many seconds a response may take, None if undocumented. `success_statuses` count
    as delivered, `stop_statuses` end the retries, and so does `stop_header` in a response. `retry_headers` are
    added to each retry, with `{n}` for its number and `{reason}` for the reason. `then` describes what follows the last
    failure, `source` is the page that documents this, by default the provider's own.
    """

    source: str = ""
    waits: tuple[float, ...] = ()
    spread: tuple[int, float] | tuple[int, float, float] | None = None
    limit: float | None = None
    success_statuses: frozenset[int] = _SUCCESS
    stop_statuses: frozenset[int] = frozenset()
    stop_header: tuple[str, str] | None = None
    retry_headers: Headers = ()
    then: str = ""

    def __post_init__(self) -> None:
        if self.spread is not None:
            count, span, growth = self.spread if len(self.spread) == 3 else (*self.spread, 2.0)
            shares = [growth**number for number in range(count)]
            object.__setattr__(self, "waits", tuple(span * share / sum(shares) for share in shares))

    @property
    def published(self) -> bool:
        """Return whether the provider documents the times of its retries."""
        return self.spread is None

    @property
    def span(self) -> float:
        """Return the seconds from the first attempt to the last."""
        return sum(self.waits)


# The defaults of Svix's server, which Resend and Clerk run on; the first attempt comes at once and is not listed.
SVIX_SCHEDULE = Schedule(
    waits=(5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR),
    limit=15.0,
    stop_header=("webhook-delivery", "abort-message"),
    then="the endpoint is disabled after 5 days of failures",
    source="https://docs.svix.com/retries",
)

# The table of the specification, which is advice: who signs this way may do otherwise.
# 410 means that the endpoint is gone, so the sender disables it.
STANDARD_SCHEDULE = Schedule(
    waits=(5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
    limit=15.0,
    stop_statuses=frozenset({410}),
    source="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
)


class OtherCredential(NamedTuple):
    """Prefixes of the provider's other credentials, which never sign webhooks: what they are, and what signs."""

    prefixes: tuple[str, ...]
    title: str
    signing_secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One sender of webhooks, whole: everything that relay knows of it is here and in its folder of samples.

    Defaults are left out: a `title` like the name, a `monogram` of its first two capitals or letters, a secret in
    NAME_WEBHOOK_SECRET. `steps` are setup steps, one a line, which may contain `{url}` and `{secret}`, the first of
    `secret_env`: the usual variables of its secret (`verify_token_env`: of its verify token, if a handshake
    has one). `schemes` are its signature schemes, strongest first, each with a name if there are several; none means it
    signs nothing. Any header of `recognise` identifies a request of this provider: by default those of its signatures;
    empty if other providers send them, too. `companions` are the headers of a real request
    besides its signature, with the placeholders of `relay.providers.samples`. `indent` is the indent of its JSON,
    None for compact, and `ending` follows it; `samples` is the folder of its sample events if that is not its
    own. `items` gives the locations of several events in a request; `event_type` is read from each of them.
    `answer` describes the response it expects, how soon, and its retries, `schedule` its retries to the second; ""
    and None if undocumented. `answer_body` is the response body that it requires, "" if any will
    do, `answer_type` its content type; `form_answer` is the body for form requests, None if any will do.
    `challenges` are its setup handshakes; `message_status` reads the status of a mail or SMS, None if it sends none.
    """

    name: str
    title: str = ""
    monogram: str = ""
    event_type: Extractor
    docs: str
    steps: str
    schemes: tuple[Scheme, ...] = ()
    idempotency_key: Extractor | None = None
    summary: Extractor | None = None
    content_type: str = "application/json"
    secret_env: tuple[str, ...] = ()
    verify_token_env: tuple[str, ...] = ()
    other_credential: OtherCredential | None = None
    recognise: tuple[str, ...] | None = None
    companions: Headers = ()
    indent: int | None = None
    ending: bytes = b""
    samples: str = ""
    items: ItemPaths | None = None
    answer: str = ""
    schedule: Schedule | None = None
    answer_body: str = ""
    answer_type: str = "text/plain; charset=utf-8"
    form_answer: str | None = None
    challenges: tuple[Challenge, ...] = ()
    message_status: StatusReader | None = None

    def __post_init__(self) -> None:
        usual: dict[str, object] = {"title": self.name.capitalize()}
        letters = re.match(r"(.)[^A-Z]*([A-Z])", self.title)
        usual["monogram"] = letters[1] + letters[2].lower() if letters else (self.title or self.name.capitalize())[:2]
        usual["secret_env"] = (f"{self.name.upper().replace('-', '_')}_WEBHOOK_SECRET",)
        for field, value in usual.items():
            if not getattr(self, field):
                object.__setattr__(self, field, value)
        if self.schedule is not None and not self.schedule.source:
            object.__setattr__(self, "schedule", dataclasses.replace(self.schedule, source=self.docs))

    @property
    def own_headers(self) -> tuple[str, ...]:
        """Return the headers that only this provider sends."""
        if self.recognise is not None:
            return self.recognise
        places = [getattr(scheme, "place", None) for scheme in self.schemes]
        names = [name for place in places for name in getattr(place, "names", ())]
        return tuple(dict.fromkeys(name.replace("#", "1") for name in names if name != "Authorization"))

    @property
    def secret_variable(self) -> str:
        """Return the usual variable of its secret."""
        return self.secret_env[0]

    def list_steps(self, url: str) -> tuple[str, ...]:
        """Return the setup steps for a URL."""
        steps = self.steps.replace("{secret}", self.secret_variable)
        return tuple(step.strip().replace("{url}", url) for step in steps.splitlines())

    @property
    def scheme(self) -> SignatureScheme | None:
        """Return the scheme of a source; several become a choice by headers."""
        if len(self.schemes) > 1:
            return OneOf(schemes=self.schemes)
        return self.schemes[0] if self.schemes else None

    @property
    def default_answer(self) -> Answer:
        """Return the default response to it."""
        if not self.answer_body:
            return Answer(form_body=self.form_answer)
        return Answer(body=self.answer_body, content_type=self.answer_type)

    def select_scheme(self, name: str) -> Scheme:
        """Return the scheme of that name, which then accepts all secrets of its form.

        Raises ConfigError that lists the names.
        """
        scheme = next((scheme for scheme in self.schemes if name and scheme.name == name), None)
        if scheme is None:
            known = [scheme.name for scheme in self.schemes if scheme.name]
            hint = f"use {' or '.join(known)}" if known else f"leave it out: {self.title} signs in one way only"
            raise ConfigError(f"scheme: {self.title} has no scheme '{escape_unprintable(name, 40)}'", hint=hint)
        # A source that names its scheme accepts secrets with or without their prefix.
        if isinstance(scheme, SignedText) and scheme.key.exclusive:
            return dataclasses.replace(scheme, key=dataclasses.replace(scheme.key, exclusive=False))
        return scheme
