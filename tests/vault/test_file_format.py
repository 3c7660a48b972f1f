"""The file: what is sealed comes back, and whatever was changed is noticed, whoever changed it."""

import json
import string
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import QUICK_KDF
from relay.errors import WrongPasswordError
from relay.vault import file_format
from relay.vault.file_format import (
    DamagedError,
    Kdf,
    UnsafeKdfError,
    decode_file,
    encode_file,
    read_kdf,
    recommended_kdf,
    seal_vault,
    unseal_vault,
)

PASSWORD = b"four words no sentence"
SECRETS = {"stripe_key": "whsec_canary_value", "smtp.password": "p\u00e4ss\nword", "a-b": "x"}
FILE = encode_file(seal_vault(SECRETS, PASSWORD, QUICK_KDF))
names = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=64)
values = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@pytest.fixture(scope="module", autouse=True)
def _derive_once():
    """Derive the key of a password and a salt once: hundreds of files here differ in other bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kdf, "derive", cache(Kdf.derive))
        yield


@given(st.dictionaries(names, values, max_size=8), st.binary(min_size=1, max_size=40))
def test_what_is_sealed_comes_back(secrets, password):
    sealed = decode_file(encode_file(seal_vault(secrets, password, QUICK_KDF)))
    assert sealed.names == tuple(sorted(secrets))
    assert unseal_vault(sealed, password, "v") == secrets


def test_names_are_visible_and_values_are_not():
    plain = json.loads(FILE)
    assert plain["names"] == ["a-b", "smtp.password", "stripe_key"]
    assert b"whsec_canary_value" not in FILE
    assert b"canary" not in file_format.b64decode(plain["data"])


def test_a_value_shows_in_the_size_of_the_file_only_by_steps():
    sizes = {len(encode_file(seal_vault({"a": "x" * length}, PASSWORD, QUICK_KDF))) for length in range(1, 240, 7)}
    assert len(sizes) == 1


def test_every_write_has_a_salt_and_a_nonce_of_its_own():
    first, second = (json.loads(encode_file(seal_vault(SECRETS, PASSWORD, QUICK_KDF))) for _ in range(2))
    for key in ("salt", "nonce", "data"):
        assert first[key] != second[key]


@settings(max_examples=120)
@given(st.integers(0, len(FILE) * 8 - 1))
def test_any_flipped_bit_is_noticed(bit):
    changed = bytearray(FILE)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises((DamagedError, UnsafeKdfError, WrongPasswordError)):
        unseal_vault(decode_file(bytes(changed)), PASSWORD, "v")


def test_a_flipped_bit_in_every_byte_is_noticed():
    for place in range(len(FILE)):
        changed = bytearray(FILE)
        changed[place] ^= 1 << place % 8
        try:
            sealed = decode_file(bytes(changed))
        except (DamagedError, UnsafeKdfError):
            continue
        with pytest.raises(WrongPasswordError):
            unseal_vault(sealed, PASSWORD, "v")


@settings(max_examples=200)
@given(st.integers(0, len(FILE) - 1))
def test_a_truncated_file_is_damaged(length):
    with pytest.raises(DamagedError):
        decode_file(FILE[:length])


@settings(max_examples=300)
@given(
    st.binary(max_size=400)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["format", "version", "kdf", "salt", "cipher", "nonce", "names", "data", "x"]),
                inner,
                max_size=9,
            )
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_other_file_is_damaged_and_nothing_worse(content):
    with pytest.raises(DamagedError):
        decode_file(content)


def changed(**more):
    return json.dumps(json.loads(FILE) | more, indent=1).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is empty"),
        (b"\0" * 100, "not whole JSON"),
        (FILE[:-30], "not whole JSON"),
        (b"[]", "some other file"),
        (b'{"format": "something else"}', "some other file"),
        (changed(version=2), "its version is unknown"),
        (changed(version=True), "its version is unknown"),
        (changed(cipher="AES-256-CBC"), "are not those of a vault"),
        (changed(more=1), "are not those of a vault"),
        (changed(names=["b", "a"]), "out of order"),
        (changed(names=["../x"]), "not valid"),
        (changed(nonce="AAAA"), "too little of it"),
        (changed(data="*"), "not base64"),
        (FILE.replace(b"\n", b"\r\n"), "not written as relay writes it"),
        (FILE + b" ", "not written as relay writes it"),
        (b" " * (file_format.LARGEST_FILE + 1), "larger than"),
    ],
)
def test_what_is_damaged_says_how(content, why):
    with pytest.raises(DamagedError, match=why):
        decode_file(content)


@pytest.mark.parametrize(
    "kdf",
    [
        {"name": "argon2id", "t": 0, "m": 262144, "p": 4},
        {"name": "argon2id", "t": 11, "m": 262144, "p": 4},
        {"name": "argon2id", "t": 3, "m": 19 * 1024 - 1, "p": 4},
        {"name": "argon2id", "t": 3, "m": 2**40, "p": 4},
        {"name": "argon2id", "t": 3, "m": 262144, "p": 17},
        {"name": "argon2id", "t": 3, "m": 262144.0, "p": 4},
        {"name": "argon2id", "t": True, "m": 262144, "p": 4},
        {"name": "argon2id", "t": 3, "m": 262144},
        {"name": "argon2id", "t": 3, "m": 262144, "p": 4, "n": 1},
        {"name": "argon2i", "t": 3, "m": 262144, "p": 4},
        {"name": "scrypt", "n": 2**40, "r": 8, "p": 1},
        {"name": "scrypt", "n": 2**14, "r": 8, "p": 1},
        {"name": "scrypt", "n": 2**17 + 1, "r": 8, "p": 1},
        {"name": "scrypt", "n": 2**17, "r": 9, "p": 1},
        {"name": "scrypt", "n": 2**17, "r": 8, "p": 5},
        {"name": ["scrypt"], "n": 2**17, "r": 8, "p": 1},
        {},
    ],
)
@pytest.mark.usefixtures("usual_vaults")
def test_numbers_out_of_range_are_refused_before_anything_is_computed(kdf):
    with pytest.raises(UnsafeKdfError):
        decode_file(changed(kdf=kdf))


def test_a_short_salt_is_refused():
    with pytest.raises(UnsafeKdfError):
        decode_file(changed(salt="AAAA"))


def test_lowered_numbers_that_are_in_range_do_not_open_it():
    strong = encode_file(seal_vault(SECRETS, PASSWORD, replace(QUICK_KDF, numbers=(("t", 2), ("m", 128), ("p", 1)))))
    plain = json.loads(strong)
    plain["kdf"]["t"] = 1
    with pytest.raises(WrongPasswordError, match="wrong password, or the vault was changed"):
        unseal_vault(decode_file(json.dumps(plain, indent=1).encode() + b"\n"), PASSWORD, "v")


def test_a_name_that_was_changed_does_not_open_it():
    sealed = decode_file(changed(names=["a-b", "smtp.password", "stripe_kez"]))
    with pytest.raises(WrongPasswordError):
        unseal_vault(sealed, PASSWORD, "v")


@pytest.mark.usefixtures("usual_vaults")
def test_scrypt_serves_where_argon2_is_missing():
    usual = recommended_kdf(argon2=True)
    assert (usual.name, dict(usual.numbers)) == ("argon2id", {"t": 3, "m": 262144, "p": 4})
    spare = recommended_kdf(argon2=False)
    assert (spare.name, dict(spare.numbers)) == ("scrypt", {"n": 2**17, "r": 8, "p": 1})
    assert spare.salt != recommended_kdf(argon2=False).salt
    light = Kdf(name="scrypt", salt=bytes(16), numbers=(("n", 2**15), ("r", 8), ("p", 1)))
    sealed = decode_file(encode_file(seal_vault(SECRETS, PASSWORD, light)))
    assert sealed.kdf.name == "scrypt"
    assert unseal_vault(sealed, PASSWORD, "v") == SECRETS
    assert read_kdf({"name": spare.name, **dict(spare.numbers)}, spare.salt) == spare
