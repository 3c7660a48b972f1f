"""Handler: an event given to the user's own functions, in a process of their own."""

import logging
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from relay.actions.base import Action, AwaitedResponses
from relay.actions.http_client import KEPT_BODY
from relay.actions.outgoing_request import edit_request
from relay.handlers.environment import HandlerOptions
from relay.handlers.event import event_metadata
from relay.handlers.worker import BrokenFileError, WorkerPool
from relay.model.clock import Clock
from relay.model.delivery import ActionResult, AttemptRetry, Delivery, ReceivedResponse
from relay.model.event import CapturedEvent
from relay.model.signals import HandlersChanged, Signal

__all__ = ["HandlerAction", "HandlerOptions"]

log = logging.getLogger(__name__)

_JSON = (("Content-Type", "application/json"),)


class HandlerAction(Action[HandlerOptions]):
    """Runs handlers files; an async context manager around their processes.

    `broken` says of each target whose file cannot be run why, and is kept current in place; each
    change is published. `awaited` are deliveries whose reply a sender waits for. What waits for such a
    target waits as for one that is down.
    """

    name = "handler"

    def __init__(
        self,
        *,
        broken: dict[str, str],
        publish: Callable[[Signal], None],
        clock: Clock,
        awaited: AwaitedResponses | None = None,
    ) -> None:
        self._awaited = awaited or AwaitedResponses()
        self._broken = broken
        self._publish = publish
        self._clock = clock
        self._pools: dict[str, WorkerPool] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pool in self._pools.values():
            await pool.close()

    async def run(self, event: CapturedEvent, delivery: Delivery, options: HandlerOptions) -> ActionResult:
        """Call the functions that the event is for, once each; what they printed comes back too."""
        pool = self._get_pool(options)
        try:
            run = await pool.run(edit_request(event.capture, delivery.changes), event_metadata(event))
        except BrokenFileError as error:
            self._note(options.target, error)
            return ActionResult(outcome=AttemptRetry(error.message, unreachable=True), output=error.output)
        self._note(options.target, None)
        # Kept like the answer of an app: it is shown with the attempt, and goes to a sender that waits for it.
        response = None if run.reply is None else self._keep_reply(delivery.id, run.reply)
        return ActionResult(outcome=run.outcome, response=response, output=run.output)

    async def reachable(self, options: HandlerOptions) -> bool:
        """Say whether the file can be run; one that could not is tried again when it changed."""
        pool = self._get_pool(options)
        replaced = await pool.is_restarted()
        self._note(options.target, pool.error)
        return replaced

    def _keep_reply(self, delivery: int, reply: bytes) -> ReceivedResponse:
        whole = ReceivedResponse(status=200, headers=_JSON, body=reply)
        if len(reply) <= KEPT_BODY:
            return whole
        self._awaited.keep(delivery, whole)
        return replace(whole, body=reply[:KEPT_BODY], cut=True)

    def _get_pool(self, options: HandlerOptions) -> WorkerPool:
        return self._pools.setdefault(options.target, WorkerPool(options, self._clock))

    def _note(self, target: str, error: BrokenFileError | None) -> None:
        was, now = self._broken.get(target, ""), error.message if error else ""
        if was == now:
            return
        if now:
            self._broken[target] = now
            log.info("the handlers of %s cannot be run: %s", target, now)
        else:
            del self._broken[target]
            log.info("the handlers of %s are loaded again", target)
        self._publish(HandlersChanged(target, now))
