"""The ngrok agent: downloaded only for somebody who wants it, through pyngrok, from a real server."""

import io
import json
import os
import socketserver
import ssl
import sys
import tarfile
import threading
from pathlib import Path

import pytest

CDN = "bin.ngrok.com"
STAND_IN = Path(__file__).parents[1] / "tunnel" / "agent_stand_in.py"
TOKEN = {"NGROK_AUTHTOKEN": "2ZtokenThatNobodyMaySee_7Qm4"}
OFFLINE = {"https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
LOCAL = ("--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")


def archive(name="ngrok"):
    program = f"#!{sys.executable}\n{STAND_IN.read_text()}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(program.encode()), 0o755
        tar.addfile(info, io.BytesIO(program.encode()))
    return packed.getvalue()


class Cdn:
    """ngrok's download server behind a proxy: it speaks TLS under its own name."""

    def __init__(self, pair):
        self.asked = []
        self.status = "200 OK"
        self.body = archive()
        self.length = None
        self.environ = {"SSL_CERT_FILE": str(pair), "no_proxy": ""}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        cdn, self.over, self.gate = self, threading.Event(), threading.Event()
        self.gate.set()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                cdn.asked.append(head_of(self.rfile)[0].decode())
                cdn.gate.wait(60)
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                with context.wrap_socket(self.request, server_side=True) as secure, secure.makefile("rwb") as file:
                    cdn.asked.append(head_of(file)[0].decode())
                    length = cdn.length or len(cdn.body)
                    file.write(f"HTTP/1.1 {cdn.status}\r\nContent-Length: {length}\r\n\r\n".encode() + cdn.body)
                    file.flush()
                    if length > len(cdn.body):
                        cdn.over.wait()

        def head_of(file):
            return list(iter(lambda: file.readline().rstrip(), b""))

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.environ["https_proxy"] = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def cdn(certificate_for):
    cdn = Cdn(certificate_for(CDN))
    yield cdn
    cdn.close()


@pytest.fixture
def home(tmp_path):
    """An environment with a home of its own, in which the one `ngrok` to be found is pyngrok's script."""
    ran = tmp_path / "ran"
    (tmp_path / "venv").mkdir()
    script = tmp_path / "venv" / "ngrok"
    script.write_text(f"#!/bin/sh\ntouch {ran} # from pyngrok.ngrok import main\n")
    script.chmod(0o755)
    yield {"HOME": str(tmp_path), "PATH": f"{script.parent}:/usr/bin:/bin"}
    assert not ran.exists()


@pytest.fixture
def agent(tmp_path):
    """Where pyngrok keeps the agent, with the orders of the stand-in."""
    folder = tmp_path / ".config" / "ngrok"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"url": "https://first.ngrok.app"}))
    return folder / "ngrok"


def test_install_downloads_the_agent_once_and_tells_its_progress(command, home, cdn, agent):
    done = command("tunnel", "install", env=home | cdn.environ)
    assert (done.code, done.out.count("\n")) == (0, 1), done.err
    assert done.out.startswith(f"installed the ngrok agent: {agent}; ")
    assert done.err.splitlines()[:2] == ["downloading the ngrok agent", "downloading the ngrok agent: 100 %"]
    assert cdn.asked[0].startswith(f"CONNECT {CDN}:443 ")
    assert os.access(agent, os.X_OK)
    assert sorted(path.name for path in agent.parent.iterdir()) == ["ngrok", "plan.json"]
    again = command("tunnel", "install", "--json", env=home | cdn.environ)
    assert again.objects == [{"path": str(agent)}]
    assert len(cdn.asked) == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "404 Not Found"}, "HTTP Error 404: Not Found"),
        ({"body": b"<html>sign in to the network</html>"}, "not a gzip file"),
        ({"body": archive("readme.txt")}, "No such file or directory"),
    ],
)
def test_a_download_that_is_not_the_agent_leaves_nothing_behind(command, home, cdn, agent, change, why):
    vars(cdn).update(change)
    done = command("tunnel", "install", env=home | cdn.environ)
    assert (done.code, done.out) == (3, "")
    assert "relay: cannot download the ngrok agent: " in done.err
    assert why in done.err
    assert "https://ngrok.com/download" in done.err
    assert "Traceback" not in done.err
    assert [path.name for path in agent.parent.iterdir()] == ["plan.json"]


async def test_a_download_that_stands_still_is_given_up(monkeypatch, cdn, tmp_path):
    from relay.tunnel import ngrok_agent as agents  # noqa: PLC0415 - its limit is changed here

    monkeypatch.setattr(agents, "_SILENCE_LIMIT", 0.1)
    cdn.length = len(cdn.body) + 1
    with pytest.raises(agents.RefusedError, match="cannot download the ngrok agent: no progress for"):
        await agents.download_agent(tmp_path / "ngrok", os.environ | cdn.environ, lambda _: None)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_or_a_folder_to_write_to_install_says_so(command, home, tmp_path):
    done = command("tunnel", "install", env=home | OFFLINE)
    assert done.code == 3
    assert "relay: cannot download the ngrok agent: Connection refused; relay works" in done.err
    (tmp_path / "file").touch()
    done = command("tunnel", "install", env=home | OFFLINE | {"XDG_CONFIG_HOME": str(tmp_path / "file")})
    assert (done.code, "cannot download the ngrok agent: Not a directory" in done.err) == (3, True)


def start(at_terminal, environ, answer):
    session = at_terminal("start", *LOCAL, env=environ | TOKEN | {"NO_COLOR": "1"})
    session.until("pyngrok's script, not the agent). Download it through pyngrok (10 MB)? [Y/n] ")
    session.type(answer)
    return session


def test_start_on_a_terminal_offers_the_agent_and_opens_the_tunnel_with_it(at_terminal, home, cdn, agent):
    cdn.gate.clear()  # however fast the network is: the terminal shows first that it downloads
    session = start(at_terminal, home | cdn.environ, "\n")
    session.until("downloading the ngrok agent")
    cdn.gate.set()
    session.until("https://first.ngrok.app")
    session.type("\x03")
    assert session.end()[0] == 0
    assert os.access(agent, os.X_OK)


def test_who_declines_gets_a_relay_without_a_tunnel_that_says_what_is_missing(at_terminal, home, cdn):
    session = start(at_terminal, home | cdn.environ, "n\n")
    session.until("none: ngrok is not installed")
    session.until("run relay tunnel install")
    session.type("\x03")
    assert session.end()[0] == 0
    assert cdn.asked == []


def test_a_download_that_fails_at_the_start_leaves_a_relay_that_works_locally(at_terminal, home):
    session = start(at_terminal, home | OFFLINE, "y\n")
    session.until("Dashboard")
    session.until("cannot download the ngrok agent: Connection refused: relay works locally")
    session.type("\x03")
    assert session.end()[0] == 0


def test_off_a_terminal_one_sentence_says_what_to_do_and_nothing_is_downloaded(started, home, cdn):
    with started("--json", env=home | cdn.environ | TOKEN, tunnel=True) as relay:
        relay.object("ready")
        while (down := relay.object("tunnel"))["state"] != "down":
            pass
        assert relay.send()["success"]
    assert down["state"] == "down"
    assert "ngrok is not installed (" in down["detail"]
    assert "run relay tunnel install (relay start offers it on a terminal)" in down["detail"]
    assert cdn.asked == []


def test_doctor_says_that_the_agent_is_missing(command, home):
    done = command("doctor", env=home | TOKEN)
    assert "ngrok is not installed (" in done.out
    assert "relay tunnel install" in done.out
