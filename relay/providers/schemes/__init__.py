"""Signature schemes: verify and sign side by side, no I/O, built from a handful of parameters."""

from relay.providers.schemes.base import Scheme
from relay.providers.schemes.content import BodyHash, Template, UrlForm, template
from relay.providers.schemes.encoding import Encoding, Items, KeyForm, KeyFormat, Prefix, Raw, items
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.key_pairs import PairScheme
from relay.providers.schemes.locations import InEach, InEveryHeader, InForm, InHeader, InJson, InQuery, Location
from relay.providers.schemes.one_of import OneOf, choose_scheme, find_key_problem, with_tolerance
from relay.providers.schemes.public_key import Ecdsa, Ed25519, Rsa, RsaDigest
from relay.providers.schemes.shared_secret import (
    Algo,
    AnnouncedAlgorithm,
    Basic,
    Digest,
    EchoHeader,
    Hmac,
    SharedToken,
    header_hmac,
)
from relay.providers.schemes.signed_text import SignedText
from relay.providers.schemes.timestamps import Time, Unit
from relay.providers.schemes.vendor_schemes import AdyenItems, Contentful, Sns

__all__ = ["AdyenItems", "Algo", "AnnouncedAlgorithm", "Basic", "BodyHash", "Contentful", "Digest", "Ecdsa"]
__all__ += ["EchoHeader", "Ed25519", "Encoding", "Hmac", "InEach", "InEveryHeader", "InForm", "InHeader", "InJson"]
__all__ += ["InQuery", "Items", "Jwt", "KeyForm", "KeyFormat", "Location", "OneOf", "PairScheme", "Prefix", "Raw"]
__all__ += ["Rsa", "RsaDigest", "Scheme", "SharedToken", "SignedText", "Sns", "Template", "Time", "Unit", "UrlForm"]
__all__ += ["choose_scheme", "find_key_problem", "header_hmac", "items", "template", "with_tolerance"]
