"""Which messages an event tells of: read where its sender may be believed, and nothing from a forgery."""

from dataclasses import replace

from relay.model.event import EventOutcome, NewEvent, Source, Verification
from relay.model.message import Tracked


def track(event: NewEvent, source: Source) -> NewEvent:
    """Return the event with what it tells of messages; as it is where it tells nothing, or may not act; pure.

    It acts where it was accepted and nothing speaks against its sender. `source` must be the one that
    is configured for the path, never one that a request's own headers suggested.
    """
    if source.statuses is None or event.outcome is not EventOutcome.ACCEPTED or not _acts(event.verification):
        return event
    reports = source.statuses(event.capture, event.capture.payload)
    # Nobody waits for an answer to what was recovered.
    matching = replace(source.matching, unknown=200) if event.recovered else source.matching
    return replace(event, tracked=Tracked(reports=reports, matching=matching)) if reports else event


def _acts(verification: Verification) -> bool:
    # While the vault is locked nobody can tell; what verifies then is followed later.
    return verification.trusted and verification.reason != "vault_locked"
