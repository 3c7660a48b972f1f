import pytest

from relay.actions.mail import sandbox
from relay.actions.mail.templates import Templates
from relay.errors import MailError

PAYLOAD = {
    "user": {"name": "Ada", "items": [{"n": 1}, {"m": 2}]},
    "none": None,
    "n": 5000,
    "at": 1772366400,
    "big": "x" * 9999,
}
CONTEXT = {"payload": PAYLOAD, "event": {"id": 7}}


@pytest.fixture
def fill(tmp_path):
    """Fill in a text, or with `file` that file."""

    def go(text, file="", autoescape=False):
        made = Templates("emails.w", tmp_path, autoescape=autoescape)
        if not file:
            return made.fill("text", text, CONTEXT)
        (tmp_path / file).write_text(text)
        return made.fill_file(tmp_path / file, CONTEXT)

    return go


@pytest.mark.parametrize(
    ("template", "line", "words"),
    [
        ("\n{{ payload.user.email }}", 2, "there is no payload.user.email"),
        ("{{ payload.gone.there }}", 1, "there is no payload.gone"),
        ("{{ payload.none.there }}", 1, "there is no payload.none.there"),
        ("{{ payload['a b'] }}", 1, "there is no payload['a b']"),
        ("{{ payload.user['items'][7] }}", 1, "there is no payload.user['items'][7]"),
        ("{% for i in payload.user['items'] %}\n{{ i.n }}{% endfor %}", 2, "there is no i.n"),
        ("{% for i in payload.gone %}{% endfor %}", 1, "there is no payload.gone"),
        ("{{ payload.gone | json }}", 1, "there is no payload.gone"),
        ("{{ nothing }}", 1, "there is no nothing; templates know event, payload and items"),
        ("\n\n{% if %}", 3, "Expected an expression, got 'end of statement block'"),
        ("{{ payload.n | shiny }}", 1, "No filter named 'shiny'"),
        ("{{ payload.user.name + 1 }}", 1, 'can only concatenate str (not "int") to str'),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("{{ 'soon' | date }}", 1, "Invalid isoformat string: 'soon'"),
        ("{{ ''.__class__.__mro__ }}", 1, "access to attribute '__class__' of 'str' object is unsafe"),
        ("{{ payload.update({}) }}", 1, "access to attribute 'update' of 'dict' object is unsafe"),
    ],
)
def test_what_a_template_stumbles_over_is_said_with_its_line(fill, template, line, words):
    with pytest.raises(MailError) as caught:
        fill(template)
    assert caught.value.message == f"emails.w.text, line {line}: {words}"
    with pytest.raises(MailError) as caught:
        fill(template, "mail.html")
    assert caught.value.message == f"emails.w: mail.html, line {line}: {words}"


def test_the_file_that_an_error_is_in_is_named(fill, tmp_path):
    (tmp_path / "part.html").write_text("\n\n{{ payload.oops }}")
    with pytest.raises(MailError, match=r"^emails\.w: part\.html, line 3: there is no payload\.oops$"):
        fill("{% include 'part.html' %}", "mail.html")
    with pytest.raises(MailError, match=r"^emails\.w: mail\.html, line 1: there is no template gone\.html$"):
        fill("{% include 'gone.html' %}", "mail.html")
    with pytest.raises(MailError, match="it calls itself without end"):
        fill("{% include 'mail.html' %}", "mail.html")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "mail.html").write_bytes(b"\xff\xfe")
    with pytest.raises(MailError, match=r"^emails\.w: mail\.html: it is not UTF-8 text$"):
        Templates("emails.w", tmp_path, autoescape=True).check_file(tmp_path / "mail.html")


GIANTS = [
    "{{ 'x' * 999999999 }}",
    "{{ 999999999 * 'x' }}",
    "{{ [1] * 999999999 }}",
    "{{ payload.big * payload.n }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%999999999d' | format(1) }}",
    "{{ '%*d' | format(999999999, 1) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{:{}}'.format(1, 999999999) }}",
    "{{ 'x'.ljust(999999999) }}",
    "{{ 'x'.center(999999999, '-') }}",
    "{{ 'x'.zfill(width=999999999) }}",
    "{{ 'x' | center(999999999) }}",
    "{{ 'a\nb' | indent(999999999) }}",
    "{{ [1] | batch(999999999, 0) | list }}",
    "{{ [1] | map('center', 999999999) | list }}",
    "{{ payload | json(999999999) }}",
    "{{ payload | tojson(indent=999999999) }}",
    "{{ 9 ** 9999 }}",
    "{{ 9 ** 100 ** 100 }}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=3) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
    "{% for a in range(100000) %}{{ 'x' * 5000 }}{% endfor %}",
    "{% for a in range(1000000000) %}{% endfor %}",
    "{{ range(1000000000) | list }}",
]


@pytest.mark.parametrize("template", GIANTS)
def test_no_template_makes_a_giant(fill, template):
    with pytest.raises(
        MailError, match=r"would make the value too large|it makes more than 1048576 characters|Range too big"
    ):
        fill(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    ],
)
def test_no_template_goes_on_for_ever(fill, template, monkeypatch):
    assert sandbox.TIME_LIMIT == 2
    monkeypatch.setattr(sandbox, "TIME_LIMIT", 0.3)
    with pytest.raises(MailError, match=r"^emails\.w\.text, line 1: it takes longer than 0\.3 s$"):
        fill(template)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ '%.2f' % (1050 / 100) }} {{ '-' * 10 }} {{ 7 % 4 }} {{ 2 ** 10 }}", "10.50 ---------- 3 1024"),
        ("{{ '%d items' | format(payload.n) }}", "5000 items"),
        ("{{ '{:>8.2f}|{}'.format(3.14159, payload.n) }}", "    3.14|5000"),
        ("[{{ payload.user.name.ljust(6) }}]", "[Ada   ]"),
        ("{{ payload.gone | default('nobody') }}", "nobody"),
        (
            "{% for i in payload.user['items'] %}{{ loop.index }}/{{ loop.length }} {% else %}none{% endfor %}",
            "1/2 2/2 ",
        ),
        ("{% for i in [] %}{% else %}none{% endfor %}", "none"),
        ("{{ 'a' ~ payload.n ~ 'b' }}", "a5000b"),
        ("{% set x %}<{{ payload.n }}>{% endset %}{{ x }}", "<5000>"),
        ("{{ payload.n | tojson }}", "5000"),
        ("{{ payload.user.name | json }} {{ [1] | json(none) }}", '"Ada" [1]'),
        ("{{ payload.at | date }}", "2026-03-01 12:00 UTC"),
        ("{{ (payload.at * 1000) | date('%d.%m.%Y') }}", "01.03.2026"),
        ("{{ payload.at | string | date('%H:%M') }}", "12:00"),
        ("{{ '2026-03-01T14:30:00+02:00' | date }}", "2026-03-01 12:30 UTC"),
        ("{{ '2026-03-01' | date('%A') }}", "Sunday"),
        ("{{ payload.user.items | length }}", "2"),
    ],
)
def test_usual_formatting_is_welcome(fill, template, text):
    assert fill(template) == text


def test_helpers_escape_in_html_as_everything_does(fill):
    assert fill("{{ {'a': '<b>'} | json(none) }}", autoescape=True) == "{&#34;a&#34;: &#34;&lt;b&gt;&#34;}"


def test_a_template_is_read_anew_each_time(fill, tmp_path):
    made = Templates("emails.w", tmp_path, autoescape=True)
    (tmp_path / "mail.html").write_text("one")
    assert made.fill_file(tmp_path / "mail.html", CONTEXT) == "one"
    (tmp_path / "mail.html").write_text("two")
    assert made.fill_file(tmp_path / "mail.html", CONTEXT) == "two"
