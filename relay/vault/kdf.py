"""From a password to a key: Argon2id, or scrypt where that is missing, and which numbers are believed."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

KEY_BYTES = 32  # bytes: AES-256
SALT_BYTES = 16  # bytes
_MIB = 1024  # Argon2 counts memory in KiB


class UnsafeKdfError(Exception):
    """Parameters that are refused: too weak to protect, or made to exhaust this computer."""


class Kdf(Protocol):
    """One way to turn a password into a key, with its numbers and its salt."""

    @property
    def salt(self) -> bytes:
        """Return what makes this key differ from any other of the same password."""
        ...

    def plain(self) -> dict[str, object]:
        """Return name and numbers as the vault's file holds them; the salt is beside them."""
        ...

    def salted(self) -> "Kdf":
        """Return the same numbers with a fresh salt."""
        ...

    def derive(self, password: bytes) -> bytes:
        """Return the key of KEY bytes. Raises UnsupportedAlgorithm, and MemoryError where there is too little."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2:
    """Argon2id with `t` passes, `m` KiB of memory and `p` lanes.

    RFC 9106 names t=3, p=4, m=64 MiB as its second choice; a vault is opened rarely, so it takes 256 MiB:
    0.45 s on two cores.
    """

    salt: bytes
    t: int = 3
    m: int = 256 * _MIB
    p: int = 4

    def plain(self) -> dict[str, object]:
        """Return name and numbers."""
        return {"name": "argon2id", "t": self.t, "m": self.m, "p": self.p}

    def salted(self) -> "Argon2":
        """Return the same with a fresh salt."""
        return replace(self, salt=secrets.token_bytes(SALT_BYTES))

    def derive(self, password: bytes) -> bytes:
        """Return the key."""
        kdf = Argon2id(salt=self.salt, length=KEY_BYTES, iterations=self.t, lanes=self.p, memory_cost=self.m)
        return kdf.derive(password)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScryptKdf:
    """scrypt as OWASP asks for it: N=2^17, r=8, p=1 take 128 MiB and 0.4 s."""

    salt: bytes
    n: int = 2**17
    r: int = 8
    p: int = 1

    def plain(self) -> dict[str, object]:
        """Return name and numbers."""
        return {"name": "scrypt", "n": self.n, "r": self.r, "p": self.p}

    def salted(self) -> "ScryptKdf":
        """Return the same with a fresh salt."""
        return replace(self, salt=secrets.token_bytes(SALT_BYTES))

    def derive(self, password: bytes) -> bytes:
        """Return the key."""
        return Scrypt(salt=self.salt, length=KEY_BYTES, n=self.n, r=self.r, p=self.p).derive(password)


def recommended_kdf(*, argon2: bool | None = None) -> Kdf:
    """Return what a new vault is made with; `argon2` says whether this computer has Argon2id, None asks it."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Argon2(salt=salt) if (_has_argon2() if argon2 is None else argon2) else ScryptKdf(salt=salt)


def read_kdf(plain: Mapping[str, object], salt: bytes) -> Kdf:
    """Return what a file asks for.

    Raises UnsafeError for numbers out of range, before anything is computed with them: lowered, they
    would be a gift to an attacker, and raised they would take all the memory there is.
    """
    numbers = {name: value for name, value in plain.items() if name != "name"}
    kinds: dict[str, tuple[type[Argon2 | ScryptKdf], dict[str, tuple[int, int]]]] = {
        "argon2id": (Argon2, {"t": (1, 10), "m": (19 * _MIB, 1024 * _MIB), "p": (1, 16)}),
        "scrypt": (ScryptKdf, {"n": (2**15, 2**20), "r": (8, 8), "p": (1, 4)}),
    }
    name = plain.get("name")
    if not isinstance(name, str) or name not in kinds:
        raise UnsafeKdfError
    kind, ranges = kinds[name]
    believed = {key: _check_range(numbers.get(key), *ranges[key]) for key in ranges}
    if set(numbers) != set(ranges) or len(salt) != SALT_BYTES:
        raise UnsafeKdfError
    if name == "scrypt" and believed["n"].bit_count() != 1:
        raise UnsafeKdfError
    return kind(salt=salt, **believed)


def _check_range(value: object, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise UnsafeKdfError
    return value


def _has_argon2() -> bool:
    # It needs an OpenSSL from 3.2 on, which the wheels of cryptography bring and some systems do not.
    try:
        Argon2id(salt=bytes(SALT_BYTES), length=KEY_BYTES, iterations=1, lanes=1, memory_cost=8)
    except UnsupportedAlgorithm:
        return False
    return True
