"""Email: an event rendered as a mail and handed to the SMTP server, or kept in the outbox."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from relay.actions.base import Action
from relay.actions.dedupe import MailDeduplication
from relay.actions.egress import probe_connection
from relay.actions.mail import EmailOptions, SmtpOptions
from relay.actions.mail.addresses import check_recipients, parse_named_address
from relay.actions.mail.compose import Mail, MailMetadata, compose_mail, write_to_outbox
from relay.actions.mail.rendering import render_mail
from relay.actions.mail.smtp import Envelope, send_mail
from relay.actions.outgoing_request import edit_request
from relay.errors import MailError, NotFoundError, StoreError
from relay.model.clock import Clock
from relay.model.delivery import (
    ActionResult,
    AttemptFailed,
    AttemptRetry,
    AttemptSucceeded,
    Delivery,
    Outcome,
    SentRequest,
)
from relay.model.event import CapturedEvent
from relay.model.mail import MailClaim
from relay.model.message import MessageStatus, NewMessage
from relay.model.signals import MessageChanged, Signal
from relay.model.values import dataclass
from relay.store import Messages, SentMails

__all__ = ["EmailAction", "EmailOptions"]

log = logging.getLogger(__name__)

_LOCAL_SENDER = "relay@localhost"


@dataclass(eq=False, kw_only=True)
class EmailAction(Action[EmailOptions]):
    """Sends mails to the server `smtp`, or to the folder `outbox` without one; each once, and stored as a message.

    `smtp` changes when its credentials become available or locked; `is_last` returns whether a delivery is not retried
    after an outcome: its mail has failed.
    """

    name = "email"

    templates: Mapping[str, EmailOptions]
    outbox: Path
    smtp: SmtpOptions | None = None
    messages: Messages
    sent: SentMails
    publish: Callable[[Signal], None]
    clock: Clock
    is_last: Callable[[Delivery, AttemptRetry], bool] = lambda _delivery, _outcome: False

    def __post_init__(self) -> None:
        """Start without mails in progress."""
        self._once = MailDeduplication(self.sent, self.clock)

    async def run(self, event: CapturedEvent, delivery: Delivery, options: EmailOptions) -> ActionResult:
        """Render the mail and send it once. A mail that cannot be rendered or may not be sent is Failed."""
        back: Outcome | None = None
        event = replace(event, capture=edit_request(event.capture, delivery.changes))
        try:
            if delivery.changes.template is not None:
                options = self._template(delivery.changes.template)
            claim = self._claim(options, event.id, delivery.id, forced=bool(delivery.changes.force))
            back = await self._once.find_refusal(claim)
            if back is not None and not isinstance(back, AttemptFailed):
                return ActionResult(outcome=back)
            # On a separate thread: a slow template must not block the capture of requests.
            mail = await asyncio.to_thread(render_mail, options, event, delivery.changes.to)
            stamp = self._stamp(event, delivery)
            source = await asyncio.to_thread(compose_mail, mail, stamp)
        except (MailError, NotFoundError) as error:
            return ActionResult(outcome=back or AttemptFailed(error.message))
        if back is not None:
            await self._write_down(mail, stamp, source, delivery, back)
            return ActionResult(outcome=back)
        claim = replace(claim, recipients=", ".join(mail.recipients))
        try:
            outcome = await self._send(mail, stamp, source, claim)
        except BaseException:
            self._once.forget_claim(claim)
            raise
        if self._once.holds(claim):
            outcome = await self._once.settle(claim, outcome)
        elif isinstance(outcome, AttemptSucceeded):
            return ActionResult(outcome=outcome)  # it was sent by another delivery in the meantime
        if not isinstance(outcome, AttemptRetry) or self.is_last(delivery, outcome):
            await self._write_down(mail, stamp, source, delivery, outcome)
        return ActionResult(outcome=outcome, request=self._envelope(mail, stamp))

    @property
    def waits(self) -> bool:
        """Return whether mails wait because a credential is missing or in the locked vault."""
        return self.smtp is not None and bool(self.smtp.blocked)

    async def reachable(self, options: EmailOptions) -> bool:  # noqa: ARG002 - every template has the same server
        """Return whether the mail server accepts a connection."""
        if self.smtp is None:
            return True
        return not self.waits and await probe_connection((self.smtp.host,), self.smtp.port)

    async def preview(self, event: CapturedEvent, template: str, to: tuple[str, ...] = ()) -> Mail:
        """Return the mail as it would be sent, without sending it. Raises NotFoundError, MailError."""
        return await asyncio.to_thread(render_mail, self._template(template), event, to)

    async def check(self, event: CapturedEvent, template: str, to: tuple[str, ...] = (), force: bool = False) -> None:
        """Raise as `preview` does, and MailError for forbidden recipients or a second mail."""
        self.check_allowed(await self.preview(event, template, to))
        await self._once.refuse(self._claim(self._template(template), event.id, 0, forced=force))

    async def check_not_sent(self, event_id: int, options: EmailOptions, delivery: Delivery | None = None) -> None:
        """Raise MailError for a delivery, new or retried, whose mail was sent already."""
        forced = delivery is not None and bool(delivery.changes.force)
        claim = self._claim(options, event_id, delivery.id if delivery else 0, forced=forced)
        await self._once.refuse(replace(claim, per_hour=None))

    def check_allowed(self, mail: Mail) -> None:
        """Raise MailError for recipients that the configuration does not allow."""
        # Without [smtp] nothing leaves this computer, so no recipient needs protection.
        if self.smtp is not None:
            check_recipients(mail.recipients, mail.fixed, self.smtp.allow_recipients)

    def _claim(self, options: EmailOptions, event_id: int, delivery_id: int, *, forced: bool) -> MailClaim:
        return MailClaim(
            delivery_id=delivery_id,
            event_id=event_id,
            template=options.name,
            recipients="",
            kept=self.smtp is None,
            once=options.once,
            forced=forced,
            per_hour=options.per_hour,
        )

    def _template(self, name: str) -> EmailOptions:
        try:
            return self.templates[name]
        except KeyError:
            known = ", ".join(sorted(self.templates)) or "none yet"
            raise NotFoundError(f"no mail template '{name}'", hint=f"there is: {known}") from None

    def _stamp(self, event: CapturedEvent, delivery: Delivery) -> MailMetadata:
        sender = self.smtp.sender if self.smtp else _LOCAL_SENDER
        # The same for every attempt of a delivery, so that a mail sent twice is recognisable as one.
        made = f"{event.id} {delivery.id} {event.capture.received_at} {delivery.created_at}"
        token = hashlib.sha256(made.encode()).hexdigest()[:20]
        domain = parse_named_address(sender)[1].rpartition("@")[2]
        return MailMetadata(
            sender=sender,
            message_id=f"<relay.{event.id}.{delivery.id}.{token}@{domain}>",
            date=self.clock.now().replace(microsecond=0),
            event_id=event.id,
        )

    async def _send(self, mail: Mail, stamp: MailMetadata, source: bytes, claim: MailClaim) -> Outcome:
        try:
            self.check_allowed(mail)
            if self.smtp is None:
                return await self._keep(stamp, source, claim)
        except MailError as error:
            return AttemptFailed(error.message)
        if self.smtp.blocked:
            # It was claimed before the vault was locked: neither tried nor counted as an attempt.
            return AttemptRetry(self.smtp.blocked, unreachable=True)
        envelope = Envelope(sender=parse_named_address(stamp.sender)[1], to=mail.recipients)
        return await send_mail(source, envelope, self.smtp, lambda: self._once.take(claim))

    async def _keep(self, stamp: MailMetadata, source: bytes, claim: MailClaim) -> Outcome:
        back = await self._once.take(claim)
        if back is not None:
            return back
        try:
            await asyncio.to_thread(write_to_outbox, self.outbox, stamp.message_id, source)
        except MailError as error:
            # A full disk or a missing folder: not the mail's fault, and temporary.
            return AttemptRetry(error.message)
        return AttemptSucceeded("kept in the outbox")

    async def _write_down(
        self, mail: Mail, stamp: MailMetadata, source: bytes, delivery: Delivery, outcome: Outcome
    ) -> None:
        status = MessageStatus.SENT if self.smtp else MessageStatus.OUTBOX
        if not isinstance(outcome, AttemptSucceeded):
            status = MessageStatus.FAILED
        new = NewMessage(
            channel="email",
            provider="smtp" if self.smtp else "outbox",
            external_id=stamp.message_id,
            recipient=", ".join(mail.to),
            subject=mail.subject,
            status=status,
            event_id=delivery.event_id,
            delivery_id=delivery.id,
            detail=outcome.detail,
        )
        try:
            id_ = await self.messages.add(new, source, self.clock.now())
        except StoreError as error:
            # The mail was sent; retrying because of a missing row would send it twice.
            log.warning("a mail was sent but not recorded: %s", error.message, extra={"delivery": delivery.id})
            return
        self.publish(MessageChanged(id_, delivery.event_id, status.value))

    def _envelope(self, mail: Mail, stamp: MailMetadata) -> SentRequest:
        smtp = self.smtp
        headers = {
            "From": stamp.sender,
            "To": ", ".join(mail.to),
            "Subject": mail.subject,
            "Message-ID": stamp.message_id,
        }
        return SentRequest(
            method="MAIL",
            url=f"smtp://{smtp.address}" if smtp else "outbox:",
            headers=tuple((name, value.encode().decode("latin-1")) for name, value in headers.items()),
        )
