"""`relay providers` lists whom relay knows, and says how to set one of them up."""

import pytest

from relay.providers.catalogue import PROVIDERS


@pytest.fixture
def ask(inside, tmp_path):
    """Ask in a folder where no relay runs."""
    return lambda *arguments: inside(*arguments, home=tmp_path)


def test_every_provider_has_one_line(ask):
    lines = ask("providers").out.splitlines()
    assert [line.split()[0] for line in lines] == list(PROVIDERS)


def test_one_provider_comes_with_steps_variable_documentation_and_the_address_to_paste(ask):
    shown = ask("providers", "stripe")
    assert shown.code == 0
    assert "https://docs.stripe.com/webhooks" in shown.out
    assert "STRIPE_WEBHOOK_SECRET" in shown.out
    assert "2. Paste https://<the public address that relay start prints>/webhooks/stripe as" in shown.out
    assert "checkout.session.completed" in shown.out


def test_a_configured_source_says_its_own_address(ask, tmp_path):
    (tmp_path / "relay.toml").write_text(
        '[tunnel]\nprovider = "static"\npublic_url = "https://hooks.example.dev"\n'
        '[sources.ci]\nprovider = "gitlab"\npath = "/webhooks/ci"\n'
    )
    [found] = ask("providers", "gitlab", "--json").objects
    assert found["urls"] == ["https://hooks.example.dev/webhooks/ci"]
    assert [scheme["name"] for scheme in found["schemes"]] == ["signing-token", "token"]
    assert found["samples"]


def test_a_broken_config_hides_no_provider(ask, tmp_path):
    (tmp_path / "relay.toml").write_text("nonsense = 1\n")
    assert ask("providers", "github").code == 0


def test_an_unknown_provider_points_to_the_nearest(ask):
    asked = ask("providers", "strpe")
    assert asked.code == 1
    assert "no provider is called" in asked.err
    assert "did you mean stripe?" in asked.err


def test_what_a_provider_expects_as_an_answer_is_told(ask):
    assert (
        "answer     2xx within 3 s; retried 3 times: at once, after 1 min, after 5 min" in ask("providers", "slack").out
    )
    [adyen] = ask("providers", "adyen", "--json").objects
    assert adyen["answer"].startswith("2xx with the body [accepted] within 10 s")
    assert adyen["answer_body"] == "[accepted]"
    [gitea] = ask("providers", "gitea", "--json").objects
    assert (gitea["answer"], gitea["answer_body"]) == ("", "")
