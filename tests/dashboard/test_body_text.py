from unicodedata import category

from hypothesis import given
from hypothesis import strategies as st

from relay.dashboard.body_text import (
    HEX_WINDOW,
    RAW_WINDOW,
    build_hex_window,
    build_text_window,
    highlight_differences,
    is_binary,
    mark_matches,
)


def said(window):
    return "".join(text for text, _ in window.pieces)


def test_raw_text_has_numbered_lines():
    window = build_text_window(b"one\r\ntwo\tx\n\x1b[31mthree")
    assert (window.numbers, said(window)) == ("1\n2\n3", "one\ntwo    x\n\\x1b[31mthree")
    assert (window.end, window.previous) == (window.size, None)


def test_raw_windows_follow_each_other_without_a_gap():
    body = b"".join(b"line %d\n" % n for n in range(100_000))
    first = build_text_window(body)
    second = build_text_window(body, first.end)
    assert first.end <= RAW_WINDOW
    assert body[: first.end].endswith(b"\n")
    last, next_ = int(first.numbers.rsplit("\n", 1)[1]), int(second.numbers.split("\n", 1)[0])
    assert next_ == last + 1
    assert second.previous == 0 or second.previous < second.offset


def test_a_window_never_cuts_a_character():
    body = "€".encode() * (RAW_WINDOW // 2)
    assert "\\x" not in said(build_text_window(body))
    assert set(said(build_text_window(body))) == {"€"}


def test_hexadecimal_shows_offsets_bytes_and_letters():
    window = build_hex_window(b"GET /\x00\xff and so on", 0)
    assert window.numbers == "00000000\n00000010"
    assert said(window).startswith("47 45 54 20 2f 00 ff 20  61 6e 64 20 73 6f 20 6f  GET /.. and so o")
    assert build_hex_window(bytes(10_000)).end == HEX_WINDOW


def test_hits_are_marked_without_regard_to_case():
    assert list(mark_matches("Pay PAYER", "pay")) == [("Pay", True), (" ", False), ("PAY", True), ("ER", False)]


def test_binary_is_told_from_text_in_any_language():
    assert not is_binary("grüße, 世界".encode() * 1000)
    assert not is_binary("caf\xe9 au lait, s'il vous pla\xeet".encode("latin-1"))
    assert is_binary(b"\x89PNG\r\n\x1a\n\0\0")
    assert is_binary(bytes(range(128, 256)))


@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_any_bytes_can_be_shown(body, offset):
    assert not any(
        category(letter) in ("Cc", "Cs") for letter in said(build_text_window(body, offset)).replace("\n", "")
    )
    assert said(build_hex_window(body, offset)).isascii()


def mark_up(pieces):
    return "".join(f"[{text}]" if is_hit else text for text, is_hit in pieces)


def test_only_the_changed_part_of_a_value_is_marked():
    left, right = highlight_differences("t=1795356450,v1=4c624c8a", "t=1795356492,v1=6ddff6e1")
    assert (mark_up(left), mark_up(right)) == ("t=[1795356450],v1=[4c624c8a]", "t=[1795356492],v1=[6ddff6e1]")
    assert [mark_up(side) for side in highlight_differences('"eur"', '"usd"')] == ['"[eur]"', '"[usd]"']
    assert [mark_up(side) for side in highlight_differences("4800", "125000")] == ["[4800]", "[125000]"]


def test_what_is_there_on_one_side_only_is_marked_whole():
    assert [mark_up(side) for side in highlight_differences(None, "BF26")] == ["", "[BF26]"]
    assert [mark_up(side) for side in highlight_differences("same", "same")] == ["same", "same"]


def test_long_values_keep_what_begins_and_ends_alike():
    left, right = highlight_differences("a " * 500 + "x" + " b" * 500, "a " * 500 + "yy" + " b" * 500)
    assert [text for text, is_hit in left if is_hit] == ["x"]
    assert [text for text, is_hit in right if is_hit] == ["yy"]


@given(st.text(max_size=300), st.text(max_size=300))
def test_nothing_of_a_value_is_lost(left, right):
    assert tuple("".join(text for text, _ in side) for side in highlight_differences(left, right)) == (left, right)
