"""How relay.toml pins a provider's scheme, declares one of its own, or names one written in Python."""

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from builders import build_capture
from relay.config.build import Overrides, load
from relay.errors import ConfigError, SigningError
from relay.model.event import Verdict
from relay.model.secret import Secret
from relay.providers.catalogue import PROVIDERS

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
SECRET = Secret("env:MINE", "s3cret")
WHSEC = Secret("env:SIGNING", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
NO_PIN = (
    "sources.own.scheme: names one of a provider's own schemes, which this source does not use; "
    "a scheme of your own goes under signature"
)
MODULE = """
import hmac
from relay.model.event import Verdict, Verification
import beside

class Good:
    def verify(self, capture, secrets, now):
        return any(hmac.compare_digest(capture.header("X-Mine") or "", beside.mark(s.reveal())) for s in secrets)

    def sign(self, capture, secret, now):
        import dataclasses
        return dataclasses.replace(capture, headers=(("X-Mine", beside.mark(secret.reveal())),))

class Explains:
    def verify(self, capture, secrets, now):
        return Verification(verdict=Verdict.INVALID, reason="timestamp_stale")

class Raises:
    def verify(self, capture, secrets, now):
        raise ValueError("the secret is " + secrets[0].reveal())

class Wrong:
    def verify(self, capture, secrets, now):
        return "yes"

class Later:
    async def verify(self, capture, secrets, now):
        return True

class Exits:
    def verify(self, capture, secrets, now):
        raise SystemExit(3)

    def sign(self, capture, secret, now):
        raise SystemExit(3)

class Leaves:
    def __init__(self):
        raise SystemExit(3)

    def verify(self, capture, secrets, now):
        return True

class Mute:
    pass

class Picky:
    def __init__(self, what):
        pass

    def verify(self, capture, secrets, now):
        return True

class Changes:
    def verify(self, capture, secrets, now):
        capture.body = capture.body.strip()
        return True

    def sign(self, capture, secret, now):
        capture.body = capture.body.strip()
        return capture
"""


def capture(*headers, body=b"{}"):
    return build_capture("x", headers=headers, body=body, received_at=NOW, url="https://x.example/webhooks/x")


def configure(folder, text, **environ):
    path = folder / "relay.toml"
    path.write_text(text)
    return load(path, environ={"MINE": "s3cret", **environ})


def problem(folder, text):
    with pytest.raises(ConfigError) as caught:
        configure(folder, text)
    [found] = caught.value.problems
    return found


def written(folder, name):
    (folder / "verifiers.py").write_text(MODULE)
    (folder / "beside.py").write_text("def mark(text):\n    return f'mark {text}'\n")
    text = f'[sources.mine]\nsecret = "env:MINE"\n[sources.mine.signature]\nscheme = "python"\nverifier = "{name}"\n'
    return configure(folder, text).sources[0].scheme


def pinned(folder, provider, scheme):
    config = configure(folder, f'[sources.{provider}]\nsecret = "env:MINE"\nscheme = "{scheme}"\n')
    return config.sources[0].scheme


def test_a_pinned_scheme_is_the_only_one_that_counts(tmp_path):
    v1, v3 = (next(scheme for scheme in PROVIDERS["hubspot"].schemes if scheme.name == name) for name in ("v1", "v3"))
    old = v1.sign(SECRET, capture(("X-HubSpot-Signature-Version", "v1")), NOW)
    new = v3.sign(SECRET, capture(), NOW)
    only = pinned(tmp_path, "hubspot", "v3")
    assert only.verify((SECRET,), new, NOW).verdict is Verdict.VERIFIED
    assert only.verify((SECRET,), old, NOW).reason == "signature_missing"
    assert PROVIDERS["hubspot"].scheme.verify((SECRET,), old, NOW).verdict is Verdict.VERIFIED


def test_a_signature_that_is_there_decides_though_an_older_one_fits(tmp_path):
    v1 = PROVIDERS["hubspot"].schemes[2].sign(SECRET, capture(("X-HubSpot-Signature-Version", "v1")), NOW)
    both = dataclasses.replace(
        v1, headers=(*v1.headers, ("X-HubSpot-Signature-v3", "x"), ("X-HubSpot-Request-Timestamp", "1795341600000"))
    )
    assert PROVIDERS["hubspot"].scheme.verify((SECRET,), both, NOW).verdict is Verdict.INVALID


def test_a_pinned_token_leaves_the_signature_out_of_it(tmp_path):
    token = capture(("X-Gitlab-Token", "s3cret"))
    assert pinned(tmp_path, "gitlab", "token").verify((SECRET,), token, NOW).verdict is Verdict.VERIFIED
    assert pinned(tmp_path, "gitlab", "signing-token").verify((WHSEC,), token, NOW).reason == "signature_missing"


def test_a_pinned_signing_token_needs_no_prefix(tmp_path):
    scheme = pinned(tmp_path, "gitlab", "signing-token")
    bare = Secret("env:BARE", WHSEC.reveal().removeprefix("whsec_"))
    assert scheme.verify((bare,), scheme.sign(WHSEC, capture(), NOW), NOW).verdict is Verdict.VERIFIED


def test_a_pin_keeps_the_tolerance(tmp_path):
    text = '[sources.hubspot]\nsecret = "env:MINE"\nscheme = "v3"\ntolerance = "10s"\n'
    assert configure(tmp_path, text).sources[0].scheme.time.past == 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '[sources.gitlab]\nscheme = "hmac"',
            "sources.gitlab.scheme: GitLab has no scheme 'hmac'; use signing-token or token",
        ),
        (
            '[sources.standard-webhooks]\nscheme = "v2"',
            "sources.standard-webhooks.scheme: Standard Webhooks has no scheme 'v2'; use v1a or v1",
        ),
        (
            '[sources.stripe]\nscheme = "v1"',
            "sources.stripe.scheme: Stripe has no scheme 'v1'; leave it out: Stripe signs in one way only",
        ),
        ('[sources.own]\nprovider = "custom"\nscheme = "v1"\n[sources.own.signature]\nheader = "X"', NO_PIN),
    ],
)
def test_a_pin_that_leads_nowhere_is_a_mistake_that_lists_what_there_is(tmp_path, text, expected):
    assert problem(tmp_path, text) == expected


def test_every_scheme_of_a_provider_with_several_has_its_own_name():
    for provider in PROVIDERS.values():
        names = [scheme.name for scheme in provider.schemes]
        assert len(set(names)) == len(names)
        assert len(names) == 1 or all(names)


def test_a_verifier_in_python_says_yes_and_no_and_signs(tmp_path):
    scheme = written(tmp_path, "verifiers:Good")
    assert scheme.verify((SECRET,), capture(("X-Mine", "mark s3cret")), NOW).verdict is Verdict.VERIFIED
    assert scheme.verify((SECRET,), capture(), NOW).reason == "signature_mismatch"
    assert scheme.verify((), capture(), NOW).verdict is Verdict.UNCHECKED
    assert scheme.verify((Secret("env:E", " "),), capture(), NOW).reason == "secret_unusable"
    assert scheme.verify((SECRET,), scheme.sign(SECRET, capture(), NOW), NOW).verdict is Verdict.VERIFIED


def test_what_a_verifier_changes_in_its_request_is_not_what_is_kept(tmp_path):
    scheme, request = written(tmp_path, "verifiers:Changes"), capture(body=b" {} ")
    assert scheme.verify((SECRET,), request, NOW).verdict is Verdict.VERIFIED
    assert scheme.sign(SECRET, request, NOW).body == b"{}"
    assert request.body == b" {} "


def test_a_verifier_may_explain_itself(tmp_path):
    assert written(tmp_path, "verifiers:Explains").verify((SECRET,), capture(), NOW).reason == "timestamp_stale"


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("Raises", "raised ValueError in verifiers.py, line 20"),
        ("Exits", "raised SystemExit in verifiers.py, line 32"),
        ("Wrong", "returned str where True, False or a Verification was asked for"),
        ("Later", "returned coroutine where True, False or a Verification was asked for"),
    ],
)
def test_a_verifier_that_fails_means_no_and_quotes_no_secret(tmp_path, name, detail):
    scheme = written(tmp_path, f"verifiers:{name}")
    result = scheme.verify((SECRET,), capture(), NOW)
    assert (result.verdict, result.reason) == (Verdict.INVALID, "verifier_failed")
    assert result.checks[0].detail == detail
    with pytest.raises(SigningError):
        scheme.sign(SECRET, capture(), NOW)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("verifiers", "'verifiers' is not a module and a class"),
        ("../verifiers:Good", "'../verifiers:Good' is not a module and a class"),
        ("nowhere:Good", "there is no file {folder}/nowhere.py"),
        ("verifiers:Missing", "{folder}/verifiers.py has no class Missing; it has Good, Explains"),
        ("verifiers:Mute", "Mute in {folder}/verifiers.py has no verify"),
        ("verifiers:Picky", "cannot create Picky in {folder}/verifiers.py: TypeError"),
        ("verifiers:Leaves", "cannot create Leaves in {folder}/verifiers.py: SystemExit"),
    ],
)
def test_a_verifier_that_is_not_there_is_a_mistake_that_names_the_file(tmp_path, name, words):
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, name)
    assert words.format(folder=tmp_path) in caught.value.problems[0]
    assert caught.value.problems[0].startswith("sources.mine.signature.verifier: ")


def test_a_verifier_file_that_ends_the_program_is_a_mistake_and_its_output_is_no_data(tmp_path, capsys):
    (tmp_path / "leaves.py").write_text("import sys\nprint('here')\nsys.exit(3)\n")
    found = problem(tmp_path, '[sources.m]\n[sources.m.signature]\nscheme = "python"\nverifier = "leaves:X"')
    assert "leaves.py cannot be run: SystemExit: 3" in found
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "here" in printed.err


def test_a_verifier_file_that_does_not_run_is_a_mistake(tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_like_this\n")
    found = problem(tmp_path, '[sources.m]\n[sources.m.signature]\nscheme = "python"\nverifier = "broken:X"')
    assert "broken.py cannot be run: ModuleNotFoundError" in found


def test_a_signature_may_be_declared_with_every_key_it_has(tmp_path):
    text = """
[sources.own.signature]
scheme = "hmac"
header = ["X-New", "X-Old"]
repeated = true
separator = ";"
item = "h1"
timestamp = "item:ts"
content = "{timestamp}.{body}"
past = "1h"
future = "off"
"""
    scheme = configure(tmp_path, text).sources[0].scheme
    signed = scheme.sign(SECRET, capture(body=json.dumps({"a": 1}).encode()), NOW)
    assert scheme.verify((SECRET,), signed, NOW).verdict is Verdict.VERIFIED
    assert (scheme.time.past, scheme.time.future) == (3600, None)


def test_a_key_of_another_scheme_is_a_mistake(tmp_path):
    found = problem(tmp_path, '[sources.own.signature]\nscheme = "basic"\ndigest = "sha1"')
    assert found == "sources.own.signature.digest: has no use where scheme is 'basic'; use header"


@pytest.mark.parametrize(
    ("declared", "secret", "form"),
    [
        ('scheme = "hmac"\nkey = "base64"', "not base64!", "base64"),
        ('scheme = "hmac"\nkey = "base64"', "abc-_def", "base64"),
        ('scheme = "hmac"\nkey = "base64url"', "abc+/def", "base64url"),
        ('scheme = "hmac"\nkey = "hex"', "xyz", "hex"),
        ('scheme = "hmac"\nkey = "hex"', "abc", "hex"),
        ('scheme = "ed25519"', "tooshort", "a public key"),
        ('scheme = "rsa"', "-----BEGIN PUBLIC KEY-----", "a public key"),
        ('scheme = "basic"', "password alone", "user:password"),
        ('scheme = "hmac"\nkey = "base64"', "c2VjcmV0", ""),
        ('scheme = "hmac"\nkey = "base64url"', "abc-_def", ""),
        ('scheme = "hmac"\nkey = "base64url"', "abc-_de=", ""),
        ('scheme = "hmac"\nkey = "hex"', "ABcd01", ""),
        ('scheme = "hmac"', "anything at all", ""),
        ('scheme = "basic"', "user:password", ""),
    ],
)
def test_a_key_that_cannot_be_decoded_is_said_before_anything_comes(tmp_path, declared, secret, form):
    header = "" if "basic" in declared else 'header = "X-Sign"\n'
    toml = f'[sources.mine]\nprovider = "custom"\nsecret = "env:MINE"\n[sources.mine.signature]\n{header}{declared}\n'
    (tmp_path / "relay.toml").write_text(toml)
    notices = load(tmp_path / "relay.toml", Overrides(), {"MINE": secret}).notices
    said = [notice for notice in notices if "cannot be read as the key" in notice]
    assert len(said) == bool(form)
    if form:
        assert said[0].startswith("sources.mine: env:MINE cannot be read as the key of this source, which is " + form)
        assert secret not in said[0]


@pytest.mark.parametrize(
    ("provider", "variable", "secret", "is_readable"),
    [
        ("svix", "SVIX_WEBHOOK_SECRET", "whsec_!!!", False),
        ("resend", "RESEND_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", True),
        ("discord", "DISCORD_PUBLIC_KEY", "1234", False),
        ("github", "GITHUB_WEBHOOK_SECRET", "anything", True),
        ("adyen", "ADYEN_HMAC_KEY", "not hex", False),
    ],
)
def test_a_provider_s_key_that_cannot_be_decoded_is_said_too(tmp_path, provider, variable, secret, is_readable):
    (tmp_path / "relay.toml").write_text(f'[sources.{provider}]\nsecret = "env:{variable}"\n')
    notices = load(tmp_path / "relay.toml", Overrides(), {variable: secret}).notices
    assert any("cannot be read as the key" in notice for notice in notices) is not is_readable


def test_every_mistake_of_a_signature_is_told_at_once(tmp_path):
    signature = {
        "header": "X Sig", "content": "{bdy}", "encoding": "hexx", "digest": "md5", "key": "b64", "timestamp": "x:t"
    }  # fmt: skip
    lines = "".join(f'{key} = "{value}"\n' for key, value in signature.items())
    (tmp_path / "relay.toml").write_text(f"[sources.own.signature]\n{lines}")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "relay.toml", Overrides(), {})
    told = [problem.partition(":")[0].removeprefix("sources.own.signature.") for problem in caught.value.problems]
    assert sorted(told) == sorted(signature)


def test_two_missing_keys_of_a_signature_are_told_at_once(tmp_path):
    (tmp_path / "relay.toml").write_text('[sources.own.signature]\ncontent = "{timestamp}.{id}.{body}"\n')
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "relay.toml", Overrides(), {})
    told = [problem.partition(":")[0].removeprefix("sources.own.signature.") for problem in caught.value.problems]
    assert told == ["header", "timestamp", "id"]
