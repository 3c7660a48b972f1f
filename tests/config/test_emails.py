"""What [emails] and [smtp] say, and every mistake in a template found at start, with its file and line."""

from pathlib import Path

import pytest

from relay.config.build import Overrides, load
from relay.errors import ConfigError
from relay.model.delivery import RetryPolicy

WELCOME = '[emails.welcome]\nto = "ops@example.com"\nsubject = "Hi"\n'
SMTP = '[smtp]\nhost = "mail.example.com"\nsender = "Relay <relay@example.com>"\n'


@pytest.fixture
def loaded(tmp_path):
    """Load a relay.toml, with files beside it."""

    def go(text, environ=None, **files):
        for name, content in files.items():
            path = tmp_path / "emails" / name.replace("_", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        (tmp_path / "relay.toml").write_text(text)
        return load(tmp_path / "relay.toml", Overrides(), environ or {})

    return go


@pytest.fixture
def mistakes(loaded):
    def go(text, **files):
        with pytest.raises(ConfigError) as caught:
            loaded(text, **files)
        return caught.value.problems

    return go


def test_a_mail_goes_to_one_leaves_thirty_an_hour_and_is_sent_once(loaded):
    email = loaded(WELCOME + 'text = "x"').emails["welcome"]
    assert (email.to, email.cc, email.bcc, email.reply_to) == (("ops@example.com",), (), (), ())
    assert (email.attach, email.once, email.per_hour) == ((), True, 30)


def test_each_of_that_can_be_said_otherwise(loaded):
    email = loaded(
        WELCOME
        + 'text = "x"\ncc = ["a@example.com", "{{ payload.b }}"]\nbcc = "c@example.com"\n'
        + 'reply_to = "{{ payload.d }}"\nattach = ["payload", "body"]\nonce = false\nper_hour = 500\n'
    ).emails["welcome"]
    assert (email.cc, email.bcc) == (("a@example.com", "{{ payload.b }}"), ("c@example.com",))
    assert (email.reply_to, email.attach) == (("{{ payload.d }}",), ("payload", "body"))
    assert (email.once, email.per_hour) == (False, 500)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('subject = "{{ payload"', "emails.welcome.subject, line 1: unexpected end of template"),
        ('text = "a\\n{% if %}"', "emails.welcome.text, line 2: Expected an expression"),
        ('text = "{{ payload.x | shiny }}"', "emails.welcome.text, line 1: No filter named 'shiny'"),
        ('to = "{{ payload"', "emails.welcome.to, line 1: unexpected end of template"),
        ('cc = ["{% end %}"]', "emails.welcome.cc, line 1: Encountered unknown tag 'end'"),
        ('to = "ops@"', "emails.welcome.to: 'ops@' is not one mail address: there must be something after"),
        ('bcc = ["a@b.de, c@d.de"]', "emails.welcome.bcc: 'a@b.de, c@d.de' is not one mail address"),
        ('reply_to = "nobody"', "emails.welcome.reply_to: 'nobody' is not one mail address"),
        ("to = []", "emails.welcome.to: a mail needs a recipient"),
        ('attach = ["invoice"]', "emails.welcome.attach.0: 'invoice' is not allowed; use payload or body"),
        ("per_hour = 0", "emails.welcome.per_hour: "),
        ('once = "yes"', "emails.welcome.once: must be true or false, got text"),
    ],
)
def test_a_mistake_in_a_mail_is_found_at_start(mistakes, lines, words):
    table = {"to": '"ops@example.com"', "subject": '"Hi"', "text": '"x"'}
    table |= dict([lines.split(" = ", 1)])
    text = "[emails.welcome]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
    (problem,) = mistakes(text)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"welcome_html": "<p>\n{{ payload. }}"},
            "emails.welcome: emails/welcome.html, line 2: expected name or number",
        ),
        ({"welcome_html": "{% if a %}"}, "emails.welcome: emails/welcome.html, line 1: Unexpected end of template"),
        ({"welcome_html": b"\xff\xfe"}, "emails.welcome: emails/welcome.html: it is not UTF-8 text"),
        (
            {"welcome_html": "{% include 'gone.html' %}"},
            "emails.welcome: emails/gone.html: there is no template emails/gone.html",
        ),
        (
            {"welcome_html": "{% extends 'base.html' %}", "base_html": "\n\n{{ }}"},
            "emails.welcome: emails/base.html, line 3: Expected an expression",
        ),
        (
            {"welcome_html": "fine", "welcome_txt": "\n{{ x | y }}"},
            "emails.welcome: emails/welcome.txt, line 2: No filter",
        ),
    ],
)
def test_a_broken_template_is_named_with_its_line_at_start(mistakes, files, words):
    (problem,) = mistakes(WELCOME + 'template = "emails/welcome.html"', **files)
    assert problem.startswith(words)


def test_a_template_that_is_not_there_is_one_mistake_however_many_targets_name_it(mistakes, tmp_path):
    text = WELCOME + 'template = "emails/gone.html"\n[targets.mail]\nemail = "welcome"\n'
    assert mistakes(text) == (f"emails.welcome.template: there is no file {tmp_path}/emails/gone.html",)


def test_every_mistake_is_told_at_once(mistakes):
    text = '[emails.a]\nto = "x"\nsubject = "{{"\ntext = "{{"\n[emails.b]\nto = "y"\nsubject = ""\ntext = ""\n'
    assert len(mistakes(text)) == 4


def test_a_server_is_spoken_to_as_smtp_says(loaded, tmp_path):
    smtp = loaded(SMTP).smtp
    assert (smtp.port, smtp.security, smtp.insecure, smtp.verify_tls, smtp.ca_file) == (
        587,
        "starttls",
        False,
        True,
        None,
    )
    assert (smtp.timeout, smtp.retry) == (10.0, RetryPolicy())
    smtp = loaded(
        SMTP + 'insecure = true\nverify_tls = false\ntimeout = "3s"\nretry = { attempts = 2, first = "1s" }'
    ).smtp
    assert (smtp.insecure, smtp.verify_tls, smtp.timeout) == (True, False, 3.0)
    assert (smtp.retry.attempts, smtp.retry.first) == (2, 1.0)


def test_targets_that_send_mail_are_tried_as_often_as_smtp_says_unless_they_say_so_themselves(loaded):
    config = loaded(
        SMTP
        + "retry = { attempts = 2 }\n"
        + WELCOME
        + 'text = "x"\n[targets.one]\nemail = "welcome"\n'
        + '[targets.two]\nemail = "welcome"\nretry = { attempts = 9 }\n'
        + '[targets.app]\nforward = "http://localhost:3000"\n'
    )
    assert {name: target.retry.attempts for name, target in config.targets.items()} == {"one": 2, "two": 9, "app": 6}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('allow_recipients = ["example.com"]', "smtp.allow_recipients.0: 'example.com' is not an address pattern"),
        ('ca_file = "gone.pem"', "smtp.ca_file: cannot use {folder}/gone.pem: no such file or directory"),
        ('ca_file = "relay.toml"', "smtp.ca_file: cannot use {folder}/relay.toml: no certificate in it"),
        ('timeout = "0s"', "smtp.timeout: "),
        ("insecure = 1", "smtp.insecure: must be true or false, got a number"),
    ],
)
def test_a_mistake_in_smtp_is_found_at_start(mistakes, tmp_path, lines, words):
    (problem,) = mistakes(SMTP + lines)
    assert problem.startswith(words.format(folder=tmp_path))


def test_a_sender_that_is_no_address_is_found_at_start(mistakes):
    assert mistakes('[smtp]\nhost = "x"\nsender = "relay"\n') == (
        "smtp.sender: 'relay' is not one mail address: an email address must have an @-sign",
    )


def test_anybody_may_be_allowed_by_name(loaded):
    assert loaded(SMTP + 'allow_recipients = ["*"]').smtp.allow_recipients == ("*",)


def test_a_mail_that_could_go_to_nobody_is_said_at_start(loaded):
    text = '[emails.w]\nto = "{{ payload.email }}"\nsubject = "x"\ntext = "x"\n'
    assert loaded(text + SMTP).notices == (
        "emails.w.to comes from events, and smtp.allow_recipients allows no one, so no such mail is sent",
    )
    assert loaded(text + SMTP + 'allow_recipients = ["*@example.com"]').notices == ()
    assert loaded(text).notices == ()


def test_a_template_lies_beside_the_file_that_names_it(loaded, tmp_path):
    email = loaded(WELCOME + 'template = "emails/welcome.html"', welcome_html="x").emails["welcome"]
    assert email.template == Path(tmp_path / "emails" / "welcome.html")


def test_a_login_needs_a_password(mistakes):
    [found] = mistakes(f'{SMTP}username = "env:U"\n')
    assert found == "smtp.password: is missing, and smtp.username is there; a login needs both"


def test_a_credential_that_is_missing_is_named_and_blocks_mail(loaded):
    config = loaded(SMTP + 'username = "env:U"\npassword = "env:P"\n', {"U": "relay"})
    assert config.smtp.blocked == "P is not set, so mail cannot log in"
    assert "smtp: P is not set, so mail cannot log in; it waits until then" in config.notices
    config = loaded(SMTP + 'username = "vault:u"\npassword = "env:P"\n')
    assert config.smtp.blocked == "the vault holds no secret 'u' and P is not set, so mail cannot log in"
    assert loaded(SMTP + 'username = "env:U"\npassword = "env:P"\n', {"U": "a", "P": "b"}).smtp.blocked == ""
