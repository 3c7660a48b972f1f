"""The functions of a handlers file, and the outcome of running those for an event."""

import ast
import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from pathlib import Path
from typing import Any

from relay.errors import HandlersError, NotFoundError, VaultLockedError
from relay.handlers import registry, user_code
from relay.handlers.event import Event
from relay.handlers.registry import Rule, collect_rules
from relay.handlers.user_code import FreshLoader, ProjectFolders, importable_from
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded, Outcome
from relay.model.text import escape_unprintable
from relay.model.values import dataclass

LONGEST_REPLY = 1_000_000  # bytes of a handler's return value
_LONGEST_DETAIL = 500  # characters of a detail
THREADS = 64  # concurrent plain functions: at least as many as a server has threads


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlersResult:
    """The outcome of an event: the combined outcome of its functions, and where they raised.

    `reply` is the dict that one of them returned, as JSON: the response to a waiting sender.
    """

    outcome: Outcome
    traceback: str = ""
    reply: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """The functions that a handlers file registered, in order."""

    path: Path
    rules: tuple[Rule, ...]
    home: ProjectFolders

    async def run(self, event: Event) -> HandlersResult:
        """Call every `@use` that the event is for, then every `@on`; none of them can raise out of here.

        A dict, a Retry or a Failed of a `@use` ends the run. Of the `@on` functions all are called: a Retry of any
        takes precedence over a Failed, and that over success; a Retry calls all of them again. The first
        returned dict is the reply. Plain functions run in a thread, so that the event loop is not blocked.
        """
        rules = [rule for rule in self.rules if rule.wants(event)]
        called = [rule for rule in rules if not rule.first]
        if not called:
            return HandlersResult(
                outcome=AttemptSucceeded(escape_unprintable(f"no handler is for {event.type}", _LONGEST_DETAIL))
            )
        for rule in rules:
            if rule.first:
                ran = await self._call(rule, event)
                if ran.reply is not None or not isinstance(ran.outcome, AttemptSucceeded):
                    return ran
        return _combine_outcomes([await self._call(rule, event) for rule in called])

    async def _call(self, rule: Rule, event: Event) -> HandlersResult:
        try:
            answer = await _call_function(rule.function, event)
            if isinstance(answer, dict):
                return _build_reply(rule, answer)
            return HandlersResult(outcome=_interpret_answer(rule, answer))
        except (registry.Retry, registry.Failed) as answer:
            return HandlersResult(outcome=_interpret_answer(rule, answer))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # no caller waits for this run any longer
            return describe_exception(f"handler {rule.name}", error, self.home)
        except BaseException as error:  # noqa: BLE001 - sys.exit in a handler must end the attempt, not the program
            return describe_exception(f"handler {rule.name}", error, self.home)


def describe_exception(who: str, error: BaseException, home: ProjectFolders) -> HandlersResult:
    """Return the outcome of a run in which `who` raised an error."""
    if isinstance(error.__cause__, StopIteration) and str(error) == "coroutine raised StopIteration":
        error = error.__cause__  # which a coroutine cannot raise, so Python wraps it
    where = user_code.locate_error(error, home)
    detail = f"{who} failed: {user_code.summarise_error(error)}" + (f" ({where})" if where else "")
    return HandlersResult(
        outcome=AttemptRetry(escape_unprintable(detail, _LONGEST_DETAIL)), traceback=user_code.format_error(error, home)
    )


async def _call_function(function: Callable[[Event], Any], event: Event) -> object:
    if inspect.iscoroutinefunction(function):
        return await function(event)
    # An event loop has few threads, and a function that waits for one would time out before it starts.
    run = copy_context().run
    answer, error = await asyncio.get_running_loop().run_in_executor(
        _make_threads(os.getpid()), run, _call_catching, function, event
    )
    if error is not None:
        raise error
    return await answer if inspect.isawaitable(answer) else answer


@cache
def _make_threads(_pid: int) -> ThreadPoolExecutor:
    # One per process: a fork has none of its parent's threads.
    return ThreadPoolExecutor(THREADS, thread_name_prefix="relay")


def _call_catching(function: Callable[[Event], Any], event: Event) -> tuple[Any, BaseException | None]:
    # As a value: a future cannot raise StopIteration, and its waiter would wait forever.
    try:
        return function(event), None
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        return None, error


def _build_reply(rule: Rule, answer: dict[Any, Any]) -> HandlersResult:
    try:
        reply = json.dumps(answer, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        # Another run would return the same.
        why = escape_unprintable(str(error), _LONGEST_DETAIL)
        return HandlersResult(outcome=AttemptFailed(f"what {rule.name} returned cannot be written as JSON: {why}"))
    if len(reply) > LONGEST_REPLY:
        return HandlersResult(
            outcome=AttemptFailed(f"{rule.name} returned {len(reply)} bytes; at most {LONGEST_REPLY} can be sent")
        )
    return HandlersResult(outcome=AttemptSucceeded(f"{rule.name} replied"), reply=reply)


def _interpret_answer(rule: Rule, answer: object) -> Outcome:
    # `return Failed`, the class itself, counts as Failed().
    if answer is None:
        return AttemptSucceeded(f"{rule.name} ran")
    if isinstance(answer, registry.Retry) or answer is registry.Retry:
        detail = _printable_detail(getattr(answer, "detail", "")) or f"{rule.name} asks for another try"
        return AttemptRetry(detail, after=getattr(answer, "after", None), firm=True)
    if isinstance(answer, registry.Failed) or answer is registry.Failed:
        return AttemptFailed(_printable_detail(getattr(answer, "detail", "")) or f"{rule.name} gave up")
    return AttemptSucceeded(f"{rule.name} ran; the {type(answer).__name__} it returned means nothing here")


def _printable_detail(detail: object) -> str:
    try:
        return escape_unprintable(str(detail), _LONGEST_DETAIL)
    except Exception as error:  # noqa: BLE001 - a detail may be any object, with any __str__
        return f"a {type(detail).__name__} that cannot be shown: {type(error).__name__}"


def _combine_outcomes(done: list[HandlersResult]) -> HandlersResult:
    outcomes = [ran.outcome for ran in done]
    traceback = "\n".join(ran.traceback for ran in done if ran.traceback)
    bad = "; ".join(outcome.detail for outcome in outcomes if not isinstance(outcome, AttemptSucceeded))
    detail = escape_unprintable(bad or "; ".join(outcome.detail for outcome in outcomes), _LONGEST_DETAIL)
    retries = [outcome for outcome in outcomes if isinstance(outcome, AttemptRetry)]
    if retries:
        waits = [outcome.after for outcome in retries if outcome.after is not None]
        firm = any(outcome.firm for outcome in retries)
        return HandlersResult(
            outcome=AttemptRetry(detail, after=max(waits, default=None), firm=firm), traceback=traceback
        )
    if bad:
        return HandlersResult(outcome=AttemptFailed(detail), traceback=traceback)
    reply = next((ran.reply for ran in done if ran.reply is not None), None)
    return HandlersResult(outcome=AttemptSucceeded(detail), traceback=traceback, reply=reply)


def load_handlers(path: Path, folder: Path | None = None) -> Handlers:
    """Run a handlers file and return its functions; `folder` is the project's, else the file's own.

    Decorated functions that it imports count too, unless their module was imported before.
    Raises HandlersError, naming file and line, for a file that cannot be run or registers nothing.
    """
    path = path.absolute()
    home = ProjectFolders((folder.absolute() if folder else path.parent, path.parent))
    name = home.short(str(path))
    if not path.is_file():
        what = f"{name} is a folder, not a file" if path.is_dir() else f"there is no file {name}"
        raise HandlersError(what, hint="name a Python file with functions below @on")
    rules = _run_file(path, home)
    if not any(not rule.first for rule in rules):
        raise HandlersError(f"{name} has no function below @on", hint='write @on("stripe") above one')
    return Handlers(path=path, rules=tuple(rules), home=home)


def _run_file(path: Path, home: ProjectFolders) -> list[Rule]:
    package, root = _find_package(path)
    if package:
        try:
            with importable_from(root):
                importlib.import_module(package)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise _load_error(error, path, home) from error
    # Under its own name, so that its neighbours can import it, unless that name is taken.
    inside = f"{package}." if package else ""
    name = f"{inside}{path.stem}"
    name = name if name not in sys.modules else f"{inside}relay_handlers_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=FreshLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise HandlersError(f"{home.short(str(path))} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with importable_from(root), importable_from(path.parent), collect_rules() as rules:
            spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, KeyboardInterrupt):
            raise  # Ctrl-C is for the program that loads this file
        raise _load_error(error, path, home) from error
    return rules


def _find_package(path: Path) -> tuple[str, Path]:
    """Return the package that a file belongs to and the folder that is in, "" for a file of its own.

    A file without relative imports is run on its own, so that a package whose `__init__.py` is the
    whole app is not started for it; so is one in a package whose name is taken.
    """
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    if root == path.parent or not _imports_relatively(path):
        return "", path.parent
    package = ".".join(path.parent.relative_to(root).parts)
    loaded = sys.modules.get(package)
    if loaded is not None and str(path.parent) not in map(str, getattr(loaded, "__path__", ())):
        return "", path.parent
    return package, root


def _imports_relatively(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return False  # reported when it is run
    return any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in ast.walk(tree))


def _load_error(error: BaseException, path: Path, home: ProjectFolders) -> HandlersError:
    where = user_code.locate_error(error, home) or home.short(str(path))
    hint = "correct that line"
    if isinstance(error, ModuleNotFoundError):
        hint = f"install it where relay is installed, {sys.prefix}, or correct its name"
    elif isinstance(error, VaultLockedError):
        hint = "call it inside the function, or set RELAY_VAULT_PASSWORD"
    elif isinstance(error, NotFoundError):
        hint = error.hint
    elif isinstance(error, ImportError) and "relative import" in str(error):
        hint = "write it without the dots: from words import …"
        folder = home.short(str(path.parent))
        if folder != "." and not path.with_name("__init__.py").exists():
            hint = f"put an empty __init__.py into {folder}, or {hint}"
    return HandlersError(
        f"{where}: {user_code.summarise_error(error)}", hint=hint, traceback=user_code.format_error(error, home)
    )
