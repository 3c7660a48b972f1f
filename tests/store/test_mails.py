import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from builders import build_capture, build_new_event
from relay.model.event import Verdict, Verification
from relay.model.mail import MailClaim, MailLimitReached, MailState, SentMail
from relay.store import open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLAIM = MailClaim(delivery_id=7, event_id=1, template="receipt", recipients="ada@example.com", kept=False)
SENT = SentMail(
    delivery_id=7,
    event_id=1,
    template="receipt",
    recipients="ada@example.com",
    kept=False,
    state=MailState.SENT,
    at=NOW,
)


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path) as store:
        for _ in range(4):
            await store.events.add(new_event(), ())
        yield store


def new_event():
    capture = build_capture("app", received_at=NOW)
    return build_new_event(capture, provider="app", type="x", verification=Verification(verdict=Verdict.UNSIGNED))


async def sent(store, claim, now=NOW):
    assert await store.mails.claim(claim, now) is None
    await store.mails.confirm(claim.delivery_id)


async def test_a_claim_keeps_every_other_back_until_it_is_released(store):
    assert await store.mails.standing(CLAIM, NOW) is None
    assert await store.mails.claim(CLAIM, NOW) is None
    other = replace(CLAIM, delivery_id=8)
    handing = replace(SENT, state=MailState.HANDING)
    assert await store.mails.standing(other, NOW) == handing
    assert await store.mails.claim(other, NOW) == handing
    assert await store.mails.claim(CLAIM, NOW) == handing
    await store.mails.release(7)
    assert await store.mails.claim(other, NOW) is None


async def test_what_was_sent_stays_sent_for_this_event_and_template_alone(store):
    await sent(store, CLAIM)
    assert await store.mails.claim(replace(CLAIM, delivery_id=8), NOW) == SENT
    assert await store.mails.claim(replace(CLAIM, delivery_id=9, template="welcome"), NOW) is None
    assert await store.mails.claim(replace(CLAIM, delivery_id=10, event_id=2), NOW) is None


async def test_force_passes_others_and_not_itself(store):
    await sent(store, CLAIM)
    forced = replace(CLAIM, delivery_id=8, forced=True)
    await sent(store, forced)
    assert (await store.mails.claim(forced, NOW)).delivery_id == 8
    await store.mails.release(8)
    assert await store.mails.standing(replace(CLAIM, delivery_id=9), NOW) == SENT


async def test_a_file_of_the_outbox_keeps_no_real_mail_back(store):
    kept = replace(CLAIM, kept=True)
    assert await store.mails.claim(kept, NOW) is None
    assert await store.mails.claim(kept, NOW) is None  # written again by the delivery it belongs to
    assert (await store.mails.claim(replace(kept, delivery_id=8), NOW)).kept
    await store.mails.confirm(7)
    await sent(store, replace(CLAIM, delivery_id=8))
    assert await store.mails.standing(replace(kept, delivery_id=9), NOW) is not None


async def test_an_hour_takes_so_many_of_a_template(store):
    def claim(number, **changes):
        return replace(CLAIM, delivery_id=number, event_id=number, per_hour=2, **changes)

    await sent(store, claim(1))
    await sent(store, claim(2), NOW + timedelta(minutes=10))
    full = MailLimitReached(until=NOW + timedelta(hours=1))
    assert await store.mails.claim(claim(3), NOW + timedelta(minutes=20)) == full
    assert await store.mails.standing(claim(3), NOW + timedelta(minutes=20)) == full
    assert await store.mails.claim(claim(3, kept=True), NOW + timedelta(minutes=20)) is None
    assert await store.mails.claim(claim(4, template="other"), NOW + timedelta(minutes=20)) is None
    await store.mails.release(3)
    assert await store.mails.claim(claim(3), NOW + timedelta(minutes=61)) is None


async def test_a_clock_that_was_ahead_holds_nothing_up(store):
    await sent(store, replace(CLAIM, per_hour=1), NOW + timedelta(days=365))
    assert await store.mails.claim(replace(CLAIM, delivery_id=8, event_id=2, per_hour=1), NOW) is None


async def test_what_was_mailed_for_an_event_goes_with_it(store):
    await sent(store, CLAIM)
    await store.events.delete(1)
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sent_mails").fetchone() == (0,)


async def test_the_database_itself_refuses_a_second_claim(store):
    await sent(store, CLAIM)
    with closing(sqlite3.connect(store.path)) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(
            "INSERT INTO sent_mails (delivery_id, event_id, template, recipients, kept, again, state, at) "
            "VALUES (8, 1, 'receipt', '', 0, 0, 'sent', 0)"
        )
