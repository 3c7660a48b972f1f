"""User actions on deliveries: replay or mail an event, retry or cancel deliveries."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from relay.actions.egress import EgressRules
from relay.actions.email import EmailAction
from relay.actions.mail import EmailOptions
from relay.delivery.targets import Targets
from relay.errors import UsageError
from relay.model import admission
from relay.model.clock import Clock
from relay.model.delivery import Delivery, DeliveryChanges, DeliveryReason, DeliveryState, NewDelivery, SignMode
from relay.model.event import CapturedEvent, EventRow, Verdict
from relay.model.signals import DeliveryChanged
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.pipeline.bus import Bus
from relay.store import Store

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_HEADER_VALUE = re.compile(r"[^\r\n\0\u0100-\U0010ffff]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # a lone surrogate is not a character either
_MOST_ANNOUNCED = 200  # changes announced individually if many change at once
_URL_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#?")


GiveUp = Callable[[Callable[[Delivery], bool]], Awaitable[int]]
"""Cancels what is claimed and not sent yet, of what a function picks; returns how many those were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayService:
    """Creates the deliveries that a user requests; the engine makes them.

    Each method raises NotFoundError for an unknown event or delivery. `rules(typed)` gives
    the egress rules at this moment; `give_up(select)` cancels deliveries that the engine has claimed and not sent.
    """

    store: Store
    bus: Bus
    clock: Clock
    targets: Targets
    rules: Callable[[bool], EgressRules]
    email: EmailAction
    give_up: GiveUp

    async def replay_event(self, event_id: int, to: str, changes: DeliveryChanges) -> int:
        """Send an event again, to a configured target or an address typed in; return the delivery's id.

        It is signed so that it verifies, unless `changes` differs. Raises TargetError for an address
        that relay must not or cannot call, UsageError for invalid edits, SentAlreadyError
        for a mail that was sent before.
        """
        return await self._add(event_id, await self.prepare_replay(event_id, to, changes))

    async def prepare_replay(self, event_id: int, to: str, changes: DeliveryChanges) -> NewDelivery:
        """Return the delivery that a replay would make, without making it. Raises as `replay_event` does."""
        changes = encode_changes(replace(changes, sign=changes.sign or SignMode.AUTO))
        to, action = await self.targets.resolve(to, self.rules(True)), "forward"
        if "://" in to:
            changes = replace(changes, url=to)
        else:
            target = self.targets.find(to)
            action = target.action
            if isinstance(target.options, EmailOptions):
                await self.email.check_not_sent(event_id, target.options)
        return NewDelivery(target=to, action=action, reason=DeliveryReason.REPLAY, changes=changes, asked=True)

    async def email_event(self, event: CapturedEvent, template: str, to: tuple[str, ...], force: bool = False) -> int:
        """Mail an event with a template, to `to` or whom the template names; return the delivery's id.

        `force` sends it although it was sent before. Raises NotFoundError for an unknown template,
        MailError for a mail that would fail at once, SentAlreadyError for one that was sent before.
        """
        await self.email.check(event, template, to, force)
        new = NewDelivery(
            target=template,
            action="email",
            reason=DeliveryReason.MANUAL,
            changes=DeliveryChanges(template=template, to=to, force=force or None),
            asked=True,
        )
        return await self._add(event.id, new)

    async def retry_delivery(self, id_: int) -> Delivery:
        """Make a delivery due now, even if it has ended.

        Raises UsageError while it runs, SentAlreadyError for a mail that was sent before.
        """
        delivery = await self.store.deliveries.get(id_)
        target = self.targets.of(delivery)
        if target is not None and isinstance(target.options, EmailOptions):
            await self.email.check_not_sent(delivery.event_id, target.options, delivery)
        return self._publish(await self.store.deliveries.retry(id_, self.clock.now()))

    async def cancel_delivery(self, id_: int) -> Delivery:
        """Cancel a pending delivery. Raises UsageError if it is not pending."""
        if await self.give_up(lambda delivery: delivery.id == id_):
            return await self.store.deliveries.get(id_)
        return self._publish(await self.store.deliveries.cancel(id_))

    async def retry_deliveries(self, state: DeliveryState, target: str | None, batch: int | None = None) -> int:
        """Make all deliveries in that state (to that target, of that batch) due now; return how many.

        Each starts with a full budget of attempts. Raises UsageError for running deliveries.
        """
        if state is DeliveryState.RUNNING:
            raise UsageError("what runs cannot be retried", hint="use state failed, cancelled or pending")
        now = self.clock.now()
        return self._publish_all(await self.store.deliveries.retry_all(state, target, now, batch=batch))

    async def cancel_deliveries(self, target: str | None) -> int:
        """Cancel all pending deliveries (to that target); return how many."""
        waiting = self._publish_all(await self.store.deliveries.cancel_all(target))
        return waiting + await self.give_up(lambda delivery: target in (None, delivery.target))

    def _publish_all(self, deliveries: tuple[Delivery, ...]) -> int:
        # A listener shows the newest; a thousand lines at once would only displace others.
        for delivery in deliveries[-_MOST_ANNOUNCED:]:
            self._publish(delivery)
        return len(deliveries)

    async def _add(self, event_id: int, new: NewDelivery) -> int:
        (id_,) = await self.store.deliveries.add(event_id, [new], self.clock.now())
        self.bus.publish(DeliveryChanged(id_, event_id, "pending"))
        return id_

    def _publish(self, delivery: Delivery) -> Delivery:
        self.bus.publish(DeliveryChanged.of(delivery))
        return delivery


def warn_of_forgery(row: EventRow, sign: SignMode | None) -> str:
    """Return a warning if the event failed verification, else ""."""
    if row.verdict is not Verdict.INVALID:
        return ""
    why = admission.describe_reason(row.reason)
    if sign is SignMode.FRESH:
        return f"event {row.id} failed verification, and is signed again because you asked for it. {why}"
    return f"event {row.id} failed verification, and is sent with the signature it came with. {why}"


def encode_changes(changes: DeliveryChanges) -> DeliveryChanges:
    """Return edits in wire format: characters not allowed in a URL's path and query are percent-encoded.

    Raises UsageError for characters that would break the request.
    """
    if changes.method is not None and not _TOKEN.fullmatch(changes.method):
        raise UsageError(f"'{escape_unprintable(changes.method, 40)}' is not a method", hint="use one such as POST")
    if changes.path is not None and not changes.path.startswith("/"):
        raise UsageError("a path starts with a slash", hint="use one such as /webhooks")
    path, query = changes.path, changes.query
    if path is not None and query is None and "?" in path:  # if a query is given separately, a ? belongs to the path
        path, _, query = path.partition("?")
    for name, value in changes.headers or ():
        if not (_TOKEN.fullmatch(name) and _HEADER_VALUE.fullmatch(value)):
            raise UsageError(
                f"the header '{escape_unprintable(name, 40)}' cannot be sent",
                hint="a name is letters, digits and dashes; a value is one line",
            )
    return replace(changes, path=_percent_encode(path, "path"), query=_percent_encode(query, "query", "?"))


def _percent_encode(text: str | None, what: str, also: str = "") -> str | None:
    if text is None:
        return None
    if _CONTROL.search(text):
        raise UsageError(f"the {what} holds control characters", hint="percent-encode them: %0A")
    return quote(text, safe=_URL_SAFE + also)
