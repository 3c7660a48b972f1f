"""The handler action: calls the user's functions with an event, in a separate process."""

import logging
from collections.abc import Callable
from dataclasses import field, replace
from typing import Self

from relay.actions.base import Action, AwaitedResponses
from relay.actions.outgoing_request import edit_request
from relay.handlers.environment import HandlerOptions
from relay.handlers.event import event_metadata
from relay.handlers.worker import BrokenFileError, WorkerPool
from relay.model.clock import Clock
from relay.model.delivery import ActionResult, AttemptRetry, Delivery
from relay.model.event import CapturedEvent
from relay.model.signals import HandlersChanged, Signal
from relay.model.values import dataclass

__all__ = ["HandlerAction", "HandlerOptions"]

log = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class HandlerAction(Action[HandlerOptions]):
    """Runs handlers files; an async context manager around their processes.

    `broken` maps targets whose file cannot be run to the reason, and is updated in place; each
    change is published. `awaited` are deliveries whose reply a sender waits for. Deliveries to such a
    target wait as for one that is down.
    """

    name = "handler"

    broken: dict[str, str]
    publish: Callable[[Signal], None]
    clock: Clock
    awaited: AwaitedResponses = field(default_factory=AwaitedResponses)

    def __post_init__(self) -> None:
        """Start without processes."""
        self._pools: dict[str, WorkerPool] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def run(self, event: CapturedEvent, delivery: Delivery, options: HandlerOptions) -> ActionResult:
        """Call the functions registered for the event, once each; the result includes what they printed."""
        pool = self._get_pool(options)
        try:
            result = await pool.run(edit_request(event.capture, delivery.changes), event_metadata(event))
        except BrokenFileError as error:
            self._note(options.target, error)
            return ActionResult(outcome=AttemptRetry(error.message, unreachable=True), output=error.output)
        self._note(options.target, None)
        if result.response is None:
            return result
        # Kept like the response of an app: shown with the attempt, and sent to a waiting sender.
        return replace(result, response=self.awaited.shorten(delivery.id, result.response))

    async def reachable(self, options: HandlerOptions) -> bool:
        """Return whether the file can be run; a broken one is tried again when it has changed."""
        pool = self._get_pool(options)
        restarted = await pool.is_restarted()
        self._note(options.target, pool.error)
        return restarted

    def _get_pool(self, options: HandlerOptions) -> WorkerPool:
        return self._pools.setdefault(options.target, WorkerPool(options, self.clock))

    def _note(self, target: str, error: BrokenFileError | None) -> None:
        was, now = self.broken.get(target, ""), error.message if error else ""
        if was == now:
            return
        if now:
            self.broken[target] = now
            log.info("the handlers of %s cannot be run: %s", target, now)
        else:
            del self.broken[target]
            log.info("the handlers of %s are loaded again", target)
        self.publish(HandlersChanged(target, now))
