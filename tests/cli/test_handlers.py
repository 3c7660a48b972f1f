"""Handlers on the command line: refused before anything starts, shown after they ran, run again after a kill."""

import json
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from builders import LEAST_KDF
from relay.model.secret import Secret
from relay.vault.storage import Vault

TOML = '[targets.app]\nhandler = "handlers.py"\nretry = { first = "20ms", max = "20ms", jitter = 0 }\n'
GOOD = "from relay import on\n\n@on('test')\ndef it(event):\n    print('got', event.payload['n'])\n"


@pytest.fixture
def project(tmp_path):
    """Write relay.toml and handlers.py."""

    def go(text=GOOD, toml=TOML):
        (tmp_path / "relay.toml").write_text(toml)
        if text is not None:
            (tmp_path / "handlers.py").write_text(text)

    return go


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def it(:\n", "handlers.py, line 1: SyntaxError: invalid syntax"),
        ("import no_such_thing\n", "handlers.py, line 1: ModuleNotFoundError: No module named 'no_such_thing'"),
        ("\nraise ValueError('no key')\n", "handlers.py, line 2: ValueError: no key"),
        ("import sys; sys.exit(0)\n", "handlers.py, line 1: SystemExit: 0"),
        ("import os; os._exit(0)\n", "handlers.py: its process ended while loading it"),
        ("def handle(event): pass\n", "handlers.py has no function below @on"),
        ("from relay import nothing\n", "handlers.py, line 1: ImportError: cannot import name 'nothing' from 'relay'"),
        (None, "there is no file"),
    ],
)  # fmt: skip
def test_check_says_why_a_handlers_file_cannot_be_run(project, inside, tmp_path, text, said):
    project(text)
    refuses_handlers(inside("check"), said, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("\n1 / 0\n", "handlers.py, line 2: ZeroDivisionError: division by zero"), (None, "there is no file")],
)
def test_relay_does_not_start_with_a_handlers_file_that_cannot_be_run(project, inside, tmp_path, text, said):
    project(text)
    refuses_handlers(inside("start", "--no-tunnel"), said, tmp_path)


def refuses_handlers(done, said, folder):
    """Check that a command was refused with one sentence, and began nothing."""
    assert done.code == 2
    assert f"targets.app.handler: {said}" in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not (folder / ".relay").exists()


def test_a_folder_is_no_handlers_file(project, inside, tmp_path):
    project(None)
    (tmp_path / "handlers.py").mkdir()
    done = inside("check")
    assert done.code == 2
    assert "targets.app.handler: handlers.py is a folder; name a Python file" in done.err


def test_check_tells_every_file_that_is_broken_and_in_json_too(project, command, tmp_path):
    project(
        "1 / 0\n", '[targets.a]\nhandler = "handlers.py"\n[targets.b]\nhandler = "b.py"\n[[routes]]\nto = ["a", "b"]\n'
    )
    (tmp_path / "b.py").write_text("import sys\nsys.exit(1)\n")
    done = command("check", "--json")
    assert done.code == 2
    assert [(one["kind"], one["text"].partition(";")[0]) for one in done.objects] == [
        ("mistake", "targets.a.handler: handlers.py, line 1: ZeroDivisionError: division by zero"),
        ("mistake", "targets.b.handler: b.py, line 2: SystemExit: 1"),
    ]


def test_check_warns_of_a_pattern_that_looks_like_a_slip(project, inside):
    doubts = {
        "@on('stripe', 'invoice.payed')": "relay knows no event 'invoice.payed' here; did you mean 'invoice.paid'?",
        "@on('stripe', 'Invoice.Paid')": "relay knows no event 'Invoice.Paid' here; did you mean 'invoice.paid'?",
        "@on('stripe', 'invoices.*')": "relay knows no event 'invoices.*' here; did you mean 'invoice.*'?",
        "@on('github', 'pull_request')": "relay knows no event 'pull_request' here; did you mean 'pull_request.*'?",
        "@on('strpe')": "there is no [sources.strpe]; did you mean 'stripe'?",
    }
    fine = [
        "@on('stripe', 'invoice.paid', 'invoice.*')",
        "@on('stripe', 'radar.early_fraud_warning.created')",
        "@on('*', '*')",
        "@on('elsewhere', 'a.b')",
    ]
    functions = [f"{decorator}\ndef it{number}(event): pass" for number, decorator in enumerate([*doubts, *fine])]
    project("\n\n".join(["from relay import on", *functions]), f"[sources.stripe]\n[sources.github]\n{TOML}")
    done = inside("check", "--json")
    warned = [one["text"] for one in done.objects if one["kind"] == "warning" and "handler" in one["text"]]
    assert done.code == 0
    assert [text.partition(" of ")[2] for text in warned] == [
        f"it{number}: {doubt}" for number, doubt in enumerate(doubts.values())
    ]


def test_an_event_is_handled_by_a_started_relay_and_shown_with_its_output(project, started, command):
    project(
        "from relay import on\n\n@on('test')\ndef it(event):\n    print('so far \\x1b[31m', event.payload['n'])\n"
        "    raise ValueError('no \\x07 amount')\n",
        TOML.replace("retry = {", "retry = { attempts = 1, "),
    )
    with started("--json") as relay:
        relay.object("ready")
        relay.send(body=b'{"n": 5}')
        while relay.object("delivery")["state"] != "failed":
            pass
        shown = command("show", "1")
        assert shown.code == 0
        assert 'File "handlers.py", line 6, in it' in shown.out
        assert "so far \\x1b[31m 5" in shown.out
        assert "\x1b" not in shown.out
        assert "\x07" not in shown.out
        listed = command("deliveries")
        assert "handler it failed: ValueError: no \\x07 amount (handlers.py, line 6)" in listed.out
        plain = command("show", "1", "--json").objects[0]["sent"][0]["attempts"][0]
        assert plain["output"] == "so far \x1b[31m 5\n"
        code, out, err = relay.stop()
    assert code == 0
    assert "so far" not in out + err


def test_what_a_handler_returned_is_shown(project, started, command):
    project("from relay import on\n\n@on('test')\ndef it(event):\n    return event.payload | {'text': 'Zo\u00eb'}\n")
    with started("--json") as relay:
        relay.object("ready")
        relay.send(body=b'{"n": 5}')
        while relay.object("delivery")["state"] != "succeeded":
            pass
        assert 'replied {"n": 5, "text": "Zo\u00eb"}' in command("show", "1").out


def test_handlers_of_the_command_line_get_everything(project, started, tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    with started("--json", "--handlers", "mine.py") as relay:
        relay.object("ready")
        relay.send(body=b'{"n": 5}')
        while (told := relay.object("delivery"))["state"] != "succeeded":
            pass
        assert (told["target"], told["detail"]) == ("handlers", "it ran")
        assert relay.stop()[0] == 0


def test_a_file_of_the_command_line_that_is_not_there_is_a_mistake(command):
    done = command("start", "--handlers", "gone.py")
    assert done.code == 2
    assert "--handlers: there is no file" in done.err


def test_a_handlers_file_that_nobody_named_is_left_alone(started, tmp_path):
    (tmp_path / "handlers.py").write_text("import pathlib\npathlib.Path('touched').touch()\n")
    with started("--json") as relay:
        relay.object("ready")
        relay.send()
        relay.object("event")
        assert relay.stop()[0] == 0
    assert not (tmp_path / "touched").exists()


def test_the_banner_says_that_the_file_can_be_run(project, started):
    project()
    with started() as relay:
        (line,) = [line for line in relay.banner() if line.startswith("Targets")]
        assert line.split() == ["Targets", "app", "handlers.py", "can", "be", "run"]
        assert relay.stop()[0] == 0


def test_a_file_that_breaks_is_told_once_and_again_when_it_is_mended(project, started, tmp_path):
    project()
    with started("--json") as relay:
        relay.object("ready")
        (tmp_path / "handlers.py").write_text("def it(:\n")
        for n in range(3):
            relay.send(body=json.dumps({"n": n}).encode())
        told = relay.object("notice")["text"]
        assert told.startswith("the handlers of app cannot be run: handlers.py, line 1: SyntaxError")
        (tmp_path / "handlers.py").write_text(GOOD)
        seen = []
        while sum(one["kind"] == "delivery" and one["state"] == "succeeded" for one in seen) < 3:
            seen.append(json.loads(relay.line()))
        assert [one["text"] for one in seen if one["kind"] == "notice"] == ["the handlers of app are loaded again"]
        assert relay.stop()[0] == 0


def test_a_relay_killed_in_the_middle_of_a_run_runs_it_again(project, started, tmp_path):
    project(
        "import os, pathlib, time\nfrom relay import on\n\n@on('test')\ndef it(event):\n"
        "    pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "    while not pathlib.Path('go').exists():\n        time.sleep(0.01)\n    print('done')\n"
    )
    with started("--json") as relay:
        relay.object("ready")
        relay.send()
        _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        pid = int((tmp_path / "pid").read_text())
        relay.process.send_signal(signal.SIGKILL)
        relay.process.wait()
        # Nobody waits for that run any more, so its process does not stay behind.
        _until(lambda: not _alive(pid))
        with closing(sqlite3.connect(tmp_path / ".relay/relay.db")) as store:
            assert store.execute("SELECT state FROM deliveries").fetchone()[0] == "running"
            assert store.execute("SELECT COUNT(*) FROM attempts").fetchone()[0] == 0
    (tmp_path / "go").touch()
    with started("--json") as relay:
        while relay.object("delivery")["state"] != "succeeded":
            pass
        assert relay.stop()[0] == 0
    with closing(sqlite3.connect(tmp_path / ".relay/relay.db")) as store:
        assert store.execute("SELECT number, outcome FROM attempts").fetchall() == [(1, "succeeded")]
        assert json.loads(store.execute("SELECT output FROM attempts").fetchone()[0])["text"] == "done\n"


def _until(holds, seconds=60):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.01)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a file that may vanish while it is read
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_stopping_in_the_middle_of_a_run_leaves_no_process_and_the_event_waits(project, started, command, tmp_path):
    project(
        "import os, pathlib, time\nfrom relay import on\n\n@on('test')\ndef it(event):\n"
        "    pathlib.Path('pid').write_text(str(os.getpid()))\n    time.sleep(600)\n"
    )
    with started("--json") as relay:
        relay.object("ready")
        relay.send()
        _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        code, out, err = relay.stop()
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["waiting"] == 1
    assert "Traceback" not in err
    assert not _alive(int((tmp_path / "pid").read_text()))


def test_a_replay_without_a_running_relay_runs_the_handler(project, started, inside):
    project()
    with started("--json") as relay:
        relay.object("ready")
        relay.send(body=b'{"n": 5}')
        while relay.object("delivery")["state"] != "succeeded":
            pass
        assert relay.stop()[0] == 0
    done = inside("replay", "1", "--to", "app", "--json")
    assert done.code == 0, done.err
    assert "got 5" in inside("show", "1").out


def test_doctor_runs_the_file(project, inside, tmp_path):
    project()
    assert "handlers.py can be run" in inside("doctor").out
    (tmp_path / "handlers.py").write_text("1 / 0\n")
    done = inside("doctor")
    assert done.code == 1
    assert "handlers.py, line 1: ZeroDivisionError" in done.out


@pytest.mark.slow
def test_handlers_that_ask_for_a_secret_while_they_are_loaded_wait_for_the_vault(project, started, command, tmp_path):
    text = GOOD.replace("\n\n", "\nimport relay\n\nKEY = relay.secret('stripe_key')\n\n", 1)
    project(text.replace("'got'", "KEY"))
    vault = Vault(tmp_path / ".relay" / "vault", LEAST_KDF)
    vault.create(Secret("x", "four words no sentence"))
    vault.put("stripe_key", "canary")
    vault.lock()
    kind = "handlers.py, line 4: relay.errors.VaultLockedError"
    why = f"{kind}: vault secret 'stripe_key' cannot be read: the vault is locked"
    assert command("check").code == 0
    with started("--json") as relay:
        relay.object("ready")
        text = relay.object("notice")["text"]
        assert text == f"targets.app.handler: {why}; its events wait for relay vault unlock"
        relay.send("test", b'{"n": 7}')
        relay.object("event")
        time.sleep(1.5)  # it is asked twice a second whether it can be run
        assert f"{why}; relay vault unlock" in command("doctor").out
        assert [one["state"] for one in command("deliveries", "--json").objects] == ["pending"]
        assert command("vault", "unlock", env={"RELAY_VAULT_PASSWORD": "four words no sentence"}).code == 0
        while relay.object("delivery")["state"] != "succeeded":
            pass
        assert "canary 7" in command("show", "1").out
        relay.stop()
