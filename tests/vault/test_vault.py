"""The vault as a file of one's own: written whole or not at all, for its owner alone, by one at a time."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from builders import LEAST_KDF
from relay.errors import NotFoundError, UsageError, VaultError, VaultLockedError, WrongPasswordError
from relay.model.secret import Secret
from relay.vault.file_format import Kdf
from relay.vault.storage import LARGEST_VALUE, SHORTEST_PASSWORD, Vault, VaultState


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "vault"


@pytest.fixture
def vault(path, quick, password):
    vault = Vault(path, quick)
    vault.create(password)
    return vault


def test_a_vault_is_none_then_open_then_locked_then_open_again(path, quick, password):
    vault = Vault(path, quick)
    assert (vault.state, vault.names, vault.problem) == (VaultState.NONE, (), "")
    vault.create(password)
    vault.put("stripe_key", "whsec_1")
    assert (vault.state, vault.names) == (VaultState.UNLOCKED, ("stripe_key",))
    assert vault.find("stripe_key").reveal() == "whsec_1"
    assert vault.find("stripe_key").reference == "vault:stripe_key"
    vault.lock()
    assert (vault.state, vault.names) == (VaultState.LOCKED, ("stripe_key",))
    assert (vault.find("stripe_key"), vault.secrets) == (None, ())
    other = Vault(path)
    assert (other.state, other.names) == (VaultState.LOCKED, ("stripe_key",))
    other.unlock(password)
    assert other.find("stripe_key").reveal() == "whsec_1"


def test_writing_needs_it_open_and_a_wrong_password_changes_nothing(vault, path):
    vault.put("a", "1")
    before = path.read_bytes()
    closed = Vault(path)
    with pytest.raises(VaultLockedError):
        closed.put("b", "2")
    with pytest.raises(WrongPasswordError, match="wrong password, or the vault was changed") as caught:
        closed.unlock(Secret("x", "some other password"))
    assert closed.state is VaultState.LOCKED
    assert path.read_bytes() == before
    assert caught.value.exit_code == 3


def test_a_password_is_the_same_however_its_letters_are_composed(path, quick):
    Vault(path, quick).create(Secret("x", "p\u00e4ssword in german"))
    Vault(path).unlock(Secret("x", "pa\u0308ssword in german"))


@pytest.mark.parametrize("text", ["", "short", "x" * (SHORTEST_PASSWORD - 1), "a\u0308" * 9, "x" * 1025])
def test_a_password_that_is_too_short_or_endless_makes_no_vault(path, quick, text):
    with pytest.raises(UsageError, match="the password"):
        Vault(path, quick).create(Secret("x", text))
    assert not path.exists()


def test_a_second_vault_is_never_made_over_the_first(vault, path, password, quick):
    vault.put("a", "1")
    before = path.read_bytes()
    with pytest.raises(VaultError, match="there is a vault already"):
        Vault(path, quick).create(password)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 65, "\x1b[31m", "\u00e4", "a\n"])
def test_a_name_that_is_none_is_refused(vault, name):
    with pytest.raises(UsageError, match="secret names are 1-64 of A-Z a-z 0-9"):
        vault.put(name, "1")
    assert vault.names == ()


@pytest.mark.parametrize("value", ["", " \n", "\ud800canary", "canary" * LARGEST_VALUE])
def test_a_value_that_cannot_be_kept_is_refused_and_not_repeated(vault, value):
    with pytest.raises(UsageError) as caught:
        vault.put("a", value)
    assert "canary" not in str(caught.value) + caught.value.hint


def test_what_is_removed_is_gone_and_what_is_not_there_is_named(vault, path):
    vault.put("a", "1")
    vault.remove("a")
    assert Vault(path).names == ()
    with pytest.raises(NotFoundError, match="holds no secret 'a'"):
        vault.remove("a")


def test_another_password_closes_the_door_on_the_old_one(vault, path, password):
    vault.put("a", "1")
    new = Secret("x", "quite another password")
    vault.change_password(new)
    vault.put("b", "2")
    with pytest.raises(WrongPasswordError):
        Vault(path).unlock(password)
    again = Vault(path)
    again.unlock(new)
    assert [secret.reveal() for secret in again.secrets] == ["1", "2"]


def test_another_password_brings_the_numbers_of_today(path, password, quick):
    old = Vault(path, Kdf(name="scrypt", salt=bytes(16), numbers=(("n", 2**15), ("r", 8), ("p", 1))))
    old.create(password)
    old.put("a", "1")
    assert json.loads(path.read_text())["kdf"]["name"] == "scrypt"
    new = Vault(path, quick)
    new.unlock(password)
    new.put("b", "2")
    assert json.loads(path.read_text())["kdf"]["name"] == "scrypt"
    new.change_password(password)
    assert json.loads(path.read_text())["kdf"]["name"] == "argon2id"


def test_no_mask_opens_the_file_to_others(path, quick, password):
    old = os.umask(0)
    try:
        vault = Vault(path, quick)
        vault.create(password)
        vault.put("a", "1")
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"vault": 0o600, "vault.lock": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660, 0o602, 0o610])
def test_a_file_that_others_may_open_is_refused_with_the_line_that_mends_it(vault, path, password, mode):
    path.chmod(mode)
    with pytest.raises(VaultError, match="is open to others") as caught:
        Vault(path).unlock(password)
    assert caught.value.hint == f"chmod 600 {path}"
    assert Vault(path).problem == f"vault {path} is open to others (mode {mode:04o}); chmod 600 {path}"
    assert Vault(path).state is VaultState.LOCKED
    path.chmod(0o600)
    Vault(path).unlock(password)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"format": "relay vault", "version": 9}'])
def test_a_damaged_file_is_named_and_left_as_it_is(path, password, quick, content):
    path.parent.mkdir()
    path.touch(mode=0o600)
    path.write_bytes(content)
    vault = Vault(path, quick)
    for attempt in (lambda: vault.unlock(password), lambda: vault.create(password)):
        with pytest.raises(VaultError):
            attempt()
    assert vault.problem.startswith(f"vault {path} is damaged: ")
    assert "it was left as it is" in vault.problem
    assert (vault.state, vault.names) == (VaultState.LOCKED, ())
    assert path.read_bytes() == content


def test_unsafe_numbers_are_refused_at_once(vault, path, password):
    plain = json.loads(path.read_text())
    plain["kdf"] = {"name": "scrypt", "n": 2**40, "r": 8, "p": 1}
    path.write_text(json.dumps(plain, indent=1) + "\n")
    with pytest.raises(VaultError, match="asks for unsafe parameters"):
        Vault(path).unlock(password)


def test_what_is_no_file_is_refused_and_does_not_hang(path, password):
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(VaultError, match="is not a file"):
        Vault(path).unlock(password)
    path.unlink()
    path.mkdir()
    with pytest.raises(VaultError):
        Vault(path).unlock(password)


def test_a_link_stays_a_link(vault, path, tmp_path, password):
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    vault.put("a", "1")
    assert path.is_symlink()
    assert Vault(elsewhere).names == ("a",)


def test_writers_at_the_same_time_lose_nothing(path, quick, password):
    Vault(path, quick).create(password)

    def write(number):
        vault = Vault(path, quick)
        vault.unlock(password)
        vault.put(f"n{number}", str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(24)))
    assert len(Vault(path).names) == 24


def test_an_open_vault_sees_what_another_program_wrote_once_it_writes_or_opens_again(vault, path, password, quick):
    other = Vault(path, quick)
    other.unlock(password)
    other.put("theirs", "1")
    assert vault.find("theirs") is None
    vault.put("ours", "2")
    assert vault.names == ("ours", "theirs")
    other.unlock(password)
    assert other.find("ours").reveal() == "2"


WRITER = """
import sys
from pathlib import Path
from relay.model.secret import Secret
from relay.vault.storage import Vault
vault = Vault(Path(sys.argv[1]))
vault.unlock(Secret("x", sys.argv[2]))
print("ready", flush=True)
for number in range(100000):
    vault.put("n", "x" * (number % 2 * 5000 + 1))
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_vault(path, password):
    vault = Vault(path, LEAST_KDF)
    vault.create(password)
    for delay in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path), password.reveal()], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        stamp = path.stat().st_mtime_ns
        for _ in range(delay * 7 + 1):
            while path.stat().st_mtime_ns == stamp:
                time.sleep(0.0002)
            stamp = path.stat().st_mtime_ns
        process.send_signal(signal.SIGKILL)
        process.communicate()
        again = Vault(path)
        again.unlock(password)
        assert set(again.find("n").reveal()) == {"x"}
    vault.put("a", "1")
    assert sorted(file.name for file in path.parent.iterdir()) == ["vault", "vault.lock"]


def test_nothing_that_is_printed_shows_a_value_or_the_password(vault, password):
    value = Secret("x", "canary-value")
    vault.put("a", value.reveal())
    shown = [repr(vault), str(vault), repr(vault.find("a")), str(vault.find("a")), f"{vault.secrets}"]
    shown.append(repr(password))
    for wrong in (lambda: vault.put("a b", value.reveal()), lambda: vault.unlock(value)):
        try:
            wrong()
        except (UsageError, WrongPasswordError) as error:
            shown += [repr(error), "".join(traceback.format_exception(error))]
    assert "canary" not in "".join(shown)
    assert password.reveal() not in "".join(shown)
