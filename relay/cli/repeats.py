"""What keeps the log short while the same thing goes wrong again and again."""

import logging
from collections import OrderedDict
from dataclasses import dataclass

from relay.clock import Clock

MINUTE = 60.0
MARK = "passes_repeats"  # what a record that was judged carries
_KEPT = 256  # messages remembered
_ACCEPT = "socket.accept() out of system resource"  # what asyncio says where descriptors run out


@dataclass(slots=True)
class _Said:
    at: float
    again: int = 0


class Repeats(logging.Filter):
    """Lets a warning or an error through once a minute, with how often it came since.

    One for all handlers: each record is judged once.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._said: OrderedDict[tuple[str, str], _Said] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record passes; one that does counts those before it that did not."""
        if record.levelno < logging.WARNING:
            return True
        passes: bool | None = vars(record).get(MARK)
        if passes is None:
            passes = vars(record)[MARK] = self._passes(record)
        return passes

    def _passes(self, record: logging.LogRecord) -> bool:
        now, key = self._clock.monotonic(), (record.name, record.getMessage())
        said = self._said.get(key)
        if said is not None and now - said.at < MINUTE:
            said.again += 1
            return False
        self._said[key] = _Said(now)
        self._said.move_to_end(key)
        while len(self._said) > _KEPT:
            self._said.popitem(last=False)
        if said is not None and said.again:
            record.msg, record.args = "%s (%d more since it was last said)", (key[1], said.again)
        return True


class AcceptErrors(logging.Filter):
    """Turns asyncio's traceback for a connection that finds no free descriptor into one plain sentence."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        if record.getMessage().startswith(_ACCEPT):
            record.msg = "a connection has to wait: too many files are open; `ulimit -n` says how many may be"
            record.args = ()
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True
