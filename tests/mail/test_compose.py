import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import MailError
from relay.mail.addresses import check_recipients, one_address, permitted
from relay.mail.compose import EmailOptions, Mail, Stamp, check_headers, compose, render
from relay.mail.plain import text_of
from relay.model.event import Capture, Event, EventOutcome, EventRow, Verdict, Verification

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = Stamp(
    sender="Relay <relay@example.com>", message_id="<relay.42.7.ab@example.com>", date=NOW, event_id=42
)
INVOICE = {
    "data": {
        "object": {"customer_email": "ada@example.com", "number": "A-1", "amount": 1050, "items": [1, 2]}
    }
}
OPTIONS = EmailOptions(name="receipt", to=("ops@example.com",), subject="Paid", text="Hello")


def event(payload=INVOICE, **changes) -> Event:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    capture = Capture(
        source="stripe",
        method="POST",
        path="/webhooks/stripe",
        query="",
        headers=(("Content-Type", "application/json"), ("X-Name", "caf\xc3\xa9")),
        body=body,
        remote="203.0.113.7",
        received_at=NOW,
    )
    row = EventRow(
        id=42,
        received_at=NOW,
        source="stripe",
        provider="stripe",
        type="invoice.paid",
        idempotency_key="evt_1",
        outcome=EventOutcome.ACCEPTED,
        verdict=Verdict.VERIFIED,
        reason="",
        method="POST",
        path=capture.path,
        query="",
        content_type="application/json",
        size=len(body),
        sha256="",
        remote=capture.remote,
        status=200,
    )
    return Event(
        row=row, capture=replace(capture, **changes), verification=Verification(verdict=Verdict.VERIFIED)
    )


def rendered(payload=INVOICE, **options) -> Mail:
    return render(replace(OPTIONS, **options), event(payload))


def headers_of(source: bytes) -> list[str]:
    return message_from_bytes(source, policy=default).keys()


HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "X-Message-ID",
    "X-Relay-Event",
    "Auto-Submitted",
    "Content-Type",
    "Content-Transfer-Encoding",
    "MIME-Version",
]


def test_a_mail_is_made_from_event_and_payload():
    mail = rendered(
        to=("{{ payload.data.object.customer_email }}", "Ops <ops@example.com>"),
        subject="Paid: {{ payload.data.object.number }} ({{ event.type }})",
        text="{{ event.id }} {{ event.source }} {{ event.received_at }} {{ event.headers['x-name'] }}",
    )
    assert mail.to == ("ada@example.com", "ops@example.com")
    assert mail.fixed == ("ops@example.com",)
    assert mail.subject == "Paid: A-1 (invoice.paid)"
    assert mail.text == "42 stripe 2026-03-01T12:00:00+00:00 café"
    assert mail.html == ""


def test_a_template_is_a_file_with_its_plain_part_beside_it(tmp_path):
    (tmp_path / "base.html").write_text("<p>{% block body %}{% endblock %}</p>")
    page = tmp_path / "receipt.html"
    page.write_text("{% extends 'base.html' %}{% block body %}{{ payload.data.object.number }}{% endblock %}")
    assert rendered(text=None, template=page).html == "<p>A-1</p>"
    assert rendered(text=None, template=page).text == "A-1\n"
    (tmp_path / "receipt.txt").write_text("Number {{ payload.data.object.number }}\n")
    assert rendered(text=None, template=page).text == "Number A-1\n"
    only_text = rendered(text=None, template=tmp_path / "receipt.txt")
    assert (only_text.html, only_text.text) == ("", "Number A-1\n")


def test_html_is_escaped_and_text_is_not(tmp_path):
    page = tmp_path / "a.html"
    page.write_text("<b>{{ payload.x }}</b>")
    mail = rendered({"x": "<script>&"}, template=page, text="{{ payload.x }}", subject="{{ payload.x }}")
    assert mail.html == "<b>&lt;script&gt;&amp;</b>"
    assert (mail.text, mail.subject) == ("<script>&", "<script>&")


def test_a_payload_is_never_a_template():
    mail = rendered({"x": "{{ 7 * 7 }}{% for a in b %}"}, text="{{ payload.x }}", subject="{{ payload.x }}")
    assert mail.text == mail.subject == "{{ 7 * 7 }}{% for a in b %}"


def test_recipients_somebody_typed_are_no_templates():
    with pytest.raises(MailError, match="is not one mail address"):
        render(OPTIONS, event(), ("{{ payload.data.object.customer_email }}",))
    mail = render(OPTIONS, event(), ("bob@example.com", "ops@example.com"))
    assert (mail.to, mail.fixed) == (("bob@example.com", "ops@example.com"), ("ops@example.com",))


def test_a_payloads_own_names_come_before_pythons():
    assert rendered(text="{{ payload.data.object.items | length }}").text == "2"
    assert rendered({"get": 1, "keys": 2}, text="{{ payload.get }}{{ payload.keys }}").text == "12"


@pytest.mark.parametrize(
    ("template", "line", "word"),
    [
        ("\n{{ payload.nothing.there }}", 2, "has no attribute 'nothing'"),
        ("{{ payload.nothing }}", 1, "has no attribute 'nothing'"),
        ("\n\n{% if %}", 3, "Expected an expression"),
        ("{{ payload.data.object.number + 1 }}", 1, "str"),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("{{ ''.__class__.__mro__ }}", 1, "unsafe"),
        ("{{ payload.data.update({}) }}", 1, "unsafe|not safely callable"),
        ("{{ 'x' * 999999999 }}", 1, "would make too much"),
        ("{{ '%999999999d' % 1 }}", 1, "would make too much"),
        ("{{ 9 ** 9999 }}", 1, "would make too much"),
        ("{{ 9 ** 100 ** 100 }}", 1, "would make too much"),
        ("{% for a in range(10000000) %}{% endfor %}", 1, "range"),
    ],
)
def test_what_a_template_stumbles_over_is_said_with_its_line(tmp_path, template, line, word):
    page = tmp_path / "receipt.html"
    page.write_text(template)
    with pytest.raises(MailError, match=rf"emails\.receipt: receipt\.html, line {line}: .*({word})"):
        rendered(template=page, text=None)
    with pytest.raises(MailError, match=rf"emails\.receipt: the template, line {line}: .*({word})"):
        rendered(text=template)


def test_a_part_has_a_limit():
    with pytest.raises(MailError, match="it makes more than 1048576 characters"):
        rendered(text="{% for a in range(100000) %}{{ 'x' * 5000 }}{% endfor %}")


def test_usual_formatting_is_welcome():
    text = "{{ '%.2f' % (payload.data.object.amount / 100) }} {{ '-' * 10 }} {{ 7 % 4 }} {{ 2 ** 10 }}"
    assert rendered(text=text).text == "10.50 ---------- 3 1024"


def test_a_missing_template_is_named(tmp_path):
    with pytest.raises(MailError, match=r"no template gone\.html"):
        rendered(template=tmp_path / "gone.html", text=None)


@pytest.mark.parametrize("payload", [b"", b"not json", b"[" * 100_000, b'"\\ud800"', b"9" * 5000])
def test_a_body_that_is_no_json_is_no_payload(payload):
    assert rendered(payload, text="{{ 'none' if payload is none else 'some' }}").text in ("none", "some")


def test_lone_surrogates_do_not_stop_a_mail():
    mail = rendered({"x": "\ud800é"}, text="{{ payload.x }}", subject="{{ payload.x }}")
    assert b"=C3=A9" in compose(mail, STAMP)


ATTACKS = [
    "a\r\nBcc: evil@example.com",
    "a\nBcc: evil@example.com",
    "a\x0bb\x0cc\x1cd\x1de\x1ef\x85g\u2028h\u2029i\x00j\x7fk",
    "=?utf-8?q?a=0D=0ABcc:_x=40evil.example?=",
    "=\x00?utf-8?q?a=0D=0ABcc:_x=40evil.example?\x00=",
    "=?utf-8?b?YQ0KQmNjOiB4QGV2aWwuZXhhbXBsZQ==?=",
    "=?=?utf-8?q?a=0D=0ABcc:_x?=",
    "x" * 100_000,
    "\u202egnp.exe",
    "é" * 300,
    "",
]


@pytest.mark.parametrize("value", ATTACKS)
def test_no_value_writes_a_header_of_its_own(value):
    mail = rendered({"x": value}, subject="{{ payload.x }}", text="{{ payload.x }}")
    source = compose(mail, STAMP)
    assert headers_of(source) == HEADERS
    assert len(mail.subject) <= 200
    assert source.isascii()
    assert b"\n" not in source.replace(b"\r\n", b"")


def test_a_header_that_nobody_set_would_be_noticed():
    check_headers(b"A: 1\r\nB: 2\r\n\r\n", ["A", "B"])
    with pytest.raises(MailError, match="other headers than those it was given"):
        check_headers(b"A: 1\r\nBcc: x\r\nB: 2\r\n\r\n", ["A", "B"])


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_text_at_all_breaks_a_mail(subject, body):
    text = body.encode("utf-8", "replace").decode()
    mail = replace(rendered(), subject=subject, text=text, html=text and f"<p>{text}</p>")
    parsed = message_from_bytes(compose(mail, STAMP), policy=default)
    assert parsed.keys()[:8] == HEADERS[:8]
    assert set(parsed.keys()) <= set(HEADERS)
    assert parsed["X-Relay-Event"] == "42"


def test_a_mail_is_what_it_says():
    mail = replace(
        rendered(),
        subject="Grüße",
        html="<p>Größe</p>",
        text="Größe\n.\n..\nFrom me",
        to=("a@x.de", "b@x.de"),
    )
    parsed = message_from_bytes(compose(mail, STAMP), policy=default)
    assert parsed["From"] == "Relay <relay@example.com>"
    assert parsed["To"] == "a@x.de, b@x.de"
    assert parsed["Subject"] == "Grüße"
    assert parsed["Date"].datetime == NOW
    assert parsed["Message-ID"] == "<relay.42.7.ab@example.com>"
    assert parsed.get_body(("plain",)).get_content().splitlines() == ["Größe", ".", "..", "From me"]
    assert parsed.get_body(("html",)).get_content().strip() == "<p>Größe</p>"


@pytest.mark.parametrize(
    "text",
    [
        "ada@example.com",
        "a.b+c=d@sub.example.com",
        " dev@localhost ",
        "Ada <ada@example.com>",
        '"Ada L." <a@b.c>',
    ],
)
def test_one_plain_address_is_an_address(text):
    assert "@" in one_address(text)
    assert "<" not in one_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "a@b, c@d",
        "a@b;c@d",
        "a@b c@d",
        "a@b\r\nBcc: c@d",
        "a@b\n",
        "a@b>,<c@d",
        "A <a@b> <c@d>",
        "A <a@b>, B <c@d>",
        '"a@evil.com"@example.com',
        "a@b(comment)",
        "a..b@example.com",
        ".a@example.com",
        "a@[127.0.0.1]",
        "a@-example.com",
        "a@exa mple.com",
        "=?utf-8?q?a=2Cb?=@example.com",
        "a%b@c@example.com",
        "a@éxample.com",
        "é@example.com",
        f"{'a' * 65}@example.com",
        f"a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}.com",
        "Evil\r\nBcc: x <a@b>",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(MailError, match="is not one mail address"):
        one_address(text)


@given(st.text(st.sampled_from('a@.,<>;: \r\n"\\()[]=?-_%é'), max_size=40))
def test_what_is_taken_for_an_address_holds_exactly_one(text):
    try:
        address = one_address(text)
    except MailError:
        return
    assert address.count("@") == 1
    assert not set(address) & set(' ,;<>"\\()[]\r\n?')


@pytest.mark.parametrize(
    ("address", "allowed", "passes"),
    [
        ("ada@example.com", ("*@example.com",), True),
        ("ADA@Example.COM", ("*@example.com",), True),
        ("ada@evil.com", ("*@example.com",), False),
        ("ada@sub.example.com", ("*@example.com",), False),
        ("ada@example.com.evil.com", ("*@example.com",), False),
        ("ada@example.com", ("bob@example.com", "ada@*"), True),
        ("ada@example.com", (), False),
    ],
)
def test_an_allow_list_is_of_patterns(address, allowed, passes):
    assert permitted(address, allowed) is passes


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


@pytest.mark.parametrize("to", [(), ("a@b",) * 51])
def test_a_mail_has_between_one_and_fifty_recipients(to):
    with pytest.raises(MailError, match="1 to 50 recipients"):
        rendered(to=to)


def test_the_plain_part_reads_like_the_html():
    html = (
        "<html><head><title>No</title><style>p {}</style></head><body><h1>Paid</h1>"
        "<p>Dear   Ada,\n thanks &amp; <b>bye</b>.</p><ul><li>One</li><li>Two</li></ul>"
        "<table><tr><td>Sum</td><td>5</td></tr></table><script>no()</script>"
        "<p><a href='https://x.example/1'>Look</a> <a href='https://x.example/2'>https://x.example/2</a></p></body>"
    )
    assert text_of(html) == (
        "Paid\n\nDear Ada, thanks & bye.\n\n- One\n\n- Two\n\nSum 5\n\n"
        "Look (https://x.example/1) https://x.example/2\n"
    )
