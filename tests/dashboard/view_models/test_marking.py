from hypothesis import given
from hypothesis import strategies as st

from relay.dashboard.body_text import highlight_differences


def told(pieces):
    return "".join(f"[{piece.text}]" if piece.hit else piece.text for piece in pieces)


def test_only_the_changed_part_of_a_value_is_marked():
    left, right = highlight_differences("t=1795356450,v1=4c624c8a", "t=1795356492,v1=6ddff6e1")
    assert (told(left), told(right)) == ("t=[1795356450],v1=[4c624c8a]", "t=[1795356492],v1=[6ddff6e1]")
    assert [told(side) for side in highlight_differences('"eur"', '"usd"')] == ['"[eur]"', '"[usd]"']
    assert [told(side) for side in highlight_differences("4800", "125000")] == ["[4800]", "[125000]"]


def test_what_is_there_on_one_side_only_is_marked_whole():
    assert [told(side) for side in highlight_differences(None, "BF26")] == ["", "[BF26]"]
    assert [told(side) for side in highlight_differences("same", "same")] == ["same", "same"]


def test_long_values_keep_what_begins_and_ends_alike():
    left, right = highlight_differences("a " * 500 + "x" + " b" * 500, "a " * 500 + "yy" + " b" * 500)
    assert [piece.text for piece in left if piece.hit] == ["x"]
    assert [piece.text for piece in right if piece.hit] == ["yy"]


@given(st.text(max_size=300), st.text(max_size=300))
def test_nothing_of_a_value_is_lost(left, right):
    assert tuple("".join(piece.text for piece in side) for side in highlight_differences(left, right)) == (left, right)
