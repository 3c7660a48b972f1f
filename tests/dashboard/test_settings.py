"""What a person chooses lasts, and relay.toml is shown with the lines to change."""

import tomllib

import pytest

from relay.config.build import Overrides, load
from relay.config.effective import effective_facts, file_facts, find_key_lines
from relay.config.reading import parse_tables
from relay.config.tables import File
from relay.services.state import load_preferences


async def saved(at, **chosen):
    _, page = await at.api("/settings")
    csrf = page.partition(b'name="csrf" value="')[2].partition(b'"')[0].decode()
    form = {"csrf": csrf, "density": "comfortable", "zone": "local", "keys": "on", "announcements": "on"} | chosen
    form = {name: value for name, value in form.items() if value is not None}
    return await at.api("/settings", "POST", data=form, allow_redirects=False)


async def test_choices_are_kept_over_a_restart_and_change_every_page(start, tmp_path):
    at = await start()
    await at.send()
    assert (await saved(at, density="compact", zone="utc", keys=None, announcements=None))[0] == 303
    for path in ("/events", "/settings"):
        _, page = await at.api(path)
        assert b'data-density="compact"' in page
        assert b"data-no-keys" in page
        assert b'id="announce" hidden' in page
    _, events = await at.api("/events/1")
    assert b"UTC" in events
    assert (tmp_path / ".relay" / "preferences.json").stat().st_mode & 0o077 == 0
    kept = load_preferences(tmp_path / ".relay")
    assert (kept.density, kept.zone, kept.keys, kept.announcements) == ("compact", "utc", False, False)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"density": "huge"}', b"\xff"])
async def test_choices_that_cannot_be_read_are_the_defaults(start, tmp_path, content):
    (tmp_path / ".relay").mkdir()
    (tmp_path / ".relay" / "preferences.json").write_bytes(content)
    at = await start()
    assert b'data-density="comfortable"' in (await at.api("/settings"))[1]


async def test_what_is_no_setting_is_refused_with_a_sentence(start):
    at = await start()
    status, page = await saved(at, density="huge")
    assert status == 400
    assert b"That setting does not exist" in page


async def test_relay_toml_is_shown_with_lines_and_without_values_of_secrets(start):
    at = await start(
        '[sources.stripe]\nsecret = "env:STRIPE_WEBHOOK_SECRET"\n# <b>\n[targets.app]\nforward = "http://localhost:1/<i>"\n'
    )
    _, page = await at.api("/settings")
    assert (
        b'<td><code>secret</code></td><td>env:STRIPE_WEBHOOK_SECRET</td><td class="num">'
        b"line 2; STRIPE_WEBHOOK_SECRET is set in the environment</td>" in page
    )
    assert b"whsec_test" not in page
    assert b"http://localhost:1/&lt;i&gt;" in page
    assert b'<td>30s</td><td class="num dim">default</td>' in page


def test_every_value_of_the_file_is_told_where_it_stands(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text(
        '[server]\ninbox = false\n\n[[routes]]\nto = ["a"]\n[[routes]]\nwhen = "true"\nto = ["b", "c"]\n'
        '[sources.x]\nprovider = "custom"\nanswer = { status = 201 }\n[sources.x.signature]\nheader = "X"\n'
        '[targets.y]\nretry = { first = "2s" }\nforward = "http://localhost:1"\n'
    )
    file, _ = parse_tables(tomllib.loads(path.read_text()))
    told = {(fact.table, fact.key): (fact.value, fact.line) for fact in file_facts(file, path)}
    assert told["server", "inbox"] == ("false", 2)
    assert told["server", "ingress"] == ("127.0.0.1:8400", 0)
    assert told["routes 1", "to"] == ("a", 5)
    assert told["routes 2", "to"] == ("b, c", 8)
    assert told["sources.x", "answer"] == ("mode = ack, status = 201, timeout = 10s", 11)
    assert told["sources.x.signature", "header"] == ("X", 13)
    assert told["retention", "max_age"] == ("30d", 0)
    assert told["retention", "max_size"] == ("5GB", 0)
    assert told["server", "max_body"] == ("25MB", 0)
    assert told["targets.y", "retry"] == ("attempts = 6, first = 2s, factor = 3, max = 1h, jitter = 0.2", 15)


def test_without_a_file_everything_is_a_default():
    assert {fact.line for fact in file_facts(File(), None)} == {0}


async def test_what_is_in_force_is_shown_with_where_it_comes_from(start, tmp_path):
    at = await start("[log]\n", data_dir=str(tmp_path / "elsewhere"))
    _, page = await at.api("/settings")
    shown = page.decode()
    for key, value, where in (
        ("ingress", at.ingress.removeprefix("http://"), "--ingress"),
        ("dashboard", at.dashboard.removeprefix("http://"), "--dashboard"),
        ("data_dir", tmp_path / "elsewhere", "--data-dir"),
        ("provider", "none", "--no-tunnel"),
    ):
        assert f'<td><code>{key}</code></td><td>{value}</td><td class="num">{where}</td>' in shown
    assert "<td><code>GITHUB_WEBHOOK_SECRET</code></td>" in shown
    assert "to Everybody" not in shown


def in_force(tmp_path, toml, environ, ingress="127.0.0.1:8400", **flags):
    (tmp_path / "relay.toml").write_text(toml)
    config = load(tmp_path / "relay.toml", Overrides(**flags), environ)
    found = effective_facts(config, {"ingress": ingress, "dashboard": "127.0.0.1:8401"})
    return {(fact.table, fact.key): (fact.value, fact.where) for fact in found}


def test_a_port_that_was_taken_is_shown_as_it_is_and_why(tmp_path):
    told = in_force(tmp_path, "", {}, ingress="127.0.0.1:8403")
    assert told["server", "ingress"] == ("127.0.0.1:8403", "default; port 8400 was in use")
    assert told["server", "dashboard"] == ("127.0.0.1:8401", "default")


def test_flags_and_the_environment_are_named(tmp_path):
    (tmp_path / ".env").write_text("FROM_FILE=whsec_b\nSTRIPE_WEBHOOK_SECRET=whsec_c\n")
    told = in_force(
        tmp_path,
        '[sources.github]\nsecret = ["env:SET", "env:FROM_FILE", "env:MISSING", "vault:kept"]\n',
        {"SET": "whsec_a"},
        forward=("http://localhost:3000/hooks",),
    )
    assert told["sources.github", "secret"][1] == (
        f"line 2; SET is set in the environment; FROM_FILE is set in {tmp_path / '.env'}; MISSING is not set; "
        "kept is not in the vault"
    )
    assert told["tunnel", "authtoken"][1] == "default; NGROK_AUTHTOKEN is not set"
    assert told["targets.forward", "forward"] == ("http://localhost:3000/hooks", "--forward")
    assert told["secrets found by their name", "STRIPE_WEBHOOK_SECRET"][1] == str(tmp_path / ".env")
    assert told["server", "data_dir"] == (str(tmp_path / ".relay"), "default")


LONG = '''\
# [server]
[emails.a]
to = "x@example.com"
subject = "s # [no] = 1"
text = """
[server]
inbox = "\\""
subject = 2
"""
bcc = [
  "y@example.com", # ]
  "z@example.com",
]
[ targets . 'my.app' ] # there
forward = "http://localhost:1/"
retry.attempts = 3
[targets.'my.app'.headers.set]
X-A = "1"
X-B = \'\'\'
[server]\'\'\'
[server]
"inbox" = false
[sources]
github = { events = ["push"], verify = "report" }
'''


def test_lines_are_right_below_strings_and_lists_of_several_lines(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text(LONG)
    file = File.model_validate(tomllib.loads(LONG) | {"targets": {"my.app": {"forward": "http://x/"}}})
    told = {(fact.table, fact.key): fact.line for fact in file_facts(file, path)}
    assert told["emails.a", "to"] == 3
    assert told["emails.a", "subject"] == 4
    assert told["emails.a", "text"] == 5
    assert told["emails.a", "bcc"] == 10
    assert told["targets.my.app", "forward"] == 15
    assert told["server", "inbox"] == 22
    assert told["server", "ingress"] == 0
    assert told["sources.github", "events"] == 24
    assert told["sources.github", "verify"] == 24
    lines = find_key_lines(LONG)
    assert lines["targets.my.app", "retry"] == 16
    assert lines["targets.my.app", "headers"] == 17
