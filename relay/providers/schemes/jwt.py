"""A signed JSON Web Token in a header, whose claims contain a hash of the body (Plaid)."""

import dataclasses
import hashlib
import hmac
import json
from dataclasses import field
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

from relay.errors import SigningError
from relay.model.event import Capture, Check
from relay.model.payload import PayloadError, parse_json
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.model.values import dataclass
from relay.providers.schemes.base import HEADER_STEP, RefusalError, SteppedScheme, read_keys
from relay.providers.schemes.content import BODY_HASH_STEP
from relay.providers.schemes.key_pairs import PROVIDER_ONLY, KeyPair, PairKind, load_key, load_private_key
from relay.providers.schemes.locations import Location, read_single
from relay.providers.schemes.timestamps import Time

# PyJWT is imported where it is used: it loads urllib.request and ssl, and only sources with such tokens need it.

_MAX_LENGTH = 8_192
# Plaid's only algorithm (https://plaid.com/docs/api/webhooks/webhook-verification/). Allowing more
# would accept "none", or a public key as the secret of an HMAC.
_ALGORITHM = "ES256"
_LOCAL_KEY = {"alg": _ALGORITHM, "use": "sig", "kid": "relay-local"}  # fields of relay's own JWK


class _Token(NamedTuple):
    text: bytes
    kid: str
    claims: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt(SteppedScheme):
    """A token signed with ES256 and nothing else; `claim` is the body's SHA-256 in hex, `iat` its time.

    The secret is the provider's public key as a JWK, or PEM; with its `d` member it can sign.
    """

    place: Location
    claim: str = "request_body_sha256"
    time: Time = field(default_factory=lambda: Time(past=300, future=300))
    title: ClassVar[str] = "JWT ES256"
    pair_kind: ClassVar[PairKind] = "p256"

    def presented(self, capture: Capture) -> bool:
        return any(value.strip() for value in self.place.read(capture))

    def usable(self, secret: Secret) -> bool:
        return _load_token_key(secret) is not None

    def cannot_sign(self, secret: Secret) -> bool:
        key = _load_token_key(secret)
        return key is not None and key.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        del secrets
        return _export_jwk(load_private_key(pem))

    def public_half(self, pem: str) -> str:
        return _export_jwk(load_private_key(pem).public_key())

    def tolerating(self, past: float | None, future: float | None) -> Self:
        return dataclasses.replace(self, time=dataclasses.replace(self.time, past=past, future=future))

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with a new token. Raises SigningError for a public key."""
        import jwt  # noqa: PLC0415 - see above

        key = _load_token_key(secret)
        if key is None or not isinstance(key.private, EllipticCurvePrivateKey):
            raise SigningError(
                PROVIDER_ONLY if key else f"{secret.reference or 'The secret'} is not a JWK on P-256.",
                hint="send the original signature, or configure a key pair of your own (a JWK with its d)",
            )
        claims = {"iat": int(now.timestamp()), self.claim: hashlib.sha256(capture.body).hexdigest()}
        content = json.dumps(claims, separators=(",", ":")).encode()
        token = jwt.PyJWS().encode(content, key.private, algorithm=_ALGORITHM, headers={"kid": key.label})
        return self.place.write(capture, token.encode())

    def check(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        token = _parse_token(read_single(self.place, capture), self.place.title)
        checks.append(Check(name=HEADER_STEP, passed=True, detail=self.place.title, result="Present"))
        late, age = self.time.check_age(str(token.claims.get("iat", "")).encode(), now)
        claimed = str(token.claims.get(self.claim, "")).encode("utf-8", "surrogatepass")
        fits = hmac.compare_digest(claimed, hashlib.sha256(capture.body).hexdigest().encode())
        detail = f"{self.claim} {'fits' if fits else 'does not fit'} {len(capture.body):,} body bytes"
        body = Check(name=BODY_HASH_STEP, passed=fits, detail=detail, result="Match" if fits else "No match")
        checks += (age, body)
        self._check_signature(secrets, token)
        checks.append(Check(name=self.title, passed=True, detail="the key fits", result="Match"))
        return late if fits else "signature_mismatch"

    def _check_signature(self, secrets: tuple[Secret, ...], token: _Token) -> None:
        keys = read_keys(secrets, _load_token_key, self.title, "no secret is a JWK on P-256")
        named = [key for _, key in keys if not (key.label and token.kid) or key.label == token.kid]
        if not any(_is_signed_by(key, token) for key in named):
            unknown = f"no key has the id {escape_unprintable(token.kid, 60)}"
            detail = "the key gives no such signature" if named else unknown
            raise RefusalError("signature_mismatch", detail, result="No match", step=self.title)


def _parse_token(text: bytes, title: str) -> _Token:
    """Return the unverified content of a token. Raises RefusalError for any algorithm except ES256."""
    import jwt  # noqa: PLC0415 - see above

    try:
        if len(text) > _MAX_LENGTH:
            raise RefusalError("header_malformed", f"{title} is not a token of three parts")
        token = jwt.PyJWS().decode_complete(text, options={"verify_signature": False})
        claims = parse_json(token["payload"])
    except jwt.PyJWTError as error:
        raise RefusalError("header_malformed", f"{title} is not a token of three parts") from error
    except PayloadError:
        claims = None
    if not isinstance(claims, dict):
        raise RefusalError("header_malformed", f"{title} does not hold JSON")
    header = token["header"]
    if header.get("alg") != _ALGORITHM:
        raise RefusalError("header_malformed", f"{title} is not signed with {_ALGORITHM}")
    # RFC 7515, 4.1.11: a token with an unknown critical extension is refused. relay supports none.
    if "crit" in header:
        raise RefusalError("header_malformed", f"{title} has critical headers, which are not known here")
    return _Token(text, header.get("kid", ""), claims)


def _is_signed_by(pair: KeyPair, token: _Token) -> bool:
    import jwt  # noqa: PLC0415 - see above

    assert isinstance(pair.public, EllipticCurvePublicKey)
    try:
        jwt.PyJWS().decode(token.text, pair.public, algorithms=[_ALGORITHM])
    except jwt.PyJWTError:
        return False
    return True


def _load_token_key(secret: Secret) -> KeyPair | None:
    text = secret.reveal().strip()
    if not text.startswith("{"):
        pair = load_key(text)
        return pair if pair and isinstance(pair.public, EllipticCurvePublicKey) else None
    try:
        jwk = parse_json(text)
    except PayloadError:
        return None
    # Plaid's API wraps the key: {"key": {...}, "request_id": ...} of /webhook_verification_key/get.
    inner = jwk.get("key", jwk) if isinstance(jwk, dict) else None
    return _load_jwk(inner) if isinstance(inner, dict) else None


def _load_jwk(jwk: dict[str, Any]) -> KeyPair | None:
    import jwt  # noqa: PLC0415 - see above

    if jwk.get("crv") != "P-256":
        return None
    try:
        # An empty "d" is a public key whose private half was blanked.
        key = jwt.algorithms.ECAlgorithm.from_jwk({name: value for name, value in jwk.items() if name != "d" or value})
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    private = key if isinstance(key, EllipticCurvePrivateKey) else None
    kid = jwk.get("kid")
    public = key if isinstance(key, EllipticCurvePublicKey) else key.public_key()
    return KeyPair(public=public, private=private, label=kid if isinstance(kid, str) else "")


def _export_jwk(key: Any) -> str:
    import jwt  # noqa: PLC0415 - see above

    return json.dumps({**jwt.algorithms.ECAlgorithm.to_jwk(key, as_dict=True), **_LOCAL_KEY})
