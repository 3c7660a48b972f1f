"""The password in the system's keyring, with a keyring of the test's own in its place."""

import sys

import keyring
import pytest
from keyring.backend import KeyringBackend

from relay.errors import VaultError
from relay.model.secret import Secret
from relay.vault.unlocking import SERVICE, KeyringPassword


class InMemory(KeyringBackend):
    """A keyring that forgets with the process, and refuses where it is told to."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.kept = {}
        self.refuses = None

    def _may(self):
        if self.refuses:
            raise self.refuses

    def get_password(self, service, username):
        self._may()
        return self.kept.get((service, username))

    def set_password(self, service, username, password):
        self._may()
        self.kept[service, username] = password

    def delete_password(self, service, username):
        del self.kept[service, username]


@pytest.fixture
def ring():
    before, ring = keyring.get_keyring(), InMemory()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_a_password_is_kept_found_and_forgotten(ring, tmp_path):
    here, there = KeyringPassword(tmp_path / "vault"), KeyringPassword(tmp_path / "other" / "vault")
    assert (here.wanted, here.find()) == (False, None)
    here.keep(Secret("x", "four words no sentence"))
    assert ring.kept == {(SERVICE, str(tmp_path / "vault")): "four words no sentence"}
    assert (tmp_path / "vault.keyring").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "vault.keyring").read_bytes() == b""
    assert KeyringPassword(tmp_path / "vault").find().reveal() == "four words no sentence"
    assert there.find() is None
    here.forget()
    assert (here.wanted, ring.kept) == (False, {})
    here.forget()


def test_a_keyring_is_left_alone_until_it_is_asked_for(ring, tmp_path):
    ring.kept[SERVICE, str(tmp_path / "vault")] = "left by an earlier vault"
    assert KeyringPassword(tmp_path / "vault").find() is None


def test_a_keyring_that_refuses_is_told_without_its_words(ring, tmp_path):
    remembered = KeyringPassword(tmp_path / "vault")
    ring.refuses = RuntimeError("could not store 'canary-password'")
    with pytest.raises(VaultError, match="the system's keyring refused") as caught:
        remembered.keep(Secret("x", "canary-password"))
    assert "canary" not in str(caught.value) + caught.value.hint
    assert not remembered.wanted


def test_without_the_package_it_is_named(ring, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(VaultError, match="keyring is not installed") as caught:
        KeyringPassword(tmp_path / "vault").keep(Secret("x", "four words no sentence"))
    assert caught.value.hint == "pip install 'webhook-relay[keyring]'"
