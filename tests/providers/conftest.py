"""A request to sign and to verify, and the time it is."""

import dataclasses
from datetime import UTC, datetime

import pytest

from relay.model.event import Capture

NOW = datetime.fromtimestamp(1_795_356_346, UTC)


def make_capture(body=b'{"id":"evt_1","type":"test"}', headers=(), **changes):
    typed = () if "Content-Type" in dict(headers) else (("Content-Type", "application/json"),)
    capture = Capture(
        source="test",
        method="POST",
        path="/webhooks/test",
        query="",
        headers=(("Host", "relay.example"), *typed, *headers),
        body=body,
        remote="127.0.0.1",
        received_at=NOW,
        url="https://relay.example/webhooks/test",
    )
    return dataclasses.replace(capture, **changes)


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def capture():
    return make_capture


@pytest.fixture
def flip():
    def flip(capture):
        """Return the capture with one bit of its last body byte changed."""
        body = capture.body
        return dataclasses.replace(capture, body=body[:-1] + bytes([body[-1] ^ 1]))

    return flip
