import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_capture, build_event
from relay.actions.mail import EmailOptions
from relay.actions.mail.compose import Attachment, Mail, MailMetadata, check_headers, compose_mail
from relay.actions.mail.rendering import check_template, html_to_text, render_mail
from relay.errors import MailError
from relay.model.event import CapturedEvent

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = MailMetadata(
    sender="Relay <relay@example.com>", message_id="<relay.42.7.ab@example.com>", date=NOW, event_id=42
)
INVOICE = {"data": {"object": {"customer_email": "ada@example.com", "number": "A-1", "amount": 1050, "items": [1, 2]}}}
OPTIONS = EmailOptions(name="receipt", to=("ops@example.com",), subject="Paid", text="Hello")


def event(payload=INVOICE, **changes) -> CapturedEvent:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    capture = build_capture(
        headers=(("Content-Type", "application/json"), ("X-Name", "caf\xc3\xa9")),
        body=body,
        remote="203.0.113.7",
        received_at=NOW,
    )
    event = build_event(capture, id=42, type="invoice.paid", idempotency_key="evt_1")
    return replace(event, capture=replace(capture, **changes))


def rendered(payload=INVOICE, **options) -> Mail:
    return render_mail(replace(OPTIONS, **options), event(payload))


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
        render_mail(OPTIONS, event(), ("{{ payload.data.object.customer_email }}",))
    mail = render_mail(OPTIONS, event(), ("bob@example.com", "ops@example.com"))
    assert (mail.to, mail.fixed) == (("bob@example.com", "ops@example.com"), ("ops@example.com",))


def test_a_payloads_own_names_come_before_pythons():
    assert rendered(text="{{ payload.data.object.items | length }}").text == "2"
    assert rendered({"get": 1, "keys": 2}, text="{{ payload.get }}{{ payload.keys }}").text == "12"


@pytest.mark.parametrize("payload", [b"", b"not json", b"[" * 100_000, b'"\\ud800"', b"9" * 5000])
def test_a_body_that_is_no_json_is_no_payload(payload):
    assert rendered(payload, text="{{ 'none' if payload is none else 'some' }}").text in ("none", "some")


def test_lone_surrogates_do_not_stop_a_mail():
    mail = rendered({"x": "\ud800é"}, text="{{ payload.x }}", subject="{{ payload.x }}")
    assert b"=C3=A9" in compose_mail(mail, STAMP)


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
    source = compose_mail(mail, STAMP)
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
    parsed = message_from_bytes(compose_mail(mail, STAMP), policy=default)
    assert parsed.keys()[:8] == HEADERS[:8]
    assert set(parsed.keys()) <= set(HEADERS)
    assert parsed["X-Relay-Event"] == "42"


def test_a_mail_is_what_it_says():
    mail = replace(
        rendered(), subject="Grüße", html="<p>Größe</p>", text="Größe\n.\n..\nFrom me", to=("a@x.de", "b@x.de")
    )
    parsed = message_from_bytes(compose_mail(mail, STAMP), policy=default)
    assert parsed["From"] == "Relay <relay@example.com>"
    assert parsed["To"] == "a@x.de, b@x.de"
    assert parsed["Subject"] == "Grüße"
    assert parsed["Date"].datetime == NOW
    assert parsed["Message-ID"] == "<relay.42.7.ab@example.com>"
    assert parsed.get_body(("plain",)).get_content().splitlines() == ["Größe", ".", "..", "From me"]
    assert parsed.get_body(("html",)).get_content().strip() == "<p>Größe</p>"


@pytest.mark.parametrize("to", [(), tuple(f"a{n}@example.com" for n in range(51))])
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
    assert html_to_text(html) == (
        "Paid\n\nDear Ada, thanks & bye.\n\n- One\n\n- Two\n\nSum 5\n\nLook (https://x.example/1) https://x.example/2\n"
    )


def test_cc_and_reply_to_stand_in_the_mail_and_bcc_does_not():
    mail = rendered(
        {"boss": "boss@example.com", "me": "me@example.com"},
        cc=("{{ payload.boss }}", "team@example.com"),
        bcc=("archive@example.com",),
        reply_to=("{{ payload.me }}",),
    )
    assert mail.recipients == ("ops@example.com", "boss@example.com", "team@example.com", "archive@example.com")
    assert mail.fixed == ("ops@example.com", "team@example.com", "archive@example.com")
    source = compose_mail(mail, STAMP)
    parsed = message_from_bytes(source, policy=default)
    assert (parsed["Cc"], parsed["Reply-To"]) == ("boss@example.com, team@example.com", "me@example.com")
    assert parsed["Bcc"] is None
    assert b"archive" not in source


def test_a_copy_may_be_left_out_and_the_recipient_may_not():
    assert rendered({}, cc=("{{ payload.boss | default('') }}",)).cc == ()
    with pytest.raises(MailError, match=r"emails\.receipt\.to: '' is not one mail address"):
        rendered({}, to=("{{ payload.boss | default('') }}",))


def test_nobody_gets_a_mail_twice():
    mail = rendered(cc=("ops@example.com", "a@example.com"), bcc=("a@example.com",))
    assert mail.recipients == ("ops@example.com", "a@example.com")


def test_recipients_somebody_typed_replace_all_others():
    options = replace(OPTIONS, cc=("boss@example.com",), bcc=("archive@example.com",))
    assert render_mail(options, event(), ("me@example.com",)).recipients == ("me@example.com",)


@pytest.mark.parametrize("key", ["to", "cc", "bcc", "reply_to"])
def test_an_address_that_is_none_is_named_with_where_it_came_from(key):
    with pytest.raises(MailError) as caught:
        rendered({"who": "ada@\n"}, **{key: ("{{ payload.who }}",)})
    assert caught.value.message == (
        f"emails.receipt.{key}: 'ada@' is not one mail address: there must be something after the @-sign; "
        "it came from {{ payload.who }}"
    )


@pytest.mark.parametrize("key", ["to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("value", ["a@example.com\r\nBcc: evil@example.com", "a@example.com, b@example.com", "x" * 999])
def test_no_address_field_takes_more_than_one_address(key, value):
    with pytest.raises(MailError, match="is not one mail address"):
        rendered({"who": value}, **{key: ("{{ payload.who }}",)})


def test_addresses_beyond_ascii_make_a_mail_of_utf8():
    mail = rendered({"who": "jörg@exämple.de"}, to=("{{ payload.who }}",), subject="Grüße")
    assert mail.to == ("jörg@xn--exmple-cua.de",)
    source = compose_mail(mail, STAMP)
    assert "To: jörg@xn--exmple-cua.de\r\nSubject: Grüße\r\n".encode() in source
    assert headers_of(source) == HEADERS


def test_a_domain_beyond_ascii_alone_keeps_a_mail_ascii():
    assert compose_mail(rendered(to=("ada@exämple.de",)), STAMP).isascii()


def test_the_payload_goes_with_the_mail_as_json():
    mail = rendered({"name": "Zoë", "n": [1, 2.5]}, attach=("payload",))
    (one,) = mail.attachments
    assert (one.name, one.type) == ("event-42.json", "application/json")
    assert one.content.decode() == '{\n  "name": "Zoë",\n  "n": [\n    1,\n    2.5\n  ]\n}\n'
    parsed = message_from_bytes(compose_mail(mail, STAMP), policy=default)
    (part,) = parsed.iter_attachments()
    assert (part.get_filename(), part.get_content_type()) == ("event-42.json", "application/json")
    assert part.get_content() == one.content
    assert parsed.get_body(("plain",)).get_content().strip() == "Hello"


@pytest.mark.parametrize(
    ("body", "type_", "name", "sent_as"),
    [
        (b"\x00\xff", "application/octet-stream", "event-42-body.bin", "application/octet-stream"),
        (b"<a/>", "text/xml", "event-42-body.xml", "application/xml"),
        (b"<script>", "text/html", "event-42-body.bin", "application/octet-stream"),
        (b"hello", "text/plain; charset=utf-8", "event-42-body.txt", "text/plain"),
        (b"{broken", "application/json", "event-42-body.json", "application/json"),
    ],
)
def test_what_is_no_json_goes_as_it_came(body, type_, name, sent_as):
    options = replace(OPTIONS, attach=("payload", "body"))
    mail = render_mail(options, event(body, headers=(("Content-Type", type_),)))
    assert mail.attachments == (Attachment(name=name, type=sent_as, content=body),)
    (part,) = message_from_bytes(compose_mail(mail, STAMP), policy=default).iter_attachments()
    assert part.get_payload(decode=True) == body


def test_payload_and_body_may_both_go_along():
    mail = rendered(b'{"a":1}', attach=("payload", "body"))
    assert [(one.name, one.content) for one in mail.attachments] == [
        ("event-42.json", b'{\n  "a": 1\n}\n'),
        ("event-42-body.json", b'{"a":1}'),
    ]


def test_a_form_goes_as_json_too():
    form = event(b"a=1&b=x+y", headers=(("Content-Type", "application/x-www-form-urlencoded"),))
    (one,) = render_mail(replace(OPTIONS, attach=("payload",)), form).attachments
    assert json.loads(one.content) == {"a": "1", "b": "x y"}


def test_an_empty_body_is_no_attachment():
    assert rendered(b"", attach=("payload", "body")).attachments == ()


def test_a_lone_surrogate_is_attached_as_the_escape_it_was():
    (one,) = rendered(b'{"x": "\\ud800"}', attach=("payload",)).attachments
    assert b"\\ud800" in one.content


def test_a_file_too_large_for_a_mail_is_a_clear_failure():
    with pytest.raises(MailError, match=r"event-42-body\.bin has 10\.0 MB; at most 10 MB are attached"):
        render_mail(
            replace(OPTIONS, attach=("body",)), event(b"x" * 10_000_001, headers=(("Content-Type", "image/png"),))
        )


@pytest.mark.parametrize("key", ["to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize(
    "template",
    [
        "{{ payload.who }}",
        "{{ payload.who | join(', ') }}",
        "{{ payload.people | map(attribute='email') | list }}",
        "{{ payload.people | join(',', attribute='email') }}",
        "{% for one in payload.people %}{{ one.email }},\n{% endfor %}",
        "{{ payload.who[0] }}, {{ payload.who[1] }}",
    ],
)
def test_a_template_may_give_several_addresses(key, template):
    who = ["ada@example.com", "bob@example.com"]
    mail = rendered({"who": who, "people": [{"email": one} for one in who]}, **{key: (template,)})
    assert getattr(mail, key) == tuple(who)
    assert not set(who) & set(mail.fixed)


def test_a_list_may_be_empty_for_copies_and_not_for_the_recipients():
    assert rendered({"who": []}, cc=("{{ payload.who }}",)).cc == ()
    with pytest.raises(MailError, match=r"emails\.receipt\.to: '' is not one mail address"):
        rendered({"who": []}, to=("{{ payload.who }}",))


@pytest.mark.parametrize(
    "who", [["ada@example.com", "bob@"], [["ada@example.com"]], [{"email": "a@example.com"}], [None]]
)
def test_an_item_of_a_list_that_is_no_address_is_named(who):
    with pytest.raises(MailError, match=r"is not one mail address: .*; it came from \{\{ payload.who \}\}"):
        rendered({"who": who}, to=("{{ payload.who }}",))


def test_an_item_of_a_list_is_one_address_and_no_more():
    for item in (
        "a@example.com, b@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com\ufdd0b@example.com",
    ):
        with pytest.raises(MailError, match="is not one mail address"):
            rendered({"who": ["ada@example.com", item]}, to=("{{ payload.who }}",))


def test_a_list_of_too_many_is_refused():
    with pytest.raises(MailError, match="a mail needs 1 to 50 recipients"):
        rendered({"who": [f"a{number}@example.com" for number in range(51)]}, to=("{{ payload.who }}",))


def test_a_name_stands_in_the_header_encoded():
    mail = rendered({"who": "Jörg Müller <j@example.com>"}, to=("{{ payload.who }}",), reply_to=("{{ payload.who }}",))
    assert (mail.to, mail.names) == (("j@example.com",), {"j@example.com": "Jörg Müller"})
    source = compose_mail(mail, STAMP)
    assert source.isascii()
    parsed = message_from_bytes(source, policy=default)
    assert parsed["To"] == parsed["Reply-To"] == "Jörg Müller <j@example.com>"
    assert parsed["To"].addresses[0].display_name == "Jörg Müller"


@pytest.mark.parametrize("name", ["=?utf-8?q?a=0D=0ABcc:_x?=", "Müller, Jörg", 'Ada (x) "y', "a@b.de", "x" * 300])
def test_a_name_breaks_out_of_no_header(name):
    mail = (
        rendered({"who": f"{name} <j@example.com>"}, to=("{{ payload.who }}",))
        if '"' not in name
        else replace(rendered(), to=("j@example.com",), names={"j@example.com": name})
    )
    parsed = message_from_bytes(compose_mail(mail, STAMP), policy=default)
    assert [one.addr_spec for one in parsed["To"].addresses] == ["j@example.com"]
    assert parsed["Bcc"] is None


def test_templates_use_others_of_the_project_and_none_beyond_it(tmp_path):
    project = tmp_path / "project"
    for name, text in {
        "emails/orders/paid.html": '{% extends "../base.html" %}'
        '{% block main %}{% include "parts/a.html" %}{% endblock %}',
        "emails/base.html": '<b>LAYOUT {% block main %}{% endblock %}{% include "shared/foot.html" %}</b>',
        "emails/orders/parts/a.html": 'A{% include "parts/b.html" %}{% include "c.html" %}',
        "emails/orders/parts/b.html": "B",
        "emails/orders/parts/c.html": "C",
        "shared/foot.html": "FOOT",
    }.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "secret.html").write_text("SECRET")
    options = replace(OPTIONS, template=project / "emails/orders/paid.html", folder=project, text=None)
    assert check_template(options) == ()
    assert render_mail(options, event()).html == "<b>LAYOUT ABCFOOT</b>"
    words = (
        '{% include "shared/foot.html" %}{% include "gone" ignore missing %}{% include ["gone", "shared/foot.html"] %}'
    )
    in_toml = replace(options, template=None, text=words)
    assert check_template(in_toml) == ()
    assert render_mail(in_toml, event()).text == "FOOTFOOT"
    assert check_template(replace(in_toml, text='{% include "gone" %}')) == (
        "emails.receipt: gone: there is no template gone",
    )
    for name in ("../../../secret.html", "/etc/hostname", str(tmp_path / "secret.html"), "emails/../../secret.html"):
        options.template.write_text(f'{{% include "{name}" %}}')
        with pytest.raises(MailError, match=r"emails\.receipt: emails/orders/paid\.html, line 1: there is no template"):
            render_mail(options, event())


@pytest.mark.parametrize("name", ["../.env", ".env", "../.relay/token", "{{ payload.file }}"])
def test_no_mail_carries_a_hidden_file_of_the_project(tmp_path, name):
    for path in (".env", ".relay/token", "emails/m.html"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("SECRET")
    options = replace(OPTIONS, template=tmp_path / "emails/m.html", folder=tmp_path, text=None)
    given = "payload.file" if "{" in name else f'"{name}"'
    options.template.write_text(f"{{% include {given} %}}")
    body = b'{"file": "../.env", "data": {"object": {"number": 1, "customer_email": "a@example.com"}}}'
    with pytest.raises(MailError, match=r"there is no template"):
        render_mail(options, event(body))


def test_a_template_outside_the_project_uses_its_own_folder(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/mail.html").write_text('{% include "part.html" %}')
    (tmp_path / "shared/part.html").write_text("PART")
    options = replace(OPTIONS, template=tmp_path / "shared/mail.html", folder=tmp_path / "project", text=None)
    assert render_mail(options, event()).html == "PART"
