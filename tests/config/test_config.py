import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.build import Overrides, load
from relay.config.reading import parse_tables
from relay.config.tables import File
from relay.config.types import parse_duration, parse_endpoint, parse_size
from relay.errors import ConfigError
from relay.model.delivery import Route
from relay.model.event import Verdict, VerifyMode


def config(tmp_path, text, environ=None, **overrides):
    path = tmp_path / "relay.toml"
    path.write_text(text)
    return load(path, Overrides(**overrides), environ or {})


def problems(tmp_path, text, **more):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, text, **more)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "value"), [("250ms", 0.25), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800), ("1.5s", 1.5)]
)
def test_a_duration_is_seconds(text, value):
    assert parse_duration(text) == value


@pytest.mark.parametrize(("text", "value"), [("64KB", 64_000), ("25MB", 25_000_000), ("5GB", 5_000_000_000)])
def test_a_size_is_bytes(text, value):
    assert parse_size(text) == value


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text())))
def test_whatever_stands_for_a_unit_gives_a_value_or_a_sentence(value):
    for read in (parse_duration, parse_size, parse_endpoint):
        try:
            read(value)
        except ValueError as error:
            assert re.search("write one such as|is not a port|; at most", str(error))


def test_no_file_at_all_is_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load(None, Overrides(), {})
    assert loaded.path is None
    assert loaded.server.ingress == ("127.0.0.1", 8400)
    assert not loaded.server.ingress_named
    assert loaded.inbox is not None
    assert loaded.targets == {}


def test_every_mistake_is_told_at_once_with_its_key_and_a_suggestion(tmp_path):
    found = problems(
        tmp_path,
        """
[server]
ingres = "127.0.0.1:1"
max_body = "lots"
[sources.stripe]
verify = "enforced"
secret = "whsec_plain"
[targets.app]
forward = 7
[[routes]]
to = ["ap"]
sourc = "x"
""",
    )
    text = "\n".join(found)
    assert "server.ingres: unknown key 'ingres'; did you mean 'ingress'?" in found
    assert (
        "sources.stripe.verify: 'enforced' is not allowed; use enforce, report or off; did you mean 'enforce'?" in found
    )
    assert "targets.app.forward: must be text, got a number" in found
    assert "unknown key 'sourc'; did you mean 'source'?" in text
    assert "server.max_body: 'lots' is not a size" in text
    assert "whsec_plain" not in text


def test_mistakes_between_tables_are_told_too(tmp_path):
    found = problems(
        tmp_path,
        """
[server]
ingress = "127.0.0.1:9000"
dashboard = "127.0.0.1:9000"
[sources.strip]
[sources.a]
provider = "stripe"
path = "/webhooks/x"
[sources.b]
provider = "github"
path = "/webhooks/x"
idempotency_key = "cookie:x"
[sources.c]
provider = "custom"
path = "/elsewhere"
[targets.app]
forward = "http://169.254.169.254/"
[targets.loop]
forward = "http://127.0.0.1:9000/webhooks/x"
[targets.mail]
email = "nothing"
[targets.both]
forward = "http://localhost:1"
email = "nothing"
[[routes]]
source = "strpe"
when = "payload.x >"
to = ["ap"]
[tunnel]
provider = "static"
""",
    )
    text = "\n".join(found)
    for expected in (
        "ingress and dashboard need different ports",
        "sources.strip.provider (the table's name): no provider is called 'strip'; did you mean 'stripe'?",
        "sources.b.idempotency_key: ",
        "sources.c.path: '/elsewhere'",
        "targets.app.forward: 169.254.169.254 is not an allowed target",
        "targets.loop.forward: ",
        "targets.mail.email: there is no [emails.nothing]",
        "targets.both.forward: a target has exactly one",
        "routes.0.to: there is no [targets.ap]; did you mean 'app'?",
        "routes.0.when: 'payload.x >' is not an expression",
        'tunnel.public_url: provider = "static" needs one',
    ):
        assert expected in text


def test_a_pattern_that_is_no_regular_expression_is_named_with_its_place(tmp_path):
    (found,) = problems(tmp_path, "[tunnel]\nurl_pattern = 'https://(.*'\n")
    assert "tunnel.url_pattern: is not a regular expression: missing ), unterminated subpattern" in found


@pytest.mark.parametrize("name", ["payments", "billing", "shop", "a", "stripe-live", "slk", "boxx"])
def test_a_name_that_no_provider_has_is_a_source_of_ones_own(tmp_path, name):
    [source] = config(tmp_path, f"[sources.{name}]\n").sources
    assert (source.provider, source.path, source.scheme) == ("custom", f"/webhooks/{name}", None)


@pytest.mark.parametrize("name", ["strip", "stripee", "strpe", "srtipe", "Stripe", "GitHub", "slakc"])
def test_a_slip_in_a_providers_name_is_told_with_both_ways_out(tmp_path, name):
    [found] = problems(tmp_path, f"[sources.{name}]\n")
    assert "; did you mean '" in found
    assert 'write provider = "custom"' in found


def test_a_slip_that_says_how_it_is_checked_is_a_source_of_ones_own(tmp_path):
    (tmp_path / "s.json").write_text("{}")
    signed = '[sources.strip.signature]\nheader = "X-Signature"\n'
    for text in (signed, '[sources.strip]\nschema = "s.json"\n', '[sources.strip]\nprovider = "custom"\n'):
        assert config(tmp_path, text).sources[0].provider == "custom"


def test_a_wrong_provider_is_told_with_both_ways_out(tmp_path):
    [found] = problems(tmp_path, '[sources.in]\nprovider = "strpe"\n')
    assert found == (
        "sources.in.provider: no provider is called 'strpe'; did you mean 'stripe'? "
        'For a scheme of your own write provider = "custom"'
    )
    [found] = problems(tmp_path, '[sources.in]\nprovider = "nobody-has-this"\n')
    assert 'use one that relay providers lists. For a scheme of your own write provider = "custom"' in found


def test_a_secret_that_nothing_checks_with_is_told(tmp_path):
    text = '[sources.stripe-live]\n[sources.payments]\nsecret = "env:S"\n[sources.shop]\n'
    first, second = config(tmp_path, text, {"S": "x"}).notices
    assert first == (
        "sources.stripe-live: no provider is called 'stripe-live', so nothing is verified. Did you mean "
        "provider = 'stripe'? A scheme of your own goes under [sources.stripe-live.signature]"
    )
    assert second == (
        "sources.payments: no provider is called 'payments', so its secret is not used and nothing is verified. "
        "A scheme of your own goes under [sources.payments.signature]"
    )


def test_two_sources_on_one_path_name_both(tmp_path):
    [found] = problems(tmp_path, '[sources.stripe]\npath="/webhooks/x"\n[sources.github]\npath="/webhooks/x/"\n')
    assert "sources.github.path" in found
    assert "sources.stripe" in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = [1,\n  2", "is not TOML"),
        (b"\xff\xfe[\x00s\x00", "is not UTF-8"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
        (b"#" * 1_100_000, "too large"),
        (b"x = 1\ny = \x1b", "not TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_one_sentence(tmp_path, content, said):
    path = tmp_path / "relay.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load(path, Overrides(), {})
    assert "\x1b" not in caught.value.message


def test_a_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(ConfigError, match="there is no config at") as caught:
        load(tmp_path / "nowhere.toml", Overrides(), {})
    assert "relay init" in caught.value.hint


def test_a_byte_order_mark_does_no_harm(tmp_path):
    (tmp_path / "relay.toml").write_bytes(b"\xef\xbb\xbf[server]\ninbox = false\n")
    assert load(tmp_path / "relay.toml", Overrides(), {}).inbox is None


def test_secrets_come_from_the_environment_before_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("STRIPE_WEBHOOK_SECRET=from-file\nOLD=older\n")
    loaded = config(
        tmp_path,
        '[sources.stripe]\nsecret = ["env:STRIPE_WEBHOOK_SECRET", "env:OLD", "env:GONE"]',
        environ={"STRIPE_WEBHOOK_SECRET": "from-environment"},
    )
    [source] = loaded.sources
    assert [secret.reveal() for secret in source.secrets] == ["from-environment", "older"]
    assert source.missing_secrets == ("env:GONE",)
    assert "from-" not in repr(loaded)


def test_a_source_without_a_secret_key_uses_its_providers_usual_variable(tmp_path):
    loaded = config(tmp_path, "[sources.github]", environ={"GITHUB_WEBHOOK_SECRET": "s"})
    assert loaded.sources[0].secrets[0].reference == "env:GITHUB_WEBHOOK_SECRET"


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_secret_counts_as_missing_and_is_said(tmp_path, value):
    loaded = config(tmp_path, '[sources.stripe]\nsecret = "env:S"', environ={"S": value})
    assert loaded.sources[0].secrets == ()
    assert any("S is not set" in notice for notice in loaded.notices)


def test_the_verify_token_of_a_source_without_a_provider_is_looked_up(tmp_path):
    text = '[sources.own]\nprovider = "custom"\nverify_token = "env:TOKEN"\n'
    missing = "sources.own.verify_token: TOKEN is not set, so its handshake is refused"
    assert missing in config(tmp_path, text, {}).notices
    found = config(tmp_path, text, {"TOKEN": "x"})
    assert missing not in found.notices
    assert [token.reveal() for token in found.sources[0].verify_tokens] == ["x"]


def test_an_inbox_name_of_the_catalogue_is_verified_where_its_secret_is_set(tmp_path):
    make = config(tmp_path, "", environ={"STRIPE_WEBHOOK_SECRET": "whsec_x"}).inbox
    assert make("stripe").secrets
    assert make("stripe").scheme is not None
    assert make("github").secrets == ()
    assert make("anything").scheme is None
    assert not make("stripe").configured


def test_one_target_and_no_routes_take_everything(tmp_path):
    loaded = config(tmp_path, '[targets.app]\nforward = "http://localhost:3000/hooks"')
    assert loaded.routes == (Route(targets=("app",)),)


def test_several_targets_and_no_routes_are_said_to_lead_nowhere(tmp_path):
    loaded = config(
        tmp_path, '[targets.a]\nforward = "http://localhost:1"\n[targets.b]\nforward = "http://localhost:2"'
    )
    assert loaded.routes == ()
    assert any("no routes" in notice for notice in loaded.notices)


def test_forward_on_the_command_line_adds_a_target_for_everything(tmp_path):
    loaded = config(tmp_path, "", forward=("http://localhost:3000/hooks",))
    assert loaded.routes == (Route(targets=("forward",)),)
    assert loaded.targets["forward"].options.url == "http://localhost:3000/hooks"
    assert "--forward" in problems(tmp_path, "", forward=("ftp://x",))[0]


def test_a_route_reads_source_events_and_condition(tmp_path):
    loaded = config(
        tmp_path,
        '[sources.stripe]\n[targets.app]\nforward="http://localhost:1"\n'
        '[[routes]]\nsource="stripe"\nevents=["invoice.*"]\nwhen="payload.x > 1"\nto="app"',
    )
    assert loaded.routes == (Route(sources=("stripe",), events=("invoice.*",), when="payload.x > 1", targets=("app",)),)


def test_a_custom_source_brings_its_own_signature(tmp_path):
    loaded = config(
        tmp_path,
        """
[sources.billing]
secret = "env:BILLING"
verify = "report"
[sources.billing.signature]
header = "X-Signature"
prefix = "sha256="
""",
        environ={"BILLING": "s"},
    )
    [source] = loaded.sources
    assert source.provider == "custom"
    assert source.verify is VerifyMode.REPORT
    assert source.scheme is not None


def test_a_bad_signature_names_its_key(tmp_path):
    [found] = problems(tmp_path, '[sources.b.signature]\nheader = "X-S"\ndigest = "md5"')
    assert found.startswith("sources.b.signature.digest: ")


def test_the_dashboard_stays_on_loopback(tmp_path):
    assert "loopback" in problems(tmp_path, '[server]\ndashboard = "0.0.0.0:8401"')[0]
    found = problems(tmp_path, '[server]\ndashboard = "10.0.0.1:8401"\nallowed_hosts = ["x"]\ndashboard_auth = "off"')
    assert "dashboard_auth" in found[0]


def test_the_schema_of_the_file_is_json_schema():
    schema = File.model_json_schema(by_alias=True)
    assert set(schema["properties"]) >= {"server", "tunnel", "sources", "targets", "routes", "emails", "smtp"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_table_is_read_or_refused_in_sentences(value):
    tables = value if isinstance(value, dict) else {"sources": value, "server": value, "routes": [value]}
    try:
        parse_tables(tables)
    except ConfigError as error:
        assert error.problems


def test_the_verdict_words_are_those_of_the_contract():
    assert [str(verdict) for verdict in Verdict] == ["verified", "invalid", "unsigned", "unchecked"]


def test_mistakes_of_form_do_not_hide_those_between_sound_tables(tmp_path):
    found = problems(
        tmp_path,
        """
[server]
ingres = "127.0.0.1:1"
[sources.stripe]
verify = "enforced"
[sources."no name"]
[sources.strip]
[sources.github]
path = "/elsewhere"
public_url = "hooks.example.dev"
idempotency_key = "cookie:x"
[targets.app]
forward = 7
[targets.mail]
email = "receit"
[emails.receipt]
to = "a@example.com"
[smtp]
port = "x"
[[routes]]
source = "stripe"
to = ["app", "mial"]
[[routes]]
sorce = "x"
[[routes]]
to = ["nowhere"]
""",
    )
    heads = [line.partition(": ")[0] for line in found]
    assert sorted(heads) == sorted(
        [
            "server.ingres",
            "sources.stripe.verify",
            "sources.no name",
            "targets.app.forward",
            "emails.receipt.subject",
            "smtp.host",
            "smtp.sender",
            "smtp.port",
            "routes.1.sorce",
            "routes.1.to",
            "sources.strip.provider (the table's name)",
            "sources.github.path",
            "sources.github.public_url",
            "sources.github.idempotency_key",
            "targets.mail.email",
            "routes.0.to",
            "routes.2.to",
        ]
    )
    assert "routes.0.to: there is no [targets.mial]; did you mean 'mail'?" in found


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ('[server]\nmax_body = "0B"\n', r"server\.max_body: '0B' would refuse every body"),
        ('[server]\nmax_body = "0.1B"\n', r"server\.max_body: '0\.1B' would refuse every body"),
        ('[sources.stripe]\nmax_body = "0KB"\n', r"sources\.stripe\.max_body: '0KB' would refuse every body"),
        (
            '[tunnel]\nprovider = "static"\npublic_url = "http://hooks.example.dev"\n',
            r"tunnel\.public_url: 'http://hooks.example.dev' is not a plain https URL",
        ),
        ('[tunnel]\npublic_url = "hooks.example.dev"\n', r"tunnel\.public_url: .* is not a plain https URL"),
        (
            '[targets.a]\nretry = { max = "999999999d" }\n',
            r"targets\.a\.retry\.max: '999999999d' is too long; at most 365000d",
        ),
        ('[retention]\nmax_age = "999999999d"\n', r"retention\.max_age: '999999999d' is too long"),
        ('[retention]\nmax_size = "999999999999GB"\n', r"retention\.max_size: '999999999999GB' is too large; at most"),
        ("[retention]\nmax_events = 99999999999999999999\n", r"retention\.max_events: 9+: input should be less than"),
        ('[sources.a]\ntolerance = "٣s"\n', r"sources\.a\.tolerance: '٣s' is not a duration"),
        ("[targets.a]\nretry = { factor = true }\n", r"targets\.a\.retry\.factor: must be a number, got true or false"),
        ('[targets.a]\nretry = { jitter = "0" }\n', r"targets\.a\.retry\.jitter: must be a number, got text"),
        (
            '[sources.a]\nschema = "\\u0000.json"\n',
            r"sources\.a\.schema: '.{1,3}x00\.json' cannot be the name of a file",
        ),
        ('[smtp]\nca_file = "\\u0000"\n', r"smtp\.ca_file: '.{1,3}x00' cannot be the name of a file"),
        ("[sources.health]\n", r"sources\.health\.path: '/webhooks/health' is relay's own; write another one"),
        ('[sources.a]\npath = "/webhooks/heal%74h"\n', r"sources\.a\.path: '/webhooks/heal%74h' is relay's own"),
        ('[sources.a]\npath = "/webhooks/a?x"\n', r"sources\.a\.path: '/webhooks/a\?x' is not a path below /webhooks/"),
        ('[sources.a]\npublic_url = "http://"\n', r"sources\.a\.public_url: 'http://' is not a URL"),
        ('[sources.a]\npublic_url = "https://h:99999/"\n', r"sources\.a\.public_url: 'https://h:99999/' is not a URL"),
        ("[[routes]]\nsource = []\nto = []\n", r"routes\.0\.source: must not be empty"),
        ("[sources.a.catch_up]\napp = 1.5\n", r"sources\.a\.catch_up\.app: must be text or a whole number(;|$)"),
        (
            '[targets.a.headers]\nset = { "X Y" = "a" }\n',
            r"targets\.a\.headers\.set\.X Y: 'X Y' is not the name of a header",
        ),
        (
            '[targets.a.headers]\nset = { X = "a\\nb" }\n',
            r"targets\.a\.headers\.set\.X: the value of a header is one line",
        ),
        ('[targets.a.headers]\nremove = ""\n', r"targets\.a\.headers\.remove\.0: '' is not the name of a header"),
    ],
)
def test_a_value_that_could_never_work_is_refused(tmp_path, toml, problem):
    (tmp_path / "relay.toml").write_text(toml)
    with pytest.raises(ConfigError, match=problem):
        load(tmp_path / "relay.toml", environ={})


def test_a_wrong_header_name_leaves_its_target_there_for_routes(tmp_path):
    text = '[targets.a]\nforward = "http://localhost:3000"\nheaders = { set = { "X Y" = "a" } }\n[[routes]]\nto = "a"\n'
    assert len(problems(tmp_path, text)) == 1


def test_a_list_of_one_may_lack_its_brackets_everywhere(tmp_path):
    tables = config(
        tmp_path,
        '[server]\nallowed_hosts = "relay.test"\nallow_targets = "10.0.0.5:3000"\n'
        '[sources.a]\nallow_ips = "10.0.0.0/8"\n'
        '[targets.a]\nforward = "http://localhost:3000"\nheaders = { remove = "X-Debug" }\n'
        '[smtp]\nhost = "localhost"\nsender = "a@example.com"\nallow_recipients = "*@example.com"\n',
    ).file
    assert (tables.server.allowed_hosts, tables.server.allow_targets) == (["relay.test"], ["10.0.0.5:3000"])
    assert tables.sources["a"].allow_ips == ["10.0.0.0/8"]
    assert tables.targets["a"].headers.remove == ["X-Debug"]
    assert tables.smtp.allow_recipients == ["*@example.com"]


def test_importing_the_tables_builds_no_validator():
    script = (
        "from relay.config import tables\n"
        "from relay.config.types import ConfigTable\n"
        "print([one.__name__ for one in ConfigTable.__subclasses__() if one.__pydantic_complete__])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
