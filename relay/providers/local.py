"""Which sources relay signs for with a key pair of its own, and how such a source trusts it."""

from dataclasses import replace

from relay.model.event import LocalKey, Source
from relay.model.secret import Secret
from relay.providers.schemes import OneOf, PairScheme


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
