"""Charts as shapes: numbers in, attributes of SVG elements out. Widths and heights are 0 to 100."""

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = 0.28  # of a bar's room
_NICE = (1, 2, 2.5, 4, 5, 8, 10)
_LINES = 4  # lines of the grid above its floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One piece of a bar: `kind` is its class."""

    kind: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: `kind` is its class, `path` the data of its path."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A chart with its scales; `words` says in a sentence what it shows."""

    words: str
    ys: tuple[str, ...]
    xs: tuple[str, ...]
    bars: tuple[Bar, ...] = ()
    lines: tuple[Line, ...] = ()


def top_of(values: Sequence[float]) -> float:
    """Return the round number that a scale ends with, at or above the greatest value."""
    most = max(values, default=0.0)
    if most <= 0:
        return float(_LINES)
    power = 10.0 ** (len(str(int(most))) - 1) if most >= 1 else 0.001
    while power * 10 < most:
        power *= 10
    return next(power * nice for nice in _NICE if power * nice >= most)


def scale(top: float, unit: str = "") -> tuple[str, ...]:
    """Return the words beside a scale, from its top down; the unit stands with the first alone."""
    steps = [top * (_LINES - place) / _LINES for place in range(_LINES + 1)]
    return tuple(f"{step:,.4g}{unit if place == 0 else ''}" for place, step in enumerate(steps))


def bars(columns: Sequence[Sequence[tuple[str, int]]], top: float) -> tuple[Bar, ...]:
    """Return stacked bars: each column holds its pieces from the floor up, as class and number."""
    room = 100 / max(len(columns), 1)
    made: list[Bar] = []
    for place, column in enumerate(columns):
        floor = 100.0
        for kind, number in column:
            height = number / top * 100
            if number:
                made.append(
                    Bar(
                        kind=kind,
                        x=f"{place * room:.2f}",
                        y=f"{floor - height:.2f}",
                        width=f"{room * (1 - _GAP):.2f}",
                        height=f"{height:.2f}",
                    )
                )
            floor -= height
    return tuple(made)


def line(kind: str, values: Sequence[float | None], top: float, height: float = 100) -> Line:
    """Return a line through values at even distances; where there is none it breaks."""
    last = max(len(values) - 1, 1)
    pieces: list[str] = []
    pen = "M"
    for place, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x, y = place / last * 100, height - min(value / top, 1) * height
        pieces.append(f"{pen}{x:.2f} {y:.2f}")
        alone = pen == "M" and (place + 1 == len(values) or values[place + 1] is None)
        if alone:  # a point, drawn as a line too short to see but for its round ends
            pieces.append(f"L{x + 0.01:.2f} {y:.2f}")
        pen = "L"
    return Line(kind=kind, path="".join(pieces))


def spark(values: Sequence[float]) -> str:
    """Return the path of a little line without scales, 24 high."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = high - low or 1.0
    return line("", [value - low for value in values], span, 22).path
