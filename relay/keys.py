"""Key pairs of relay's own, one for a source whose provider alone could sign: made once, for their owner's eyes."""

import re
from pathlib import Path
from typing import Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from relay.errors import SigningError
from relay.files import make_private_folder, write_private

Kind = Literal["ed25519", "p256", "rsa"]
_Private = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey

# The form of a source's name: nothing else may become the name of a file.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLASSES: dict[Kind, type[_Private]] = {
    "ed25519": Ed25519PrivateKey,
    "p256": EllipticCurvePrivateKey,
    "rsa": RSAPrivateKey,
}


class KeyPairs:
    """Private keys in a folder, `<source>.pem` in PKCS #8: the folder 0700, each file 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str, kind: Kind) -> str | None:
        """Return the key of a source as PEM; None while it has none of that kind."""
        if not _NAME.fullmatch(name):
            return None
        try:
            pem = (self._folder / f"{name}.pem").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        return pem if _is_of(pem, kind) else None

    def make(self, name: str, kind: Kind) -> str:
        """Return the key of a source, made now where it has none of that kind.

        Raises SigningError where it cannot be kept.
        """
        if not _NAME.fullmatch(name):
            raise SigningError("This source's name is no name of a file, so relay keeps no key for it.")
        known = self.find(name, kind)
        if known is not None:
            return known
        made = _generate(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            self._keep(self._folder / f"{name}.pem", made)
        except OSError as error:
            raise SigningError(
                f"relay's local key cannot be kept in {self._folder}: {error.strerror}.",
                hint="make data_dir writable",
            ) from error
        return made.decode()

    def _keep(self, path: Path, content: bytes) -> None:
        make_private_folder(self._folder)
        write_private(path, content)


def _generate(kind: Kind) -> _Private:
    match kind:
        case "ed25519":
            return Ed25519PrivateKey.generate()
        case "p256":
            return generate_private_key(SECP256R1())
        case "rsa":
            return generate_rsa(public_exponent=65537, key_size=2048)


def _is_of(pem: str, kind: Kind) -> bool:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    if isinstance(key, EllipticCurvePrivateKey) and not isinstance(key.curve, SECP256R1):
        return False
    return isinstance(key, _CLASSES[kind])
