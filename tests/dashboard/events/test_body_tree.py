import json
from unicodedata import category

from hypothesis import given
from hypothesis import strategies as st

from relay.dashboard.events.body_tree import MAX_TREE_LINES, build_branch, build_tree, find_in_text, find_in_tree
from relay.model.json_paths import format_dotted_path
from relay.model.parsing import parse_json


def flat(nodes):
    for node in nodes:
        yield node
        yield from flat(node.kids)


def at(nodes, path):
    return next(node for node in flat(nodes) if node.path == path)


def test_numbers_are_shown_and_found_as_they_are_written():
    value = parse_json('{"price": 1.10, "huge": 1e400, "n": 7}', exact=True)
    assert [node.text for node in build_tree(value)] == ["1.10", "1e400", "7"]
    assert find_in_tree(value, "1.10") == ("/price",)


def test_members_of_the_outermost_value_stand_at_the_left():
    nodes = build_tree({"id": "evt_1", "n": 3, "ok": True, "none": None, "empty": {}, "list": []})
    assert [(node.key, node.kind, node.text, node.depth) for node in nodes] == [
        ("id", "string", "evt_1", 0),
        ("n", "number", "3", 0),
        ("ok", "literal", "true", 0),
        ("none", "literal", "null", 0),
        ("empty", "object", "{}", 0),
        ("list", "array", "[]", 0),
    ]


def test_a_short_body_is_open_throughout_and_a_long_one_two_levels():
    short = {"a": {"b": {"c": {"d": 1}}}}
    assert all(node.open for node in flat(build_tree(short)) if node.kids)
    long = {"a": {"b": {"c": {"d": 1}}}, "more": {str(n): {"x": n} for n in range(99)}}
    nodes = build_tree(long)
    assert [at(nodes, path).open for path in ("a", "a.b", "a.b.c")] == [True, True, False]


def test_what_does_not_fit_is_left_for_later():
    nodes = build_tree({f"k{n}": {f"x{m}": m for m in range(50)} for n in range(60)})
    assert sum(1 for _ in flat(nodes)) <= MAX_TREE_LINES
    later = [node for node in nodes if node.later]
    assert later
    assert all(not node.kids and node.count == "50 keys" for node in later)


def test_a_long_array_comes_in_hundreds():
    nodes = build_tree({"items": list(range(250))})
    parts = at(nodes, "items").kids
    assert [part.key for part in parts] == ["0 to 99", "100 to 199", "200 to 249"]
    assert [part.later for part in parts] == [False, True, True]
    assert parts[0].kids[5].path == "items[5]"
    more = build_branch({"items": list(range(250))}, "/items", 1, 200, 250)
    assert [more[0].path, more[-1].path, len(more)] == ["items[200]", "items[249]", 50]


def test_a_million_items_come_in_parts_of_parts():
    items = list(range(1_000_000))
    parts = at(build_tree({"items": items}), "items").kids
    assert [len(parts), parts[1].key] == [100, "10000 to 19999"]
    inner = build_branch({"items": items}, "/items", 1, parts[1].start, parts[1].stop)
    assert [len(inner), inner[1].key, inner[0].kids[3].path] == [100, "10100 to 10199", "items[10003]"]


def test_the_line_looked_for_is_reached_wherever_it_is():
    value = {"items": [{"deep": {"name": f"n{n}"}} for n in range(1000)]}
    hits = find_in_tree(value, "n777")
    assert hits == ("/items/777/deep/name",)
    nodes = build_tree(value, at=hits[0], marks=hits)
    assert [node.path for node in flat(nodes) if node.on and node.mark] == ["items[777].deep.name"]


def test_paths_are_what_a_person_would_type():
    assert format_dotted_path("/data/items/0/a b") == 'data.items[0]["a b"]'
    assert at(build_tree({"a/b": {"c~d": 1}}), '["a/b"]["c~d"]').pointer == "/a~1b/c~0d"


def test_finding_sees_keys_and_values_and_no_positions():
    value = {"amount": 4800, "list": ["Amount due", 1], "x": {"paid_amount": None}}
    assert find_in_tree(value, "AMOUNT") == ("/amount", "/list/0", "/x/paid_amount")
    assert find_in_tree(value, "4800") == ("/amount",)
    assert find_in_tree(value, "") == ()
    assert find_in_text(b"one Two two", "two") == (4, 8)


def test_of_a_megabyte_no_more_is_drawn_than_a_page_holds():
    value = json.loads(json.dumps({"rows": [{"id": n, "name": "x" * 20} for n in range(20_000)]}))
    nodes = build_tree(value, levels=1)
    assert sum(1 for _ in flat(nodes)) <= MAX_TREE_LINES


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda kids: st.lists(kids, max_size=130) | st.dictionaries(st.text(), kids, max_size=130),
        max_leaves=300,
    )
)
def test_any_value_makes_a_tree_of_at_most_the_lines_allowed(value):
    nodes = list(flat(build_tree(value)))
    assert len(nodes) <= MAX_TREE_LINES
    assert not any(category(letter) in ("Cc", "Cs") for node in nodes for letter in node.path + node.text)
