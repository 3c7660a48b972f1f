"""Chooses one of several schemes for a request, so that a weaker one never replaces a stronger one."""

import dataclasses
from datetime import datetime
from typing import Self

from relay.model.event import Capture, SignatureScheme, Verification
from relay.model.secret import Secret
from relay.model.values import dataclass
from relay.providers.schemes.base import Scheme, build_unchecked
from relay.providers.schemes.encoding import KeyFormat
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.public_key import KeyPairScheme
from relay.providers.schemes.shared_secret import Basic


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf(Scheme):
    """Several schemes of a provider, strongest first; each request is checked by exactly one."""

    schemes: tuple[Scheme, ...]

    @property
    def title(self) -> str:
        return self.schemes[0].title

    def presented(self, capture: Capture) -> bool:
        return any(scheme.presented(capture) for scheme in self.schemes)

    def usable(self, secret: Secret) -> bool:
        return any(scheme.usable(secret) for scheme in self.schemes)

    def claims_secret(self, secret: Secret) -> bool:
        return any(scheme.claims_secret(secret) for scheme in self.schemes)

    def tolerating(self, past: float | None, future: float | None) -> Self:
        schemes = tuple(scheme.tolerating(past, future) for scheme in self.schemes)
        return dataclasses.replace(self, schemes=schemes)

    def verify(self, secrets: tuple[Secret, ...], capture: Capture, now: datetime) -> Verification:
        """Verify a capture by the scheme that secrets and headers select."""
        if not secrets:
            return build_unchecked()
        return choose_scheme(self.schemes, capture, secrets).verify(secrets, capture, now)

    def sign(self, secret: Secret, capture: Capture, now: datetime) -> Capture:
        """Return the capture signed again, by its previous scheme if possible."""
        return choose_scheme(self.schemes, capture, (secret,)).sign(secret, capture, now)


def choose_scheme(schemes: tuple[Scheme, ...], capture: Capture, secrets: tuple[Secret, ...] = ()) -> Scheme:
    """Return the scheme that a request must satisfy.

    A secret that only one scheme takes (`whsec_...`) settles it, so that leaving the signature
    out never falls back to a token. Otherwise the strongest scheme counts that takes one of the
    secrets and whose signature is there; without any signature, the strongest that takes one.
    """
    # GitLab may send both a signature and a token, Buildkite either: a sender must not choose the weaker one.
    claiming = [scheme for scheme in schemes if any(scheme.claims_secret(secret) for secret in secrets)]
    usable = [scheme for scheme in schemes if any(scheme.usable(secret) for secret in secrets)]
    eligible = claiming or usable or list(schemes)
    return next((scheme for scheme in eligible if scheme.presented(capture)), eligible[0])


PairScheme = KeyPairScheme | Jwt
"""A scheme whose secret is usually a public key, so that relay signs with a key pair of its own."""


def find_key_problem(scheme: SignatureScheme, secret: Secret) -> str:
    """Return why a secret is not a key of a scheme, as the end of a sentence; "" if it is.

    With such a secret nothing ever verifies.
    """
    if not isinstance(scheme, Scheme) or scheme.usable(secret):
        return ""
    leaves = scheme.schemes if isinstance(scheme, OneOf) else (scheme,)
    forms = dict.fromkeys(_describe_key_form(leaf) for leaf in leaves)
    return f"cannot be read as the key of this source, which is {' or '.join(forms)}"


def _describe_key_form(scheme: Scheme) -> str:
    key = getattr(scheme, "key", None)
    if isinstance(scheme, PairScheme):
        return "a public key (PEM, or its bytes in hex or base64)"
    if isinstance(scheme, Basic):
        return "user:password"
    if not isinstance(key, KeyFormat) or key.form == "text":
        return f"a secret for {scheme.title}"
    start = f" after {key.strip[0]}" if key.strip else ""
    return f"{key.form}{start}"


def with_tolerance(scheme: SignatureScheme, past: float | None, future: float | None) -> SignatureScheme:
    """Return the scheme with other age limits in seconds; None switches that check off.

    The age is still shown. A scheme without timestamps, or one that relay did not make, stays as it is.
    """
    return scheme.tolerating(past, future) if isinstance(scheme, Scheme) else scheme
