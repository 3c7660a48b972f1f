"""Problems as they are told: printable, short, each once, and not too many."""

from collections.abc import Iterable
from itertools import islice

from relay.model.admission import Problem
from relay.model.paths import dotted
from relay.model.text import printable

MOST = 50
_FIELD = 200
_MESSAGE = 300


def problem(rule: str, pointer: str, message: str) -> Problem:
    """Return a problem with a field of the body; `pointer` "" is the body as a whole."""
    return Problem(
        rule=rule,
        message=printable(message, _MESSAGE),
        field=printable(dotted(pointer), _FIELD),
        pointer=printable(pointer, _FIELD),
    )


def listed(found: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the first MOST different problems, and one more that says so where there are others."""
    some = list(dict.fromkeys(islice(found, MOST + 1)))
    if len(some) <= MOST:
        return tuple(some)
    return (*some[:MOST], Problem(rule="schema", message=f"has more than {MOST} problems"))
