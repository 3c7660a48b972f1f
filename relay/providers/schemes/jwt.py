"""A signed JSON Web Token in a header, whose claims hold a hash of the body (Plaid)."""

import base64
import binascii
import dataclasses
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePrivateNumbers,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from relay.errors import SigningError
from relay.model.event import Capture, Check, Verification
from relay.model.payload import PayloadError, parse_json
from relay.model.secret import Secret
from relay.model.text import escape_unprintable
from relay.providers.schemes.base import HEADER_STEP, UnreadableError, build_unchecked, build_verification
from relay.providers.schemes.key_pairs import (
    ONLY_THE_PROVIDER,
    KeyPair,
    PairKind,
    load_key,
    load_private_key,
    parse_der,
)
from relay.providers.schemes.locations import Location, read_single
from relay.providers.schemes.timestamps import Time

_MAX_LENGTH = 8_192
_LOCAL_KEY_ID = "relay-local"  # the id of a key pair of relay's own
_HALF_SIZE = 32  # bytes of each of the two numbers of an ES256 signature


class _ParsedJwt(NamedTuple):
    kid: str
    claims: dict[str, Any]
    text: bytes
    signature: bytes


class _JwtKey(NamedTuple):
    pair: KeyPair
    kid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """A token signed with ES256 and nothing else; `claim` is the body's SHA-256 in hex, `iat` its time.

    The secret is the provider's public key as a JWK, or PEM; with its `d` member it can sign.
    """

    place: Location
    claim: str = "request_body_sha256"
    time: Time = field(default_factory=lambda: Time(past=300, future=300))
    name: str = ""

    @property
    def title(self) -> str:
        """Return the algorithm."""
        return "JWT ES256"

    def presented(self, capture: Capture) -> bool:
        """Say whether the request carries a token, right or wrong."""
        return any(value.strip() for value in self.place.read(capture, capture.payload))

    def usable(self, secret: Secret) -> bool:
        """Say whether the secret is a P-256 key."""
        return _load_jwt_key(secret) is not None

    def claims(self, secret: Secret) -> bool:
        """Say that no secret is only ever this scheme's."""
        del secret
        return False

    @property
    def pair_kind(self) -> PairKind:
        """Return the kind of key."""
        return "p256"

    def cannot_sign(self, secret: Secret) -> bool:
        """Say whether the secret is a public key."""
        key = _load_jwt_key(secret)
        return key is not None and key.pair.private is None

    def own_pair(self, pem: str, secrets: tuple[Secret, ...]) -> str:
        """Return the key as a JWK with its `d`."""
        del secrets
        key = load_private_key(pem)
        assert isinstance(key, EllipticCurvePrivateKey)
        d = key.private_numbers().private_value.to_bytes(_HALF_SIZE, "big")
        return json.dumps({**_export_jwk(key), "d": _encode_base64url(d).decode()})

    def public_half(self, pem: str) -> str:
        """Return the key as a JWK."""
        key = load_private_key(pem)
        assert isinstance(key, EllipticCurvePrivateKey)
        return json.dumps(_export_jwk(key))

    def tolerating(self, past: float | None, future: float | None) -> Self:
        """Return the scheme with other age limits."""
        return dataclasses.replace(self, time=dataclasses.replace(self.time, past=past, future=future))

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Judge a capture against any of `secrets`. Garbage gives INVALID, never an exception."""
        if not secrets:
            return build_unchecked()
        checks: list[Check] = []
        try:
            reason = self._judge(secrets, capture, now, checks)
        except UnreadableError as problem:
            checks.append(problem.check)
            reason = problem.reason
        return build_verification(reason, checks)

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture with a token of its own. Raises SigningError for a public key."""
        key = _load_jwt_key(secret)
        if key is None or not isinstance(key.pair.private, EllipticCurvePrivateKey):
            raise SigningError(
                ONLY_THE_PROVIDER if key else f"{secret.reference or 'The secret'} is not a JWK on P-256.",
                hint="send the original signature, or configure a key pair of your own (a JWK with its d)",
            )
        header = {"alg": "ES256", "kid": key.kid, "typ": "JWT"}
        claims = {"iat": int(now.timestamp()), self.claim: hashlib.sha256(capture.body).hexdigest()}
        text = b".".join(
            _encode_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)
        )
        r, s = decode_dss_signature(key.pair.private.sign(text, ECDSA(SHA256())))
        signature = r.to_bytes(_HALF_SIZE, "big") + s.to_bytes(_HALF_SIZE, "big")
        return self.place.write(capture, text + b"." + _encode_base64url(signature))

    def _judge(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime, checks: list[Check]) -> str:
        token = _parse_jwt(read_single(self.place, capture, capture.payload), self.place.title)
        checks.append(Check(name=HEADER_STEP, passed=True, detail=self.place.title, result="Present"))
        late, age = self.time.judge(str(token.claims.get("iat", "")).encode(), now)
        checks.append(age)
        fits = self._hash_fits(token, capture, checks)
        return self._compare(secrets, token, checks) or ("" if fits else "signature_mismatch") or late

    def _hash_fits(self, token: _ParsedJwt, capture: Capture, checks: list[Check]) -> bool:
        claimed = str(token.claims.get(self.claim, "")).encode("utf-8", "surrogatepass")
        passed = hmac.compare_digest(claimed, hashlib.sha256(capture.body).hexdigest().encode())
        detail = f"{self.claim} {'fits' if passed else 'does not fit'} {len(capture.body):,} body bytes"
        result = "Match" if passed else "No match"
        checks.append(Check(name="Body hash", passed=passed, detail=detail, result=result))
        return passed

    def _compare(self, secrets: tuple[Secret, ...], token: _ParsedJwt, checks: list[Check]) -> str:
        keys = [key for secret in secrets if (key := _load_jwt_key(secret)) is not None]
        if not keys:
            detail = "no secret is a JWK on P-256"
            checks.append(Check(name=self.title, passed=False, detail=detail, result="Unusable"))
            return "secret_unusable"
        named = [key for key in keys if not (key.kid and token.kid) or key.kid == token.kid]
        if any(_is_signed_by(key, token) for key in named):
            checks.append(Check(name=self.title, passed=True, detail="the key fits", result="Match"))
            return ""
        detail = (
            "the key gives no such signature" if named else f"no key has the id {escape_unprintable(token.kid, 60)}"
        )
        checks.append(Check(name=self.title, passed=False, detail=detail, result="No match"))
        return "signature_mismatch"


def _parse_jwt(text: bytes, title: str) -> _ParsedJwt:
    parts = text.split(b".")
    pieces = [_decode_base64url(part) for part in parts] if len(parts) == 3 and len(text) <= _MAX_LENGTH else []
    if len(pieces) != 3 or None in pieces:
        raise UnreadableError("header_malformed", f"{title} is not a token of three parts")
    header, claims = (_parse_segment(piece or b"", title) for piece in pieces[:2])
    # Only one algorithm: "none", or a public key taken for an HMAC secret, must never pass.
    if header.get("alg") != "ES256":
        raise UnreadableError("header_malformed", f"{title} is not signed with ES256")
    kid = header.get("kid")
    return _ParsedJwt(kid if isinstance(kid, str) else "", claims, b".".join(parts[:2]), pieces[2] or b"")


def _parse_segment(data: bytes, title: str) -> dict[str, Any]:
    try:
        value = parse_json(data)
    except PayloadError:
        value = None
    if not isinstance(value, dict):
        raise UnreadableError("header_malformed", f"{title} does not hold JSON")
    return value


def _is_signed_by(key: _JwtKey, token: _ParsedJwt) -> bool:
    raw = token.signature
    if len(raw) != 2 * _HALF_SIZE or not isinstance(key.pair.public, EllipticCurvePublicKey):
        return False
    der = encode_dss_signature(int.from_bytes(raw[:_HALF_SIZE], "big"), int.from_bytes(raw[_HALF_SIZE:], "big"))
    try:
        key.pair.public.verify(der, token.text, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True


def _load_jwt_key(secret: Secret) -> _JwtKey | None:
    text = secret.reveal().strip()
    if not text.startswith("{"):
        der = parse_der(text)
        pair = load_key(der) if der is not None else None
        return _JwtKey(pair, "") if pair and isinstance(pair.public, EllipticCurvePublicKey) else None
    try:
        jwk = parse_json(text)
    except PayloadError:
        return None
    # Plaid's API wraps the key in {"key": ...}.
    inner = jwk.get("key", jwk) if isinstance(jwk, dict) else None
    return _load_jwk(inner) if isinstance(inner, dict) else None


def _load_jwk(jwk: dict[str, Any]) -> _JwtKey | None:
    numbers = [_decode_base64url(str(jwk.get(name, "")).encode("utf-8", "replace")) for name in ("x", "y")]
    secret = _decode_base64url(str(jwk["d"]).encode("utf-8", "replace")) if "d" in jwk else None
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or None in numbers:
        return None
    x, y = (int.from_bytes(number or b"", "big") for number in numbers)
    public = EllipticCurvePublicNumbers(x, y, SECP256R1())
    kid = jwk.get("kid")
    try:
        private = EllipticCurvePrivateNumbers(int.from_bytes(secret, "big"), public).private_key() if secret else None
        return _JwtKey(KeyPair(public=public.public_key(), private=private), kid if isinstance(kid, str) else "")
    except ValueError:
        return None


def _export_jwk(key: EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    x, y = (_encode_base64url(number.to_bytes(_HALF_SIZE, "big")).decode() for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": _LOCAL_KEY_ID, "x": x, "y": y}


def _encode_base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decode_base64url(text: bytes) -> bytes | None:
    standard = text.translate(bytes.maketrans(b"-_", b"+/")) + b"=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(standard, strict_mode=True) if text else None
    except binascii.Error:
        return None
