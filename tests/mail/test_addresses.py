import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import check_each
from relay.actions.mail.addresses import check_recipients, is_permitted, parse_address, parse_named_address
from relay.errors import MailError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ada@example.com", "ada@example.com"),
        ("a.b+c=d@sub.example.com", "a.b+c=d@sub.example.com"),
        (" dev@localhost ", "dev@localhost"),
        ("ada@mailpit.local", "ada@mailpit.local"),
        ("ada@app.localhost", "ada@app.localhost"),
        ("ada@app.test", "ada@app.test"),
        ("Ada@Example.COM", "Ada@example.com"),
        ("Ada <ada@example.com>", "ada@example.com"),
        ("Ada <ada@LOCALHOST>", "ada@localhost"),
        ('"Ada L." <a@b.c>', "a@b.c"),
        ("ada@exämple.de", "ada@xn--exmple-cua.de"),
        ("jörg@example.de", "jörg@example.de"),
        ("用户@例え.jp", "用户@xn--r8jz45g.jp"),
    ],
)
def test_one_plain_address_is_an_address(text, address):
    assert parse_address(text) == address


@check_each(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@nodot",
        "ada@host.invalid",
        "ada@.local",
        "a@b.de, c@d.de",
        "a@localhost, c@localhost",
        "a@b.de;c@d.de",
        "a@b.de c@d.de",
        "a@b.de\r\nBcc: c@d.de",
        "a@b.de\n",
        "a@localhost\n",
        "a@b.de>,<c@d.de",
        "A <a@b.de> <c@d.de>",
        "A <a@b.de>, B <c@d.de>",
        '"a@evil.com"@example.com',
        "a@b.de(comment)",
        "a..b@example.com",
        ".a@example.com",
        "a@[127.0.0.1]",
        "a@-example.com",
        "a@exa mple.com",
        "=?utf-8?q?a=2Cb?=@example.com",
        "a%b@c@example.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}.com",
        f"{'n' * 500} <a@example.com>",
        "Evil\r\nBcc: x <a@b.de>",
        "a@b.de\x00",
        "\ud800@b.de",
        "a\u202eb@example.com",
        "a\u200bb@example.com",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(MailError, match="is not one mail address: "):
        parse_address(text)


def test_a_refusal_says_why_in_one_printable_line():
    with pytest.raises(MailError) as caught:
        parse_address("ada@\x1b[31mexa\r\nmple.com")
    assert caught.value.message == (
        r"'ada@\x1b[31mexa\x0d\x0ample.com' is not one mail address: "
        "the part after the @-sign contains invalid characters: '[', U+000A, U+000D, U+001B"
    )


def test_the_name_stands_apart():
    assert parse_named_address('"Relay, the" <relay@example.com>') == ("Relay, the", "relay@example.com")
    assert parse_named_address("relay@localhost") == ("", "relay@localhost")


@given(st.text(st.sampled_from('a@.,<>;: \r\n"\\()[]=?-_%é'), max_size=40) | st.text(max_size=60))
def test_what_is_taken_for_an_address_holds_exactly_one(text):
    try:
        address = parse_address(text)
    except MailError:
        return
    assert address.count("@") == 1
    assert not set(address) & set(' ,;<>"\\()[]\r\n')
    assert "=?" not in address
    assert address.rpartition("@")[2].isascii()


@pytest.mark.parametrize(
    ("address", "allowed", "passes"),
    [
        ("ada@example.com", ("*@example.com",), True),
        ("ADA@Example.COM", ("*@example.com",), True),
        ("ada@evil.com", ("*@example.com",), False),
        ("ada@sub.example.com", ("*@example.com",), False),
        ("ada@example.com.evil.com", ("*@example.com",), False),
        ("ada@example.com", ("bob@example.com", "ada@*"), True),
        ("ada@xn--exmple-cua.de", ("*@exämple.de",), True),
        ("ada@xn--exmple-cua.de", ("*@xn--exmple-cua.de",), True),
        ("ada@xn--exmple-cua.de", ("*@example.de",), False),
        ("ada@example.com", (), False),
    ],
)
def test_an_allow_list_is_of_patterns(address, allowed, passes):
    assert is_permitted(address, allowed) is passes


def test_mail_goes_only_to_addresses_of_the_configuration():
    check_recipients(("ops@example.com",), ("ops@example.com",), ())
    check_recipients(("Ops@Example.com",), ("ops@example.com",), ())
    check_recipients(("any@example.com",), (), ("*@example.com",))
    for to, fixed, allowed in (
        (("ada@example.com",), (), ()),
        (("ops@example.com", "ada@example.com"), ("ops@example.com",), ()),
        (("ops@other.org",), ("ops@other.org",), ("*@example.com",)),
    ):
        with pytest.raises(MailError, match="is not among the allowed recipients"):
            check_recipients(to, fixed, allowed)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Jörg Müller <j@example.com>", "Jörg Müller"),
        ("山田 太郎 <j@example.com>", "山田 太郎"),
        ("Müller, Jörg <j@example.com>", "Müller, Jörg"),
        ("Dr. J. (Jo) O'Neil <j@example.com>", "Dr. J. (Jo) O'Neil"),
        ("Ada: team <j@example.com>", "Ada: team"),
        ("j@example.com <j@example.com>", "j@example.com"),
        ("Jörg<j@example.com>", "Jörg"),
        ('"Jörg M." <j@example.com>', "Jörg M."),
        ("<j@example.com>", ""),
        ("=?utf-8?q?a=0D=0ABcc:?= <j@example.com>", "=?utf-8?q?a=0D=0ABcc:?="),
    ],
)
def test_a_name_is_taken_as_people_write_it(text, name):
    assert parse_named_address(text) == (name, "j@example.com")


@pytest.mark.parametrize(
    "text",
    [
        "Evil\nBcc: x@y.de <a@b.de>",
        "Evil\u2028 <a@b.de>",
        "Evil\u202e <a@b.de>",
        "Evil\x00 <a@b.de>",
        "\ud800 <a@b.de>",
        "c@d.de, Evil <a@b.de>",
        "c@d.de; Evil <a@b.de>",
        "Ada <a@b.de> c@d.de",
        "Ada <<a@b.de>>",
        "Ada <a@b.de, c@d.de>",
        "Ada <a@b.de\r\nBcc: c@d.de>",
        "Ada <>",
        f"{'ö' * 500} <a@b.de>",
    ],
)
def test_a_name_hides_no_second_address_and_no_line_break(text):
    with pytest.raises(MailError, match="is not one mail address: "):
        parse_named_address(text)


@given(st.text(), st.text())
def test_whatever_stands_around_an_address_it_is_one_or_none(before, after):
    try:
        name, address = parse_named_address(f"{before}<ada@example.com>{after}")
    except MailError:
        return
    assert address == "ada@example.com"
    assert name.isprintable()
