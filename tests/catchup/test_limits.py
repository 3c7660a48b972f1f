"""What one catch-up takes on at most, and that its order is the order things happened in."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import build_source
from relay.catchup.base import Access, CatchUpProgress, CatchUpRequest, ListedEvent, RebuiltRequest
from relay.catchup.github import _uppercase_escapes
from relay.catchup.recovery import Recovery, RecoveryContext
from relay.errors import CatchUpError
from relay.model.secret import Secret
from relay.pipeline.bus import Bus
from relay.pipeline.process import Routing
from relay.platform import SystemClock
from relay.store import open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


ACCESS = Access(
    title="Somebody", base_url="https://api.example", credential=Secret("env:X", "x"), reference="env:X", needs=""
)


@dataclass
class Listed:
    """A provider that lists what it is given, a page at a time."""

    given: list
    access: Access = ACCESS

    def headers(self, now):
        return {}

    async def pages(self, api, since):
        for page in self.given:
            yield tuple(page)

    async def fetch(self, api, found):
        raise AssertionError("everything is listed with its request")


def found(key, minutes=0, size=2):
    request = RebuiltRequest(headers=(), bodies=(b"x" * size,))
    return ListedEvent(key=key, sent_at=NOW + timedelta(minutes=minutes), type="a", request=request)


@pytest.fixture
async def recover(tmp_path):
    """Recover what is listed and return the store and how far it came."""
    async with open_store(tmp_path) as store:

        async def go(*pages, **limits):
            means = RecoveryContext(
                store=store, bus=Bus(), clock=SystemClock(), routing=Routing((), {}), urls=lambda *_: ("",), **limits
            )
            source = build_source("somebody", provider="custom")
            wanted = CatchUpRequest(source="somebody", since=NOW - timedelta(days=1))
            progress = CatchUpProgress(request=wanted, title="Somebody", started_at=NOW)
            listing: Any = Listed(list(pages))
            try:
                await Recovery(means, source, listing, progress).run()
            except CatchUpError as error:
                progress.error = error
            return store, progress

        yield go


async def test_more_than_it_takes_on_is_said_and_nothing_is_stored(recover):
    for limits in ({"most": 2}, {"heaviest": 5}):
        store, progress = await recover([found("1"), found("2")], [found("3")], **limits)
        assert "lists more than relay recovers at once; nothing was stored" in progress.error.message
        assert (await store.events.counts()).events == 0


async def test_the_order_is_that_of_the_provider_whatever_that_of_its_list(recover):
    # Newest first, two of one minute, one of them listed twice, and one out of place.
    store, progress = await recover(
        [found("5", 5), found("4b", 4), found("4a", 4)], [found("4a", 4), found("1", 1), found("3", 3)]
    )
    rows = (await store.events.page()).rows[::-1]
    assert [row.idempotency_key for row in rows] == ["1", "3", "4a", "4b", "5"]
    assert (progress.found, progress.recovered) == (5, 5)


async def test_a_key_that_is_long_or_odd_is_known_again(recover):
    keys = ["k" * 500, "a\x00b\u202e", "☃"]
    for known in (0, 3):
        store, progress = await recover([found(key) for key in keys])
        assert (progress.found, progress.known) == (3, known)
    assert (await store.events.counts()).events == 3


@given(st.text())
def test_escapes_get_capitals_and_nothing_else_changes(text):
    body = json.dumps({"text": text, "n": "\x1b\\u001b"}, ensure_ascii=False).encode("utf-8", "backslashreplace")
    made = _uppercase_escapes(body)
    assert json.loads(made) == json.loads(body)
    assert made.lower() == body.lower()
    assert b"\\u001B" in made
