"""Event numbers as people write them: one, a range, or a list such as `1,5,9-12`."""

import re
from collections.abc import Iterable

MOST = 500  # parts of one list
_PART = re.compile(r"(\d{1,18})(?:-(\d{1,18})|\.\.(\d{1,18})?)?")

Span = tuple[int, int | None]  # from, to, both included; None where there is no end


def spans(text: str) -> tuple[Span, ...]:
    """Read a list of numbers and ranges (`9-12`, `9..12`, `9..`). Raises ValueError for anything else."""
    parts = text.split(",")
    if len(parts) > MOST:
        raise ValueError(f"more than {MOST} numbers and ranges")
    return tuple(_span(part) for part in parts)


def listed(numbers: Iterable[int]) -> str:
    """Return numbers as the shortest list that means the same, lowest first: `1,5,9-12`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(_told(low, high) for low, high in runs)


def _span(part: str) -> Span:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError("not an event number")
    low, dashed, dotted = match.groups()
    if dashed or dotted:
        return int(low), int(dashed or dotted)
    return int(low), None if ".." in part else int(low)


def _told(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low},{high}" if high == low + 1 else f"{low}-{high}"
