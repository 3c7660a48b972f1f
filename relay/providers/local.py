"""Which sources relay signs for with a key pair or a secret of its own, and how such a source trusts it."""

import base64
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from relay.errors import SigningError
from relay.model.event import Capture, LocalKey, Source, Verdict, VerifyMode
from relay.model.secret import Secret
from relay.providers.schemes import OneOf, PairScheme, Scheme


def paired(source: Source) -> PairScheme | None:
    """Return the scheme that only the provider can sign for, None where the source's secret can sign.

    A source without any secret counts only where its provider signs in no other way.
    """
    schemes = source.scheme.schemes if isinstance(source.scheme, OneOf) else (source.scheme,)
    of_pairs = [scheme for scheme in schemes if isinstance(scheme, PairScheme)]
    if source.secrets:
        return next((scheme for scheme in of_pairs if scheme.cannot_sign(source.secrets[0])), None)
    return of_pairs[0] if len(of_pairs) == len(schemes) else None


def trusting(source: Source, scheme: PairScheme, pem: str) -> Source:
    """Return the source trusting a private key (PEM) of relay's own besides its secrets."""
    secret = Secret(f"keys/{source.name}.pem", scheme.own_pair(pem, source.secrets))
    return replace(source, local=LocalKey(scheme=scheme, secret=secret, public=scheme.public_half(pem)))


def make_run_secret(source: Source, sample: Capture, now: datetime) -> LocalKey | None:
    """Return a secret in the form that a source without one takes, proved by signing `sample` with it.

    None for a source that has a secret or expects no signature, and for schemes that no secret signs for.
    """
    scheme = source.scheme
    if scheme is None or source.secrets or source.locked_secrets or source.verify is VerifyMode.OFF:
        return None
    forms = [Secret("a secret that relay made for this run", text) for text in _secret_forms()]
    if isinstance(scheme, Scheme):
        forms.sort(key=scheme.claims, reverse=True)
    for secret in forms:
        try:
            signed = scheme.sign(secret, sample, now)
        except SigningError:
            continue
        if scheme.verify((secret,), signed, now).verdict is Verdict.VERIFIED:
            return LocalKey(scheme=scheme, secret=secret, public="")
    return None


def _secret_forms() -> Iterator[str]:
    """Yield random secrets of 256 bits in the forms that schemes take: hex, Svix's, user and password."""
    yield secrets.token_hex(32)
    yield "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    yield f"relay:{secrets.token_hex(32)}"
