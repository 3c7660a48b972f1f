"""What Compare is given: two events side by side, or one with others to compare it with."""

from dataclasses import dataclass
from typing import ClassVar

from relay.web.contexts.events import EventHead, Link
from relay.web.view.rows import Row
from relay.web.view.shell import Shell
from relay.web.view.text import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One place on both sides; no pieces where there is nothing."""

    path: str
    left: tuple[Piece, ...]
    right: tuple[Piece, ...]
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PairGroup:
    """Places that belong together."""

    title: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparePage:
    """Two events. `views` switch between the differences and everything; `reveal` shows hidden headers."""

    template: ClassVar[str] = "pages/compare.html"
    shell: Shell
    sides: tuple[Row, Row]
    count: str
    groups: tuple[PairGroup, ...]
    views: tuple[Link, ...]
    swap: str
    reveal: str
    cut: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareForm:
    """One event, and the latest of its kind to choose the other from."""

    template: ClassVar[str] = "parts/compare.html"
    event: EventHead
    back: str
    back_name: str
    rows: tuple[tuple[str, Row], ...]
    error: str = ""
