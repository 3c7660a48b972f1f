"""`relay start` as a process: what it says first, while it runs, and when it is stopped."""

import contextlib
import json
import re
import signal
import socket
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest


def test_the_banner_is_short_and_always_in_the_same_order(started, tmp_path, target):
    (tmp_path / "relay.toml").write_text(
        "".join(f'[sources.s{n}]\nprovider = "stripe"\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n' for n in range(2))
        + '[sources.shop]\nprovider = "shopify"\nsecret = "env:SHOP"\n'
        + "".join(f'[sources.x{n}]\nprovider = "stripe"\n' for n in range(9))
        + "".join(f'[targets.t{n}]\nforward = "{target.url}"\n' for n in range(6))
    )
    with started() as relay:
        banner = relay.banner()
        titles = [line.split()[0] for line in banner if not line.startswith(" ")]
        assert titles == ["Dashboard", "Public", "Sources", "Targets", "Data", "Config"]
        assert len(banner) < 12
        text = "".join(banner)
        assert re.search(r"http://127\.0\.0\.1:\d+/login\?token=\S{32}\n", banner[0])
        assert "switched off" in banner[1]
        ingress = relay.running["ingress_url"]
        assert re.search(rf"s0 +{ingress}/webhooks/s0 +secret from env:STRIPE_WEBHOOK_SECRET\n", text)
        assert re.search(r"shop +\S+/webhooks/shop +no secret: env:SHOP is not set\n", text)
        assert "and 9 more: x0, x1" in text
        assert re.search(rf"t0 +{target.url} +answers\n", text)
        assert str(tmp_path / ".relay" / "relay.db") in text
        code, out, err = relay.stop()
    assert code == 0
    assert out.startswith("stopped after")
    assert "routes: there are several targets but no routes" in err


def test_a_quick_delivery_stands_on_the_line_of_its_event(started, target):
    with started("--forward", target.url) as relay:
        relay.banner()
        assert relay.send()["event"] == 1
        line = relay.line()
        assert re.fullmatch(r"\d\d:\d\d:\d\d  test +a\.b +#1 +unchecked +-> forward 200 \d+ ms\n", line)
        target.wait.clear()
        relay.send()
        assert "waiting" in relay.line()
        target.wait.set()
        assert re.search(r"#2 +routed +-> forward 200 \d+ ms\n", relay.line())
        target.status = 503
        relay.send()
        assert re.search(r"#3 +unchecked +-> forward 503 \d+ ms, attempt 1, again in 2 s\n", relay.line())
        code, out, _ = relay.stop()
    assert code == 0
    assert re.search(r"3 events, 2 deliveries reached the target, 1 wait for the next start\n", out)


def test_with_json_a_tunnel_that_cannot_be_opened_is_said_right_after_ready(started, tmp_path):
    (tmp_path / "relay.toml").write_text('[tunnel]\nprovider = "command"\ncommand = "./no-such-program"\n')
    with started("--json", tunnel=True) as relay:
        assert relay.object("ready")["public_url"] is None
        told = json.loads(relay.line())
        assert (told["kind"], told["state"], told["public_url"]) == ("tunnel", "down", None)
        assert "cannot start no-such-program" in told["detail"]


def test_with_json_every_line_has_a_kind_and_the_first_is_ready(started, tmp_path, target):
    with started("--json", "--forward", target.url) as relay:
        ready = json.loads(relay.line())
        assert list(ready)[:4] == ["kind", "version", "pid", "ingress_url"]
        assert ready["kind"] == "ready"
        assert ready["pid"] == relay.process.pid
        assert ready["public_url"] is None
        assert ready["dashboard_url"] == relay.running["dashboard_url"]
        assert ready["data_dir"] == str(tmp_path / ".relay")
        relay.send()
        event = relay.object("event")
        assert (event["id"], event["type"], event["verdict"]) == (1, "a.b", "unchecked")
        delivery = relay.object("delivery")
        assert (delivery["event"], delivery["state"], delivery["status"]) == (1, "succeeded", 200)
        code, out, err = relay.stop(signal.SIGTERM)
    summary = json.loads(out.splitlines()[-1])
    assert code == 0
    assert (summary["kind"], summary["events"], summary["succeeded"]) == ("summary", 1, 1)
    assert "stopping" in err


def test_python_has_nothing_to_say_at_the_end_of_a_relay(started, target):
    # Python before 3.12.4 takes SQLite's ?1 for a name: https://github.com/python/cpython/issues/117995
    shown = "default,ignore:Binding:DeprecationWarning"
    with started("--json", "--forward", target.url, env={"PYTHONWARNINGS": shown}) as relay:
        relay.object("ready")
        relay.send()
        relay.object("delivery")
        code, _, err = relay.stop()
    assert (code, err) == (0, "stopping: finishing what is in flight; Ctrl-C again stops at once\n")


def test_a_default_port_that_is_taken_moves_and_says_so(started):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # taken by somebody else does as well
            taken.bind(("127.0.0.1", 8400))
            taken.listen()
        with started("--json", ports=("--dashboard", "127.0.0.1:auto")) as relay:
            ready = relay.object("ready")
            assert int(ready["ingress_url"].rpartition(":")[2]) > 8400
            notice = relay.object("notice")["text"]
    assert notice == f"port 8400 is in use, so the ingress is on {ready['ingress_url'].removeprefix('http://')}"


def test_a_named_port_that_is_taken_is_an_error_and_leaves_nothing_behind(command, tmp_path):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command("start", "--no-tunnel", "--ingress", f"127.0.0.1:{port}", "--dashboard", "127.0.0.1:auto")
    assert done.code == 1
    assert done.err == f"relay: port {port} is in use by another program; name another with --ingress\n"
    assert not (tmp_path / ".relay").exists()


@pytest.mark.slow
def test_a_port_that_a_relay_with_the_same_data_holds_is_told_as_that(started, command):
    with started("--json") as relay:
        relay.object("ready")
        port = relay.running["ingress_url"].rpartition(":")[2]
        done = command("start", "--no-tunnel", "--ingress", f"127.0.0.1:{port}", "--dashboard", "127.0.0.1:auto")
    assert done.code == 1
    assert done.err == (
        f"relay: another relay (pid {relay.process.pid}) uses {relay.home / '.relay'}; "
        "stop it, or name another data_dir\n"
    )


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once(started, target):
    with started("--json", "--forward", target.url) as relay:
        relay.object("ready")
        target.wait.clear()
        relay.send()
        relay.object("event")
        while not target.seen:
            time.sleep(0.01)
        relay.process.send_signal(signal.SIGINT)
        assert "Ctrl-C again stops at once" in relay.process.stderr.readline()
        # What is in flight stays so: the target answers nothing until the test is over.
        code, _, err = relay.stop()
    assert code == 130
    assert "Traceback" not in err


@pytest.mark.slow
def test_what_was_answered_survives_kill_9(started, inside):
    with started("--json") as relay:
        relay.object("ready")
        for _ in range(20):
            assert relay.send()["success"] is True
        relay.process.kill()
        relay.process.wait()
        assert (relay.home / ".relay" / "running.json").exists()
    found = inside("events", "--json", "--limit", "100")
    assert [event["id"] for event in found.objects] == list(range(20, 0, -1))
    with started("--json") as relay:
        relay.object("ready")
        assert relay.send()["event"] == 21


def test_a_reader_that_leaves_ends_relay_quietly(started):
    with started("--json") as relay:
        relay.object("ready")
        relay.process.stdout.close()
        relay.send()
        assert relay.process.wait(timeout=60) == 0
        err = relay.process.stderr.read()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def test_hostile_text_is_escaped_on_the_line_of_its_event(started):
    with started() as relay:
        relay.banner()
        relay.send(body=json.dumps({"type": "\x1b[31m\u202eevil\n12:00:00 fake"}).encode())
        line = relay.line()
    assert "\x1b" not in line
    assert "\\x1b[31m\\u202eevil\\x0a12:00:00 fake" in line


def test_the_line_of_a_forged_event_says_how_to_find_out_why(started, tmp_path):
    (tmp_path / "relay.toml").write_text('[sources.stripe]\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n')
    with started(env={"STRIPE_WEBHOOK_SECRET": "whsec_x"}) as relay:
        relay.banner()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            relay.send("stripe", b"{}")
        line = relay.line()
    assert re.search(r"#1 +invalid, rejected 401 \(signature_missing\)  relay verify 1 says why\n", line)


def test_a_malformed_request_is_one_line_and_no_traceback(started):
    with started("--json") as relay:
        relay.object("ready")
        port = int(relay.running["ingress_url"].rpartition(":")[2])
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"NONSENSE\r\n\r\n")
                assert connection.recv(100)
        _, _, err = relay.stop()
    assert "Traceback" not in err
    assert err.count("malformed") <= 1


@pytest.mark.slow
def test_a_second_relay_on_the_same_data_is_refused_and_commands_wait_for_each_other(started, command):
    with started("--json") as relay:
        relay.object("ready")
        second = command("start", "--no-tunnel", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")
        relay.stop()
    assert second.code == 1
    assert second.err.startswith(f"relay: another relay (pid {relay.process.pid}) uses ")
    with ThreadPoolExecutor() as pool:
        codes = [done.code for done in pool.map(lambda _: command("events"), range(2))]
    assert codes == [0, 0]


def test_opening_the_browser_puts_no_token_on_a_command_line(started, tmp_path):
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked\n')
    browser.chmod(0o700)
    with started("--json", "--open", env={"BROWSER": str(browser)}) as relay:
        token = relay.object("ready")["login_url"].rpartition("=")[2]
        asked = tmp_path / "asked"
        while not (asked.exists() and asked.read_text()):
            time.sleep(0.02)
    page = asked.read_text().strip()
    assert page == (tmp_path / ".relay" / "open.html").as_uri()
    assert token in (tmp_path / ".relay" / "open.html").read_text()
    assert (tmp_path / ".relay" / "open.html").stat().st_mode & 0o077 == 0
