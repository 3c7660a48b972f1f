"""Which mails went out for which events, so that none goes out twice by accident."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SentState(StrEnum):
    """How far a mail came. HANDING: the server is about to get it, or got it and was not heard."""

    HANDING = "handing"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is about to be mailed: an event by a template, for a delivery.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMail:
    """A mail that went out, or is on its way: for which event, by which template, when, to whom."""

    delivery_id: int
    event_id: int
    template: str
    recipients: str
    kept: bool
    state: SentState
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Full:
    """So many mails of a template left within an hour that the next has to wait until then."""

    until: datetime
