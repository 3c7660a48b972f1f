"""Configures logging: warnings as lines on stderr with repeats counted, everything with tracebacks in relay.log."""

import json
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from errno import EPERM
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from math import inf
from pathlib import Path
from typing import Any

from relay.model.clock import Clock, format_time
from relay.model.text import escape_unprintable
from relay.platform import SystemClock, is_of_another_user, make_private_folder, open_private

EVENT_LOGGER = "relay.events"  # that of relay.pipeline.event_log, not imported: it brings the whole pipeline
REPEAT_INTERVAL = 60.0
PASSES_MARK = "passes_repeats"  # the attribute of records that RepeatFilter has seen
_MAX_REMEMBERED = 256  # kinds that a RepeatThrottle counts separately
FILE_SIZE = 1_000_000  # bytes of relay.log before it is rotated; one older file is kept
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
_ACCEPT_MESSAGE = "socket.accept() out of system resource"  # logged by asyncio if descriptors run out

PrintMessage = Callable[[str], None]


class RepeatThrottle:
    """Passes one item of a kind every `interval` seconds, and counts the others."""

    def __init__(self, interval: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._monotonic = monotonic
        self._seen: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()  # when last passed, and repeats since

    def count(self, kind: Hashable = None) -> int | None:
        """Return how many were counted since the last one passed; None if this one is counted too."""
        now = self._monotonic()
        passed_at, repeats = self._seen.get(kind, (-inf, 0))
        if now - passed_at < self._interval:
            self._seen[kind] = (passed_at, repeats + 1)
            return None
        self._seen[kind] = (now, 0)
        self._seen.move_to_end(kind)
        if len(self._seen) > _MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return repeats


class RepeatFilter(logging.Filter):
    """Passes a warning or error once a minute, with its number of repeats; shared by all handlers."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._throttle = RepeatThrottle(REPEAT_INTERVAL, clock.monotonic)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes, decided once per record."""
        if record.levelno < logging.WARNING:
            return True
        passes: bool | None = vars(record).get(PASSES_MARK)
        if passes is None:
            message = record.getMessage()
            repeats = self._throttle.count((record.name, message))
            passes = vars(record)[PASSES_MARK] = repeats is not None
            if repeats:
                record.msg, record.args = "%s (%d more since it was last printed)", (message, repeats)
        return passes


class BriefErrorFilter(logging.Filter):
    """Replaces tracebacks of the HTTP server by a sentence: for malformed requests and missing file descriptors."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass all records; RepeatFilter counts repeats."""
        error = record.exc_info[1] if record.exc_info else None
        if type(error).__module__.startswith("aiohttp.http"):
            record.msg = "refused a malformed request"
        elif record.getMessage().startswith(_ACCEPT_MESSAGE):
            record.msg = "a connection has to wait: too many files are open; `ulimit -n` says how many may be"
        else:
            return True
        record.args = ()
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


_BRIEF_ERRORS = BriefErrorFilter()  # a single one, so that a second call of configure_logging adds no other


def configure_logging(
    print_message: PrintMessage,
    *,
    verbosity: int = 0,
    debug: bool = False,
    as_json: bool = False,
    log: Path | None = None,
    level: str = "info",
    file_only: Sequence[str] = (),
) -> None:
    """Send log records to `print_message` as single lines, and to the file `log` with their tracebacks.

    `verbosity` 0 prints warnings, 1 also the steps of every event, 2 everything; `debug` prints tracebacks too, and
    `as_json` makes every line an object, in the file as well. `level` is that of `[log]` for the file, and
    debug is also printed. Records of the logger `file_only` only go to the file.
    """
    printed = max(verbosity, int(level == "debug"))
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    terminal = _TerminalHandler(print_message, log, debug=debug, as_json=as_json)
    hidden, shown = set(file_only), {EVENT_LOGGER} if printed else set()
    least = _LEVELS[min(printed, 2)]
    terminal.addFilter(lambda record: record.name in shown or (record.levelno >= least and record.name not in hidden))
    repeats = RepeatFilter(SystemClock())
    terminal.addFilter(repeats)
    root.addHandler(terminal)
    if log is not None:
        try:
            file = _open_log_file(log, print_message)
        except OSError as error:
            print_message(f"relay: warning: there is no log: cannot write {log}: {error.strerror}")
        else:
            file.setFormatter(_JsonFormatter() if as_json else _FileFormatter())
            file.setLevel(logging.DEBUG if printed else logging.getLevelNamesMapping()[level.upper()])
            file.addFilter(repeats)
            root.addHandler(file)
    root.setLevel(logging.DEBUG if printed > 1 else logging.INFO)
    # If switched off, they cost a request only one check.
    logging.getLogger(EVENT_LOGGER).setLevel(logging.DEBUG if printed else logging.NOTSET)
    for name in ("asyncio", "aiosqlite"):  # they log every statement and socket at DEBUG and INFO
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("aiohttp.server", "asyncio"):
        logging.getLogger(name).addFilter(_BRIEF_ERRORS)


class _TerminalHandler(logging.Handler):
    def __init__(self, print_message: PrintMessage, log: Path | None, *, debug: bool, as_json: bool) -> None:
        super().__init__()
        self._print_message = print_message
        self._log = log
        self._debug = debug
        self._json = _JsonFormatter(traced=debug) if as_json else None

    def emit(self, record: logging.LogRecord) -> None:
        if self._json is not None:
            self._print_message(self._json.format(record))
            return
        text = escape_unprintable(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._debug:
            where = f"; the traceback is in {self._log}" if self._log else "; --debug shows the traceback"
            text += f" ({escape_unprintable(type(error).__name__)}{where})"
        self._print_message(f"relay: {record.levelname.lower()}: {text}")
        if error is not None and self._debug:
            for line in logging.Formatter().formatException(record.exc_info or (None, None, None)).splitlines():
                self._print_message(f"    {escape_unprintable(line)}")


class _JsonFormatter(logging.Formatter):
    """Formats a record as a JSON line: time, level, logger, message, extra fields, and its error."""

    def __init__(self, *, traced: bool = True) -> None:
        super().__init__()
        self._traced = traced

    def format(self, record: logging.LogRecord) -> str:
        plain: dict[str, Any] = {
            "kind": "log",
            "at": format_time(datetime.fromtimestamp(record.created, UTC)),
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


# The standard attributes of records; all others are extra fields.
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", PASSES_MARK}


class _FileFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Line by line: a message may contain captured text, and log lines must not be forged.
        head = f"{self.formatTime(record)} {record.levelname} {record.name} {escape_unprintable(record.getMessage())}"
        if not record.exc_info:
            return head
        whole = self.formatException(record.exc_info).splitlines()
        return "\n".join([head, *(f"    {escape_unprintable(line)}" for line in whole)])


class _PrivateFileHandler(RotatingFileHandler):
    """Logs to a private file, and prints a warning once a minute while it cannot be written."""

    print_message: PrintMessage
    throttle: RepeatThrottle

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Print the error as a sentence; logging itself prints a traceback for each record."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        if self.throttle.count() is not None:
            self.print_message(f"relay: warning: {self.baseFilename} cannot be written: {error.strerror}")

    def close(self) -> None:
        """Close the file, even if its buffer cannot be written."""
        with suppress(OSError):
            super().close()

    def _open(self) -> TextIOWrapper:
        # The file that replaces a full one is as private as the first.
        handle = open_private(Path(self.baseFilename), os.O_WRONLY | os.O_APPEND)
        return TextIOWrapper(os.fdopen(handle, "ab"), encoding=self.encoding, errors=self.errors)


def _open_log_file(log: Path, print_message: PrintMessage) -> logging.Handler:
    make_private_folder(log.parent)
    if is_of_another_user(log):
        raise PermissionError(EPERM, "it belongs to another user")
    handler = _PrivateFileHandler(log, maxBytes=FILE_SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace")
    handler.print_message, handler.throttle = print_message, RepeatThrottle(REPEAT_INTERVAL)
    return handler
