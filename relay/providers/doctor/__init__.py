"""The signature doctor: tests hypotheses on why a signature failed; it never runs while a request waits."""

from relay.providers.doctor.case import Diagnosis, KnownSecret, SignatureCase, TriedVariant
from relay.providers.doctor.diagnosis import diagnose

__all__ = ["Diagnosis", "KnownSecret", "SignatureCase", "TriedVariant", "diagnose"]
