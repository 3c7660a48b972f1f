"""What a person may ask for: replay an event, mail it, try a delivery again, give one up."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from urllib.parse import quote

from relay.actions.egress import EgressRules, check_target
from relay.actions.email import EmailAction
from relay.actions.mail import EmailOptions
from relay.actions.mail.compose import Mail
from relay.delivery.targets import Targets
from relay.errors import UsageError
from relay.model import admission
from relay.model.clock import Clock
from relay.model.delivery import Delivery, DeliveryChanges, DeliveryReason, DeliveryState, NewDelivery, SignMode
from relay.model.event import CapturedEvent, EventRow, Verdict
from relay.model.signals import DeliveryChanged
from relay.model.text import escape_unprintable
from relay.pipeline.bus import Bus
from relay.store import Store

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_ANNOUNCED = 200  # changes announced one by one when many change at once
_URL_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "#?")


GiveUp = Callable[[Callable[[Delivery], bool]], Awaitable[int]]
"""Cancels what is claimed and not sent yet, of what a function picks; returns how many those were."""


class ReplayService:
    """Plans the deliveries that a person asks for; the engine makes them.

    Each method raises NotFoundError for an event or delivery that is not there. `rules(typed)` says
    what may be dialled at this moment; `give_up(select)` cancels what the engine has claimed and not sent.
    """

    def __init__(
        self,
        *,
        store: Store,
        bus: Bus,
        clock: Clock,
        targets: Targets,
        rules: Callable[[bool], EgressRules],
        email: EmailAction,
        give_up: GiveUp,
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._targets = targets
        self._rules = rules
        self._email = email
        self._give_up = give_up

    async def replay_event(self, event_id: int, to: str, changes: DeliveryChanges) -> int:
        """Send an event again, to a configured target or an address typed in; return the delivery's id.

        Signed so that it verifies, unless `changes` says otherwise. Raises TargetError for an address
        that relay must not or cannot dial, UsageError for edits that no request can hold, SentAlreadyError
        for a mail that went out before.
        """
        return await self._add(event_id, await self.prepare_replay(event_id, to, changes))

    async def prepare_replay(self, event_id: int, to: str, changes: DeliveryChanges) -> NewDelivery:
        """Return the delivery that a replay would make, and make none. Raises what `replay_event` does."""
        changes = encode_changes(replace(changes, sign=changes.sign or SignMode.AUTO))
        to, action = await self.resolve_target(to), "forward"
        if "://" in to:
            changes = replace(changes, url=to)
        else:
            target = self._targets.find(to)
            action = target.action
            if isinstance(target.options, EmailOptions):
                await self._email.check_not_sent(event_id, target.options)
        return NewDelivery(target=to, action=action, reason=DeliveryReason.REPLAY, changes=changes, asked=True)

    async def resolve_target(self, to: str) -> str:
        """Return a configured target's name, or an address typed in with its scheme.

        Raises NotFoundError for an unknown name, TargetError for an address that relay must not or cannot dial.
        """
        to = self._targets.place(to)
        if "://" in to:
            await check_target(to, self._rules(True))
        else:
            self._targets.find(to)
        return to

    async def email_event(self, event: CapturedEvent, template: str, to: tuple[str, ...], force: bool = False) -> int:
        """Mail an event with a template, to `to` or whom the template names; return the delivery's id.

        `force` sends it although it was sent before. Raises NotFoundError for an unknown template,
        MailError for a mail that would fail at once, SentAlreadyError for one that went out before.
        """
        await self.check_email(event, template, to, force)
        new = NewDelivery(
            target=template,
            action="email",
            reason=DeliveryReason.MANUAL,
            changes=DeliveryChanges(template=template, to=to, force=force or None),
            asked=True,
        )
        return await self._add(event.id, new)

    async def check_email(self, event: CapturedEvent, template: str, to: tuple[str, ...], force: bool = False) -> None:
        """Raise what `email` would, and plan nothing."""
        await self._email.check(event, template, to, force)

    async def preview_email(self, event: CapturedEvent, template: str, to: tuple[str, ...]) -> Mail:
        """Return the mail as it would be sent; nothing is. Raises NotFoundError, MailError."""
        return await self._email.preview(event, template, to)

    async def retry_delivery(self, id_: int) -> Delivery:
        """Make a delivery due now, also one that was settled.

        Raises UsageError while it runs, SentAlreadyError for a mail that went out before.
        """
        delivery = await self._store.deliveries.get(id_)
        target = self._targets.of(delivery)
        if target is not None and isinstance(target.options, EmailOptions):
            await self._email.check_not_sent(delivery.event_id, target.options, delivery)
        return self._publish(await self._store.deliveries.retry(id_, self._clock.now()))

    async def cancel_delivery(self, id_: int) -> Delivery:
        """Give a waiting delivery up. Raises UsageError when it is not waiting."""
        if await self._give_up(lambda delivery: delivery.id == id_):
            return await self._store.deliveries.get(id_)
        return self._publish(await self._store.deliveries.cancel(id_))

    async def retry_deliveries(self, state: DeliveryState, target: str | None, batch: int | None = None) -> int:
        """Make all deliveries in that state (to that target, of that batch) due now; return how many those are.

        Each has its whole budget of attempts again. Raises UsageError for those that run.
        """
        if state is DeliveryState.RUNNING:
            raise UsageError("what runs cannot be retried", hint="use state failed, cancelled or pending")
        now = self._clock.now()
        return self._publish_all(await self._store.deliveries.retry_all(state, target, now, batch=batch))

    async def cancel_deliveries(self, target: str | None) -> int:
        """Give up all that waits (for that target); return how many deliveries those were."""
        waiting = self._publish_all(await self._store.deliveries.cancel_all(target))
        return waiting + await self._give_up(lambda delivery: target in (None, delivery.target))

    def _publish_all(self, deliveries: tuple[Delivery, ...]) -> int:
        # A listener shows the newest; a thousand lines at once would only push others out.
        for delivery in deliveries[-_MOST_ANNOUNCED:]:
            self._publish(delivery)
        return len(deliveries)

    async def _add(self, event_id: int, new: NewDelivery) -> int:
        (id_,) = await self._store.deliveries.add(event_id, [new], self._clock.now())
        self._bus.publish(DeliveryChanged(id_, event_id, "pending"))
        return id_

    def _publish(self, delivery: Delivery) -> Delivery:
        self._bus.publish(DeliveryChanged.of(delivery))
        return delivery


def warn_of_forgery(row: EventRow, sign: SignMode | None) -> str:
    """Return what a person should know who sends this event: that it failed verification; "" where it did not."""
    if row.verdict is not Verdict.INVALID:
        return ""
    why = admission.describe_reason(row.reason)
    if sign is SignMode.FRESH:
        return f"event {row.id} failed verification, and is signed again because you asked for it. {why}"
    return f"event {row.id} failed verification, and is sent with the signature it came with. {why}"


def encode_changes(changes: DeliveryChanges) -> DeliveryChanges:
    """Return edits as they can go on the wire: what no URL holds in path and query percent-encoded.

    Raises UsageError for what would break the request apart.
    """
    if changes.method is not None and not _TOKEN.fullmatch(changes.method):
        raise UsageError(f"'{escape_unprintable(changes.method, 40)}' is not a method", hint="use one such as POST")
    if changes.path is not None and not changes.path.startswith("/"):
        raise UsageError("a path starts with a slash", hint="use one such as /webhooks")
    changes = _with_split_path(changes)
    for name, value in changes.headers or ():
        if not _TOKEN.fullmatch(name) or set("\r\n\0") & set(value) or not _is_header_value(value):
            raise UsageError(
                f"the header '{escape_unprintable(name, 40)}' cannot be sent",
                hint="a name is letters, digits and dashes; a value is one line",
            )
    return replace(
        changes, path=_percent_encode(changes.path, "path"), query=_percent_encode(changes.query, "query", "?")
    )


def _with_split_path(changes: DeliveryChanges) -> DeliveryChanges:
    """Return edits whose path holds no query: what follows its `?` is the query."""
    path, mark, query = (changes.path or "").partition("?")
    if not mark or changes.query is not None:
        return changes  # beside a query of its own, a ? is a letter of the path
    return replace(changes, path=path, query=query)


def _percent_encode(text: str | None, what: str, also: str = "") -> str | None:
    if text is None:
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        text = "\0"
    if _CONTROL.search(text):
        raise UsageError(f"the {what} holds control characters", hint="percent-encode them: %0A")
    return quote(text, safe=_URL_SAFE + also)


def _is_header_value(value: str) -> bool:
    return all(ord(letter) < 0x100 for letter in value)
