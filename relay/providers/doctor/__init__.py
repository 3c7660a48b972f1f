"""The signature doctor: why a signature failed, by hypotheses tried in turn, never while a request waits."""

from relay.providers.doctor.case import Diagnosis, KnownSecret, SignatureCase, TriedVariant
from relay.providers.doctor.diagnosis import diagnose

__all__ = ["Diagnosis", "KnownSecret", "SignatureCase", "TriedVariant", "diagnose"]
