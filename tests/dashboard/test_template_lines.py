import traceback

import pytest
from jinja2 import DictLoader, Environment, StrictUndefined, UndefinedError

from relay.dashboard.render import TemplateLines


def build(source):
    loader = DictLoader({"page.html": source})
    return Environment(
        loader=loader,
        extensions=[TemplateLines],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("<p>\n  one\n  two\n</p>\n", "<p>one two</p>"),
        ("<p>\n  a <b>b</b> c\n</p>\n<p></p>\n", "<p>a <b>b</b> c</p><p></p>"),
        ("<b>{{ x }}</b>\n<i>\n  {{ x }}\n</i>", "<b>1</b><i>1</i>"),
        ("a{{ ' ' }}\n<b>b</b>", "a <b>b</b>"),
        ("<ul>\n  {% for n in (1, 2) %}\n    <li>{{ n }}</li>\n  {% endfor %}\n</ul>", "<ul><li>1</li><li>2</li></ul>"),
        ("{# a\n  b #}\n{% set y = [\n  1,\n  2,\n] %}\n{{ y }}", "[1, 2]"),
        ("<a\n  href='/'\n  class=\"x\"\n>\n  b\n</a>", "<a href='/' class=\"x\">b</a>"),
        ("<br\n  class='x'\n/>", "<br class='x'/>"),
        ("<i\n  {% if x %}a{% endif %}\n  {% if not x %}b{% endif %}\n  c\n></i>", "<i a c></i>"),
        ("<i\n  {% if not x %}\n    a\n  {% else %}\n    b\n    c\n  {% endif %}\n></i>", "<i b c></i>"),
        ("<i class='{% if x %}a{% else %}b{% endif %}'></i>", "<i class='a'></i>"),
        ("<i title='a > b\n  c'>\n</i>", "<i title='a > b\n  c'></i>"),
        ("<pre>\n  a\n   {{ x }}\n</pre>\n<b></b>", "<pre>\n  a\n   1\n</pre><b></b>"),
        ("<textarea\n  rows='2'>\n{{ x }}\n</textarea>", "<textarea\n  rows='2'>\n1\n</textarea>"),
    ],
)
def test_line_breaks_show_only_between_words(source, html):
    assert build(source).render(x=1) == html


def test_an_error_names_the_line_of_the_template():
    with pytest.raises(UndefinedError) as raised:
        build("<p\n  {% if x %}a{% endif %}\n>\n  one\n  two\n  {{ missing }}\n</p>").render(x=1)
    frames = traceback.extract_tb(raised.tb)
    assert [frame.lineno for frame in frames if frame.filename == "<template>"] == [6]
