"""What the log says and where: short lines for a person, whole tracebacks in data_dir/relay.log."""

import logging
import os
from collections.abc import Callable, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path

from relay.clock import Clock, SystemClock
from relay.model.text import printable

FILE_SIZE = 1_000_000  # bytes of relay.log before it is set aside; one older file is kept
_MINUTE = 60.0
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)

Say = Callable[[str], None]


def set_up(
    say: Say,
    *,
    verbosity: int = 0,
    debug: bool = False,
    log: Path | None = None,
    untold: Sequence[str] = (),
) -> None:
    """Send log records to `say` as single lines, and to the file `log` with their tracebacks.

    `verbosity` 0 says warnings, 1 also what happens, 2 everything; `debug` says tracebacks too. What the
    loggers `untold` have to say goes to the file alone.
    """
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    spoken = _Spoken(say, log=log, debug=debug)
    spoken.setLevel(_LEVELS[min(verbosity, 2)])
    spoken.addFilter(lambda record: record.name not in untold)
    root.addHandler(spoken)
    if log is not None:
        root.addHandler(_file(log))
    root.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
    for name in ("asyncio", "aiosqlite"):  # their DEBUG and INFO tell of every statement and socket
        logging.getLogger(name).setLevel(logging.WARNING)
    served = logging.getLogger("aiohttp.server")
    for known in [known for known in served.filters if isinstance(known, MalformedRequests)]:
        served.removeFilter(known)
    served.addFilter(MalformedRequests(SystemClock()))


class MalformedRequests(logging.Filter):
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
        if self._told is not None and now - self._told < _MINUTE:
            return False
        record.msg = "refused %d malformed request%s at the door"
        record.args = (self._count, "" if self._count == 1 else "s")
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        self._told, self._count = now, 0
        return True


class _Spoken(logging.Handler):
    def __init__(self, say: Say, *, log: Path | None, debug: bool) -> None:
        super().__init__()
        self._say = say
        self._log = log
        self._debug = debug

    def emit(self, record: logging.LogRecord) -> None:
        text = printable(record.getMessage())
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._debug:
            where = f"; the traceback is in {self._log}" if self._log else "; --debug shows the traceback"
            text += f" ({printable(type(error).__name__)}{where})"
        self._say(f"relay: {record.levelname.lower()}: {text}")
        if error is not None and self._debug:
            for line in (
                logging.Formatter().formatException(record.exc_info or (None, None, None)).splitlines()
            ):
                self._say(f"    {printable(line)}")


class _Filed(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Line by line: a message may hold captured text, and a log line must not be forged.
        head = f"{self.formatTime(record)} {record.levelname} {record.name} {printable(record.getMessage())}"
        if not record.exc_info:
            return head
        whole = self.formatException(record.exc_info).splitlines()
        return "\n".join([head, *(f"    {printable(line)}" for line in whole)])


def _file(log: Path) -> logging.Handler:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(log, os.O_WRONLY | os.O_CREAT, 0o600))
    handler = RotatingFileHandler(
        log, maxBytes=FILE_SIZE, backupCount=1, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(_Filed())
    handler.setLevel(logging.INFO)
    return handler
