import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from builders import build_capture, build_delivery, build_row
from relay.dashboard.assets import Assets
from relay.dashboard.render import Renderer
from relay.model.delivery import DeliveryState
from relay.model.event import CapturedEvent, Verification

NOON = datetime(2026, 11, 22, 12, 0, 0, 482_000, tzinfo=UTC)
ROW = build_row(
    id=7,
    received_at=NOON,
    type="invoice.paid",
    idempotency_key="evt_1",
    content_type="application/json",
    size=2,
    sha256="00",
    remote="203.0.113.7",
    summary="€48.00",
)
DELIVERY = build_delivery(
    id=1, event_id=7, state=DeliveryState.SUCCEEDED, created_at=NOON, due_at=NOON, attempts=1, status=200, took=0.038
)


@pytest.fixture
def noon():
    return NOON


@pytest.fixture
def row_of():
    return lambda **changes: replace(ROW, **changes)


@pytest.fixture
def sent():
    return lambda **changes: replace(DELIVERY, **changes)


@pytest.fixture
def event_of():
    def make(body=b"{}", headers=(("Content-Type", "application/json"),), **changes):
        row = replace(ROW, size=len(body), **changes)
        capture = build_capture(
            row.source,
            method=row.method,
            path=row.path,
            query=row.query,
            headers=headers,
            body=body,
            remote=row.remote,
            received_at=NOON,
        )
        return CapturedEvent(row=row, capture=capture, verification=Verification(verdict=row.verdict))

    return make


@pytest.fixture
def panel_of():
    """Return the steps of an event's verification as its tab shows them: class, name, detail and result."""
    renderer = Renderer("", Assets(), "")

    def draw(event):
        tab = {"event": event, "source": None, "provider": "Stripe", "diagnosis": None, "verdict": ("ok", "", "")}
        html = renderer.part("events/verification.html", tab={**tab, "base": "", "locked": False, "refused": False})
        step = r'<li class="([\w-]+)">.*?<b>(.*?)</b><span class="d">(.*?)</span><span class="r[^"]*">(.*?)</span>'
        return re.findall(step, html)

    return draw
