"""Builds values of the model for tests: everything has a default, and a test names only what it is about."""

from datetime import UTC, datetime
from typing import Any

from relay.model.delivery import NO_CHANGES, Delivery, DeliveryReason, DeliveryState
from relay.model.event import Capture, CapturedEvent, EventOutcome, EventRow, NewEvent, Source, Verdict, Verification
from relay.model.secret import Secret
from relay.vault.file_format import Kdf

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
# For a vault whose strength is not the claim. The least that relay opens takes 0.02 s; the fixture `cheap_vaults` lets
# the relays of this process open the other one.
LEAST_KDF = Kdf(name="argon2id", salt=bytes(16), numbers=(("t", 1), ("m", 19 * 1024), ("p", 1)))
QUICK_KDF = Kdf(name="argon2id", salt=bytes(16), numbers=(("t", 1), ("m", 128), ("p", 1)))


def build_capture(source: str = "stripe", **fields: Any) -> Capture:
    """Return a POST of `{}` without headers to the path of its source."""
    defaults: dict[str, Any] = {
        "method": "POST",
        "path": f"/webhooks/{source}",
        "query": "",
        "headers": (),
        "body": b"{}",
        "remote": "127.0.0.1",
        "received_at": NOW,
    }
    return Capture(source=source, **defaults | fields)


def build_new_event(capture: Capture | None = None, **fields: Any) -> NewEvent:
    """Return an accepted, verified event that claims no key, of a capture or of the default one."""
    capture = capture or build_capture()
    defaults: dict[str, Any] = {
        "provider": capture.source,
        "type": "ping",
        "idempotency_key": None,
        "claims_key": False,
        "deliver_duplicates": False,
        "outcome": EventOutcome.ACCEPTED,
        "verification": Verification(verdict=Verdict.VERIFIED),
        "reason": "",
        "status": 200,
    }
    return NewEvent(capture=capture, **defaults | fields)


def build_row(capture: Capture | None = None, **fields: Any) -> EventRow:
    """Return what the store keeps in the narrow row of a capture."""
    capture = capture or build_capture()
    defaults: dict[str, Any] = {
        "id": 1,
        "received_at": capture.received_at,
        "source": capture.source,
        "provider": capture.source,
        "type": "ping",
        "idempotency_key": None,
        "outcome": EventOutcome.ACCEPTED,
        "verdict": Verdict.VERIFIED,
        "reason": "",
        "method": capture.method,
        "path": capture.path,
        "query": capture.query,
        "content_type": capture.content_type,
        "size": len(capture.body),
        "sha256": "",
        "remote": capture.remote,
        "status": 200,
    }
    return EventRow(**defaults | fields)


def build_event(capture: Capture | None = None, **fields: Any) -> CapturedEvent:
    """Return a stored event; `fields` are those of its row, which the verification follows."""
    capture = capture or build_capture()
    row = build_row(capture, **fields)
    return CapturedEvent(row=row, capture=capture, verification=Verification(verdict=row.verdict))


def build_delivery(**fields: Any) -> Delivery:
    """Return a delivery of event 1 to the target app that is due and was not tried."""
    defaults: dict[str, Any] = {
        "id": 1,
        "event_id": 1,
        "source": "stripe",
        "target": "app",
        "action": "forward",
        "reason": DeliveryReason.ROUTED,
        "changes": NO_CHANGES,
        "state": DeliveryState.PENDING,
        "created_at": NOW,
        "due_at": NOW,
    }
    return Delivery(**defaults | fields)


def build_source(name: str = "stripe", *secrets: str, **fields: Any) -> Source:
    """Return a source whose provider has its name, with the values of its secrets."""
    defaults: dict[str, Any] = {
        "provider": name,
        "path": f"/webhooks/{name}",
        "secrets": tuple(Secret(f"env:{name}", value) for value in secrets),
    }
    return Source(name=name, **defaults | fields)
