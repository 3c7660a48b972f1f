"""The file format of the vault: key derivation, visible names, encrypted values, all of it authenticated."""

import json
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from relay.errors import VaultError, WrongPasswordError
from relay.model.payload import PayloadError, parse_json
from relay.model.values import dataclass

KEY_BYTES = 32  # bytes: AES-256
SALT_BYTES = 16  # bytes
_MIB = 1024  # Argon2 counts memory in KiB


class UnsafeKdfError(Exception):
    """Parameters that are refused: too weak, or chosen to exhaust this computer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kdf:
    """A key derivation: `argon2id` or `scrypt`, with its parameters and its salt.

    Argon2id makes `t` passes over `m` KiB of memory in `p` lanes, scrypt takes n, r and p.
    """

    name: str
    salt: bytes
    numbers: tuple[tuple[str, int], ...]

    def derive(self, password: bytes) -> bytes:
        """Return the key. Raises UnsupportedAlgorithm, and MemoryError if there is too little memory."""
        costs = dict(self.numbers)
        if self.name == "scrypt":
            return Scrypt(salt=self.salt, length=KEY_BYTES, n=costs["n"], r=costs["r"], p=costs["p"]).derive(password)
        kdf = Argon2id(
            salt=self.salt, length=KEY_BYTES, iterations=costs["t"], lanes=costs["p"], memory_cost=costs["m"]
        )
        return kdf.derive(password)


# RFC 9106 names t=3, p=4, m=64 MiB as its second choice; a vault is opened rarely, so it takes 256 MiB: 0.45 s on two
# cores. scrypt follows OWASP's recommendation: 128 MiB and 0.4 s.
_RECOMMENDED = {"argon2id": {"t": 3, "m": 256 * _MIB, "p": 4}, "scrypt": {"n": 2**17, "r": 8, "p": 1}}
_KDF_RANGES = {
    "argon2id": {"t": (1, 10), "m": (19 * _MIB, 1024 * _MIB), "p": (1, 16)},
    "scrypt": {"n": (2**15, 2**20), "r": (8, 8), "p": (1, 4)},
}


def recommended_kdf(*, argon2: bool | None = None) -> Kdf:
    """Return the key derivation of a new vault; `argon2` is whether this computer has Argon2id, None detects it."""
    name = "argon2id" if (_has_argon2() if argon2 is None else argon2) else "scrypt"
    return Kdf(name=name, salt=secrets.token_bytes(SALT_BYTES), numbers=tuple(_RECOMMENDED[name].items()))


def read_kdf(plain: Mapping[str, Any], salt: bytes) -> Kdf:
    """Return the key derivation of a file.

    Raises UnsafeKdfError for numbers out of range, before anything is computed with them: lowered, they
    would help an attacker, and raised they would take all the memory there is.
    """
    name = str(plain.get("name"))
    ranges = _KDF_RANGES.get(name, {})
    if not ranges or set(plain) != {"name", *ranges} or len(salt) != SALT_BYTES:
        raise UnsafeKdfError
    if any(type(plain[key]) is not int or not least <= plain[key] <= most for key, (least, most) in ranges.items()):
        raise UnsafeKdfError
    if name == "scrypt" and plain["n"].bit_count() != 1:
        raise UnsafeKdfError
    return Kdf(name=name, salt=salt, numbers=tuple((key, plain[key]) for key in ranges))


def _has_argon2() -> bool:
    # It needs OpenSSL 3.2 or later, which cryptography's wheels include and some systems lack.
    try:
        Argon2id(salt=bytes(SALT_BYTES), length=KEY_BYTES, iterations=1, lanes=1, memory_cost=8)
    except UnsupportedAlgorithm:
        return False
    return True


LARGEST_FILE = 1024 * 1024  # bytes of a whole file
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
NAME_RULE = "secret names are 1-64 of A-Z a-z 0-9 . _ -"

_FORMAT = "relay vault"
_VERSION = 1
_CIPHER = "AES-256-GCM"
_NONCE = 12  # bytes
_STEP = 256  # bytes: contents are padded to a multiple, so that a file's size reveals little about its values
_KEYS = {"format", "version", "kdf", "salt", "cipher", "nonce", "names", "data"}


class DamagedError(Exception):
    """The bytes are not a vault; the message says why, and is not shown unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedVault:
    """A vault as stored in its file: `names` can be read by anyone, `data` with the password."""

    kdf: Kdf
    nonce: bytes
    names: tuple[str, ...]
    data: bytes

    def header(self) -> dict[str, object]:
        """Return everything except the data: the additional authenticated data of the cipher."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "kdf": {"name": self.kdf.name, **dict(self.kdf.numbers)},
            "salt": _encode_base64(self.kdf.salt),
            "cipher": _CIPHER,
            "nonce": _encode_base64(self.nonce),
            "names": list(self.names),
        }


def seal_vault(values: Mapping[str, str], password: bytes, like: Kdf) -> SealedVault:
    """Return the values sealed under a password, with a fresh salt and a fresh nonce.

    `like` gives the parameters. Raises MemoryError if there is too little memory.
    """
    names = tuple(sorted(values))
    plain = json.dumps({name: values[name] for name in names}, separators=(",", ":")).encode("ascii")
    padded = plain.ljust(-(-len(plain) // _STEP) * _STEP)
    salted = replace(like, salt=secrets.token_bytes(SALT_BYTES))
    open_ = SealedVault(kdf=salted, nonce=secrets.token_bytes(_NONCE), names=names, data=b"")
    cipher = AESGCM(salted.derive(password))
    data = cipher.encrypt(open_.nonce, padded, _dump_header(open_.header()))
    return replace(open_, data=data)


def unseal_vault(sealed: SealedVault, password: bytes, name: str) -> dict[str, str]:
    """Return the values; `name` is the vault's name in messages.

    Raises WrongPasswordError, and VaultError where this computer cannot derive the key.
    """
    try:
        key = sealed.kdf.derive(password)
    except MemoryError as error:
        raise VaultError(f"there is not enough memory to open {name}", hint="free 256 MiB") from error
    except UnsupportedAlgorithm as error:
        raise VaultError(
            f"{name} needs Argon2id, which this Python's cryptography lacks",
            hint="install cryptography from its wheel: pip install --force-reinstall cryptography",
        ) from error
    try:
        plain = AESGCM(key).decrypt(sealed.nonce, sealed.data, _dump_header(sealed.header()))
    except InvalidTag:
        # Without its cause, which adds nothing.
        raise WrongPasswordError(
            "wrong password, or the vault was changed", hint="a vault has no other way in"
        ) from None
    values = parse_json(plain)
    if not isinstance(values, dict) or tuple(sorted(values)) != sealed.names:
        raise VaultError(f"{name} holds something else than its names say")
    return {key: str(value) for key, value in values.items()}


def encode_file(sealed: SealedVault) -> bytes:
    """Return the bytes of the file."""
    whole = sealed.header() | {"data": _encode_base64(sealed.data)}
    return json.dumps(whole, indent=1).encode("ascii") + b"\n"


def decode_file(content: bytes) -> SealedVault:
    """Parse the bytes of a file, which must be exactly as `encode_file` writes them.

    Raises DamagedError saying why they are no vault, UnsafeKdfError for parameters out of range.
    """
    if not content:
        raise DamagedError("it is empty")
    if len(content) > LARGEST_FILE:
        raise DamagedError(f"it is larger than {LARGEST_FILE} bytes")
    try:
        plain = parse_json(content)
    except PayloadError as error:
        raise DamagedError(f"it is not whole JSON ({error.message})") from None
    if not isinstance(plain, dict) or plain.get("format") != _FORMAT:
        raise DamagedError("it is some other file")
    version = plain.get("version")
    if type(version) is not int or version != _VERSION:
        raise DamagedError("its version is unknown to this relay")
    if set(plain) != _KEYS or plain["cipher"] != _CIPHER or not isinstance(plain["kdf"], dict):
        raise DamagedError("its fields are not those of a vault")
    sealed = SealedVault(
        kdf=read_kdf(plain["kdf"], _decode_base64(plain["salt"])),
        nonce=_decode_base64(plain["nonce"], _NONCE),
        names=_read_names(plain["names"]),
        data=_decode_base64(plain["data"]),
    )
    if encode_file(sealed) != content:
        raise DamagedError("it is not written as relay writes it")
    return sealed


def _read_names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) and NAME.fullmatch(item) for item in value):
        raise DamagedError("its names are not valid")
    if sorted(set(value)) != value:
        raise DamagedError("its names are out of order")
    return tuple(value)


def _encode_base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _decode_base64(value: object, length: int | None = None) -> bytes:
    try:
        data = b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not data or (length is not None and len(data) != length):
        raise DamagedError("it holds something that is not base64, or too little of it")
    return data


def _dump_header(header: Mapping[str, object]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")
