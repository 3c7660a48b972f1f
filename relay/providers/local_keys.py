"""relay's own key pairs, for sources whose provider signs with a private key: created once, in private files."""

import base64
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relay.errors import SigningError
from relay.model.event import Capture, LocalKey, Source, Verdict, VerifyMode
from relay.model.secret import Secret
from relay.platform import make_private_folder, write_private
from relay.providers.schemes.base import Scheme
from relay.providers.schemes.key_pairs import PAIR_CLASSES, PairKind, PrivateKey, load_key
from relay.providers.schemes.one_of import OneOf, PairScheme

# The form of a source's name: no other text may become a file name.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


# A replay can then be signed by SendGrid's, Discord's or PayPal's scheme: the app is configured with
# the public half instead of the provider's key.
class LocalKeyStore:
    """Private keys in a folder, `<source>.pem` in PKCS #8: the folder 0700, each file 0600."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, name: str, kind: PairKind) -> str | None:
        """Return the key of a source as PEM; None if it has none of that kind."""
        if not _NAME.fullmatch(name):
            return None
        try:
            pem = (self._folder / f"{name}.pem").read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            return None
        pair = load_key(pem)
        return pem if pair and pair.private and isinstance(pair.public, PAIR_CLASSES[kind]) else None

    def make(self, name: str, kind: PairKind) -> str:
        """Return the key of a source, created if it has none of that kind.

        Raises SigningError if it cannot be stored.
        """
        if not _NAME.fullmatch(name):
            raise SigningError("This source's name is not a valid file name, so relay stores no key for it.")
        known = self.find(name, kind)
        if known is not None:
            return known
        made = _GENERATORS[kind]().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        try:
            make_private_folder(self._folder)
            write_private(self._folder / f"{name}.pem", made)
        except OSError as error:
            raise SigningError(
                f"relay's local key cannot be kept in {self._folder}: {error.strerror}.", hint="make data_dir writable"
            ) from error
        return made.decode()


_GENERATORS: dict[PairKind, Callable[[], PrivateKey]] = {
    "ed25519": Ed25519PrivateKey.generate,
    # P-256 is the only curve of SendGrid and Plaid.
    "p256": lambda: generate_private_key(SECP256R1()),
    # 2048 bits: enough for a key that signs tests, and quick to create.
    "rsa": lambda: generate_rsa(public_exponent=65537, key_size=2048),
}


def find_pair_scheme(source: Source) -> PairScheme | None:
    """Return the scheme that only the provider can sign for, None if the source's secret can sign.

    A source without any secret counts only if its provider signs in no other way.
    """
    schemes = source.scheme.schemes if isinstance(source.scheme, OneOf) else (source.scheme,)
    of_pairs = [scheme for scheme in schemes if isinstance(scheme, PairScheme)]
    if source.secrets:
        return next((scheme for scheme in of_pairs if scheme.cannot_sign(source.secrets[0])), None)
    return of_pairs[0] if len(of_pairs) == len(schemes) else None


def trust_own_key(source: Source, scheme: PairScheme, pem: str) -> Source:
    """Return the source trusting a private key (PEM) of relay's own besides its secrets."""
    secret = Secret(f"keys/{source.name}.pem", scheme.own_pair(pem, source.secrets))
    return replace(source, local=LocalKey(scheme=scheme, secret=secret, public=scheme.public_half(pem)))


def make_run_secret(source: Source, sample: Capture, now: datetime) -> LocalKey | None:
    """Return a temporary secret for a source without one, tested by signing `sample` with it.

    None for a source that has a secret or expects no signature, and for schemes without secrets that sign.
    """
    scheme = source.scheme
    if scheme is None or source.secrets or source.locked_secrets or source.verify is VerifyMode.OFF:
        return None
    forms = [Secret("a secret that relay made for this run", text) for text in _make_secrets()]
    if isinstance(scheme, Scheme):
        forms.sort(key=scheme.claims_secret, reverse=True)
    for secret in forms:
        try:
            signed = scheme.sign(secret, sample, now)
        except SigningError:
            continue
        if scheme.verify((secret,), signed, now).verdict is Verdict.VERIFIED:
            return LocalKey(scheme=scheme, secret=secret, public="")
    return None


def _make_secrets() -> Iterator[str]:
    """Yield random secrets of 256 bits in the forms of schemes: hex, Svix's, user and password."""
    yield secrets.token_hex(32)
    yield "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    yield f"relay:{secrets.token_hex(32)}"
