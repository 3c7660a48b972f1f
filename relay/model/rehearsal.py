"""What mails would have gone out for events of the past: a dry run, of which nothing is sent."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from relay.model.event import EventRow


class Rehearsed(StrEnum):
    """What would become of a mail. SENT: it went out already. UNTAKEN: no route leads there from this event."""

    SEND = "send"
    SENT = "sent"
    REFUSED = "refused"
    FAILED = "failed"
    UNTAKEN = "untaken"


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedMail:
    """One event by one template, to `target` where a route leads to one; `why` says what keeps it from going out.

    `recipients` and `subject` are those of the mail, empty where it could not be rendered.
    """

    event: EventRow
    template: str
    target: str
    outcome: Rehearsed
    why: str = ""
    recipients: tuple[str, ...] = ()
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """A page of a dry run, newest event first: how many events were looked at, and where the next page begins."""

    mails: tuple[RehearsedMail, ...]
    events: int
    next_before: int | None

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how many mails would become what."""
        found = Counter(mail.outcome for mail in self.mails)
        return {outcome.value: found[outcome] for outcome in Rehearsed}
