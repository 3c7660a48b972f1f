"""Two values side by side with the parts in which they differ marked."""

import difflib
import re

from relay.web.view.text import Piece

_TOKEN = re.compile(r"\w+|\W")
_TOKENS = (
    120  # tokens of a value that are matched one by one; past them only what begins and ends alike is told
)
_SIMILAR = 0.3  # below this two values have nothing to do with each other, and are marked whole

Pieces = tuple[Piece, ...]


def marked(left: str | None, right: str | None) -> tuple[Pieces, Pieces]:
    """Return both values in pieces, `hit` where they differ; None becomes no piece at all."""
    if left is None or right is None or left == right:
        return _whole(left, hit=left != right), _whole(right, hit=left != right)
    one, other = _TOKEN.findall(left), _TOKEN.findall(right)
    if len(one) > _TOKENS or len(other) > _TOKENS:
        return _ends(left, right)
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    if matcher.ratio() < _SIMILAR:
        return _whole(left, hit=True), _whole(right, hit=True)
    codes = matcher.get_opcodes()
    return (
        _joined([("".join(one[start:end]), what != "equal") for what, start, end, *_ in codes]),
        _joined([("".join(other[begin:stop]), what != "equal") for what, _, _, begin, stop in codes]),
    )


def _ends(left: str, right: str) -> tuple[Pieces, Pieces]:
    shortest = min(len(left), len(right))
    head = next((place for place in range(shortest) if left[place] != right[place]), shortest)
    tail = 0
    while tail < shortest - head and left[-1 - tail] == right[-1 - tail]:
        tail += 1
    halves = (
        (text[:head], text[head : len(text) - tail], text[len(text) - tail :]) for text in (left, right)
    )
    one, other = (
        _joined([(before, False), (middle, True), (after, False)]) for before, middle, after in halves
    )
    return one, other


def _whole(text: str | None, *, hit: bool) -> Pieces:
    return () if text is None else (Piece(text=text, hit=hit),)


def _joined(runs: list[tuple[str, bool]]) -> Pieces:
    return tuple(Piece(text=text, hit=hit) for text, hit in runs if text)
