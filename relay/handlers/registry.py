"""`@on` and `@use`: register the user's functions for events."""

import inspect
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, TypeVar, overload

from relay.handlers.event import Event
from relay.model.delivery import matches_any_type
from relay.model.values import dataclass


class Retry(Exception):  # noqa: N818 - an answer that may be raised; a handler that asks for time has no error
    """Return or raise it to be called again with this event, as the target's retry policy says.

    `after` is the minimum wait, as seconds or a timedelta. Raises ValueError or TypeError for an invalid wait.
    """

    def __init__(self, detail: str = "", *, after: float | timedelta | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.after = after.total_seconds() if isinstance(after, timedelta) else after
        if not isinstance(self.after, int | float | None):
            raise TypeError(f"after={after!r} is not a wait: give seconds or a timedelta")
        if self.after is not None and not (math.isfinite(self.after) and self.after >= 0):
            raise ValueError(f"after={after!r} is not a wait: give 0 or more seconds, or a timedelta")


class Failed(Exception):  # noqa: N818 - an answer that may be raised; it says that trying again is no use
    """Return or raise it when trying again will not help this event."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail


Answer = Retry | Failed | dict[str, Any] | None
Function = Callable[[Event], Answer | Awaitable[Answer]]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A decorated function: called with events whose source and type match. `first`: it is a `@use`."""

    function: Callable[[Event], Any]
    source: str
    events: tuple[str, ...]
    first: bool

    def wants(self, event: Event) -> bool:
        """Return whether an event is for this function."""
        return fnmatchcase(event.source, self.source) and matches_any_type(event.types, self.events)

    @property
    def name(self) -> str:
        """Return the function's name."""
        return getattr(self.function, "__name__", type(self.function).__name__)


# One list per file being loaded: two files, or a file loaded again, do not see each other's rules.
_collected: ContextVar[list[Rule] | None] = ContextVar("collected", default=None)


@contextmanager
def collect_rules() -> Iterator[list[Rule]]:
    """Collect the rules that decorators register until the block ends, in order."""
    rules: list[Rule] = []
    token = _collected.set(rules)
    try:
        yield rules
    finally:
        _collected.reset(token)


def on(source: str, *events: str) -> Callable[[F], F]:
    """Call the function with events of a source, the name after `/webhooks/`, whose type fits a pattern.

    `@on("stripe", "invoice.*", "charge.refunded")`; without a pattern all types match, and a source
    may be a pattern too: `@on("*")`. Raises TypeError for an invalid use, at the decorator.
    """
    if not isinstance(source, str):
        raise TypeError('@on needs a source: write @on("stripe", "invoice.paid") or @on("*")')
    return _register("on", source, events, first=False)


@overload
def use(source: F, /) -> F: ...
@overload
def use(source: str = "*", *events: str) -> Callable[[F], F]: ...
def use(source: str | Function = "*", *events: str) -> Any:
    """Call the function before the handlers of each event; a dict, a Retry or a Failed of it ends the run.

    Bare, for every event, or with a source and patterns as `@on` takes them.
    """
    if not isinstance(source, str):
        return _register("use", "*", (), first=True)(source)
    return _register("use", source, events, first=True)


def _register(decorator: str, source: str, events: tuple[str, ...], *, first: bool) -> Callable[[F], F]:
    for pattern in events:
        if not isinstance(pattern, str):
            raise TypeError(f"@{decorator} takes patterns of event types as text, not {pattern!r}")

    def register(function: F) -> F:
        _check_decorated(decorator, function)
        rules = _collected.get()
        # If imported by other code, such as a test, a handler is a plain function.
        if rules is not None:
            rules.append(Rule(function=function, source=source, events=events, first=first))
        return function

    return register


def _check_decorated(decorator: str, function: object) -> None:
    name = getattr(function, "__name__", repr(function))
    if not callable(function):
        raise TypeError(f"@{decorator} stands above a function, not {name}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} has a yield, so calling it would run nothing; write it without")
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise TypeError(f"{name} is called with one event; write def {name}(event)") from None
    except ValueError:
        return  # a built-in without a signature: the call will show it
