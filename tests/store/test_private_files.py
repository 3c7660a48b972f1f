"""relay's own files are for their owner alone; folders that were there before stay as they are."""

import json
import os
import stat
from contextlib import contextmanager

import pytest

from builders import QUICK_KDF
from relay.actions.mail.compose import write_to_outbox
from relay.config.build import Overrides, load
from relay.errors import ConfigError, StoreError
from relay.http.token import load_token
from relay.model.secret import Secret
from relay.platform import (
    create_private,
    find_folder_risks,
    is_of_another_user,
    make_private_folder,
    open_private,
    write_private,
)
from relay.providers.local_keys import LocalKeyStore
from relay.services.health import check_data_folder
from relay.services.state import Preferences, save_preferences
from relay.store import open_store, prepare_data_dir
from relay.store.idempotency import SqliteKeyStore
from relay.tunnel.process import write_private_text as write_for_tunnel
from relay.vault import Vault


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def files_in(folder):
    return {path.relative_to(folder).as_posix(): rights(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
@pytest.mark.parametrize("mode", [0o700, 0o755, 0o1777])
async def test_every_file_is_private_whatever_the_folder_and_the_umask_are(tmp_path, mask, mode):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    with umask(mask):
        async with open_store(folder):
            load_token(folder)
            save_preferences(folder, Preferences())
            LocalKeyStore(folder / "keys").make("github", "ed25519")
            write_to_outbox(folder / "outbox", "<1@relay>", b"mail")
            write_for_tunnel(folder / "tunnel.pid", "1 x")
            keys = SqliteKeyStore(folder / "received.db")
            keys.claim("s", "k")
            found = files_in(folder)
            keys.close()  # not before: it takes its -wal file with it
    assert {"relay.db", "relay.db-wal", "relay.db-shm", "lock", "token", "keys/github.pem"} <= found.keys()
    assert {"outbox/1@relay.eml", "tunnel.pid", "received.db", "received.db-wal"} <= found.keys()
    assert set(found.values()) == {0o600}, found
    assert rights(folder) == mode
    assert rights(folder / "keys") == rights(folder / "outbox") == 0o700


async def test_files_of_relay_that_others_could_read_are_theirs_no_more(tmp_path):
    async with open_store(tmp_path):
        token = load_token(tmp_path)
        for name in ("relay.db", "relay.db-wal", "relay.db-shm", "lock", "token"):
            (tmp_path / name).chmod(0o644)
        kept = {name: (tmp_path / name).read_bytes() for name in ("relay.db-wal", "relay.db-shm", "relay.db")}
    for name, content in kept.items():  # as a relay leaves them that was killed
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644)
    async with open_store(tmp_path):
        assert load_token(tmp_path) == token
        assert set(files_in(tmp_path).values()) == {0o600}


def test_a_folder_that_is_made_is_private_and_one_that_is_there_stays(tmp_path):
    with umask(0o277):
        prepare_data_dir(tmp_path / "a" / "new")
    assert rights(tmp_path / "a" / "new") == 0o700
    (tmp_path / "old").mkdir(mode=0o755)
    (tmp_path / "old").chmod(0o755)
    prepare_data_dir(tmp_path / "old")
    make_private_folder(tmp_path / "old")
    assert rights(tmp_path / "old") == 0o755


def test_a_file_at_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "data").write_text("x")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        prepare_data_dir(tmp_path / "data")


def test_a_name_that_somebody_took_first_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".token.new").symlink_to(tmp_path / "precious")
    write_private(tmp_path / "token", b"secret")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "token").read_bytes() == b"secret"
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        open_private(tmp_path / "lock", os.O_RDWR | os.O_NOFOLLOW)
    os.close(create_private(tmp_path / "lock"))
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
async def test_what_another_user_put_into_a_shared_folder_is_not_used(tmp_path):
    async with open_store(tmp_path / "theirs"):
        pass
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    (folder / "token").write_text("x" * 40)
    (tmp_path / "theirs" / "relay.db").rename(folder / "relay.db")
    for name in ("token", "relay.db"):
        os.chown(folder / name, 12345, 12345)
        assert is_of_another_user(folder / name)
    with pytest.raises(StoreError, match="belongs to another user"):
        load_token(folder)
    with pytest.raises(StoreError, match="belongs to another user"):
        async with open_store(folder):
            pass
    # root in the folder of a user: what lies there is the user's.
    os.chown(folder, 12345, 12345)
    assert not is_of_another_user(folder / "token")
    assert find_folder_risks(folder)[0] == "belongs to user 12345"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o750, "can be read by other users (mode 0750); chmod 700 "),
        (0o711, "can be read by other users (mode 0711); chmod 700 "),
        (0o777, "can be written by other users (mode 0777); chmod 700 "),
        (0o1777, "is shared with all users (mode 1777); name a data_dir of your own"),
    ],
)
def test_what_is_unsafe_about_a_folder_is_said(tmp_path, mode, words):
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    found = check_data_folder(folder)
    assert found.state == "warning"
    assert f"{found.detail}; {found.fix}".startswith(f"{folder} {words}")
    assert rights(folder) == mode


def test_a_folder_that_is_a_link_is_said(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "data").symlink_to(tmp_path / "real")
    assert check_data_folder(tmp_path / "data").detail == f"{tmp_path}/data is a link to {tmp_path}/real"
    assert check_data_folder(tmp_path / "real").state == "ok"
    assert check_data_folder(tmp_path / "nowhere").state == "ok"


@pytest.mark.parametrize("text", ["", "  ", "a\x00b", "a\nb", "~nobody-of-that-name/x"])
def test_a_data_dir_that_names_no_folder_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--data-dir: "):
        load(None, Overrides(data_dir=text))
    (tmp_path / "relay.toml").write_text(f"[server]\ndata_dir = {json.dumps(text)}\n")
    with pytest.raises(ConfigError, match=r"server\.data_dir: "):
        load(None)


def test_a_relative_data_dir_counts_from_the_file_or_from_where_one_stands(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "project" / "relay.toml"
    file.write_text('[server]\ndata_dir = "data"\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(file).server.data_dir == tmp_path / "project" / "data"
    assert load(file, Overrides(data_dir="data")).server.data_dir == tmp_path / "elsewhere" / "data"


async def test_a_vault_is_private_too(tmp_path):
    with umask(0o000):
        Vault(tmp_path / "data" / "vault", QUICK_KDF).create(Secret("p", "correct horse battery"))
    assert set(files_in(tmp_path / "data").values()) == {0o600}
