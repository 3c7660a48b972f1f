"""Wrong usage and wrong configuration: one line that names it, the right code, never a traceback."""

import json
import os
import re
import stat
import subprocess
import sys

import pytest

from builders import LEAST_KDF
from relay.cli.config_file import TEMPLATE_FILE
from relay.cli.formatting import DELIVERY_STATES
from relay.cli.program import COMMANDS, load_command
from relay.cli.replay import EXCLUSION_WORDS, SIGN_MODES
from relay.config.build import Overrides, load
from relay.model.batch import INCLUDABLE_OUTCOMES
from relay.model.delivery import DeliveryState, SignMode
from relay.model.secret import Secret
from relay.vault import Vault


def test_an_unknown_command_names_the_nearest(command):
    done = command("strat")
    assert (done.code, done.out) == (2, "")
    assert done.err == "relay: unknown command 'strat'; did you mean 'start'?\n"


def test_help_lists_every_command_without_importing_any(command):
    done = command("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.code == 0
    for name, (_, sentence) in COMMANDS.items():
        assert f"  {name} " in done.out
        assert sentence in done.out
    imported = {line.rpartition("|")[2].strip() for line in done.err.splitlines()}
    assert "relay.cli.error_output" in imported
    assert not imported & {"aiohttp", "pydantic", "rich", "asyncio", "relay.cli.start.command", "relay.config.build"}


BESIDE_A_RELAY = (
    "events",
    "show 1",
    "show 1 --body",
    "replay 1 --to app",
    "replay --query source:test --dry-run",
    "verify 1",
    "explain 1",
    "diff 1 2",
    "deliveries",
    "retry 1",
    "cancel 1",
    "messages",
    "trigger stripe invoice.paid",
    "samples stripe",
    "email 1 no-such-template",
    "wait --since 1h",
    "lab duplicates 1 --dry-run",
    "export -o events.jsonl",
    "import events.jsonl",
    "catch-up test",
    "token",
    "help search",
)
TOO_HEAVY = {
    *(
        "aiohttp",
        "aiosqlite",
        "cryptography",
        "jinja2",
        "pydantic",
        "rich",
        "sqlite3",
        "email",
        "http",
        "urllib.request",
    ),
    *(
        "relay.app",
        "relay.config.build",
        "relay.config.tables",
        "relay.delivery",
        "relay.providers",
        "relay.store",
        "relay.vault",
    ),
}


# What the last of these may import beside the others, each after those above it.
NEEDED = {
    **{f"{name} --help": () for name in COMMANDS if name not in ("lab", "vault", "providers")},
    "init --config new.toml": (),
    "lab --help": ("relay.delivery",),
    "vault list": ("cryptography", "relay.vault"),
    "providers": ("relay.providers",),
}


def list_modules(lines, folder):
    """Run command lines one after another in one process; return the exit code and the heavy modules after each."""
    script = (
        "import json, sys\nfrom relay.cli.program import run\n"
        "for line in sys.argv[1:]:\n"
        "    code = run(line.split())\n"
        "    print(json.dumps({'code': code, 'modules': sorted(sys.modules)}), file=sys.stderr)\n"
    )
    arguments = [sys.executable, "-c", script, *lines]
    # Measuring coverage imports sqlite3.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(arguments, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=True)
    ends = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"code"')]
    heavy = [{*end["modules"], *(name.partition(".")[0] for name in end["modules"])} & TOO_HEAVY for end in ends]
    return {line: (end["code"], found) for line, end, found in zip(lines, ends, heavy, strict=True)}


def test_a_command_beside_a_running_relay_imports_click_and_asyncio_and_no_more(shared):
    for _ in range(2):
        shared.send(body=b'{"type": "a.b"}')
    codes = dict.fromkeys(BESIDE_A_RELAY, 0) | {
        "verify 1": 5,
        "cancel 1": 2,
        "email 1 no-such-template": 1,
        "catch-up test": 2,
    }
    expected = {line: (code, set()) for line, code in codes.items()}
    assert list_modules(BESIDE_A_RELAY, shared.home) == expected


def test_help_and_what_reads_little_imports_no_more_than_that(tmp_path):
    Vault(tmp_path / ".relay" / "vault", LEAST_KDF).create(Secret("x", "correct horse battery"))
    allowed = set()
    for line, (code, heavy) in list_modules(NEEDED, tmp_path).items():
        allowed |= {*NEEDED[line]}
        assert code == 0, line
        assert heavy <= allowed, line


def test_without_a_relay_events_are_read_from_the_store_alone(inside, tmp_path):
    assert inside("trigger", "stripe", "invoice.paid").code == 0
    lines = (
        "events type:invoice.*",
        "show 1 --body",
        "show 1",
        "show 1 --json",
        "diff 1 1",
        "deliveries",
        "messages",
        "messages rates",
    )
    ends = list_modules([*lines, "wait --since 1h", "events foo:x"], tmp_path)
    assert [code for code, _ in ends.values()] == [0] * 9 + [2]
    assert all(heavy <= {"aiosqlite", "sqlite3", "relay.store"} for _, heavy in ends.values())
    assert inside("events", "--json").objects[0]["type"] == "invoice.paid"


def test_a_command_that_reads_nothing_ends_whatever_it_is_given(command):
    assert command("show", stdin="x" * 1_000_000).code == 2


def test_what_the_commands_list_themselves_is_what_there_is():
    assert set(DELIVERY_STATES) == set(DeliveryState)
    assert tuple(EXCLUSION_WORDS) == INCLUDABLE_OUTCOMES
    assert tuple(SignMode) == SIGN_MODES


def test_the_sentences_of_help_are_those_of_the_commands():
    for name, (_, sentence) in COMMANDS.items():
        command = load_command(name)
        assert command.name == name
        assert command.help
        assert sentence.endswith(".")


@pytest.mark.parametrize("words", [("events",), ("wait", "--since", "1h")])
def test_a_search_of_the_store_alone_is_refused_as_the_api_refuses_it(inside, monkeypatch, words):
    assert inside("trigger", "stripe", "invoice.paid").code == 0
    done = inside(*words, "header.x:\udcff")
    assert (done.code, done.out) == (2, "")
    assert done.err == "relay: 'header.x:\\udcff' is not text in UTF-8; write it in UTF-8\n"

    async def look_too_long(*_, **__):
        raise TimeoutError

    monkeypatch.setattr("relay.store.events.Events.page", look_too_long)
    done = inside(*words)
    assert (done.code, done.out) == (1, "")
    assert done.err == "relay: the search took too long; narrow the search\n"


def test_wait_refuses_a_wrong_search_while_no_relay_runs_and_looks_back_for_days(inside):
    done = inside("wait", "sorce:stripe", "--timeout", "300ms")
    assert (done.code, done.out) == (2, "")
    assert "did you mean source:?" in done.err
    assert inside("trigger", "stripe", "invoice.paid").code == 0
    assert inside("wait", "type:invoice.paid", "--since", "2d", "--timeout", "0s", "--json").objects[0]["id"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("\x1b[31mred",), 2, "relay: unknown command '\\x1b[31mred'; relay --help lists the commands\n"),
        (("--frob",), 2, "relay: no such option '--frob'; relay --help says how\n"),
        (("show", "abc"), 2, "relay: 'abc' is not an event id; relay events lists them\n"),
        (("show", "9" * 40), 2, f"relay: '{'9' * 40}' is not an event id; relay events lists them\n"),
        (("show",), 2, "relay: EVENT is missing; relay show --help says how\n"),
        (("retry", "x\x9b"), 2, "relay: 'x\\x9b' is not a delivery id; relay deliveries lists them\n"),
        (("wait", "--timeout", "soon"), 2, "relay: --timeout: 'soon' is not a duration; write 500ms, 60s or 5m\n"),
        (("events", "a\udcff"), 2, "relay: 'a\\udcff' is not text in UTF-8; write it in UTF-8\n"),
        (("export", "\udcff"), 2, "relay: '\\udcff' is not text in UTF-8; write it in UTF-8\n"),
        (("samples", "\udcff"), 2, "relay: '\\udcff' is not text in UTF-8; write it in UTF-8\n"),
        (("deliveries", "--target", "\udcff"), 2, "relay: '\\udcff' is not text in UTF-8; write it in UTF-8\n"),
        (
            ("events", "--limit", "x"),
            2,
            "relay: --limit: 'x' is not a number from 1 up; relay events --help says how\n",
        ),
        (("check", "--config", "no.toml"), 2, "relay: there is no config at no.toml; relay init writes one\n"),
        (("start", "--ingress", "127.0.0.1:abc"), 2, "--ingress: '127.0.0.1:abc' is not host:port"),
        (("start", "--ingress", "127.0.0.1:70000"), 2, "--ingress: 70000 is not a port (1-65535)"),
        (("start", "--ingress", "127.0.0.1:1234", "--dashboard", "127.0.0.1:1234"), 2, "need different ports"),
        (("start", "--dashboard", "0.0.0.0:8401"), 2, "the dashboard only listens on loopback"),
        (("start", "--forward", "ftp://x"), 2, "--forward: "),
        (("start", "--forward", "http://169.254.169.254/"), 2, "--forward: "),
        (("replay", "--query", "x", "--rate", "0"), 2, "--rate: '0' is not a number of deliveries a second"),
        (("replay", "--query", "x", "--rate", "nan"), 2, "--rate: 'nan' is not a number of deliveries a second"),
        (("lab", "retries", "1", "--speed", "nan"), 2, "--speed: 'nan' is not a speed"),
        (("lab", "retries", "1", "--speed", "0"), 2, "--speed: '0' is not a speed"),
        (("replay", "--query", "x", "--to", ""), 2, "--to: '' is neither a target nor a URL"),
        (("lab", "burst", "1", "--to", ""), 2, "--to: '' is neither a target nor a URL"),
        (("trigger", "stripe", "a", "--to", " "), 2, "--to: ' ' is neither a target nor a URL"),
        (("replay", "--resume", "x"), 2, "relay: 'x' is not the number of a bulk replay"),
        (("events", "OR"), 2, "relay: OR joins two terms: source:stripe OR source:github; relay help search"),
        (("replay",), 2, "relay: name events, or a --query; relay replay 42, relay replay --query has:failed\n"),
    ],
)
def test_wrong_usage_is_one_line(inside, arguments, code, told):
    done = inside(*arguments)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1


def test_check_lists_every_mistake_at_once(inside, tmp_path):
    (tmp_path / "relay.toml").write_text(
        'fowrard = 1\n[server]\ningres = "x"\n[targets.app]\nforward = 7\n[sources.stripe]\nverify = "enforced"\n'
    )
    done = inside("check")
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("relay: relay.toml has 4 mistakes:\n")
    for told in ("unknown key 'fowrard'", "did you mean 'ingress'?", "must be text", "use enforce, report or off"):
        assert told in done.err
    objects = inside("check", "--json").objects
    assert [found["kind"] for found in objects] == ["mistake"] * 4
    for name in ("start", "events", "doctor"):
        assert inside(name).code in (1, 2)


def test_one_mistake_is_one_line(inside, tmp_path):
    (tmp_path / "relay.toml").write_text("[server]\ninbox = 3\n")
    assert inside("check").err == "relay: relay.toml: server.inbox: must be true or false, got a number\n"


def test_check_warns_and_says_that_it_is_valid(inside, tmp_path):
    (tmp_path / "relay.toml").write_text('[sources.stripe]\nsecret = "env:NOT_SET_ANYWHERE"\n')
    done = inside("check")
    assert done.code == 0
    assert done.out == "relay.toml is valid: 1 source, 0 targets, 0 routes\n"
    assert done.err.startswith("warning: ")
    assert "NOT_SET_ANYWHERE is not set" in done.err


def test_check_warns_of_a_target_that_does_not_answer(inside, tmp_path, refusing_port):
    (tmp_path / "relay.toml").write_text(f'[targets.app]\nforward = "http://127.0.0.1:{refusing_port}/hooks"\n')
    done = inside("check")
    assert done.code == 0
    assert "warning: targets.app: does not answer; relay keeps its events until it is there\n" in done.err


def test_check_prints_the_schema(inside):
    schema = json.loads(inside("check", "--schema").out)
    assert {"server", "sources", "targets", "routes"} <= set(schema["properties"])


def test_init_writes_a_config_that_loads_and_never_overwrites(inside, tmp_path):
    assert inside("init").code == 0
    written = (tmp_path / "relay.toml").read_text()
    assert written == TEMPLATE_FILE.read_text()
    load(tmp_path / "relay.toml", Overrides(), {})
    again = inside("init")
    assert again.code == 2
    assert "is there already" in again.err
    assert (tmp_path / "relay.toml").read_text() == written


def test_what_init_comments_out_is_valid_too(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/payment.json").write_text("{}")
    (tmp_path / "handlers.py").write_text("")
    kept = re.findall(r"^(?:# )?(\[+[a-z._]+\]+|[a-z_]+ *= .*)", TEMPLATE_FILE.read_text(), re.MULTILINE)
    (tmp_path / "relay.toml").write_text("\n".join(kept))
    config = load(tmp_path / "relay.toml", Overrides(), {})
    assert {source.name for source in config.sources} == {"stripe", "github", "billing", "twilio"}


def test_an_unforeseen_error_is_one_line_and_a_log(inside, tmp_path, monkeypatch):
    def broken(_):
        raise RuntimeError("no randomness left")

    monkeypatch.setattr("secrets.token_urlsafe", broken)
    data = tmp_path / ".relay"
    done = inside("token")
    assert done.code == 1
    assert len(done.err.splitlines()) == 1
    assert f"the traceback is in {data / 'relay.log'}" in done.err
    assert "no randomness left" in (data / "relay.log").read_text()
    assert stat.S_IMODE((data / "relay.log").stat().st_mode) == 0o600


def test_a_data_dir_that_cannot_be_made_is_named(inside, tmp_path):
    (tmp_path / "file").write_text("")
    done = inside("events", "--data-dir", "file/below")
    assert done.code == 1
    assert str(tmp_path / "file" / "below") in done.err


def test_the_token_is_printed_while_another_table_has_a_mistake_and_not_where_its_own_key_does(inside, tmp_path):
    toml = tmp_path / "relay.toml"
    for text, code, told in (
        ("[sources.x]\npatth = 1\n", 0, ""),
        ('[server]\ndashboard_auth = "off"\n', 0, 'dashboard_auth is "off", so nothing needs it\n'),
        ('[server]\ndashboard_auth = "offf"\n', 2, "server.dashboard_auth: 'offf' is not allowed; use token or off"),
        ("[server]\ndashboard_auth = false\n", 2, "server.dashboard_auth: "),
        ("server = 3\n", 2, "server"),
    ):
        toml.write_text(text)
        done = inside("token")
        assert (done.code, len(done.out)) == (code, 0 if code else 33), text
        assert told in done.err if code else told == done.err


def test_the_token_is_kept_and_rotated(inside):
    first = inside("token").out
    assert inside("token").out == first
    assert inside("token", "--rotate").out != first
    assert len(first.strip()) >= 32


@pytest.mark.parametrize(
    "words",
    [
        ("events",),
        ("show", "1"),
        ("deliveries",),
        ("messages",),
        ("export",),
        ("replay", "--query", "x", "--dry-run"),
        ("verify", "1"),
        ("samples", "stripe"),
        ("doctor",),
        ("check",),
    ],
)
def test_a_command_that_only_reads_makes_nothing(inside, tmp_path, words):
    done = inside(*words)
    assert "unforeseen" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_brings_something_makes_the_database_where_the_data_dir_is_named(inside, tmp_path):
    assert inside("trigger", "stripe", "invoice.paid", "--data-dir", "here").code == 0
    assert (tmp_path / "here" / "relay.db").exists()
    assert "invoice.paid" in inside("events", "--data-dir", "here").out
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
