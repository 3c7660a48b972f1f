"""Why a signature failed: hypotheses tried in turn, each a small function, none in the way of a request."""

from relay.providers.doctor.case import (
    ComparedSignature,
    Diagnosis,
    KnownSecret,
    SignatureCase,
    SignatureFinding,
    TriedVariant,
)
from relay.providers.doctor.diagnosis import diagnose

__all__ = [
    "ComparedSignature",
    "Diagnosis",
    "KnownSecret",
    "SignatureCase",
    "SignatureFinding",
    "TriedVariant",
    "diagnose",
]
