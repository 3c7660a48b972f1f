"""Handler: an event given to the user's own functions, in a process of their own."""

import logging
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from relay.actions.awaited import AwaitedAnswers
from relay.actions.base import Action
from relay.actions.outgoing import edited
from relay.actions.wire import KEPT_BODY
from relay.clock import Clock
from relay.handlers.crew import Crew
from relay.handlers.event import judged
from relay.handlers.options import HandlerOptions
from relay.handlers.worker import BrokenError
from relay.model.delivery import ActionResult, Changes, Delivery, ReceivedResponse, Retry
from relay.model.event import Capture, Event
from relay.model.signals import HandlersChanged, Signal

__all__ = ["Handler", "HandlerOptions"]

log = logging.getLogger(__name__)

_JSON = (("Content-Type", "application/json"),)


class Handler(Action[HandlerOptions]):
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
        awaited: AwaitedAnswers | None = None,
    ) -> None:
        self._awaited = awaited or AwaitedAnswers()
        self._broken = broken
        self._publish = publish
        self._clock = clock
        self._crews: dict[str, Crew] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for crew in self._crews.values():
            await crew.close()

    async def run(self, event: Event, delivery: Delivery, options: HandlerOptions) -> ActionResult:
        """Call the functions that the event is for, once each; what they printed comes back too."""
        crew = self._crew(options)
        try:
            run = await crew.run(_as_changed(event.capture, delivery.changes), judged(event))
        except BrokenError as error:
            self._note(options.target, error)
            return ActionResult(outcome=Retry(error.sentence, unreachable=True), output=error.output)
        self._note(options.target, None)
        # Kept like the answer of an app: it is shown with the attempt, and goes to a sender that waits for it.
        response = None if run.reply is None else self._keep_reply(delivery.id, run.reply)
        return ActionResult(outcome=run.outcome, response=response, output=run.output)

    async def reachable(self, options: HandlerOptions) -> bool:
        """Say whether the file can be run; one that could not is tried again when it changed."""
        crew = self._crew(options)
        mended = await crew.mended()
        self._note(options.target, crew.error)
        return mended

    def _keep_reply(self, delivery: int, reply: bytes) -> ReceivedResponse:
        whole = ReceivedResponse(status=200, headers=_JSON, body=reply)
        if len(reply) <= KEPT_BODY:
            return whole
        self._awaited.keep(delivery, whole)
        return replace(whole, body=reply[:KEPT_BODY], cut=True)

    def _crew(self, options: HandlerOptions) -> Crew:
        return self._crews.setdefault(options.target, Crew(options, self._clock))

    def _note(self, target: str, error: BrokenError | None) -> None:
        was, now = self._broken.get(target, ""), error.sentence if error else ""
        if was == now:
            return
        if now:
            self._broken[target] = now
            log.info("the handlers of %s cannot be run: %s", target, now)
        else:
            del self._broken[target]
            log.info("the handlers of %s are loaded again", target)
        self._publish(HandlersChanged(target, now))


def _as_changed(capture: Capture, changes: Changes) -> Capture:
    request, _ = edited(capture, changes)
    path = request.path if changes.path is None else changes.path
    query = request.query if changes.query is None else changes.query
    return replace(request, path=path, query=query)
