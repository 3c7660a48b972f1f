"""A JSON value as a tree of lines, of which a limited number is shown and the rest is folded."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from types import NoneType

from relay.dashboard.filters import format_count
from relay.model.json_paths import append_to_path, append_to_pointer, find_below, format_dotted_path, split_pointer
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.derived_extractors import format_money

MAX_TREE_LINES = 500  # lines in one reply; measured in Chromium: 500 render in 0.07 s, 10 000 in 1.0 s
OPEN_LINES = 150  # lines; below the first two levels, nodes are opened only within this limit
MEMBERS_AT_ONCE = 100  # members of an array or object shown at a time
MAX_STRING_LENGTH = 2000  # characters of one string shown in its line
MAX_HITS = 1000
_TIMESTAMP_RANGE = (946_684_800, 4_102_444_800)  # 2000 to 2100, in seconds
_MONEY_WORDS = ("amount", "total", "subtotal", "price", "fee", "tax", "balance", "net", "due", "paid", "refunded")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeNode:
    """A line. `kind` is object, array, part, string, number or literal; a folded node above the limit has no kids.

    `path` is the path to copy (`data.items[0]`), `pointer` its JSON Pointer. `start`
    and `stop` are the range of the kids in its parent, for the parts of a long array or object.
    """

    key: str
    kind: str
    path: str
    pointer: str
    depth: int
    text: str = ""
    count: str = ""
    open: bool = False
    hint: str = ""
    start: int = 0
    stop: int = 0
    kids: tuple["TreeNode", ...] = ()
    later: bool = False
    mark: bool = False
    on: bool = False


@dataclass(slots=True)
class _Budget:
    """The remaining number of lines, shared by siblings; the current line, and all marked lines."""

    lines: int = MAX_TREE_LINES
    at: str = ""
    marks: Collection[str] = ()
    levels: int = 2
    roomy: bool = False

    def is_on_way(self, pointer: str) -> bool:
        """Return whether the current line is below `pointer`."""
        return self.at.startswith(f"{pointer}/")


def build_tree(value: object, *, levels: int = 2, at: str = "", marks: Collection[str] = ()) -> tuple[TreeNode, ...]:
    """Return the lines of a whole body; the members of the outermost value are at depth 0.

    `at` is the pointer of the current line, which is visible, `marks` those of all hits.
    """
    budget = _Budget(at=at, marks=marks, levels=levels, roomy=_count_lines(value, OPEN_LINES) < OPEN_LINES)
    root = TreeNode(key="", kind=_get_kind(value), path="", pointer="", depth=-1)
    if isinstance(value, dict | list):
        return _build_children(value, root, range(len(value)), budget)
    return (_fill_leaf(replace(root, key="value", depth=0), value, {}),)


def build_branch(
    value: object, pointer: str, depth: int, start: int = 0, stop: int | None = None
) -> tuple[TreeNode, ...]:
    """Return the lines below a folded node of a body: the members from `start` up to `stop`, or all of them."""
    value = find_below(value, split_pointer(pointer))
    if not isinstance(value, dict | list):
        return ()
    path = escape_unprintable(format_dotted_path(pointer), 500)
    parent = TreeNode(key="", kind=_get_kind(value), path=path, pointer=pointer, depth=depth)
    span = range(max(0, start), len(value) if stop is None else min(stop, len(value)))
    return _build_children(value, parent, span, _Budget(levels=depth + 2))


def _build_children(
    value: dict[str, object] | list[object], parent: TreeNode, span: range, budget: _Budget
) -> tuple[TreeNode, ...]:
    if len(span) > MEMBERS_AT_ONCE:
        return tuple(_build_ranges(value, parent, span, budget))
    budget.lines -= len(span)
    siblings = value if isinstance(value, dict) else {}
    return tuple(_build_node(key, member, parent, siblings, budget) for key, member in _iterate_members(value, span))


def _build_ranges(
    value: dict[str, object] | list[object], parent: TreeNode, span: range, budget: _Budget
) -> Iterator[TreeNode]:
    step = MEMBERS_AT_ONCE
    while len(span) > step * MEMBERS_AT_ONCE:
        step *= MEMBERS_AT_ONCE
    starts = span[::step]
    budget.lines -= len(starts)
    here = _find_hit_index(value, parent, budget)
    for start in starts:
        within = range(start, min(start + step, span.stop))
        opens = here in within if here >= 0 else start == span.start and budget.lines > MEMBERS_AT_ONCE
        part = TreeNode(
            key=f"{start} to {within.stop - 1}",
            kind="part",
            path=parent.path,
            pointer=parent.pointer,
            depth=parent.depth + 1,
            start=start,
            stop=within.stop,
            open=opens,
            later=not opens,
        )
        kids = _build_children(value, replace(part, kind=parent.kind), within, budget) if opens else ()
        yield replace(part, kids=kids)


def _build_node(key: str, value: object, parent: TreeNode, siblings: Mapping[str, object], budget: _Budget) -> TreeNode:
    listed = parent.kind == "array"
    node = TreeNode(
        key=escape_unprintable(key, 200),
        kind=_get_kind(value),
        path=escape_unprintable(append_to_path(parent.path, key, listed=listed), 500),
        pointer=append_to_pointer(parent.pointer, key),
        depth=parent.depth + 1,
    )
    node = replace(node, mark=node.pointer in budget.marks, on=node.pointer == budget.at)
    if not isinstance(value, dict | list):
        return _fill_leaf(node, value, siblings)
    if not value:
        return replace(node, text="{}" if isinstance(value, dict) else "[]")
    count = format_count(len(value), "key" if isinstance(value, dict) else "item")
    opens = node.depth < budget.levels or budget.roomy or budget.is_on_way(node.pointer)
    fits = budget.lines >= min(len(value), MEMBERS_AT_ONCE) or budget.is_on_way(node.pointer)
    if not fits:
        return replace(node, count=count, later=True)
    kids = _build_children(value, node, range(len(value)), budget)
    return replace(node, count=count, open=opens, kids=kids)


def _fill_leaf(node: TreeNode, value: object, siblings: Mapping[str, object]) -> TreeNode:
    if isinstance(value, str):
        quoted = json.dumps(value[:MAX_STRING_LENGTH], ensure_ascii=False)[1:-1]
        cut = f" … {len(value):,} characters" if len(value) > MAX_STRING_LENGTH else ""
        return replace(node, text=escape_unprintable(quoted), count=cut)
    hint = guess_meaning(node.key, value, siblings)
    return replace(node, text=escape_unprintable(_write_leaf(value), 400), hint=hint)


def _iterate_members(value: dict[str, object] | list[object], span: range) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        return ((str(index), value[index]) for index in span)
    return islice(value.items(), span.start, span.stop)


def _find_hit_index(value: dict[str, object] | list[object], parent: TreeNode, budget: _Budget) -> int:
    if not budget.is_on_way(parent.pointer):
        return -1
    key = split_pointer(budget.at.removeprefix(parent.pointer))[0]
    if isinstance(value, list):
        return int(key) if key.isdigit() else -1
    return next((index for index, name in enumerate(value) if name == key), -1)


def _get_kind(value: object) -> str:
    kinds = ((dict, "object"), (list, "array"), (str, "string"), ((bool, NoneType), "literal"))
    return next((kind for types, kind in kinds if isinstance(value, types)), "number")


def _count_lines(value: object, limit: int) -> int:
    lines, level = 0, [value]
    while level and lines < limit:
        level = [
            kid
            for node in level
            if isinstance(node, dict | list)
            for kid in (node.values() if isinstance(node, dict) else node)
        ]
        lines += len(level)
    return lines


def find_in_tree(value: object, text: str) -> tuple[str, ...]:
    """Return the pointers of the lines whose key or value contains `text`, in order, at most MAX_HITS."""
    folded = text.lower()
    places = (pointer for pointer, key, leaf in _walk_leaves(value) if folded in key.lower() or folded in leaf.lower())
    return tuple(islice(places, MAX_HITS)) if folded else ()


def find_in_text(body: bytes, text: str) -> tuple[int, ...]:
    """Return the byte offsets of `text`, ignoring the case of ASCII letters, at most MAX_HITS."""
    needle = re.compile(re.escape(text.encode("utf-8", "replace").lower()))
    return tuple(match.start() for match in islice(needle.finditer(body.lower()), MAX_HITS))


def _walk_leaves(value: object) -> Iterator[tuple[str, str, str]]:
    """Yield the pointer, the key and the text of every line; "" for the index of an item and the text of a branch."""
    # A stack instead of recursion, so that depth is not limited.
    stack: list[tuple[str, str, object]] = [("", "", value)]
    while stack:
        pointer, key, here = stack.pop()
        kids = list(_iterate_members(here, range(len(here)))) if isinstance(here, dict | list) else []
        if pointer or not kids:
            yield pointer, "" if key.isdigit() else key, "" if kids else _write_leaf(here)
        stack.extend((append_to_pointer(pointer, name), name, member) for name, member in reversed(kids))


def _write_leaf(leaf: object) -> str:
    return str(leaf) if isinstance(leaf, str | Decimal) else json.dumps(leaf)


def guess_meaning(key: str, value: object, siblings: Mapping[str, object]) -> str:
    """Return a grey hint such as `€48.00` or `22 Nov 2026, 14:07:30 UTC`; "" when there is none to give."""
    if isinstance(value, bool) or not isinstance(value, int):
        return ""
    return _format_money(key, value, siblings) or _format_timestamp(value)


def _format_money(key: str, value: int, siblings: Mapping[str, object]) -> str:
    currency = siblings.get("currency")
    name = key.lower()
    if not isinstance(currency, str) or len(currency) != 3 or not any(word in name for word in _MONEY_WORDS):
        return ""
    if value == 0 or name.endswith(("_count", "_percent", "_at", "_id")) or abs(value) > 10**15:
        return ""
    return format_money(value, currency.upper(), minor=True)


def _format_timestamp(value: int) -> str:
    seconds = value // 1000 if value >= _TIMESTAMP_RANGE[0] * 1000 else value
    if not _TIMESTAMP_RANGE[0] <= seconds < _TIMESTAMP_RANGE[1]:
        return ""
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when.day} {when:%b %Y, %H:%M:%S} UTC"
