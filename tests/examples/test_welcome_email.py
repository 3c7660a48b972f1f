"""The example as its README tells it: a real relay, the README's own curl commands, a real mail server."""

import asyncio
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from aiosmtpd import smtp as sinks

pytestmark = pytest.mark.program

EXAMPLE = Path(__file__).parents[2] / "examples/welcome-email"
COMMANDS = re.findall(r"^\$ (.+)$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
PORTS = ("--no-tunnel", "--json", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")
PATIENCE = 60


class Sink:
    """A mail server's handler that asks for a login, and answers as it was told to."""

    def __init__(self):
        self.port = 0
        self.mails = []
        self.answers = []
        self.logins = []
        self.encrypted = []
        self.hang = False
        self.reached = asyncio.Event()

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.reached.set()
        if self.hang:
            await asyncio.sleep(600)
        answer = self.answers.pop(0) if self.answers else "250 2.0.0 queued"
        if answer.startswith("250"):
            self.mails.append(message_from_bytes(envelope.original_content, policy=default))
            self.encrypted.append(session.ssl is not None)
        return answer

    def login(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login.decode(), data.password.decode()))
        return sinks.AuthResult(success=data.password == b"s3cret word", handled=False)


@pytest.fixture
async def sink(certificate):
    kept = Sink()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)

    def protocol():
        return sinks.SMTP(kept, hostname="sink.example", tls_context=tls, authenticator=kept.login, auth_required=True)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    kept.port = server.sockets[0].getsockname()[1]
    yield kept
    server.close()


class Home:
    """The example in a folder of its own, and a relay that runs there."""

    def __init__(self, folder, forker):
        self.folder, self.forker = folder, forker
        self.relay = None
        self.ready = {}

    def env(self, **more):
        return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(self.folder)} | more

    def to_server(self, sink, certificate, retry='{ attempts = 4, first = "10ms", factor = 1 }'):
        """Take the # from the lines of [smtp], as the README says, and name this server."""
        path = self.folder / "relay.toml"
        head, _, table = path.read_text().partition("# [smtp]\n")
        table = "[smtp]\n" + table.replace("# ", "")
        table = table.replace("smtp.example.com", "localhost").replace("587", str(sink.port))
        path.write_text(f'{head}{table}ca_file = "{certificate}"\nretry = {retry}\n')
        text = (self.folder / ".env.example").read_text()
        text = text.replace("SMTP_USERNAME=", "SMTP_USERNAME=relay")
        text = text.replace("SMTP_PASSWORD=", "SMTP_PASSWORD='s3cret word'").replace("APP_WEBHOOK", "# APP_WEBHOOK")
        (self.folder / ".env").write_text(text)

    @asynccontextmanager
    async def running(self):
        self.relay = self.forker.start("start", *PORTS, cwd=self.folder, env=self.env())
        try:
            async with asyncio.timeout(PATIENCE):
                self.ready = json.loads(await asyncio.to_thread(self.relay.stdout.readline))
            yield self
        finally:
            self.relay.send_signal(signal.SIGINT)
            await asyncio.to_thread(self.relay.communicate)

    async def shell(self, command, **env):
        """Run a command of the README against this relay; return its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command.replace("http://127.0.0.1:8400", self.ready["ingress_url"])),
            cwd=self.folder,
            env=self.env(**env),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    async def curl(self, command):
        code, out, err = await self.shell(f"{command} -w ' %{{http_code}}'")
        assert code == 0, err
        body, _, status = out.rpartition(" ")
        return int(status), json.loads(body)

    async def deliveries(self, count):
        """Return the deliveries, newest first, once there are so many and none is under way."""
        async with asyncio.timeout(PATIENCE):
            while True:
                _, out, _ = await self.shell("python -m relay deliveries --json")
                found = [json.loads(line) for line in out.splitlines()]
                if len(found) == count and all(one["state"] in ("succeeded", "failed") for one in found):
                    return found
                await asyncio.sleep(0.05)


@pytest.fixture
def home(tmp_path, require_program, forker):
    require_program("bash", "curl", "openssl")
    return Home(Path(shutil.copytree(EXAMPLE, tmp_path / "example")), forker)


CURLS = [command for command in COMMANDS if command.startswith("curl") and "$BODY" not in command]


def test_the_readme_has_the_commands_that_are_run_here():
    assert [("user.created" in one, "test.connection" in one) for one in CURLS] == [
        (True, False),
        (False, True),
        (True, False),
        (True, False),
    ]


@pytest.mark.slow
async def test_the_readme_comes_true_with_the_outbox(home):
    async with home.running():
        assert await home.curl(CURLS[0]) == (200, {"success": True, "event": 1, "outcome": "accepted"})
        assert await home.curl(CURLS[1]) == (200, {"success": True, "event": 2, "outcome": "ignored"})
        assert await home.curl(CURLS[2]) == (200, {"success": True, "event": 3, "outcome": "duplicate"})
        assert await home.curl(CURLS[3]) == (200, {"success": True, "event": 4, "outcome": "accepted"})
        failed, sent = await home.deliveries(2)
        assert (sent["event"], sent["detail"]) == (1, "kept in the outbox")
        assert failed["detail"].startswith("emails.welcome.to: 'ada@' is not one mail address: ")
        commands = [one.replace("relay ", "python -m relay ", 1) for one in COMMANDS if "relay email" in one]
        preview, html, rehearsal, forced = [await home.shell(command) for command in commands]
    (kept, _) = sorted((home.folder / ".relay/outbox").glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    mail = message_from_bytes(kept.read_bytes(), policy=default)
    assert (mail["To"], mail["Reply-To"], mail["Subject"]) == (
        "ada@example.com",
        "support@example.com",
        "Welcome, Ada Lovelace",
    )
    assert "since 01 March 2026" in mail.get_body(("plain",)).get_content()
    assert "<b>pro</b>" in mail.get_body(("html",)).get_content()
    assert (preview[0], "Subject: Welcome, Ada Lovelace\n" in preview[1]) == (0, True)
    assert (html[0], "<h1" in (home.folder / "welcome.html").read_text()) == (0, True)
    assert rehearsal[2] == "4 events: 1 sent already, 1 would fail, 1 no route; nothing was sent\n"
    assert (forced[0], "kept in the outbox" in forced[1]) == (0, True)


@pytest.mark.slow
async def test_the_welcome_mail_goes_through_starttls_and_login_to_a_real_server(home, sink, certificate):
    home.to_server(sink, certificate)
    async with home.running():
        assert (await home.curl(CURLS[0]))[0] == 200
        assert (await home.curl(CURLS[1]))[0] == 200
        assert (await home.curl(CURLS[2]))[0] == 200
        (sent,) = await home.deliveries(1)
        doctor = await home.shell("python -m relay doctor")
    assert (sent["state"], sent["detail"]) == ("succeeded", "250 2.0.0 queued")
    (mail,) = sink.mails
    assert (mail["From"], mail["To"]) == ("Example <hello@example.com>", "ada@example.com")
    assert set(sink.logins) == {("relay", "s3cret word")}
    assert sink.encrypted == [True]
    assert f"mail         localhost:{sink.port} takes our mail" in doctor[1]
    log = (home.folder / ".relay/relay.log").read_text() if (home.folder / ".relay/relay.log").exists() else ""
    assert "s3cret" not in log + "".join(path.read_text("latin-1") for path in (home.folder / ".relay").glob("*.json"))


async def test_451_twice_is_tried_again_and_then_accepted_once(home, sink, certificate):
    sink.answers = ["451 4.7.1 greylisted", "451 4.7.1 greylisted"]
    home.to_server(sink, certificate)
    async with home.running():
        await home.curl(CURLS[0])
        (sent,) = await home.deliveries(1)
        _, out, _ = await home.shell(
            f'curl -s $URL/api/deliveries/{sent["id"]} -H "Authorization: Bearer $TOKEN"', **private(home)
        )
    assert (sent["state"], sent["attempts_made"]) == ("succeeded", 3)
    assert [(one["outcome"], one["detail"]) for one in json.loads(out)["attempts"]] == [
        ("retry", "451 4.7.1 greylisted"),
        ("retry", "451 4.7.1 greylisted"),
        ("succeeded", "250 2.0.0 queued"),
    ]
    assert len(sink.mails) == 1


async def test_a_server_that_never_stops_saying_451_is_tried_so_many_times_and_no_more(home, sink, certificate):
    sink.answers = ["451 4.3.0 not now"] * 99
    home.to_server(sink, certificate)
    async with home.running():
        await home.curl(CURLS[0])
        (failed,) = await home.deliveries(1)
    assert (failed["state"], failed["attempts_made"], failed["detail"]) == ("failed", 4, "451 4.3.0 not now")
    assert (len(sink.answers), sink.mails) == (95, [])


@pytest.mark.slow
async def test_550_fails_at_once_with_the_servers_own_words(home, sink, certificate):
    sink.answers = ["550 5.7.1 We do not like <you>\x1b[31m"]
    home.to_server(sink, certificate)
    async with home.running():
        await home.curl(CURLS[0])
        (failed,) = await home.deliveries(1)
    assert (failed["state"], failed["attempts_made"]) == ("failed", 1)
    assert failed["detail"] == "550 5.7.1 We do not like <you>\\x1b[31m"


@pytest.mark.slow
async def test_a_relay_killed_while_the_server_takes_the_mail_does_not_send_it_twice(home, sink, certificate):
    sink.hang = True
    home.to_server(sink, certificate)
    async with home.running():
        await home.curl(CURLS[0])
        async with asyncio.timeout(PATIENCE):
            await sink.reached.wait()
        home.relay.kill()
        await asyncio.to_thread(home.relay.wait)
    sink.hang = False
    async with home.running():
        (failed,) = await home.deliveries(1)
        again = await home.shell("python -m relay email 1 welcome")
        assert sink.mails == []
        forced = await home.shell("python -m relay email 1 welcome --force")
    assert failed["state"] == "failed"
    assert failed["detail"].startswith("#1 may have been mailed with welcome already: ")
    assert (again[0], "may have been mailed" in again[2], "--force" in again[2]) == (1, True, True)
    assert (forced[0], len(sink.mails)) == (0, 1)


async def test_with_the_secret_only_signed_events_send_mail(home):
    shutil.copy(home.folder / ".env.example", home.folder / ".env")
    signed = "; ".join(COMMANDS[-3:])
    assert "openssl" in signed
    async with home.running():
        assert (await home.curl(CURLS[0]))[0] == 401
        assert await home.curl(signed) == (200, {"success": True, "event": 2, "outcome": "accepted"})
        (sent,) = await home.deliveries(1)
    assert (sent["event"], sent["detail"]) == (2, "kept in the outbox")


def private(home):
    return {"URL": home.ready["dashboard_url"], "TOKEN": (home.folder / ".relay/token").read_text().strip()}


def test_the_example_checks_out(home):
    done = subprocess.run(
        [sys.executable, "-m", "relay", "check"],
        cwd=home.folder,
        env=home.env(APP_WEBHOOK_SECRET="x"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
