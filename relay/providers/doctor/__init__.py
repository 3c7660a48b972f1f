"""The signature doctor: why a signature failed, by hypotheses tried in turn, never while a request waits."""

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
