"""The token with which a GitHub app asks about itself: a JWT of ten minutes, signed with its private key."""

import base64
import json
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from relay.errors import CredentialError

_BACK = 60  # seconds, against a clock that is ahead of GitHub's
_LASTS = 540


def app_token(pem: str, app: str, now: datetime, reference: str) -> str:
    r"""Return a JWT (RS256) for the app of that id; line ends of `pem` may be written `\n`, as in .env.

    Raises CredentialError naming `reference` for what is no RSA private key.
    """
    try:
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(reference) from error
    if not isinstance(key, RSAPrivateKey):
        raise _no_key(reference)
    seconds = int(now.timestamp())
    claims = {"iat": seconds - _BACK, "exp": seconds + _LASTS, "iss": app}
    signed = b".".join(_part(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return (signed + b"." + _part(key.sign(signed, PKCS1v15(), SHA256()))).decode()


def _part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _no_key(reference: str) -> CredentialError:
    return CredentialError(
        f"{reference} holds no RSA private key", hint="it needs the app's private key as GitHub gave it (PEM)"
    )
