"""Why a signature failed: hypotheses tried in turn, each a small function, none in the way of a request."""

from relay.providers.doctor.case import Case, Compared, Diagnosis, Finding, Known, Tried
from relay.providers.doctor.examine import diagnose

__all__ = ["Case", "Compared", "Diagnosis", "Finding", "Known", "Tried", "diagnose"]
