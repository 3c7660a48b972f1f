"""Signature schemes: verify and sign side by side, no I/O, built from a handful of parameters."""

from relay.providers.schemes.base import Scheme
from relay.providers.schemes.choice import OneOf, choose, with_tolerance
from relay.providers.schemes.ecdsa import Ecdsa
from relay.providers.schemes.ed25519 import Ed25519
from relay.providers.schemes.keys import Encoding, Form, Key
from relay.providers.schemes.layouts import Items, Prefix, Raw
from relay.providers.schemes.mac import Algo, Announced, Digest, Echo, Hmac, body_hmac
from relay.providers.schemes.places import InForm, InHeader, InJson, InNumberedHeader, InQuery
from relay.providers.schemes.signed import SignedText
from relay.providers.schemes.template import Template, template
from relay.providers.schemes.timing import Time, Unit
from relay.providers.schemes.tokens import Basic, Token
from relay.providers.schemes.urls import BodyHash

__all__ = [
    "Algo",
    "Announced",
    "Basic",
    "BodyHash",
    "Digest",
    "Ecdsa",
    "Echo",
    "Ed25519",
    "Encoding",
    "Form",
    "Hmac",
    "InForm",
    "InHeader",
    "InJson",
    "InNumberedHeader",
    "InQuery",
    "Items",
    "Key",
    "OneOf",
    "Prefix",
    "Raw",
    "Scheme",
    "SignedText",
    "Template",
    "Time",
    "Token",
    "Unit",
    "body_hmac",
    "choose",
    "template",
    "with_tolerance",
]
