"""Signature schemes: verify and sign side by side, no I/O, built from a handful of parameters."""

from relay.providers.schemes.adyen import AdyenItems
from relay.providers.schemes.base import Scheme
from relay.providers.schemes.choice import OneOf, choose, key_problem, with_tolerance
from relay.providers.schemes.contentful import Contentful
from relay.providers.schemes.ecdsa import Ecdsa
from relay.providers.schemes.ed25519 import Ed25519
from relay.providers.schemes.jwt import Jwt
from relay.providers.schemes.keys import Encoding, Form, Key
from relay.providers.schemes.layouts import Items, Prefix, Raw
from relay.providers.schemes.mac import Algo, Announced, Digest, Echo, Hmac, body_hmac
from relay.providers.schemes.pairs import PairScheme
from relay.providers.schemes.places import InEach, InEveryHeader, InForm, InHeader, InJson, InQuery, Place
from relay.providers.schemes.rsa import Rsa, RsaDigest
from relay.providers.schemes.signed import SignedText
from relay.providers.schemes.sns import Sns
from relay.providers.schemes.template import Template, template
from relay.providers.schemes.timing import Time, Unit
from relay.providers.schemes.tokens import Basic, Token
from relay.providers.schemes.urls import BodyHash, UrlForm

__all__ = [
    "AdyenItems",
    "Algo",
    "Announced",
    "Basic",
    "BodyHash",
    "Contentful",
    "Digest",
    "Ecdsa",
    "Echo",
    "Ed25519",
    "Encoding",
    "Form",
    "Hmac",
    "InEach",
    "InEveryHeader",
    "InForm",
    "InHeader",
    "InJson",
    "InQuery",
    "Items",
    "Jwt",
    "Key",
    "OneOf",
    "PairScheme",
    "Place",
    "Prefix",
    "Raw",
    "Rsa",
    "RsaDigest",
    "Scheme",
    "SignedText",
    "Sns",
    "Template",
    "Time",
    "Token",
    "Unit",
    "UrlForm",
    "body_hmac",
    "choose",
    "key_problem",
    "template",
    "with_tolerance",
]
