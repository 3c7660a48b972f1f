"""The functions of one handlers file, and what came of running those that an event is for."""

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.handlers import answers, traces
from relay.handlers.event import Event
from relay.handlers.home import Home
from relay.handlers.registry import Rule
from relay.model.delivery import Failed, Outcome, Retry, Succeeded
from relay.model.text import printable

LONGEST_REPLY = 1_000_000  # bytes of what a handler returns
_LONGEST = 500  # characters of a detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What came of one event: the outcome of all its functions together, and where they raised.

    `reply` is the dict that one of them returned, as JSON: the answer to the sender, where that waits for it.
    """

    outcome: Outcome
    traceback: str = ""
    reply: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What a handlers file registered, in its order."""

    path: Path
    rules: tuple[Rule, ...]
    home: Home

    async def run(self, event: Event) -> Ran:
        """Call every `@use` that the event is for, then every `@on`; none of them can raise out of here.

        An answer of a `@use` ends the run. Of the `@on` functions all are called: a Retry of any
        counts before a Failed, which counts before success, and a Retry calls all of them again. The first
        dict that is returned is the reply. Plain functions run in a thread, so that the event loop goes on.
        """
        wanted = [rule for rule in self.rules if rule.wants(event)]
        called = [rule for rule in wanted if not rule.first]
        if not called:
            return Ran(outcome=Succeeded(printable(f"no handler is for {event.type}", _LONGEST)))
        for rule in wanted:
            if rule.first:
                ran = await self._call(rule, event)
                if ran.reply is not None or not isinstance(ran.outcome, Succeeded):
                    return ran
        return _together([await self._call(rule, event) for rule in called])

    async def _call(self, rule: Rule, event: Event) -> Ran:
        try:
            answer = await _answer(rule.function, event)
            if isinstance(answer, dict):
                return _reply(rule, answer)
            return Ran(outcome=_outcome(rule, answer))
        except (answers.Retry, answers.Failed) as answer:
            return Ran(outcome=_outcome(rule, answer))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # nobody waits for this run any more
            return self._stumbled(rule, error)
        except BaseException as error:  # noqa: BLE001 - sys.exit in a handler must end the attempt, not the program
            return self._stumbled(rule, error)

    def _stumbled(self, rule: Rule, error: BaseException) -> Ran:
        where = traces.place(error, self.home)
        detail = f"handler {rule.name} failed: {traces.summary(error)}" + (f" ({where})" if where else "")
        return Ran(outcome=Retry(printable(detail, _LONGEST)), traceback=traces.told(error, self.home))


async def _answer(function: Callable[[Event], Any], event: Event) -> object:
    if inspect.iscoroutinefunction(function):
        return await function(event)
    answer, error = await asyncio.to_thread(_caught, function, event)
    if error is not None:
        raise error
    return await answer if inspect.isawaitable(answer) else answer


def _caught(function: Callable[[Event], Any], event: Event) -> tuple[Any, BaseException | None]:
    # As a value: a StopIteration can never leave a future, and whoever waits would wait for ever.
    try:
        return function(event), None
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        return None, error


def _reply(rule: Rule, answer: dict[Any, Any]) -> Ran:
    try:
        reply = json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Another run would return the same.
        why = printable(str(error), _LONGEST)
        return Ran(outcome=Failed(f"what {rule.name} returned cannot be written as JSON: {why}"))
    if len(reply) > LONGEST_REPLY:
        return Ran(
            outcome=Failed(f"{rule.name} returned {len(reply)} bytes; at most {LONGEST_REPLY} can be sent")
        )
    return Ran(outcome=Succeeded(f"{rule.name} replied"), reply=reply)


def _outcome(rule: Rule, answer: object) -> Outcome:
    # `return Failed`, the class itself, means what it says.
    if answer is None:
        return Succeeded(f"{rule.name} ran")
    if isinstance(answer, answers.Retry) or answer is answers.Retry:
        detail = _text(getattr(answer, "detail", "")) or f"{rule.name} asks for another try"
        return Retry(detail, after=getattr(answer, "after", None), firm=True)
    if isinstance(answer, answers.Failed) or answer is answers.Failed:
        return Failed(_text(getattr(answer, "detail", "")) or f"{rule.name} gave up")
    return Succeeded(f"{rule.name} ran; the {type(answer).__name__} it returned means nothing here")


def _text(detail: object) -> str:
    try:
        return printable(str(detail), _LONGEST)
    except Exception as error:  # noqa: BLE001 - a detail may be any object, with any __str__
        return f"a {type(detail).__name__} that cannot be shown: {type(error).__name__}"


def _together(done: list[Ran]) -> Ran:
    outcomes = [ran.outcome for ran in done]
    traceback = "\n".join(ran.traceback for ran in done if ran.traceback)
    bad = "; ".join(outcome.detail for outcome in outcomes if not isinstance(outcome, Succeeded))
    detail = printable(bad or "; ".join(outcome.detail for outcome in outcomes), _LONGEST)
    retries = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
    if retries:
        waits = [outcome.after for outcome in retries if outcome.after is not None]
        firm = any(outcome.firm for outcome in retries)
        return Ran(outcome=Retry(detail, after=max(waits, default=None), firm=firm), traceback=traceback)
    if bad:
        return Ran(outcome=Failed(detail), traceback=traceback)
    reply = next((ran.reply for ran in done if ran.reply is not None), None)
    return Ran(outcome=Succeeded(detail), traceback=traceback, reply=reply)
