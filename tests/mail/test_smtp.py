import asyncio
import base64
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiosmtpd import smtp as sinks

from relay.actions.mail import SmtpOptions
from relay.actions.mail.smtp import LAST_STEP, Envelope, check_server, is_loopback_host, send_mail
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded
from relay.model.secret import Secret

ENVELOPE = Envelope(sender="relay@example.com", to=("ada@example.com", "bob@example.com"))
MAIL = b"Subject: Hi\r\n\r\n.dot\r\nbye\r\n"


@dataclass
class Sink:
    """An SMTP server's handler that keeps mails, and answers as it was told to."""

    mails: list = field(default_factory=list)
    answers: dict = field(default_factory=dict)
    logins: list = field(default_factory=list)
    tls: list = field(default_factory=list)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if "hang" in self.answers:
            await asyncio.sleep(60)
        answers = self.answers.get("DATA", [])
        answer = answers.pop(0) if answers else "250 2.0.0 queued as 1"
        if answer.startswith("250"):
            self.mails.append((envelope.mail_from, tuple(envelope.rcpt_tos), envelope.original_content))
            self.tls.append(session.ssl is not None)
        return answer

    def login(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login, data.password))
        return sinks.AuthResult(success=data.password == b"right", handled=False)


@asynccontextmanager
async def serving(sink, *, implicit=None, **more):
    def protocol():
        return sinks.SMTP(sink, hostname="sink.example", timeout=60, **more)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=implicit)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def options(port, **more):
    return SmtpOptions(**{"host": "localhost", "port": port, "timeout": 60.0} | more)


LOGIN = {"username": Secret("vault:smtp.username", "relay"), "password": Secret("vault:smtp.password", "right")}


async def test_a_mail_goes_out_over_starttls_after_login(server_tls, certificate):
    sink = Sink()
    more = {"tls_context": server_tls, "authenticator": sink.login, "auth_required": True}
    async with serving(sink, **more) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, **LOGIN, ca_file=certificate))
    assert outcome == AttemptSucceeded("250 2.0.0 queued as 1")
    assert sink.mails == [("relay@example.com", ENVELOPE.to, MAIL)]
    assert sink.tls == [True]
    assert sink.logins == [(b"relay", b"right")]


async def test_a_mail_goes_out_over_tls_from_the_first_byte(server_tls, certificate):
    sink = Sink()
    async with serving(sink, implicit=server_tls) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security="tls", ca_file=certificate))
    assert isinstance(outcome, AttemptSucceeded)
    assert len(sink.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_of_no_known_ca_is_refused(server_tls, security):
    sink = Sink()
    how = {"implicit": server_tls} if security == "tls" else {"tls_context": server_tls}
    async with serving(sink, **how) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security=security))
    assert outcome == AttemptFailed(
        f"the certificate of localhost:{port} is not trusted: self-signed certificate; name its CA in smtp.ca_file"
    )
    assert sink.mails == []


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("how", ["ca_file", "verify_tls"])
async def test_a_certificate_may_be_of_a_named_ca_or_go_unchecked(server_tls, certificate, security, how):
    sink = Sink()
    more = {"ca_file": certificate} if how == "ca_file" else {"verify_tls": False}
    wrapped = {"implicit": server_tls} if security == "tls" else {"tls_context": server_tls}
    async with serving(sink, **wrapped) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security=security, **more))
    assert isinstance(outcome, AttemptSucceeded)
    assert len(sink.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "none"])
async def test_a_server_on_this_computer_may_be_plain(security):
    sink = Sink()
    async with serving(sink) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security=security))
    assert isinstance(outcome, AttemptSucceeded)
    assert sink.tls == [False]


@pytest.mark.parametrize("security", ["starttls", "none"])
async def test_a_server_elsewhere_must_encrypt(security):
    sink = Sink()
    # Another name for this computer, which relay does not take for loopback.
    async with serving(sink) as port:
        elsewhere = options(port, host="127.1", security=security)
        refused = await send_mail(MAIL, ENVELOPE, elsewhere)
        allowed = await send_mail(MAIL, ENVELOPE, options(port, host="127.1", insecure=True, security=security))
    assert refused == AttemptFailed(f"127.1:{port} offers no encryption; set smtp.insecure = true to allow that")
    assert isinstance(allowed, AttemptSucceeded)
    assert len(sink.mails) == 1


async def test_a_wrong_password_names_the_secret_and_does_not_show_it(server_tls, certificate):
    sink = Sink()
    more = {"tls_context": server_tls, "authenticator": sink.login, "auth_required": True}
    wrong = LOGIN | {"password": Secret("vault:smtp.password", "hunter2")}
    async with serving(sink, **more) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, **wrong, ca_file=certificate))
    assert isinstance(outcome, AttemptFailed)
    assert outcome.detail.startswith("535 ")
    assert outcome.detail.endswith("; check vault secret 'smtp.password'")
    assert "hunter2" not in outcome.detail


async def test_a_server_that_echoes_a_password_does_not_give_it_away():
    encoded = base64.b64encode(b"hunter2").decode()
    plain = base64.b64encode(b"\0someone\0hunter2").decode()

    async def talk(reader, writer):
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            if line.startswith(b"EHLO"):
                writer.write(b"250-sink\r\n250 AUTH LOGIN\r\n")
            elif line.startswith(b"AUTH LOGIN"):
                writer.write(b"334 UGFzc3dvcmQ6\r\n")
            elif line.startswith(b"QUIT"):
                break
            else:
                said = f"bad: hunter2 {encoded} {plain} AKIASOMEONE\x1b[31m"
                writer.write(f"535-{said}\r\n535 ask someone, not a@b.example\r\n".encode())
        writer.close()

    secret = {"username": Secret("env:U", "someone"), "password": Secret("env:P", "hunter2")}
    async with scripted(talk) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security="none", **secret))
        named = secret | {"username": Secret("env:U", "a@b.example")}
        hidden = await send_mail(MAIL, ENVELOPE, options(port, security="none", **named))
        named = secret | {"username": Secret("env:U", "AKIASOMEONE")}
        key_hidden = await send_mail(MAIL, ENVELOPE, options(port, security="none", **named))
    # A name that is a word is left in the server's sentences; its lines are one.
    assert outcome == AttemptFailed(
        "535 bad: •••• •••• •••• AKIASOMEONE\\x1b[31m ask someone, not a@b.example; check env:P"
    )
    assert hidden.detail.endswith("ask someone, not ••••; check env:P")
    assert "AKIASOMEONE" not in key_hidden.detail


async def test_451_is_tried_again_and_then_accepted():
    sink = Sink(answers={"DATA": ["451 4.7.1 greylisted, come back"]})
    async with serving(sink) as port:
        first = await send_mail(MAIL, ENVELOPE, options(port))
        second = await send_mail(MAIL, ENVELOPE, options(port))
    assert first == AttemptRetry("451 4.7.1 greylisted, come back")
    assert isinstance(second, AttemptSucceeded)


async def test_550_is_final_and_nobody_gets_the_mail():
    sink = Sink(answers={"bob@example.com": "550 5.1.1 no such \x1b[1muser"})
    async with serving(sink) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port))
    assert outcome == AttemptFailed("550 5.1.1 no such \\x1b[1muser; it refuses bob@example.com")
    assert sink.mails == []


async def test_a_recipient_refused_for_now_holds_the_whole_mail_back():
    sink = Sink(answers={"bob@example.com": "452 4.2.2 <bob@example.com>: mailbox full"})
    async with serving(sink) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port))
    assert outcome == AttemptRetry("452 4.2.2 <bob@example.com>: mailbox full")
    assert sink.mails == []


@pytest.mark.slow
async def test_a_server_that_hangs_with_the_mail_is_given_up_and_nobody_is_sure():
    sink = Sink(answers={"hang": True})
    async with serving(sink) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, timeout=1.0))
    assert outcome == AttemptRetry(
        f"localhost:{port} was given the mail and did not answer within {1.0 * LAST_STEP:g} s", unsure=True
    )


@pytest.mark.parametrize("last", [b"", b"3"])
async def test_a_server_that_hangs_up_with_the_mail_leaves_nobody_sure(last):
    async with scripted(until_the_dot(last)) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port))
    assert outcome == AttemptRetry(f"localhost:{port} was given the mail and hung up", unsure=True)


async def test_what_is_asked_last_may_keep_the_mail_back():
    sink = Sink()
    asked = []

    async def wait():
        asked.append(len(sink.mails))
        return AttemptRetry("not now", tried=False)

    async with serving(sink) as port:
        assert await send_mail(MAIL, ENVELOPE, options(port), ready=wait) == AttemptRetry("not now", tried=False)
    assert (asked, sink.mails) == ([0], [])


async def test_what_is_asked_last_is_asked_after_every_recipient():
    sink = Sink(answers={"bob@example.com": "550 5.1.1 no such user"})
    asked = []

    async def go():
        asked.append(True)

    async with serving(sink) as port:
        assert isinstance(await send_mail(MAIL, ENVELOPE, options(port), ready=go), AttemptFailed)
        fine = Envelope(sender="relay@example.com", to=("ada@example.com",))
        assert isinstance(await send_mail(MAIL, fine, options(port), ready=go), AttemptSucceeded)
    assert asked == [True]


async def test_addresses_beyond_ascii_go_out_where_the_server_takes_them():
    sink = Sink()
    abroad = Envelope(sender="relay@example.com", to=("jörg@example.com",))
    mail = "To: jörg@example.com\r\n\r\nhi\r\n".encode()
    async with serving(sink, enable_SMTPUTF8=True) as port:
        outcome = await send_mail(mail, abroad, options(port))
    assert isinstance(outcome, AttemptSucceeded)
    assert sink.mails == [("relay@example.com", ("jörg@example.com",), mail)]


async def test_addresses_beyond_ascii_fail_in_plain_words_where_it_does_not():
    sink = Sink()
    abroad = Envelope(sender="relay@example.com", to=("jörg@example.com",))
    async with serving(sink) as port:
        outcome = await send_mail(b"hi", abroad, options(port))
    assert outcome == AttemptFailed(f"localhost:{port} takes no addresses beyond ASCII: it does not offer SMTPUTF8")
    assert sink.mails == []


async def test_a_server_without_a_login_says_so_at_once():
    async with serving(Sink()) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, **LOGIN))
    assert outcome == AttemptFailed(f"localhost:{port} offers no login; take username and password out of [smtp]")


async def test_a_server_that_takes_a_login_after_starttls_alone_says_so(server_tls):
    sink = Sink()
    async with serving(sink, tls_context=server_tls, authenticator=sink.login) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security="none", **LOGIN))
    advice = 'it may after STARTTLS: set smtp.security = "starttls"'
    assert outcome == AttemptFailed(f"localhost:{port} offers no login; {advice}")
    assert sink.logins == []


@asynccontextmanager
async def scripted(talk):
    tasks = []

    async def quietly(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def until_the_dot(last):
    """Take a mail up to its final dot, say `last` and hang up."""

    async def talk(reader, writer):
        writer.write(b"220 hi\r\n")
        while line := await reader.readline():
            writer.write(b"354 go on\r\n" if line == b"DATA\r\n" else b"250 fine\r\n")
            if line == b"DATA\r\n":
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(last)
                break
        writer.close()

    return talk


async def say_nothing(reader, writer):
    await asyncio.sleep(60)


async def hang_up(reader, writer):
    writer.close()


async def busy(reader, writer):
    writer.write(b"421 too busy\r\n")
    await writer.drain()
    writer.close()


async def speak_http(reader, writer):
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(60)


async def never_end(reader, writer):
    while True:
        writer.write(b"220-" + b"x" * 1000 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("talk", "detail", "unreachable"),
    [
        (say_nothing, "cannot reach localhost:{port} (timed out after 0.5 s)", True),
        (hang_up, "cannot reach localhost:{port} (it hung up)", True),
        (busy, "421 too busy", False),
        (speak_http, "localhost:{port} does not speak SMTP", False),
        (never_end, "localhost:{port} does not speak SMTP", False),
    ],
)
async def test_a_strange_server_is_a_retry_in_plain_words(talk, detail, unreachable):
    async with scripted(talk) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, timeout=0.5 if talk is say_nothing else 60.0))
    assert outcome == AttemptRetry(detail.format(port=port), unreachable=unreachable)


async def test_a_server_that_is_not_there_is_a_retry(unused_tcp_port):
    outcome = await send_mail(MAIL, ENVELOPE, options(unused_tcp_port, host="127.0.0.1"))
    assert outcome == AttemptRetry(f"cannot reach 127.0.0.1:{unused_tcp_port} (connection refused)", unreachable=True)
    outcome = await send_mail(MAIL, ENVELOPE, options(25, host="nowhere.invalid"))
    assert outcome == AttemptRetry("cannot reach nowhere.invalid:25 (no such host)", unreachable=True)


async def test_a_plain_port_is_no_tls_port():
    async with serving(Sink()) as port:
        outcome = await send_mail(MAIL, ENVELOPE, options(port, security="tls"))
    assert isinstance(outcome, AttemptRetry)
    assert outcome.detail == f"localhost:{port} does not speak TLS"


async def test_a_probe_sends_nothing():
    sink = Sink()
    async with serving(sink) as port:
        assert await check_server(options(port)) == AttemptSucceeded("the server is ready")
    assert sink.mails == []


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("LOCALHOST.", True), ("127.0.0.9", True), ("::1", True), ("10.0.0.1", False), ("x", False)],
)
def test_loopback_is_told_by_its_name_or_number(host, here):
    assert is_loopback_host(host) is here
