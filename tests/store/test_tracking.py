"""Statuses and their messages in a real database: whatever comes first, the end is the same."""

import functools
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.message import (
    Matching,
    MatchWay,
    MessageStatus,
    MessageTracking,
    NewMessage,
    StatusReport,
    find_furthest,
)
from relay.store.message_register import add_own_message, register_message
from relay.store.message_statuses import apply_statuses, is_message_known
from relay.store.migrate import migrate
from relay.store.row_mappers import to_micros

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
S = MessageStatus
EXTERNAL, EMBEDDED, TIMESTAMP = MatchWay
WINDOW = Matching().window


@functools.cache
def build_database():
    """Return the bytes of a database with every migration applied, and one event that statuses may name."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, Path("memory"))
    connection.execute(
        "INSERT INTO events (received_at, source, provider, type, outcome, verdict, reason, method, path, query, "
        "content_type, size, sha256, remote, status) "
        "VALUES (0, 's', 'p', 't', 'accepted', 'verified', '', 'POST', x'', x'', '', 0, x'', '', 200)"
    )
    with closing(connection):
        return connection.serialize()


def opened():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(build_database())
    connection.execute("PRAGMA foreign_keys = ON")
    return closing(connection)


def sms(recipient="+49 151 1", **more):
    given = {"channel": "sms", "provider": "twilio", "external_id": "", "subject": "", "status": S.SENT}
    return NewMessage(**given | {"recipient": recipient, **more})


def told(status, id_="SM1", *, recipient="49 1511", after=None, **more):
    more.setdefault("embedded_id", "")
    return StatusReport(
        status=status,
        provider="twilio",
        channel="sms",
        external_ids=(id_,) if id_ else (),
        recipients=(recipient.replace(" ", ""),),
        at=None if after is None else NOW + timedelta(seconds=after),
        **more,
    )


def tell(connection, report, *ways, after=0.0, window=WINDOW):
    matching = Matching(ways=ways or tuple(MatchWay), window=window)
    received = to_micros(NOW + timedelta(seconds=after))
    return apply_statuses(connection, 1, received, MessageTracking(reports=(report,), matching=matching))


def enter(connection, new, after=0.0):
    return register_message(connection, new, to_micros(NOW + timedelta(seconds=after)))


def standing(connection, message=1):
    return connection.execute("SELECT status FROM messages WHERE id = ?", (message,)).fetchone()[0]


def history(connection, message=1):
    rows = connection.execute(
        "SELECT status, at, code FROM history WHERE message_id = ? AND event_id IS NOT NULL", (message,)
    )
    return sorted(rows, key=str)


def waiting(connection):
    return connection.execute("SELECT COUNT(*) FROM history WHERE message_id IS NULL").fetchone()[0]


# One message in each way, and what would make a status its own in that way alone.
KNOWN_BY = {
    EXTERNAL: sms(recipient="+1 999", external_id="SM1"),
    EMBEDDED: sms(recipient="+1 999", embedded_id="order-7"),
    TIMESTAMP: sms(),
}


@given(
    statuses=st.lists(
        st.tuples(st.sampled_from([status for status in S if status is not S.OUTBOX]), st.none() | st.integers(0, 3)),
        min_size=1,
        max_size=6,
    ),
    random=st.randoms(use_true_random=False),
    way=st.sampled_from(MatchWay),
    others=st.booleans(),
)
def test_whatever_comes_first_the_end_is_the_same(statuses, random, way, others):
    reports = [told(status, after=at, embedded_id="order-7") for status, at in statuses]
    ways = tuple(random.sample(list(MatchWay), 3)) if others else (way,)
    steps: list[Any] = [lambda connection, report=report: tell(connection, report, *ways) for report in reports]
    steps += random.choices(steps, k=3)
    steps.append(lambda connection: enter(connection, KNOWN_BY[way]))
    random.shuffle(steps)
    with opened() as connection:
        for step in steps:
            step(connection)
        assert standing(connection) == find_furthest([S.SENT, *(status for status, _ in statuses)])
        expected = {
            (status.value, None if at is None else to_micros(NOW + timedelta(seconds=at)), "")
            for status, at in statuses
        }
        assert history(connection) == sorted(expected, key=str)
        assert waiting(connection) == 0
        opened_, clicked = connection.execute("SELECT opened, clicked FROM messages").fetchone()
        assert clicked == any(status is S.CLICKED for status, _ in statuses)
        assert opened_ == any(status in (S.OPENED, S.CLICKED) for status, _ in statuses)


@given(random=st.randoms(use_true_random=False))
def test_many_messages_known_in_different_ways_each_get_their_own(random):
    people = {f"+49 {number}": f"SM{number}" for number in range(4)}
    expected, steps = {}, []
    for person, id_ in people.items():
        way = random.choice(list(MatchWay))
        new = sms(
            recipient=person if way is TIMESTAMP else "+1 999",
            external_id=id_ if way is EXTERNAL else "",
            embedded_id=f"mine-{id_}" if way is EMBEDDED else "",
            subject=id_,
        )
        statuses = random.choices([S.QUEUED, S.DELIVERED, S.UNDELIVERED, S.FAILED, S.OPENED], k=3)
        expected[id_] = find_furthest([S.SENT, *statuses]).value
        reports = [told(status, id_, recipient=f"49{person[-1]}", embedded_id=f"mine-{id_}") for status in statuses]
        steps += [lambda connection, report=report: tell(connection, report) for report in reports]
        steps.append(lambda connection, new=new: enter(connection, new))
    random.shuffle(steps)
    with opened() as connection:
        for step in steps:
            step(connection)
        assert dict(connection.execute("SELECT subject, status FROM messages")) == expected
        assert waiting(connection) == 0


def test_a_status_told_again_is_kept_once_and_moves_nothing():
    with opened() as connection:
        enter(connection, sms(external_id="SM1"))
        first, again = (tell(connection, told(S.DELIVERED)) for _ in range(2))
        assert [moved.status for moved in first.moved] == ["delivered"]
        assert (again.moved, again.unknown) == ((), False)
        assert len(history(connection)) == 1


def test_opening_a_mail_twice_is_two_openings():
    with opened() as connection:
        enter(connection, sms(external_id="SM1"))
        for after in (5, 5, 9):
            tell(connection, told(S.OPENED, after=after))
        assert [status for status, _, _ in history(connection)] == ["opened", "opened"]


@pytest.mark.parametrize("way", MatchWay)
def test_a_way_that_is_not_configured_finds_nothing(way):
    others = tuple(other for other in MatchWay if other is not way)
    with opened() as connection:
        enter(connection, KNOWN_BY[way])
        assert tell(connection, told(S.DELIVERED, embedded_id="order-7"), *others).unknown
        assert standing(connection) == "sent"


@pytest.mark.parametrize(
    ("offset", "found"), [(0, True), (600, True), (-600, True), (600.000001, False), (-600.000001, False)]
)
@pytest.mark.parametrize("late", [False, True])
def test_the_window_holds_its_edges_and_nothing_beyond(offset, found, late):
    with opened() as connection:
        steps = [lambda: enter(connection, sms()), lambda: tell(connection, told(S.DELIVERED, after=offset), TIMESTAMP)]
        for step in reversed(steps) if late else steps:
            step()
        assert (standing(connection) == "delivered") is found


def test_what_was_found_by_time_stays_found_when_the_window_is_over():
    with opened() as connection:
        enter(connection, sms())
        tell(connection, told(S.DELIVERED, after=5), TIMESTAMP)
        assert not tell(connection, told(S.OPENED, after=86_400), TIMESTAMP).unknown
        assert standing(connection) == "opened"


def test_what_came_outside_the_window_follows_once_its_id_is_known():
    with opened() as connection:
        tell(connection, told(S.OPENED, after=86_400), TIMESTAMP)
        enter(connection, sms())
        assert standing(connection) == "sent"
        tell(connection, told(S.DELIVERED, after=5), TIMESTAMP)
        assert standing(connection) == "opened"


def test_two_messages_to_one_person_are_told_apart_by_the_nearest_time_and_then_by_id():
    with opened() as connection:
        enter(connection, sms(sent_at=NOW))
        enter(connection, sms(sent_at=NOW + timedelta(seconds=60)))
        tell(connection, told(S.DELIVERED, "SM2", after=61))
        tell(connection, told(S.UNDELIVERED, "SM1", after=70))
        assert (standing(connection, 1), standing(connection, 2)) == ("undelivered", "delivered")


def test_a_message_known_by_another_id_is_not_taken_by_time():
    with opened() as connection:
        enter(connection, sms(external_id="SM1"))
        assert tell(connection, told(S.DELIVERED, "SM2")).unknown
        assert standing(connection) == "sent"
        tell(connection, told(S.DELIVERED, "SM3"), TIMESTAMP)
        assert standing(connection) == "delivered"


@pytest.mark.parametrize("order", [("status", "A", "B"), ("A", "status", "B"), ("B", "A", "status")])
def test_a_guess_by_time_is_taken_back_when_the_id_turns_out_to_be_anothers(order):
    steps = {
        "status": lambda connection: tell(connection, told(S.DELIVERED, "SM2")),
        "A": lambda connection: enter(connection, sms(subject="A")),
        "B": lambda connection: enter(connection, sms(subject="B", external_id="SM2")),
    }
    with opened() as connection:
        for step in order:
            steps[step](connection)
        assert dict(connection.execute("SELECT subject, status FROM messages")) == {"A": "sent", "B": "delivered"}


def test_whoever_was_mistaken_gets_what_is_its_own_after_all():
    with opened() as connection:
        enter(connection, sms(subject="A"))
        tell(connection, told(S.DELIVERED, "SM2"))
        tell(connection, told(S.UNDELIVERED, "SM1"))
        assert standing(connection) == "delivered"
        moved = enter(connection, sms(subject="B", external_id="SM2")).moved
        assert {(change.message_id, change.status) for change in moved} == {(1, "undelivered"), (2, "delivered")}


def test_the_same_provider_and_id_are_registered_once():
    with opened() as connection:
        first = enter(connection, sms(external_id="SM1"))
        again = enter(connection, sms(external_id="SM1", recipient="+1 2"))
        other = enter(connection, sms(external_id="SM1", provider="vonage"))
    assert (first.id, first.created, again.id, again.created) == (1, True, 1, False)
    assert (other.id, other.created) == (2, True)


def test_messages_without_an_id_are_each_their_own():
    with opened() as connection:
        assert [enter(connection, sms()).id for _ in range(2)] == [1, 2]


def test_the_id_a_message_carries_may_be_the_one_it_was_registered_under():
    with opened() as connection:
        enter(connection, sms(external_id="order-7"))
        tell(connection, told(S.DELIVERED, "SM1", embedded_id="order-7"), EMBEDDED)
        assert standing(connection) == "delivered"


def test_the_id_a_message_carries_may_be_its_number_here_if_the_recipient_agrees():
    with opened() as connection:
        enter(connection, sms())
        assert tell(connection, told(S.DELIVERED, "SM9", recipient="1 999", embedded_id="1"), EMBEDDED).unknown
        assert not tell(connection, told(S.DELIVERED, "SM1", embedded_id="1"), EMBEDDED).unknown
        assert standing(connection) == "delivered"


def test_an_id_of_another_provider_is_another_id():
    with opened() as connection:
        enter(connection, sms(external_id="SM1", provider="vonage", recipient="+49 151 1"))
        assert tell(connection, told(S.DELIVERED)).unknown
        assert not is_message_known(
            connection, to_micros(NOW), MessageTracking(reports=(told(S.SENT),), matching=Matching())
        )


def mail(provider="smtp", **more):
    given = {"channel": "email", "external_id": "<relay.1@example.com>", "subject": "", "status": S.SENT}
    return NewMessage(**given | {"provider": provider, "recipient": "Ada <ada@example.com>", **more})


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    "found_by",
    [
        {"external_ids": ("e-1", "relay.1@example.com")},
        {"external_ids": ("e-1",), "embedded_id": "relay.1@example.com"},
        {"external_ids": ("e-1",), "recipients": ("ada@example.com",)},
    ],
)
def test_a_mail_that_relay_sent_is_found_by_whoever_carried_it(late, found_by):
    report = StatusReport(status=S.BOUNCED, provider="resend", channel="email", code="5.1.1", **found_by)
    with opened() as connection:
        steps = [lambda: add_own_message(connection, mail(), b"", to_micros(NOW)), lambda: tell(connection, report)]
        for step in reversed(steps) if late else steps:
            step()
        row = connection.execute("SELECT status, code FROM messages").fetchone()
        assert row == ("bounced", "5.1.1")


def test_a_mail_in_the_outbox_was_not_sent_so_time_does_not_find_it():
    report = StatusReport(
        status=S.DELIVERED, provider="resend", channel="email", external_ids=("e-1",), recipients=("ada@example.com",)
    )
    with opened() as connection:
        add_own_message(connection, mail("outbox", status=S.OUTBOX), b"", to_micros(NOW))
        assert tell(connection, report).unknown


def test_a_mail_sent_twice_is_told_of_at_its_latest_row():
    delivered = StatusReport(
        status=S.DELIVERED, provider="mailgun", channel="email", external_ids=("relay.1@example.com",)
    )
    with opened() as connection:
        for status in (S.FAILED, S.SENT, S.SENT):
            add_own_message(connection, mail(status=status), b"", to_micros(NOW))
        tell(connection, delivered)
        # The one that failed was tried again: it is the first that was sent.
        assert [standing(connection, number) for number in (1, 2)] == ["sent", "delivered"]
        assert connection.execute("SELECT COUNT(*) FROM messages").fetchone()[0] == 2


def test_a_mail_that_a_provider_says_failed_stays_beside_the_one_sent_again():
    failed = StatusReport(status=S.FAILED, provider="mailgun", channel="email", external_ids=("relay.1@example.com",))
    with opened() as connection:
        add_own_message(connection, mail(status=S.SENT), b"", to_micros(NOW))
        tell(connection, failed)
        connection.execute("DELETE FROM events")
        add_own_message(connection, mail(status=S.SENT), b"", to_micros(NOW))
        assert [standing(connection, number) for number in (1, 2)] == ["failed", "sent"]


def test_a_deleted_event_takes_its_waiting_statuses_and_leaves_the_history_of_messages():
    with opened() as connection:
        enter(connection, sms(external_id="SM1"))
        tell(connection, told(S.DELIVERED))
        tell(connection, told(S.DELIVERED, "SM9", recipient="9"))
        connection.execute("DELETE FROM events")
        assert (waiting(connection), standing(connection)) == (0, "delivered")
        assert connection.execute("SELECT COUNT(*) FROM waiting_keys").fetchone()[0] == 0
        assert connection.execute("SELECT event_id FROM history WHERE status = 'delivered'").fetchall() == [(None,)]


def test_messages_of_before_are_brought_along():
    steps = sorted((Path(migrate.__code__.co_filename).parent / "migrations").glob("[0-9]*.sql"))
    at = next(place for place, step in enumerate(steps) if "message_history" in step.name)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in steps[:at]:
            connection.executescript(step.read_text())
        connection.execute(
            "INSERT INTO messages (channel, provider, external_id, recipient, subject, status, detail, created_at) "
            "VALUES ('email', 'smtp', '<a@b>', 'Ada@example.com, bob@example.com', 's', 'sent', '250 ok', 5)"
        )
        connection.executescript(steps[at].read_text())
        assert connection.execute("SELECT status, received_at, detail FROM history").fetchall() == [
            ("sent", 5, "250 ok")
        ]
        assert connection.execute("SELECT external_id FROM external_ids").fetchall() == [("a@b",)]
        assert connection.execute("SELECT address FROM recipients ORDER BY 1").fetchall() == [
            ("ada@example.com",),
            ("bob@example.com",),
        ]
        assert connection.execute("SELECT sent_at FROM messages").fetchall() == [(5,)]
