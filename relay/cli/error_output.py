"""Prints errors: a line for people, an exit code for programs, never a traceback."""

import os
import traceback
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli.output import OutputClosed
from relay.errors import ConfigError, RelayError
from relay.model.text import escape_unprintable
from relay.platform import NO_FOLLOW, get_user_id, is_of_another_user, open_private

if TYPE_CHECKING:
    from relay.cli.options import Call

INTERRUPTED = 130


class NothingMatched(RelayError):  # noqa: N818 - an answer rather than an error
    """Nothing matched, or a wait timed out."""

    exit_code = 4


def run_guarded(call: "Call", work: Callable[[], object]) -> int:
    """Call `work` and return the exit code; never raise."""
    try:
        try:
            returned = work()
        except (KeyboardInterrupt, click.Abort):
            returned = INTERRUPTED
        except BrokenPipeError:
            raise OutputClosed from None
        except BaseException as error:  # the outermost guard: a user never sees a traceback
            if isinstance(error, OSError) and _is_raised_by_click(error):
                raise OutputClosed(error.strerror or str(error)) from error  # it prints help by itself
            returned = print_error(call, _find_sole_error(error))
        call.terminal.flush()
    except OutputClosed as closed:
        # Prevents an error about the closed stdout when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not closed.reason:
            return 0
        call.terminal.print_message(f"relay: cannot write to stdout: {closed.reason}")
        return 1
    return returned if isinstance(returned, int) else 0


def _is_raised_by_click(error: OSError) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("click.")


def print_error(call: "Call", error: BaseException) -> int:
    """Print an error to stderr and return its exit code. Re-raises OutputClosed."""
    say = call.terminal.print_message
    match error:
        case OutputClosed():
            raise error
        case KeyboardInterrupt():
            return INTERRUPTED
        case SystemExit(code=code):
            return code if isinstance(code, int) else 1
        case ConfigError() if error.problems != (error.message,):
            for line in _format_config_error(error):
                say(line)
            return error.exit_code
        case RelayError():
            say(f"relay: {error.full_text}")
            return error.exit_code
        case click.ClickException():
            say(f"relay: {_format_usage_error(error)}")
            return error.exit_code
    lines = "".join(traceback.format_exception(error)).splitlines()
    if call.debug:
        for line in lines:
            say(line)
        return 1
    path = _write_traceback(call.log, lines)
    where = f"the traceback is in {path}" if path else "--debug shows the traceback"
    say(f"relay: unexpected error ({type(error).__name__}); {where}")
    return 1


def _format_config_error(error: ConfigError) -> list[str]:
    head = error.message.removesuffix(": " + "; ".join(error.problems))
    if len(error.problems) == 1:
        return [f"relay: {head.removesuffix(' has one mistake')}: {error.problems[0]}"]
    return [f"relay: {head}:", *(f"  {problem}" for problem in error.problems)]


def _find_sole_error(error: BaseException) -> BaseException:
    """Return the RelayError inside nested groups, else the first error."""
    while isinstance(error, BaseExceptionGroup):
        known = [inner for inner in error.exceptions if isinstance(_find_sole_error(inner), RelayError | OutputClosed)]
        error = (known or list(error.exceptions))[0]
    return error


def _format_usage_error(error: click.ClickException) -> str:
    name = ""
    if isinstance(error, click.MissingParameter) and error.param is not None:
        metavar = error.param.make_metavar(error.ctx or click.Context(click.Command("relay")))
        name = f"{error.param.opts[-1] if isinstance(error.param, click.Option) else metavar} is missing"
    elif isinstance(error, click.BadParameter) and error.param is not None:
        names = [option for option in error.param.opts if option.startswith("-")]
        name = f"{names[-1]}: " if names else ""
        name += error.message.rstrip(".")
    text = name or error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:] if text[1:2].islower() else text
    context = getattr(error, "ctx", None)
    if ";" in text or "did you mean" in text.lower() or context is None:
        return text.replace(". Did you mean", "; did you mean").replace(" Did you mean", "; did you mean")
    return f"{text}; {context.command_path} --help says how"


def _write_traceback(log: Path | None, lines: Sequence[str]) -> Path | None:
    import tempfile  # few commands fail

    path = log if log and log.parent.is_dir() else Path(tempfile.gettempdir()) / f"relay-{get_user_id() or 0}.log"
    try:
        # Never through another user's link in a folder that is writable by all.
        if is_of_another_user(path):
            return None
        handle = open_private(path, os.O_WRONLY | os.O_APPEND | NO_FOLLOW)
        with os.fdopen(handle, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} relay failed\n")
            file.writelines(f"    {escape_unprintable(line)}\n" for line in lines)
    except OSError:
        return None
    return path
