"""Sends a mail once for each event and template, unless a second one is forced."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial

from relay.errors import MailError, SentAlreadyError, StoreError
from relay.model.clock import Clock
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded, Outcome
from relay.model.mail import MailClaim, MailLimitReached, MailState, SentMail
from relay.store import SentMails
from relay.store.connection import keep_trying

ClaimQuery = Callable[[MailClaim, datetime], Awaitable[SentMail | MailLimitReached | None]]

_MOST_RECHECKS = 2  # of a claim without a living process
_RECHECK_SECONDS = 1.0  # seconds until a mail that is being handed over is checked again


class MailDeduplication:
    """Claims a mail in the store before it is handed over, and records whether it was sent.

    A claim left by a dead relay is a mail that may have arrived: it counts as sent.
    """

    def __init__(self, sent: SentMails, clock: Clock) -> None:
        self._sent = sent
        self._clock = clock
        self._under_way: set[int] = set()

    async def refuse(self, claim: MailClaim) -> None:
        """Raise SentAlreadyError, or MailError if the hourly limit is reached, for a requested mail."""
        back = await self._find_obstacle(self._sent.standing, claim)
        if back is not None:
            kind = MailError if isinstance(back, MailLimitReached) else SentAlreadyError
            raise kind(self._describe(back, claim.template), hint=_resend_hint(back, claim))

    async def find_refusal(self, claim: MailClaim) -> Outcome | None:
        """Return the outcome of a mail that cannot be sent now, before it is rendered."""
        try:
            return self._build_outcome(await self._find_obstacle(self._sent.standing, claim), claim)
        except (StoreError, TimeoutError):
            return None  # `take` checks again, and sends nothing while the store fails

    async def take(self, claim: MailClaim) -> Outcome | None:
        """Claim a mail that is about to be handed over; a returned outcome holds it back."""
        # Set before the claim is stored: whoever reads the claim knows that it is in progress.
        self._under_way.add(claim.delivery_id)
        try:
            back = await self._find_obstacle(self._sent.claim, claim)
        except StoreError as error:
            self.forget_claim(claim)
            return AttemptRetry(f"not sent, because it could not be recorded: {error.message}")
        if back is not None:
            self.forget_claim(claim)
        return self._build_outcome(back, claim)

    def holds(self, claim: MailClaim) -> bool:
        """Return whether a mail is claimed but not settled."""
        return claim.delivery_id in self._under_way

    def forget_claim(self, claim: MailClaim) -> None:
        """Drop the claim of a mail whose outcome is unknown: it may have arrived."""
        self._under_way.discard(claim.delivery_id)

    async def settle(self, claim: MailClaim, outcome: Outcome) -> Outcome:
        """Record whether a claimed mail was sent; return its outcome, which is final if unknown."""
        try:
            match outcome:
                case AttemptSucceeded():
                    await self._write(self._sent.confirm, claim)
                case AttemptRetry(unsure=True):
                    return AttemptFailed(f"{outcome.detail}; it may have arrived") if claim.once else outcome
                case _:
                    await self._write(self._sent.release, claim)
        finally:
            self.forget_claim(claim)
        return outcome

    async def _find_obstacle(self, ask: ClaimQuery, claim: MailClaim) -> SentMail | MailLimitReached | None:
        """Return why a mail is held back, read again if it was settled in the meantime."""
        back = await ask(claim, self._clock.now())
        for _ in range(_MOST_RECHECKS):
            if not isinstance(back, SentMail) or back.state is MailState.SENT or back.delivery_id in self._under_way:
                break
            back = await ask(claim, self._clock.now())
        return back

    async def _write(self, write: Callable[[int], Awaitable[None]], claim: MailClaim) -> None:
        message = "the outcome of a mail could not be recorded yet"
        await keep_trying(self._clock, message, partial(write, claim.delivery_id))

    def _build_outcome(self, back: SentMail | MailLimitReached | None, claim: MailClaim) -> Outcome | None:
        if back is None:
            return None
        words = self._describe(back, claim.template)
        match back:
            case MailLimitReached(until=until):
                wait = (until - self._clock.now()).total_seconds()
                return AttemptRetry(words, after=max(wait, _RECHECK_SECONDS), tried=False)
            case SentMail(state=MailState.SENT):
                return AttemptSucceeded(f"not sent again: {words}")
            case SentMail(delivery_id=id_) if id_ in self._under_way:
                return AttemptRetry(words, after=_RECHECK_SECONDS, tried=False)
        return AttemptFailed(f"{words}; {_resend_hint(back, claim)}")

    def _describe(self, back: SentMail | MailLimitReached, template: str) -> str:
        match back:
            case MailLimitReached():
                return f"the hourly limit of {template} is reached; the next may go at {_format_time(back.until)}"
            case SentMail(delivery_id=id_) if id_ in self._under_way:
                return f"delivery {id_} is sending #{back.event_id} with {template} right now"
            case SentMail(state=MailState.SENT):
                what = "kept in the outbox" if back.kept else "mailed"
                return f"#{back.event_id} was {what} with {template} already: {_describe_recipients(back)}"
        return (
            f"#{back.event_id} may have been mailed with {template} already: {_describe_recipients(back)}, "
            "but the server did not confirm it"
        )


def _resend_hint(back: SentMail | MailLimitReached, claim: MailClaim) -> str:
    if isinstance(back, MailLimitReached):
        return f"emails.{claim.template}.per_hour sets the limit"
    return f"relay email {claim.event_id} {claim.template} --force sends it anyway"


def _describe_recipients(back: SentMail) -> str:
    return f"{_format_time(back.at)} to {back.recipients}"


def _format_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
