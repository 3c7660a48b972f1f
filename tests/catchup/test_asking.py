"""Who is asked, with what, and what is said where that does not work; also without any relay.toml."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cases import check_each
from relay.config.build import load

PUSH = {"ref": "refs/heads/main"}


def ago(**span):
    return datetime.now(UTC) - timedelta(**span)


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def refused(catch_up, at, source, **more):
    status, answer = await catch_up(at, source, **more)
    return status, answer["error"]["code"], f"{answer['error']['message']}; {answer['error']['hint']}"


async def test_a_credential_that_is_refused_is_named_and_not_shown(
    start, github, stripe, svix, tables, environ, catch_up, caplog
):
    given = environ | {"GITHUB_TOKEN": "wrong-1", "STRIPE_API_KEY": "wrong-2", "SVIX_AUTH_TOKEN": "wrong-3"}
    at = await start("".join(tables(one) for one in (github, stripe, svix)), given)
    for name, variable in (
        ("github", "env:GITHUB_TOKEN"),
        ("stripe", "env:STRIPE_API_KEY"),
        ("svix", "env:SVIX_AUTH_TOKEN"),
    ):
        status, code, said = await refused(catch_up, at, name)
        assert (status, code) == (502, "credential_refused")
        assert f"refuses the credential {variable}; it needs" in said
        assert "wrong-" not in said + json.dumps((await at.api(f"/api/catch-up/{name}"))[1]) + caplog.text


async def test_a_credential_that_is_not_there_is_named(start, github, tables, secrets, catch_up):
    at = await start(tables(github), secrets)
    status, code, said = await refused(catch_up, at, "github")
    assert (status, code) == (400, "bad_request")
    assert said.startswith("GITHUB_TOKEN is not set, so GitHub cannot be asked")
    assert github.calls == []


async def test_a_hook_that_github_does_not_know_is_told(start, github, tables, environ, catch_up):
    at = await start(tables(github).replace("hook = 7", "hook = 8"), environ)
    status, code, said = await refused(catch_up, at, "github")
    assert (status, code) == (502, "catch_up")
    assert "knows nothing of that name, or does not show it to env:GITHUB_TOKEN (Not Found)" in said


async def test_the_hook_that_leads_here_is_found(start, github, tables, environ, catch_up):
    github.deliver("push", PUSH, ago(minutes=5))
    other = {"id": 6, "active": True, "config": {"url": "https://ci.example/build"}}
    github.hooks = (other, *github.hooks, {"id": 5, "active": False, "config": {"url": "x/webhooks/github"}})
    at = await start(tables(github).replace("hook = 7", ""), environ)
    assert (await catch_up(at, "github"))[1]["recovered"] == 1


async def test_several_hooks_are_named_to_choose_from(start, github, tables, environ, catch_up):
    github.hooks = tuple({"id": number, "config": {"url": f"https://{number}.example/\x1b["}} for number in (6, 7))
    at = await start(tables(github).replace("hook = 7", ""), environ)
    _, _, said = await refused(catch_up, at, "github")
    assert said == (
        "octo/cat has 2 hooks that could be the one; say which under catch_up, "
        "hook = …: 6 (https://6.example/\\x1b[), 7 (https://7.example/\\x1b[)"
    )


async def test_the_hook_of_an_organisation(start, github, tables, environ, catch_up):
    github.owner = "/orgs/octo"
    github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github, 'organization = "octo"\nhook = 7'), environ)
    assert (await catch_up(at, "github"))[1]["recovered"] == 1


@pytest.mark.parametrize("escaped", [False, True])
async def test_an_app_asks_with_a_token_made_of_its_private_key(start, github, tables, environ, catch_up, escaped):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    github.owner, github.public_key = "/app", key.public_key()
    github.deliver("push", PUSH, ago(minutes=5))
    text = pem(key).replace("\n", "\\n") if escaped else pem(key)
    at = await start(tables(github, 'app = 12345\ntoken = "env:APP_KEY"'), environ | {"APP_KEY": text})
    assert (await catch_up(at, "github"))[1]["recovered"] == 1
    assert {call.partition("?")[0] for call in github.calls} == {"/app/hook/deliveries", "/app/hook/deliveries/1000"}


async def test_an_app_may_bring_its_token_made(start, github, tables, environ, catch_up):
    github.owner = "/app"
    github.deliver("push", PUSH, ago(minutes=5))
    at = await start(tables(github, 'app = "Iv1.a"'), environ)
    assert (await catch_up(at, "github"))[1]["recovered"] == 1


@pytest.mark.parametrize("text", ["-----BEGIN PRIVATE KEY-----\nx", pem(ec.generate_private_key(ec.SECP256R1()))])
async def test_a_private_key_that_is_none_is_told(start, github, tables, environ, catch_up, text):
    github.owner = "/app"
    at = await start(tables(github, 'app = 1\ntoken = "env:APP_KEY"'), environ | {"APP_KEY": text})
    status, code, said = await refused(catch_up, at, "github")
    assert (status, code) == (502, "credential_refused")
    assert said.startswith("env:APP_KEY holds no RSA private key")


async def test_a_connected_account_of_stripe_is_named(start, stripe, tables, environ, catch_up):
    seen = []
    admits = stripe.admits

    def note_account(request):
        seen.append(request.headers.get("Stripe-Account"))
        return admits(request)

    stripe.admits = note_account
    at = await start(tables(stripe, 'account = "acct_1"'), environ)
    assert (await catch_up(at, "stripe"))[0] == 200
    assert seen == ["acct_1"]


async def test_all_messages_of_an_application_of_svix(start, svix, tables, environ, catch_up):
    svix.path = "/api/v1/app/app_1/msg"
    svix.message("user.created", ago(minutes=5), {"type": "user.created"})
    at = await start(tables(svix).replace('endpoint = "ep_1"', ""), environ)
    assert (await catch_up(at, "svix"))[1]["recovered"] == 1


def test_with_no_file_the_usual_variables_say_whom_to_ask(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environ = {"STRIPE_API_KEY": "sk_1", "GH_TOKEN": "ghp_1", "GITHUB_REPOSITORY": "octo/cat"}
    config = load(None, environ=environ)
    stripe = config.catch_up(config.inbox("stripe")).access
    assert (stripe.base_url, stripe.reference) == ("https://api.stripe.com", "env:STRIPE_API_KEY")
    github: Any = config.catch_up(config.inbox("github"))
    assert (github.access.base_url, github.owner, github.hook) == ("https://api.github.com", "/repos/octo/cat", None)
    assert github.access.reference == "env:GH_TOKEN"


@check_each(
    ("source", "status", "said"),
    [
        ("slack", 400, "relay cannot catch up with slack"),
        ("test", 400, "relay cannot catch up with test"),
        ("github", 400, "say whose hook it is"),
        ("svix", 400, "say of which application"),
        ("stripe", 400, "STRIPE_API_KEY is not set"),
    ],
)
async def test_what_cannot_be_asked_says_why(at, catch_up, source, status, said):
    got, _, text = await refused(catch_up, at, source)
    assert got == status
    assert said in text


async def test_a_source_that_is_not_there_is_not_found(start, catch_up):
    at = await start("[server]\ninbox = false\n")
    status, _, said = await refused(catch_up, at, "github")
    assert (status, said) == (404, "no source is called 'github'; relay start lists the sources")


@pytest.fixture
async def with_github(start, github, tables, environ):
    return await start(tables(github), environ)


@check_each(
    "body",
    [
        {},
        {"source": 7},
        {"source": "github", "since": "soon"},
        {"source": "github", "since": 7},
        {"source": "github", "since": "2999-01-01"},
        {"source": "github", "dry_run": "yes"},
        {"source": "github", "forward": 1},
        {"source": "github", "wait": 1000},
        {"source": "github", "wait": True},
        {"source": "github", "strange": 1},
        [],
    ],
)
async def test_a_call_that_makes_no_sense_names_what(with_github, github, body):
    at = with_github
    status, answer = await at.api("/api/catch-up", "POST", json=body)
    assert (status, answer["error"]["code"]) == (400, "bad_request")
    assert answer["error"]["message"]
    assert github.calls == []


async def test_a_catch_up_that_never_was_is_not_found(at):
    for method, path in (("GET", "/api/catch-up/github"), ("POST", "/api/catch-up/github/cancel")):
        assert (await at.api(path, method))[0] == 404
