"""What a source's `catch_up` table may say, and how mistakes in it are told."""

import re
from pathlib import Path

import pytest

from builders import LEAST_KDF
from relay.catchup.github import GitHubHook
from relay.catchup.stripe import StripeEvents
from relay.catchup.svix import SvixMessages
from relay.config.build import Overrides, load, resolve_again
from relay.config.effective import file_facts
from relay.config.source_tables import CatchUpTable
from relay.errors import ConfigError, UsageError
from relay.model.secret import Secret
from relay.vault import Vault

ENVIRON = {"GITHUB_TOKEN": "a", "STRIPE_API_KEY": "b", "SVIX_AUTH_TOKEN": "testsk_1.eu", "MINE": "c"}


def listing(tmp_path, name, lines, environ=None):
    path = tmp_path / "relay.toml"
    path.write_text(f"[sources.{name}.catch_up]\n{lines}\n")
    config = load(path, Overrides(), ENVIRON if environ is None else environ)
    return config.catch_up(config.sources[0])


def test_github(tmp_path):
    hook = listing(tmp_path, "github", 'repository = "octo/my.cat-1"\nhook = 7')
    assert isinstance(hook, GitHubHook)
    assert (hook.owner, hook.hook, hook.path) == ("/repos/octo/my.cat-1", 7, "/webhooks/github")
    assert (hook.access.base_url, hook.access.reference) == ("https://api.github.com", "env:GITHUB_TOKEN")
    assert listing(tmp_path, "github", 'organization = "oc/to"').owner == "/orgs/oc%2Fto"
    app = listing(tmp_path, "github", "app = 12345")
    assert (app.owner, app.app) == ("/app", "12345")


def test_an_enterprise_server_is_asked_where_it_is(tmp_path):
    hook = listing(tmp_path, "github", 'repository = "o/r"\nbase_url = "https://git.corp.example/api/v3/"')
    assert (hook.access.base_url, hook.access.host) == ("https://git.corp.example/api/v3", "git.corp.example")


def test_stripe(tmp_path):
    events = listing(tmp_path, "stripe", 'key = "env:MINE"\naccount = "acct_1"\nundelivered = false')
    assert isinstance(events, StripeEvents)
    assert (events.access.reference, events.access.secret) == ("env:MINE", "c")
    assert (events.account, events.undelivered, events.indent) == ("acct_1", False, 2)
    assert dict(events.headers_sent)["User-Agent"].startswith("Stripe/1.0")
    assert listing(tmp_path, "stripe", "").undelivered is True


def test_a_credential_in_the_vault_waits_until_that_is_open(tmp_path):
    vault, password = Vault(tmp_path / ".relay" / "vault", LEAST_KDF), Secret("x", "a long enough password")
    vault.create(password)
    vault.put("stripe_key", "sk_1")
    (tmp_path / "relay.toml").write_text('[sources.stripe.catch_up]\nkey = "vault:stripe_key"\n')
    config = load(tmp_path / "relay.toml", Overrides(), {})
    assert (
        config.catch_up(config.sources[0]).access.absence
        == "vault:stripe_key cannot be read, so Stripe cannot be asked"
    )
    effect = "the vault is locked. Source stripe cannot be caught up with. relay vault unlock opens it"
    assert effect in config.notices
    config.vault.unlock(password)
    config = resolve_again(config)
    assert config.catch_up(config.sources[0]).access.secret == "sk_1"
    config.vault.remove("stripe_key")
    needs = "catching up with source 'stripe' needs vault secret 'stripe_key'; relay vault set stripe_key"
    assert [notice for notice in resolve_again(config).notices if "caught up" in notice or "catching" in notice] == [
        needs
    ]


def test_svix(tmp_path):
    messages = listing(tmp_path, "svix", 'app = "app_1"\nendpoint = "ep_1"')
    assert isinstance(messages, SvixMessages)
    assert (messages.app, messages.endpoint, messages.id_header) == ("app_1", "ep_1", "svix-id")
    assert messages.access.base_url == "https://api.eu.svix.com"
    assert all("${" not in value for _, value in messages.headers_sent)


def test_whoever_sends_through_svix_has_its_own_header_of_the_id(tmp_path):
    assert listing(tmp_path, "clerk", 'api = "svix"\napp = "a"').id_header == "svix-id"
    assert listing(tmp_path, "standard-webhooks", 'api = "svix"\napp = "a"').id_header == "webhook-id"


@pytest.mark.parametrize(
    ("name", "lines", "problem"),
    [
        ("github", "", "sources.github.catch_up.repository: say whose hook it is, with one of repository"),
        ("github", 'repository = "o/r"\napp = 1', "sources.github.catch_up.repository: say whose hook"),
        ("github", 'repository = "octo"', "sources.github.catch_up.repository: 'octo' is not a repository"),
        ("github", 'repository = "o/r/../x"', "sources.github.catch_up.repository: 'o/r/../x' is not"),
        ("github", 'repository = "o/r"\nhook = 0', "sources.github.catch_up.hook: 0: "),
        ("github", 'repository = "o/r"\ntoken = "ghp_1"', "sources.github.catch_up.token: must be a reference"),
        (
            "github",
            'repositry = "o/r"',
            "sources.github.catch_up.repositry: unknown key 'repositry'; did you mean 'repository'?",
        ),
        ("stripe", 'token = "env:MINE"', "sources.stripe.catch_up.token: Stripe takes account, api, base_url, key"),
        ("stripe", 'undelivered = "no"', "sources.stripe.catch_up.undelivered: must be true or false"),
        ("stripe", 'base_url = "api.stripe.com"', "sources.stripe.catch_up.base_url: 'api.stripe.com' is not"),
        ("stripe", 'base_url = "ftp://x"', "sources.stripe.catch_up.base_url: 'ftp://x' is not"),
        ("stripe", 'base_url = "https://u:p@x"', "sources.stripe.catch_up.base_url: 'https://u:p@x' is not"),
        ("stripe", 'base_url = "https://[x"', "sources.stripe.catch_up.base_url: 'https://[x' is not"),
        ("stripe", 'base_url = "https://x:99999"', "sources.stripe.catch_up.base_url: 'https://x:99999' is not"),
        ("stripe", 'base_url = "http://api.stripe.com"', "sources.stripe.catch_up.base_url: a credential goes there"),
        ("svix", "", "sources.svix.catch_up.app: say of which application"),
        ("slack", "", "sources.slack.catch_up: relay cannot read a list of past events from Slack"),
        ("slack", 'api = "slack"', "sources.slack.catch_up.api: 'slack' is not allowed"),
    ],
)
def test_every_mistake_is_told_with_its_place(tmp_path, name, lines, problem):
    with pytest.raises(ConfigError) as caught:
        listing(tmp_path, name, lines)
    (told,) = caught.value.problems
    assert told.startswith(problem)


def test_a_credential_that_is_missing_is_a_warning(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text('[sources.github]\nsecret = "env:S"\n[sources.github.catch_up]\nrepository = "o/r"\n')
    config = load(path, Overrides(), {"S": "x"})
    assert config.notices == ("sources.github.catch_up: GITHUB_TOKEN is not set, so nothing can be caught up with",)


def test_a_source_without_a_table_goes_by_the_usual_variables(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text('[sources.pay]\nprovider = "stripe"\n[sources.slack]\n[sources.github]\n')
    config = load(path, Overrides(), ENVIRON)
    pay, slack, github = config.sources
    assert config.catch_up(pay).access.reference == "env:STRIPE_API_KEY"
    with pytest.raises(UsageError, match="relay cannot catch up with slack"):
        config.catch_up(slack)
    with pytest.raises(UsageError, match="nothing says what to ask GitHub for") as raised:
        config.catch_up(github)
    assert "[sources.github.catch_up]" in raised.value.hint


def test_the_tables_of_the_documentation_load(tmp_path):
    text = (Path(__file__).parents[2] / "docs/catch-up.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "relay.toml"
    path.write_text(table)
    config = load(path, Overrides(), ENVIRON)
    assert [config.catch_up(source).access.title for source in config.sources] == ["GitHub", "Stripe", "Svix"]
    assert set(re.findall(r"^([a-z_]+) +=", table, re.MULTILINE)) <= set(CatchUpTable.model_fields)


def test_what_is_said_of_it_is_shown_with_its_line(tmp_path):
    path = tmp_path / "relay.toml"
    path.write_text('[sources.stripe]\n[sources.stripe.catch_up]\nundelivered = false\nkey = "env:MINE"\n')
    config = load(path, Overrides(), ENVIRON)
    shown = {(fact.table, fact.key): (fact.value, fact.line) for fact in file_facts(config.file, path)}
    assert shown["sources.stripe.catch_up", "undelivered"] == ("false", 3)
    assert shown["sources.stripe.catch_up", "key"] == ("env:MINE", 4)
    assert ("sources.stripe", "catch_up") not in shown
