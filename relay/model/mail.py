"""The record of mails sent for events, so that none is sent twice by accident."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from relay.model.event import EventRow
from relay.model.values import dataclass


class MailState(StrEnum):
    """The state of a mail. HANDING: being handed to the server, which has not confirmed it yet."""

    HANDING = "handing"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailClaim:
    """A mail about to be sent: an event, a template and a delivery.

    `kept` in the outbox instead of handed to a server. `once`: a mail sent before is not sent again,
    unless `forced`. `per_hour` limits the mails of this template in an hour; None for no limit.
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
    """A mail that was sent or is being sent: its event, template, time and recipients."""

    delivery_id: int
    event_id: int
    template: str
    recipients: str
    kept: bool
    state: MailState
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MailLimitReached:
    """The hourly limit of a template is reached; the next mail has to wait until then."""

    until: datetime


class DryRunOutcome(StrEnum):
    """The outcome of a mail in a dry run. SENT: it was sent already. UNTAKEN: no route of this event leads there."""

    SEND = "send"
    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"
    UNTAKEN = "untaken"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMail:
    """An event rendered by a template, for `target` if a route has one; `why` is the reason it is not sent.

    `recipients` and `subject` are those of the mail, empty if it could not be rendered.
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
    """A page of a dry run, newest event first: the number of events examined, and the start of the next page."""

    mails: tuple[SimulatedMail, ...]
    events: int
    next_before: int | None

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the number of mails by outcome."""
        found = Counter(mail.outcome for mail in self.mails)
        return {outcome.value: found[outcome] for outcome in DryRunOutcome}
