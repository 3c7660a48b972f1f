"""What keeps the log short while the same thing goes wrong again and again."""

import json
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import EPERM
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from relay.clock import Clock, SystemClock
from relay.model.text import escape_unprintable
from relay.pipeline import event_log
from relay.resources import is_of_another_user, make_private_folder, open_private

REPEAT_INTERVAL = 60.0
PASSES_MARK = "passes_repeats"  # what a record that was judged carries
_MAX_REMEMBERED = 256  # messages remembered
_ACCEPT_MESSAGE = "socket.accept() out of system resource"  # what asyncio says where descriptors run out


@dataclass(slots=True)
class _Occurrence:
    at: float
    again: int = 0


class RepeatFilter(logging.Filter):
    """Lets a warning or an error through once a minute, with how often it came since.

    One for all handlers: each record is judged once.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._said: OrderedDict[tuple[str, str], _Occurrence] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record passes; one that does counts those before it that did not."""
        if record.levelno < logging.WARNING:
            return True
        passes: bool | None = vars(record).get(PASSES_MARK)
        if passes is None:
            passes = vars(record)[PASSES_MARK] = self._passes(record)
        return passes

    def _passes(self, record: logging.LogRecord) -> bool:
        now, key = self._clock.monotonic(), (record.name, record.getMessage())
        said = self._said.get(key)
        if said is not None and now - said.at < REPEAT_INTERVAL:
            said.again += 1
            return False
        self._said[key] = _Occurrence(now)
        self._said.move_to_end(key)
        while len(self._said) > _MAX_REMEMBERED:
            self._said.popitem(last=False)
        if said is not None and said.again:
            record.msg, record.args = "%s (%d more since it was last said)", (key[1], said.again)
        return True


class AcceptErrorFilter(logging.Filter):
    """Turns asyncio's traceback for a connection that finds no free descriptor into one plain sentence."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if record.getMessage().startswith(_ACCEPT_MESSAGE):
            record.msg = "a connection has to wait: too many files are open; `ulimit -n` says how many may be"
            record.args = ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


FILE_SIZE = 1_000_000  # bytes of relay.log before it is set aside; one older file is kept
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verbosity:
    """How the log speaks: `verbosity` 0 says warnings, 1 also the way of every event, 2 everything.

    `debug` says tracebacks too; `as_json` makes every line an object, in the file as well.
    """

    verbosity: int = 0
    debug: bool = False
    as_json: bool = False


QUIET = Verbosity()


def configure_logging(
    say: Say, loudness: Verbosity = QUIET, *, log: Path | None = None, level: str = "info", untold: Sequence[str] = ()
) -> None:
    """Send log records to `say` as single lines, and to the file `log` with their tracebacks.

    `level` is the one of `[log]`: what the file holds, and debug is also said. What the loggers `untold` have to
    say goes to the file alone.
    """
    verbosity = max(loudness.verbosity, int(level == "debug"))
    written = logging.DEBUG if verbosity else logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    spoken = _TerminalHandler(say, loudness, log)
    spoken.addFilter(lambda record: record.name not in untold and _is_printed(record, verbosity))
    repeats = RepeatFilter(SystemClock())
    spoken.addFilter(repeats)
    root.addHandler(spoken)
    if log is not None:
        try:
            filed = _open_log_file(log, _JsonFormatter() if loudness.as_json else _FileFormatter(), written, say)
            filed.addFilter(repeats)
            root.addHandler(filed)
        except OSError as error:
            say(f"relay: warning: there is no log: cannot write {log}: {error.strerror}")
    root.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    # Off, they cost a request nothing but the question.
    logging.getLogger(event_log.LOGGER_NAME).setLevel(logging.DEBUG if verbosity else logging.NOTSET)
    for name in ("asyncio", "aiosqlite"):  # their DEBUG and INFO tell of every statement and socket
        logging.getLogger(name).setLevel(logging.WARNING)
    _replace_filter("aiohttp.server", MalformedRequestFilter(SystemClock()))
    _replace_filter("asyncio", AcceptErrorFilter())


def _replace_filter(name: str, only: logging.Filter) -> None:
    logger = logging.getLogger(name)
    for known in [known for known in logger.filters if isinstance(known, type(only))]:
        logger.removeFilter(known)
    logger.addFilter(only)


def _is_printed(record: logging.LogRecord, verbosity: int) -> bool:
    """Say whether a record is for the terminal: warnings, with -v the way of events, with -vv everything."""
    return record.levelno >= _LEVELS[min(verbosity, 2)] or (record.name == event_log.LOGGER_NAME and verbosity > 0)


class MalformedRequestFilter(logging.Filter):
    """Turns aiohttp's traceback for each malformed request into one counted line a minute."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._count = 0
        self._told: float | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record passes; one about a malformed request is shortened, most are counted."""
        error = record.exc_info[1] if record.exc_info else None
        if error is None or not type(error).__module__.startswith("aiohttp.http"):
            return True
        self._count += 1
        now = self._clock.monotonic()
        if self._told is not None and now - self._told < REPEAT_INTERVAL:
            return False
        record.msg = "refused %d malformed request%s at the door"
        record.args = (self._count, "" if self._count == 1 else "s")
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        self._told, self._count = now, 0
        return True


class _TerminalHandler(logging.Handler):
    def __init__(self, say: Say, loudness: Verbosity, log: Path | None) -> None:
        super().__init__()
        self._say = say
        self._log = log
        self._debug = loudness.debug
        self._json = _JsonFormatter(traced=loudness.debug) if loudness.as_json else None

    def emit(self, record: logging.LogRecord) -> None:
        if self._json is not None:
            self._say(self._json.format(record))
            return
        text = escape_unprintable(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._debug:
            where = f"; the traceback is in {self._log}" if self._log else "; --debug shows the traceback"
            text += f" ({escape_unprintable(type(error).__name__)}{where})"
        self._say(f"relay: {record.levelname.lower()}: {text}")
        if error is not None and self._debug:
            for line in logging.Formatter().formatException(record.exc_info or (None, None, None)).splitlines():
                self._say(f"    {escape_unprintable(line)}")


class _JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the fields a record brought, and its error."""

    def __init__(self, *, traced: bool = True) -> None:
        super().__init__()
        self._traced = traced

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        plain: dict[str, Any] = {
            "kind": "log",
            "at": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": escape_unprintable(record.getMessage()),
        }
        plain |= {name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS}
        if record.exc_info and record.exc_info[0] is not None:
            plain["error"] = record.exc_info[0].__name__
            if self._traced:
                plain["traceback"] = self.formatException(record.exc_info).splitlines()
        return json.dumps(plain, default=repr)


# What every record has; whatever else one has, whoever logged gave it.
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", PASSES_MARK}


class _FileFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Line by line: a message may hold captured text, and a log line must not be forged.
        head = f"{self.formatTime(record)} {record.levelname} {record.name} {escape_unprintable(record.getMessage())}"
        if not record.exc_info:
            return head
        whole = self.formatException(record.exc_info).splitlines()
        return "\n".join([head, *(f"    {escape_unprintable(line)}" for line in whole)])


class _PrivateFileHandler(RotatingFileHandler):
    """A file that only its owner reads, and that says once a minute where nothing can be written to it."""

    say: Say
    _said_at: float | None = None

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Say what is wrong in a sentence; logging itself prints a traceback for each record."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= REPEAT_INTERVAL:
            self._said_at = now
            self.say(f"relay: warning: {self.baseFilename} cannot be written: {error.strerror}")

    def close(self) -> None:
        """Close the file, also where what is left of it cannot be written."""
        with suppress(OSError):
            super().close()

    def _open(self) -> TextIOWrapper:
        # The file that takes the place of a full one is as private as the first.
        handle = open_private(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND)
        return TextIOWrapper(os.fdopen(handle, "ab"), encoding=self.encoding, errors=self.errors)


def _open_log_file(log: Path, formatter: logging.Formatter, level: int, say: Say) -> logging.Handler:
    make_private_folder(log.parent)
    if is_of_another_user(log):
        raise PermissionError(EPERM, "it belongs to another user")
    handler = _PrivateFileHandler(log, maxBytes=FILE_SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace")
    handler.say = say
    handler.setFormatter(formatter)
    handler.setLevel(level)
    return handler
