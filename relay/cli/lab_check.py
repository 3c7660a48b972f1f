"""`relay lab --check`: a command or URL of the user's that tells what an app did, which no answer shows."""

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass

from relay.cli.client import Json, fetch
from relay.errors import UsageError
from relay.model.text import printable

_SECONDS = 60.0  # that a check may take
_SAID = 200  # letters of its last line
_NOT_ASKED = (126, 127)  # exit codes of a shell that found no such command
_URLS = ("http://", "https://")
# What the app must not act on.
_SPOILT = ("stale", "forged", "cut")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer:
    """What a check came to: `code` is the exit code, or the HTTP status of a URL; `said` its last line."""

    passed: bool
    code: int
    said: str

    @property
    def number(self) -> int | None:
        """Return what it said as a number: how often the app has acted."""
        return int(self.said) if self.said.isascii() and self.said.isdigit() else None


async def ask_check(check: str, experiment: str = "", run: int = 0, events: int = 0) -> CheckAnswer:
    """Run the command, or fetch the URL, and return what it came to.

    A command learns from RELAY_LAB_EXPERIMENT, RELAY_LAB_RUN and RELAY_LAB_EVENTS what was tried just now, and how
    many events the app should have acted on.
    """
    if check.startswith(_URLS):
        status, body = await fetch(check, _SECONDS)
        return CheckAnswer(passed=200 <= status < 300, code=status, said=_last_line(body))
    process = await asyncio.create_subprocess_shell(
        check,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ
        | {
            "RELAY_LAB_EXPERIMENT": experiment,
            "RELAY_LAB_RUN": str(run),
            "RELAY_LAB_EVENTS": str(events),
        },
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        return CheckAnswer(passed=False, code=-1, said=f"it took longer than {_SECONDS:g} s")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    code = process.returncode or 0
    return CheckAnswer(passed=code == 0, code=code, said=_last_line(out))


async def ask_before(check: str) -> CheckAnswer:
    """Ask a check before anything is sent. Raises UsageError where it cannot be asked at all."""
    found = await ask_check(check)
    is_url = check.startswith(_URLS)
    if (found.code == 0 and is_url) or (found.code in _NOT_ASKED and not is_url):
        hint = "give a command of your shell, or a URL of your app"
        raise UsageError(f"--check cannot be asked: {found.said}", hint=hint)
    return found


def count_events(result: Json) -> int:
    """Return how many events an app should have acted on in an experiment: each once, and none that was spoilt."""
    return len({(send["round"], send["event"]) for send in result["sends"] if send["role"] not in _SPOILT})


def apply_check(report: Json, before: CheckAnswer, after: CheckAnswer) -> Json:
    """Return the report of one experiment with what its check showed."""
    (result,) = report["experiments"]
    if result["finding"] in (None, "skipped"):
        return report
    events = count_events(result)
    problem = _find_problem(before, after, events)
    check: Json = {"passed": not problem, "before": before.said, "after": after.said, "sentence": problem}
    if problem:
        changed = {"finding": "failed", "sentence": f"{problem}; {result['sentence']}"}
        return report | {"finding": "failed", "experiments": [result | changed | {"check": check}]}
    # Now it has been seen what the answers alone do not show.
    unseen = result["finding"] == "passed" and "--check" in result["advice"]
    changed = {"advice": "" if unseen else result["advice"]}
    return report | {"experiments": [result | changed | {"check": check}]}


def _find_problem(before: CheckAnswer, after: CheckAnswer, events: int) -> str:
    if not after.passed:
        said = f": {after.said}" if after.said else ""
        return f"the check failed ({after.code}){said}"
    if before.number is None or after.number is None:
        return ""
    grown = after.number - before.number
    if grown > events:
        return f"the check went from {before.number} to {after.number}: the app should have acted {_times(events)}"
    return ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _last_line(content: bytes) -> str:
    lines = content.decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1].strip(), _SAID) if lines else ""
