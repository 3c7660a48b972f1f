"""Which mails went out for which events, so that none goes out twice by accident."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from relay.model.event import EventRow
from relay.model.values import dataclass


class MailState(StrEnum):
    """How far a mail came. HANDING: the server is about to get it, or got it and has not confirmed it."""

    HANDING = "handing"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailClaim:
    """A mail about to be sent: an event, a template and a delivery.

    `kept` in the outbox instead of handed to a server. `once`: nothing goes out that went out before,
    unless `forced`. `per_hour` is how many mails of this template may leave in an hour; None for any.
    """

    delivery_id: int
    event_id: int
    template: str
    recipients: str
    kept: bool
    once: bool = True
    forced: bool = False
    per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that went out, or is on its way: for which event, by which template, when, to whom."""

    delivery_id: int
    event_id: int
    template: str
    recipients: str
    kept: bool
    state: MailState
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailLimitReached:
    """So many mails of a template left within an hour that the next has to wait until then."""

    until: datetime


class DryRunOutcome(StrEnum):
    """The outcome of a mail in a dry run. SENT: it went out already. UNTAKEN: no route leads there from this event."""

    SEND = "send"
    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"
    UNTAKEN = "untaken"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMail:
    """One event by one template, to `target` where a route leads to one; `why` says what keeps it from going out.

    `recipients` and `subject` are those of the mail, empty where it could not be rendered.
    """

    event: EventRow
    template: str
    target: str
    outcome: DryRunOutcome
    why: str = ""
    recipients: tuple[str, ...] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunPage:
    """A page of a dry run, newest event first: how many events were looked at, and where the next page begins."""

    mails: tuple[SimulatedMail, ...]
    events: int
    next_before: int | None

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how many mails have which outcome."""
        found = Counter(mail.outcome for mail in self.mails)
        return {outcome.value: found[outcome] for outcome in DryRunOutcome}
