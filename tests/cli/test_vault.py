"""`relay vault` and a locked start, as a person at a terminal and as a script meets them."""

import hashlib
import hmac
import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from builders import LEAST_KDF
from relay.model.secret import Secret
from relay.vault.storage import Vault

PASSWORD = "four words no sentence"
GIVEN = {"RELAY_VAULT_PASSWORD": PASSWORD}
KEY = "whsec_canary_stripe_9f2c"
TOML = "[sources.stripe]\nsecret = 'vault:stripe_key'\n"
NO_TERMINAL = (
    "relay: no terminal to ask for the password; set RELAY_VAULT_PASSWORD_FILE or RELAY_VAULT_PASSWORD, "
    "or use --password-fd\n"
)


@pytest.fixture
def kept(tmp_path):
    """A vault with one secret, made with numbers that cost little, and a relay.toml that needs it."""
    vault = Vault(tmp_path / ".relay" / "vault", LEAST_KDF)
    vault.create(Secret("x", PASSWORD))
    vault.put("stripe_key", KEY)
    vault.lock()
    (tmp_path / "relay.toml").write_text(TOML)
    return vault


@pytest.fixture
def here(inside, monkeypatch):
    """Run a command inside this process, off a terminal, with an environment and an input of its own."""

    def go(*arguments, env=None, stdin=""):
        with monkeypatch.context() as patched:
            for name in ("RELAY_VAULT_PASSWORD", "RELAY_VAULT_PASSWORD_FILE"):
                patched.delenv(name, raising=False)
            for name, value in (env or {}).items():
                patched.setenv(name, value)
            patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            return inside(*arguments)

    return go


def signed(key):
    body = json.dumps({"id": key, "object": "event", "type": "invoice.paid"}).encode()
    moment = str(int(time.time()))
    mac = hmac.new(KEY.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return body, f"t={moment},v1={mac}"


@pytest.mark.slow
@pytest.mark.usefixtures("usual_vaults")
def test_a_vault_is_made_by_a_script(here, tmp_path):
    made = here("vault", "init", env=GIVEN)
    assert (made.code, made.err) == (0, "")
    assert made.out.startswith(f"made {tmp_path}/.relay/vault")
    assert json.loads((tmp_path / ".relay" / "vault").read_text())["kdf"] == {
        "name": "argon2id",
        "t": 3,
        "m": 262144,
        "p": 4,
    }
    assert oct((tmp_path / ".relay" / "vault").stat().st_mode)[-3:] == "600"


def test_a_vault_is_filled_read_and_emptied_by_a_script(here, kept):
    removed = here("vault", "remove", "stripe_key", env=GIVEN)
    assert (
        removed.code,
        "source 'stripe' has no secret left, so what it gets is accepted unchecked" in removed.out,
    ) == (0, True)
    assert here("vault", "set", "stripe_key", stdin=KEY + "\n", env=GIVEN).code == 0
    got = here("vault", "get", "stripe_key", env=GIVEN)
    assert (got.out, got.err) == (KEY + "\n", "")
    assert here("vault", "remove", "stripe_key", env=GIVEN).code == 0
    assert here("vault", "get", "stripe_key", env=GIVEN).code == 1
    assert oct(kept.path.stat().st_mode)[-3:] == "600"


@pytest.mark.slow
def test_a_value_of_several_lines_comes_back_as_it_was(command, kept, tmp_path):
    pem = "-----BEGIN KEY-----\nAAA\n\x1b[31m\u00e4\n-----END KEY-----\n"
    assert command("vault", "set", "pem", stdin=pem, env=GIVEN).code == 0
    done = subprocess.run(
        [sys.executable, "-m", "relay", "vault", "get", "pem"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"} | GIVEN,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == pem
    assert command("vault", "get", "pem", "--json", env=GIVEN).objects == [{"name": "pem", "value": pem[:-1]}]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("get", "stripe_key"), 3, NO_TERMINAL),
        (("set", "stripe_key"), 3, NO_TERMINAL),
        (("passwd",), 3, NO_TERMINAL),
        (("export", "--plain"), 3, NO_TERMINAL),
        (("get", "a/b"), 2, "'a/b' is not a name: secret names are 1-64 of A-Z a-z 0-9 . _ -"),
        (("set", ""), 2, "secret names are 1-64"),
        (("set", "x" * 65), 2, "secret names are 1-64"),
        (("set", "\x1b[31m"), 2, "'\\x1b[31m' is not a name"),
        (("get", "x", "--password-fd", "99999"), 2, "--password-fd 99999 cannot be read: Bad file descriptor"),
        (("get", "x", "--password-fd", "many"), 2, "--password-fd: 'many' is not a valid integer"),
        (("remove", "nothing"), 1, "holds no secret 'nothing'; relay vault list names those it has"),
        (("init",), 1, "there is a vault already"),
        (("unlock",), 1, "no relay is running on"),
        (("lock",), 1, "no relay is running on"),
        (("nonsense",), 2, "No such command"),
        (("get",), 2, "NAME is missing"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_code(here, kept, arguments, code, told):
    done = here("vault", *arguments, stdin="")
    assert (done.code, done.out) == (code, "")
    assert told in done.err or told.lower() in done.err
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err


def test_the_bare_command_says_what_there_is(here):
    done = here("vault")
    assert (done.code, done.err) == (0, "")
    for name in ("init", "set", "get", "list", "remove", "passwd", "export", "unlock", "lock", "remember", "forget"):
        assert f"\n  {name} " in done.out


def test_no_vault_is_named_with_the_command_that_makes_one(here, tmp_path):
    for arguments in (("get", "x"), ("list",), ("set", "x"), ("remove", "x"), ("passwd",), ("export",)):
        done = here("vault", *arguments, stdin="v", env=GIVEN)
        assert (done.code, done.err) == (
            1,
            f"relay: there is no vault at {tmp_path}/.relay/vault; relay vault init makes one\n",
        )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is damaged: it is empty; it was left as it is"),
        (b"{", "is damaged: it is not whole JSON"),
        (b"[]", "is damaged: it is some other file"),
        (b'{"format": "relay vault", "version": 2}', "is damaged: its version is unknown to this relay"),
    ],
)
def test_a_damaged_vault_is_told_at_once_and_left_alone(here, kept, content, told):
    kept.path.write_bytes(content)
    for arguments in (("vault", "get", "stripe_key"), ("vault", "list"), ("start", "--no-tunnel"), ("vault", "init")):
        done = here(*arguments, env=GIVEN)
        assert done.code == 1
        assert told in done.err
    assert kept.path.read_bytes() == content


def test_a_vault_that_asks_for_too_much_is_refused_at_once(here, kept):
    plain = json.loads(kept.path.read_text())
    plain["kdf"] = {"name": "scrypt", "n": 2**40, "r": 8, "p": 1}
    kept.path.write_text(json.dumps(plain, indent=1) + "\n")
    done = here("vault", "get", "stripe_key", env=GIVEN)
    assert (done.code, "asks for unsafe parameters" in done.err) == (1, True)


def test_a_vault_that_others_may_read_is_refused_with_the_line_that_mends_it(here, kept):
    kept.path.chmod(0o640)
    for arguments in (("vault", "get", "stripe_key"), ("start", "--no-tunnel")):
        done = here(*arguments, env=GIVEN)
        assert done.code == 1
        assert done.err.endswith(f"is open to others (mode 0640); chmod 600 {kept.path}\n")
    checked = here("check")
    assert (checked.code, f"chmod 600 {kept.path}" in checked.err) == (0, True)


def test_a_wrong_password_from_the_environment_is_told_with_its_origin(here, kept, tmp_path):
    began = time.monotonic()
    done = here("vault", "get", "stripe_key", env={"RELAY_VAULT_PASSWORD": "some other password"})
    assert time.monotonic() - began > 0.5
    told = "relay: wrong password, or the vault was changed; it came from RELAY_VAULT_PASSWORD\n"
    assert (done.code, done.out, done.err) == (3, "", told)
    started = here("start", "--no-tunnel", env={"RELAY_VAULT_PASSWORD": "some other password"})
    assert (started.code, started.err) == (3, told)
    assert not (tmp_path / ".relay" / "relay.db").exists()


def test_the_password_comes_from_a_file_or_a_descriptor(here, command, kept, tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\nsecond line\n")
    done = here("vault", "get", "stripe_key", env={"RELAY_VAULT_PASSWORD_FILE": str(file)})
    assert (done.code, done.out) == (0, KEY + "\n")
    done = command("vault", "get", "stripe_key", "--password-fd", "0", stdin=PASSWORD + "\n")
    assert (done.code, done.out) == (0, KEY + "\n")
    done = command("vault", "set", "more", "--password-fd", "0", stdin=PASSWORD + "\n")
    assert (done.code, "no stdin to read the value from" in done.err) == (2, True)
    (tmp_path / ".env").write_text(f"RELAY_VAULT_PASSWORD_FILE={file}\n")
    assert here("vault", "get", "stripe_key").out == KEY + "\n"
    file.write_text("\n")
    done = here("vault", "get", "stripe_key")
    assert (done.code, "RELAY_VAULT_PASSWORD_FILE gives no password" in done.err) == (2, True)
    file.unlink()
    done = here("vault", "get", "stripe_key")
    assert (done.code, f"RELAY_VAULT_PASSWORD_FILE names '{file}', which cannot be read" in done.err) == (2, True)


def test_the_list_needs_no_password_and_tells_what_is_missing(inside, kept, tmp_path):
    (tmp_path / "relay.toml").write_text(TOML + "[sources.slack]\nsecret = 'vault:slack_key'\n")
    done = inside("vault", "list")
    lines = done.out.splitlines()
    assert lines[0].split("  ")[0] == "stripe_key"
    assert lines[1].endswith("missing: relay vault set slack_key")
    assert KEY[-4:] not in done.out
    assert inside("vault", "list", "--json").objects == [
        {"name": "stripe_key", "held": True, "needed_by": ["source 'stripe'"]},
        {"name": "slack_key", "held": False, "needed_by": ["source 'slack'"]},
    ]


@pytest.mark.slow
def test_the_password_is_changed_by_a_script(command, kept):
    done = command("vault", "passwd", "--new-password-fd", "0", stdin="quite another password\n", env=GIVEN)
    assert (done.code, done.err) == (0, "")
    assert command("vault", "get", "stripe_key", env=GIVEN).code == 3
    again = command("vault", "get", "stripe_key", env={"RELAY_VAULT_PASSWORD": "quite another password"})
    assert again.out == KEY + "\n"


def test_an_export_is_sealed_unless_plain_is_asked_for_and_never_overwrites(here, kept, tmp_path):
    done = here("vault", "export")
    assert (done.code, done.out) == (0, kept.path.read_text())
    copy = tmp_path / "copy"
    assert here("vault", "export", str(copy)).code == 0
    assert (copy.read_bytes(), copy.stat().st_mode & 0o777) == (kept.path.read_bytes(), 0o600)
    done = here("vault", "export", str(copy))
    assert (done.code, "File exists" in done.err) == (2, True)
    plain = here("vault", "export", "--plain", env=GIVEN)
    assert json.loads(plain.out) == {"stripe_key": KEY}
    kept.path.unlink()
    copy.rename(kept.path)
    assert here("vault", "get", "stripe_key", env=GIVEN).out == KEY + "\n"


def test_check_and_doctor_tell_of_the_vault(command, inside, kept, tmp_path):
    (tmp_path / "relay.toml").write_text(TOML + "[sources.slack]\nsecret = 'vault:slack_key'\n")
    done = inside("check")
    assert "the vault is locked. Sources stripe and slack cannot check signatures." in done.err
    assert "source 'slack' needs vault secret 'slack_key'; relay vault set slack_key" in done.err
    found = {(item["name"], item["state"]): item for item in command("doctor", "--json", env=GIVEN).objects}
    assert "its password is right" in found["vault", "ok"]["detail"]
    assert found["vault", "failed"]["fix"] == "relay vault set slack_key"
    done = command("doctor", "--json", env={"RELAY_VAULT_PASSWORD": "some other password"})
    assert any("wrong password" in item["detail"] for item in done.objects if item["name"] == "vault")
    (tmp_path / "relay.toml").write_text("[sources.slack]\nsecret = 'vault:a/b'\n")
    done = inside("check")
    assert (done.code, "secret names are 1-64" in done.err) == (2, True)
    (tmp_path / "relay.toml").write_text(f"[sources.slack]\nsecret = '{KEY}'\n")
    done = inside("check")
    assert (done.code, "relay vault set" in done.err, KEY in done.err) == (2, True, False)


def test_check_opens_the_vault_with_the_password_it_is_given(here, kept, tmp_path):
    done = here("check", env=GIVEN)
    assert (done.code, done.err) == (0, "")
    toml = TOML.replace("stripe_key", "other_key")
    (tmp_path / "relay.toml").write_text(toml)
    done = here("check", env=GIVEN)
    assert "the vault is locked" not in done.err
    assert "relay vault set other_key" in done.err
    (tmp_path / "relay.toml").write_text(TOML)
    done = here("check", env={"RELAY_VAULT_PASSWORD": "some other password"})
    assert done.code == 0
    assert "the vault is locked" in done.err
    assert "the password that is given does not open the vault: wrong password" in done.err


def test_check_names_a_key_in_the_vault_that_cannot_be_decoded(here, kept, tmp_path):
    declared = "[sources.mine]\nprovider = 'custom'\nsecret = 'vault:stripe_key'\n"
    (tmp_path / "relay.toml").write_text(f"{declared}[sources.mine.signature]\nheader = 'X'\nkey = 'hex'\n")
    done = here("check", env=GIVEN)
    assert "sources.mine: vault:stripe_key cannot be read as the key of this source, which is hex" in done.err
    assert KEY not in done.err


def test_a_person_is_asked_three_times_at_most(at_terminal, kept):
    session = at_terminal("vault", "get", "stripe_key")
    for left in ("2 tries are left", "1 try is left"):
        session.until("Password of vault ")
        session.until(": ")
        assert not session.echoes()
        session.type("not this one\n")
        shown = session.until(left)
        assert "not this one" not in shown
        assert "wrong password, or the vault was changed" in shown
    session.until(": ")
    session.type("nor this one\n")
    code, shown = session.end()
    assert (code, session.echoes()) == (3, True)
    assert "that was the third try" in shown


def test_a_person_who_remembers_it_at_last_gets_in(at_terminal, kept):
    session = at_terminal("vault", "get", "stripe_key")
    session.until(": ")
    session.type("not this one\n")
    session.until("2 tries are left")
    session.until(": ")
    session.type(PASSWORD + "\n")
    assert session.end() == (0, f"\r\n{KEY}\r\n")


@pytest.mark.parametrize("arguments", [("vault", "get", "stripe_key"), ("start", "--no-tunnel"), ("vault", "passwd")])
def test_ctrl_c_at_a_prompt_ends_it_on_a_line_of_its_own(at_terminal, kept, arguments):
    session = at_terminal(*arguments)
    session.until(": ")
    session.type("\x03")
    assert session.end() == (130, "\r\n")
    assert session.echoes()


def test_the_end_of_input_at_a_prompt_is_no_password(at_terminal, kept):
    session = at_terminal("vault", "get", "stripe_key")
    session.until(": ")
    session.type("\x04")
    assert session.end() == (3, "\r\nrelay: no password was given\r\n")


@pytest.mark.slow
def test_a_new_password_is_typed_twice_and_long_enough(at_terminal):
    session = at_terminal("vault", "init")
    session.until("New password: ")
    session.type("short\n")
    assert "the password has 5 characters; at least 10 are needed" in session.until("New password: ")
    session.type(PASSWORD + "\n")
    session.until("Again: ")
    session.type(PASSWORD + "?\n")
    assert "the two passwords differ" in session.until("New password: ")
    session.type(PASSWORD + "\n")
    session.until("Again: ")
    session.type(PASSWORD + "\n")
    code, shown = session.end()
    assert (code, "cannot be opened without its password" in shown) == (0, True)
    session = at_terminal("vault", "set", "stripe_key")
    session.until("Password of vault ")
    session.until(": ")
    session.type(PASSWORD + "\n")
    session.until("Value of stripe_key: ")
    assert not session.echoes()
    session.type(KEY + "\n")
    code, shown = session.end()
    assert (code, "kept stripe_key" in shown, KEY in shown) == (0, True, False)


def test_a_start_on_a_terminal_asks_and_one_in_the_background_does_not(at_terminal, kept):
    session = at_terminal("start", "--no-tunnel", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto")
    session.until(": ")
    session.type(PASSWORD + "\n")
    assert "secret from vault:stripe_key" in session.until("Config")
    session.type("\x03")
    assert session.end()[0] == 0
    session = at_terminal(
        "start", "--no-tunnel", "--locked", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"
    )
    assert "vault:stripe_key: the vault is locked" in session.until("Config")
    assert "the vault is locked. Source stripe cannot check signatures." in session.until("opens it")
    session.type("\x03")
    assert session.end()[0] == 0


@pytest.mark.slow
def test_a_start_without_a_terminal_runs_locked_and_is_opened_from_elsewhere(started, command, kept, target):
    (kept.path.parents[1] / "relay.toml").write_text(TOML + f"[targets.app]\nforward = '{target.url}'\n")
    with started("--json") as relay:
        relay.object("ready")
        assert relay.object("notice")["text"] == (
            "the vault is locked. Source stripe cannot check signatures. relay vault unlock opens it"
        )
        body, signature = signed("evt_1")
        assert relay.send("stripe", body, Stripe_Signature=signature)["outcome"] == "accepted"
        event = relay.object("event")
        assert (event["verdict"], event["reason"]) == ("unchecked", "vault_locked")
        wrong = command("vault", "unlock", env={"RELAY_VAULT_PASSWORD": "some other password"})
        assert (wrong.code, wrong.err.startswith("relay: wrong password, or the vault was changed")) == (3, True)
        assert command("vault", "unlock", stdin="").err == NO_TERMINAL
        done = command("vault", "unlock", env=GIVEN)
        assert (done.code, done.out) == (
            0,
            "the vault is unlocked. 1 event that came meanwhile was checked: 1 verified.\n",
        )
        told = [json.loads(relay.line()) for _ in range(2)]  # in whichever order they became known
        assert {item["kind"]: item.get("text") or item["state"] for item in told} == {
            "notice": "1 event that came meanwhile was checked: 1 verified.",
            "delivery": "succeeded",
        }
        # Open, it takes secrets without a password, and uses them from now on.
        assert command("vault", "set", "more", stdin="value").code == 0
        assert command("vault", "remove", "more").code == 0
        assert command("vault", "list").out.split() == ["stripe_key", "source", "'stripe'"]
        assert command("vault", "get", "stripe_key", stdin="").code == 3
        # The command opens nothing by itself, and so the relay alone can say whether it is locked.
        assert "locked" not in command("doctor").out
        done = command("vault", "lock")
        assert done.out == "the vault is locked. Source stripe cannot check signatures.\n"
        assert "locked. Source stripe cannot check signatures; relay vault unlock" in command("doctor").out
        assert relay.object("notice")["text"].startswith("the vault is locked")
        waiting = command("replay", "1")
        assert (waiting.code, "waits: the secret of stripe is in the vault, which is locked" in waiting.err) == (
            1,
            True,
        )
        assert command("replay", "1", "--sign", "original").code == 0
        code, out, err = relay.stop()
    assert code == 0
    assert KEY not in out + err
    assert PASSWORD not in out + err


@pytest.mark.slow
def test_another_password_reaches_the_running_relay(started, command, kept):
    with started("--json", env=GIVEN) as relay:
        relay.object("ready")
        done = command("vault", "passwd", "--new-password-fd", "0", stdin="quite another password\n", env=GIVEN)
        assert (done.code, done.err) == (0, "")
        assert command("vault", "set", "more", stdin="value").code == 0
        relay.stop()
    again = command("vault", "get", "more", env={"RELAY_VAULT_PASSWORD": "quite another password"})
    assert again.out == "value\n"


@pytest.mark.slow
def test_three_wrong_passwords_pause_the_running_relay_for_everybody(started, command, kept):
    with started("--json") as relay:
        relay.object("ready")
        for _ in range(3):
            assert command("vault", "unlock", env={"RELAY_VAULT_PASSWORD": "some other password"}).code == 3
        done = command("vault", "unlock", env=GIVEN)
        assert (done.code, "there were three wrong passwords; try again in " in done.err) == (3, True)
        relay.stop()


@pytest.mark.slow
def test_commands_without_a_running_relay_open_the_vault_where_its_password_is_given(command, kept):
    done = command("trigger", "stripe", "invoice.paid")
    assert (done.code, "in the vault, which is locked" in done.err) == (1, True)
    done = command("trigger", "stripe", "invoice.paid", env=GIVEN)
    assert (done.code, "verified" in done.out) == (0, True)
    assert command("verify", "1", env=GIVEN).code == 0
    assert command("verify", "1").code == 5


def list_family(pid):
    """Return a process, its children and theirs; those of other runs of the tests are none of it."""
    family = [pid]
    for stat in sorted(Path("/proc").glob("[0-9]*/stat"), key=lambda path: int(path.parent.name)):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) in family:
                family.append(int(stat.parent.name))
    return family


def test_no_process_and_no_file_shows_the_password_or_a_secret(started, kept, tmp_path):
    script = tmp_path / "tunnel.sh"
    script.write_text(f"#!/bin/sh\nenv > {tmp_path}/environment\nexec sleep 60\n")
    script.chmod(0o755)
    (tmp_path / "relay.toml").write_text(TOML + f"[tunnel]\nprovider = 'command'\ncommand = '{script}'\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "relay", "start", "-vv", "--ingress", "127.0.0.1:auto", "--dashboard", "127.0.0.1:auto"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"} | GIVEN,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        running = tmp_path / ".relay" / "running.json"
        environment = tmp_path / "environment"
        ends = time.monotonic() + 60
        while not (running.exists() and environment.exists()) and time.monotonic() < ends:
            time.sleep(0.02)
        body, signature = signed("evt_1")
        url = json.loads(running.read_text())["ingress_url"] + "/webhooks/stripe"
        for header in (signature, "t=1,v1=00"):
            request = urllib.request.Request(url, body, {"Stripe-Signature": header})
            try:
                urllib.request.urlopen(request).read()
            except urllib.error.HTTPError as refused:
                assert refused.code == 401
                refused.close()
        lines = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in list_family(process.pid))
        assert b"tunnel.sh" in lines or b"sleep" in lines
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    shown = out + err + environment.read_text() + (tmp_path / ".relay" / "relay.log").read_text()
    for hidden in (PASSWORD, KEY):
        assert hidden not in shown
        assert hidden.encode() not in lines
        for path in (tmp_path / ".relay").rglob("*"):
            assert not path.is_file() or hidden.encode() not in path.read_bytes(), path


RING = """
import json
import os
from keyring.backend import KeyringBackend

class Ring(KeyringBackend):
    priority = 1
    path = os.environ["RING"]
    def _kept(self):
        return json.load(open(self.path)) if os.path.exists(self.path) else {}
    def _keep(self, kept):
        json.dump(kept, open(self.path, "w"))
    def get_password(self, service, username):
        return self._kept().get(username)
    def set_password(self, service, username, password):
        self._keep(self._kept() | {username: password})
    def delete_password(self, service, username):
        self._keep({key: value for key, value in self._kept().items() if key != username})
"""


@pytest.mark.slow
def test_the_keyring_opens_the_vault_for_who_asked_for_that(command, at_terminal, kept, tmp_path):
    (tmp_path / "ring.py").write_text(RING)
    ring = tmp_path / "ring.json"
    env = {"PYTHONPATH": str(tmp_path), "PYTHON_KEYRING_BACKEND": "ring.Ring", "RING": str(ring)}
    done = command("vault", "remember", env=env | GIVEN)
    assert (done.code, done.out) == (0, "the password is now in the system's keyring\n")
    assert json.loads(ring.read_text()) == {str(kept.path): PASSWORD}
    assert command("vault", "get", "stripe_key", env=env).out == KEY + "\n"
    ring.write_text(json.dumps({str(kept.path): "some other password"}))
    done = command("vault", "get", "stripe_key", env=env)
    assert (done.code, "it came from the system's keyring" in done.err) == (3, True)
    session = at_terminal("vault", "get", "stripe_key", env=env)
    assert "it came from the system's keyring" in session.until("Password of vault ")
    session.until(": ")
    session.type(PASSWORD + "\n")
    assert session.end() == (0, f"\r\n{KEY}\r\n")
    broken = env | {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    done = command("vault", "get", "stripe_key", env=broken)
    assert (done.code, "the system's keyring refused (NoKeyringError)" in done.err) == (1, True)
    session = at_terminal("vault", "get", "stripe_key", env=broken)
    assert "the system's keyring refused" in session.until("Password of vault ")
    session.until(": ")
    session.type(PASSWORD + "\n")
    assert session.end()[0] == 0
    assert command("vault", "forget", env=env).code == 0
    assert json.loads(ring.read_text()) == {}
    assert command("vault", "get", "stripe_key", env=env).err == NO_TERMINAL
