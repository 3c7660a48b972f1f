"""The target of a delivery: a configured target, an address that was typed in, or a requested mail."""

from collections.abc import Mapping
from dataclasses import replace

from relay.actions.egress import EgressRules, check_target, complete_url
from relay.actions.forward import ForwardOptions
from relay.actions.mail import EmailOptions
from relay.errors import NotFoundError
from relay.model.delivery import ONCE, AttemptRetry, Delivery, RetryPolicy, SignMode, Target
from relay.model.text import escape_unprintable
from relay.store import BlockedWork


class Targets:
    """The configured targets and mail templates, by name. `by_hand` is the retry policy of requested mails.

    `fifo` names the targets that keep the order of each source; `most` gives the concurrency of each.
    """

    def __init__(
        self, targets: Mapping[str, Target], emails: Mapping[str, EmailOptions], by_hand: RetryPolicy | None = None
    ) -> None:
        self._targets = targets
        self._emails = emails
        self._by_hand = by_hand or RetryPolicy()
        self.names = frozenset(targets)
        self.fifo = frozenset(name for name, target in targets.items() if target.fifo)
        self.most = {name: target.concurrency for name, target in targets.items()}

    def named(self, name: str) -> Target | None:
        """Return a configured target."""
        return self._targets.get(name)

    def find(self, name: str) -> Target:
        """Return a configured target. Raises NotFoundError that lists the configured ones."""
        if name not in self._targets:
            known = ", ".join(sorted(self._targets)) or "none yet"
            hint = f"there is: {known}; or give an address: http://…"
            raise NotFoundError(f"no target '{escape_unprintable(name, 80)}'", hint=hint)
        return self._targets[name]

    def place(self, text: str) -> str:
        """Return a target's name unchanged, and an address with its scheme added if it was left out."""
        return text if text in self._targets else complete_url(text)

    async def resolve(self, text: str, rules: EgressRules) -> str:
        """Return the name of a configured target, or a typed address with its scheme.

        Raises NotFoundError for an unknown name, TargetError for an address that relay must not or cannot call.
        """
        to = self.place(text)
        if "://" in to:
            await check_target(to, rules)
        else:
            self.find(to)
        return to

    def of(self, delivery: Delivery) -> Target | None:
        """Return the target of a delivery; None if it is no longer configured.

        A typed address gets one attempt: the user sees the outcome.
        """
        url, template = delivery.changes.url, delivery.changes.template
        if url is not None:
            return Target(name=delivery.target, action="forward", options=ForwardOptions(url=url), retry=ONCE)
        if template is not None:
            options = self._emails.get(template)
            if options is None:
                return None
            return Target(name=delivery.target, action="email", options=options, retry=self._by_hand)
        target = self._targets.get(delivery.target)
        return replace(target, retry=ONCE) if target and delivery.changes.once else target

    def describe_missing(self, delivery: Delivery) -> str:
        """Return the message for a delivery whose target or mail template is no longer configured."""
        template = delivery.changes.template
        missing = f"target '{delivery.target}'" if template is None else f"[emails.{template}]"
        return f"relay.toml has no {missing} any more"

    def lasting(self, delivery: Delivery) -> bool:
        """Return whether a delivery goes to a configured target, so that it may wait until that answers."""
        changes = delivery.changes
        if delivery.lab is not None:
            return False  # the load of the lab says nothing about the app's usual health
        return changes.url is None and changes.template is None and delivery.target in self._targets

    def is_last(self, delivery: Delivery, outcome: AttemptRetry) -> bool:
        """Return whether a delivery is not retried after this outcome, because its attempts are used up."""
        target = self.of(delivery)
        waits = not outcome.tried or (outcome.unreachable and self.lasting(delivery))
        return target is not None and not waits and delivery.attempts + 1 - delivery.spared >= target.retry.attempts

    @property
    def sending(self) -> tuple[str, ...]:
        """Return the names of the targets that are programs, that is all but mails."""
        return tuple(name for name, target in self._targets.items() if target.action != "email")

    @property
    def policies(self) -> tuple[RetryPolicy, ...]:
        """Return all retry policies."""
        return (RetryPolicy(), self._by_hand, *(target.retry for target in self._targets.values()))

    def waits(self, *, mail: bool, sources: frozenset[str]) -> BlockedWork:
        """Return which deliveries wait for the vault: all mails if `mail`, and those to be signed for `sources`."""
        mails = {name for name, target in self._targets.items() if target.action == "email"} | set(self._emails)
        signed = (
            name
            for name, target in self._targets.items()
            if isinstance(target.options, ForwardOptions) and target.options.sign is not SignMode.ORIGINAL
        )
        return BlockedWork(
            # If a template and a forward target share a name, only the mails wait.
            targets=frozenset(mails - set(self.sending)) if mail else frozenset(),
            actions=frozenset({"email"}) if mail else frozenset(),
            signing=dict.fromkeys(signed, sources) if sources else {},
        )
