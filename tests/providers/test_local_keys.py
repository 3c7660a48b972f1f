"""The key pairs that relay keeps: one a source, for its owner alone, the same as long as its file is there."""

import stat
from typing import Any

import pytest

from relay.errors import SigningError
from relay.providers.local_keys import LocalKeyStore

KINDS: list[Any] = ["ed25519", "p256", "rsa"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_made_once_and_found_by_the_next_relay(tmp_path, kind):
    made = LocalKeyStore(tmp_path / "keys").make("discord", kind)
    again = LocalKeyStore(tmp_path / "keys")
    assert again.find("discord", kind) == made
    assert again.make("discord", kind) == made
    assert [again.find("discord", other) for other in KINDS if other != kind] == [None, None]


def test_a_key_is_for_its_owner_alone_and_nothing_else_is_left_behind(tmp_path):
    LocalKeyStore(tmp_path / "keys").make("discord", "ed25519")
    (file,) = (tmp_path / "keys").iterdir()
    assert file.name == "discord.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_spoiled_key_is_made_anew(tmp_path):
    keys = LocalKeyStore(tmp_path)
    made = keys.make("discord", "ed25519")
    (tmp_path / "discord.pem").write_bytes(b"\xff" + made.encode()[:60])
    assert keys.find("discord", "ed25519") is None
    assert keys.make("discord", "ed25519") != made


@pytest.mark.parametrize("name", ["../discord", "a/b", ".hidden", "", "x" * 65, "a\nb", "a\n"])
def test_a_name_that_would_lead_elsewhere_has_no_key(tmp_path, name):
    keys = LocalKeyStore(tmp_path / "keys")
    assert keys.find(name, "ed25519") is None
    with pytest.raises(SigningError):
        keys.make(name, "ed25519")
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_cannot_be_written_is_told_of(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(SigningError, match="cannot be kept"):
        LocalKeyStore(tmp_path / "keys").make("discord", "ed25519")
