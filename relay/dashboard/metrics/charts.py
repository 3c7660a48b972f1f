"""Charts as shapes: numbers in, attributes of SVG elements out. Widths and heights are 0 to 100."""

from collections.abc import Sequence
from dataclasses import dataclass

_BAR_GAP = 0.28  # of a bar's width
_ROUND_STEPS = (1, 2, 2.5, 4, 5, 8, 10)
_GRID_LINES = 4  # lines of the grid above its floor


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartBar:
    """One piece of a bar: `kind` is its class."""

    kind: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartLine:
    """One line: `kind` is its class, `path` the data of its path."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartView:
    """A chart with its scales; `words` says in a sentence what it shows."""

    words: str
    ys: tuple[str, ...]
    xs: tuple[str, ...]
    bars: tuple[ChartBar, ...] = ()
    lines: tuple[ChartLine, ...] = ()


def round_up_scale(values: Sequence[float]) -> float:
    """Return the round number that a scale ends with, at or above the greatest value."""
    most = max(values, default=0.0)
    if most <= 0:
        return float(_GRID_LINES)
    power = 10.0 ** (len(str(int(most))) - 1) if most >= 1 else 0.001
    while power * 10 < most:
        power *= 10
    return next(power * nice for nice in _ROUND_STEPS if power * nice >= most)


def build_scale_labels(top: float, unit: str = "") -> tuple[str, ...]:
    """Return the words beside a scale, from its top down; only the first has the unit."""
    steps = [top * (_GRID_LINES - place) / _GRID_LINES for place in range(_GRID_LINES + 1)]
    return tuple(f"{step:,.4g}{unit if place == 0 else ''}" for place, step in enumerate(steps))


def build_bars(columns: Sequence[Sequence[tuple[str, int]]], top: float) -> tuple[ChartBar, ...]:
    """Return stacked bars: each column holds its pieces from the floor up, as class and number."""
    pitch = 100 / max(len(columns), 1)
    made: list[ChartBar] = []
    for place, column in enumerate(columns):
        floor = 100.0
        for kind, number in column:
            height = number / top * 100
            if number:
                made.append(
                    ChartBar(
                        kind=kind,
                        x=f"{place * pitch:.2f}",
                        y=f"{floor - height:.2f}",
                        width=f"{pitch * (1 - _BAR_GAP):.2f}",
                        height=f"{height:.2f}",
                    )
                )
            floor -= height
    return tuple(made)


def build_line(kind: str, values: Sequence[float | None], top: float, height: float = 100) -> ChartLine:
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
    return ChartLine(kind=kind, path="".join(pieces))


def build_sparkline(values: Sequence[float]) -> str:
    """Return the path of a little line without scales, 24 high."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = high - low or 1.0
    return build_line("", [value - low for value in values], span, 22).path
