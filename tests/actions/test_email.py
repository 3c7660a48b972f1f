import asyncio
import json
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from aiosmtpd import smtp as sinks

from builders import build_capture, build_new_event
from relay.actions.email import EmailAction
from relay.actions.mail import EmailOptions, SmtpOptions, sandbox
from relay.errors import MailError, NotFoundError, SentAlreadyError
from relay.model.delivery import (
    AttemptFailed,
    AttemptRetry,
    AttemptSucceeded,
    Delivery,
    DeliveryChanges,
    DeliveryReason,
    NewDelivery,
    SentRequest,
)
from relay.model.event import CapturedEvent, NewEvent
from relay.model.message import MessageStatus
from relay.model.signals import MessageChanged
from relay.platform import SystemClock
from relay.store import Store, open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECEIPT = EmailOptions(
    name="receipt",
    to=("{{ payload.email }}",),
    subject="Paid: {{ payload.number }}",
    text="Thanks for {{ payload.number }}.",
)
NOTICE = EmailOptions(name="notice", to=("ops@example.com",), subject="{{ event.type }}", text="#{{ event.id }}")
OFTEN = EmailOptions(name="often", to=("ops@example.com",), subject="x", text="x", once=False)


class StillClock(SystemClock):
    def __init__(self):
        self.seconds = 0.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return NOW + timedelta(seconds=self.seconds)


class Sink:
    def __init__(self):
        self.mails = []
        self.answers = []
        self.hang = None
        self.smtp: dict[str, Any] = {}

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        if self.hang is not None:
            self.hang.set()
            await asyncio.sleep(60)
        answer = self.answers.pop(0) if self.answers else "250 queued"
        if answer == "hang up":
            server.transport.abort()
        if answer.startswith("250"):
            self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
        return answer


@dataclass
class Desk:
    """An Email action with a real store behind it, and an event it may send."""

    action: EmailAction
    store: Store
    event: CapturedEvent
    delivery: Delivery
    signals: list
    clock: StillClock
    new: NewEvent
    post: dict

    async def run(self, options=RECEIPT, delivery=None):
        return await self.action.run(self.event, delivery or self.delivery, options)

    async def owe(self, **changes):
        """Owe the event once more."""
        (id_,) = await self.store.deliveries.add(self.event.id, [owed(DeliveryChanges(**changes))], NOW)
        return await self.store.deliveries.get(id_)

    async def mail(self, options):
        """Mail an event of its own."""
        stored = await self.store.events.add(self.new, (owed(DeliveryChanges()),))
        event = await self.store.events.get(stored.id)
        return await self.action.run(event, await self.store.deliveries.get(stored.deliveries[0]), options)

    def restarted(self):
        """Begin anew with the store that a relay left behind."""
        made = emailing(self.store, self.post, self.signals, self.clock)
        return replace(self, action=made)

    async def messages(self):
        return await self.store.messages.page()


@asynccontextmanager
async def desk(tmp_path, *, changes=None, payload=None, **smtp):
    payload = payload or {"email": "ada@example.com", "number": "Ä-1"}
    capture = build_capture(
        headers=(("Content-Type", "application/json"),),
        body=json.dumps(payload).encode(),
        remote="203.0.113.7",
        received_at=NOW,
    )
    new = build_new_event(capture, provider="stripe", type="invoice.paid")
    signals, clock = [], StillClock()
    async with open_store(tmp_path / "data") as store:
        stored = await store.events.add(new, (owed(changes or DeliveryChanges()),))
        post = {"outbox": tmp_path / "data" / "outbox", "smtp": SmtpOptions(**smtp) if smtp else None}
        event = await store.events.get(stored.id)
        delivery = await store.deliveries.get(stored.deliveries[0])
        action = emailing(store, post, signals, clock)
        yield Desk(action, store, event, delivery, signals, clock, new, post)


def owed(changes):
    reason = DeliveryReason.ROUTED if changes == DeliveryChanges() else DeliveryReason.MANUAL
    return NewDelivery(target="receipt", action="email", reason=reason, changes=changes)


def emailing(store, post, signals, clock):
    return EmailAction(
        templates={"receipt": RECEIPT, "notice": NOTICE, "often": OFTEN},
        **post,
        messages=store.messages,
        sent=store.mails,
        publish=signals.append,
        clock=clock,
    )


@pytest.fixture
async def sink():

    kept = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: sinks.SMTP(kept), "127.0.0.1", 0)
    kept.smtp = {
        "host": "127.0.0.1",
        "port": server.sockets[0].getsockname()[1],
        "sender": "Relay <relay@example.com>",
        "timeout": 60.0,
    }
    yield kept
    server.close()


async def test_without_a_server_a_mail_is_kept_in_the_outbox(tmp_path):
    async with desk(tmp_path) as it:
        result = await it.run()
        (message,) = await it.messages()
        source = await it.store.messages.source(message.id)
    assert result.outcome == AttemptSucceeded("kept in the outbox")
    assert message.status is MessageStatus.OUTBOX
    assert (message.recipient, message.subject) == ("ada@example.com", "Paid: Ä-1")
    assert (message.event_id, message.delivery_id) == (1, 1)
    assert it.signals == [MessageChanged(message.id, 1, "outbox")]
    (kept,) = (tmp_path / "data" / "outbox").iterdir()
    assert kept.name == message.external_id.strip("<>") + ".eml"
    assert kept.read_bytes() == source
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    mail = message_from_bytes(source, policy=default)
    assert mail["X-Relay-Event"] == "1"
    assert mail.get_content().strip() == "Thanks for Ä-1."


async def test_an_outbox_that_cannot_be_written_is_tried_again_once_there_is_room(tmp_path):
    async with desk(tmp_path) as it:
        (tmp_path / "data" / "outbox").write_text("in the way")
        result = await it.run()
        assert isinstance(result.outcome, AttemptRetry)
        assert result.outcome.detail.startswith(f"cannot keep a mail in {tmp_path}")
        assert await it.messages() == ()
        (tmp_path / "data" / "outbox").unlink()
        assert (await it.run()).outcome == AttemptSucceeded("kept in the outbox")
        assert len(await it.messages()) == 1


async def test_with_a_server_a_mail_is_sent_and_written_down(tmp_path, sink):
    async with desk(tmp_path, allow_recipients=("*@example.com",), **sink.smtp) as it:
        result = await it.run()
        (message,) = await it.messages()
    assert result.outcome == AttemptSucceeded("250 queued")
    ((sender, recipients, source),) = sink.mails
    assert (sender, recipients) == ("relay@example.com", ["ada@example.com"])
    assert message.status is MessageStatus.SENT
    assert result.request == SentRequest(
        method="MAIL",
        url=f"smtp://127.0.0.1:{sink.smtp['port']}",
        headers=(
            ("From", "Relay <relay@example.com>"),
            ("To", "ada@example.com"),
            ("Subject", "Paid: Ã\x84-1"),
            ("Message-ID", message.external_id),
        ),
    )
    assert message_from_bytes(source, policy=default)["Message-ID"] == message.external_id


async def test_a_mail_tried_again_is_the_same_mail(tmp_path, sink):
    sink.answers = ["451 later"]
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        first = await it.run()
        assert await it.messages() == ()
        second = await it.run()
    assert (first.outcome, second.outcome) == (AttemptRetry("451 later"), AttemptSucceeded("250 queued"))
    assert first.request.headers == second.request.headers


async def test_a_mail_the_server_refuses_for_good_is_written_down_as_failed(tmp_path, sink):
    sink.answers = ["550 5.7.1 no spam"]
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        assert (await it.run()).outcome == AttemptFailed("550 5.7.1 no spam")
        (message,) = await it.messages()
    assert (message.status, message.detail) == (MessageStatus.FAILED, "550 5.7.1 no spam")


@pytest.mark.parametrize("allowed", [(), ("*@other.org",)])
async def test_an_address_out_of_a_payload_is_refused_visibly(tmp_path, sink, allowed):
    async with desk(tmp_path, allow_recipients=allowed, **sink.smtp) as it:
        result = await it.run()
        (message,) = await it.messages()
    assert result.outcome == AttemptFailed("ada@example.com is not among the allowed recipients")
    assert (message.status, message.recipient) == (MessageStatus.FAILED, "ada@example.com")
    assert sink.mails == []


async def test_an_address_of_the_configuration_needs_no_allow_list(tmp_path, sink):
    async with desk(tmp_path, **sink.smtp) as it:
        assert (await it.run(NOTICE)).outcome == AttemptSucceeded("250 queued")
    assert sink.mails[0][1] == ["ops@example.com"]


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com, b@evil.example",
        "a@example.com\r\nBcc: b@evil.example",
        "a@example.com>\r\nRCPT TO:<b@evil.example",
    ],
)
async def test_a_payload_cannot_add_a_recipient(tmp_path, sink, address):
    payload = {"email": address, "number": "1"}
    async with desk(tmp_path, payload=payload, allow_recipients=("*",), **sink.smtp) as it:
        result = await it.run()
    assert isinstance(result.outcome, AttemptFailed)
    assert "is not one mail address" in result.outcome.detail
    assert sink.mails == []


async def test_a_missing_field_fails_the_mail_with_its_name(tmp_path):
    async with desk(tmp_path, payload={"email": "a@b.c"}) as it:
        result = await it.run()
    assert result.outcome == AttemptFailed("emails.receipt.text, line 1: there is no payload.number")


async def test_somebody_may_ask_for_another_template_and_recipient(tmp_path, sink):
    changes = DeliveryChanges(template="notice", to=("eve@example.com",))
    async with desk(tmp_path, changes=changes, allow_recipients=("*@example.com",), **sink.smtp) as it:
        assert isinstance((await it.run()).outcome, AttemptSucceeded)
    assert sink.mails[0][1] == ["eve@example.com"]
    assert b"Subject: invoice.paid" in sink.mails[0][2]


async def test_a_delivery_with_edits_mails_the_edited_event(tmp_path):
    edits = DeliveryChanges(
        body=b'{"email": "grace@example.com", "number": 2}', headers=(("X-Env", "dev"),), method="PUT", query="n=1"
    )
    options = replace(
        RECEIPT, text="{{ event.method }} {{ event.query }} {{ event.headers['x-env'] }}", attach=("body",)
    )
    async with desk(tmp_path, changes=edits) as it:
        await it.run(options)
        (message,) = await it.messages()
        mail = message_from_bytes(await it.store.messages.source(message.id), policy=default)
    assert (message.recipient, message.subject) == ("grace@example.com", "Paid: 2")
    assert mail.get_body(("plain",)).get_content().strip() == "PUT n=1 dev"
    assert b'"number": 2' in next(mail.iter_attachments()).get_content()


async def test_a_template_that_is_gone_from_the_configuration_fails(tmp_path):
    async with desk(tmp_path, changes=DeliveryChanges(template="gone", to=("a@b.c",))) as it:
        assert (await it.run()).outcome == AttemptFailed("no mail template 'gone'")


async def test_a_preview_renders_and_sends_nothing(tmp_path, sink):
    async with desk(tmp_path, **sink.smtp) as it:
        mail = await it.action.preview(it.event, "receipt")
        assert (mail.to, mail.subject, mail.text) == (("ada@example.com",), "Paid: Ä-1", "Thanks for Ä-1.")
        with pytest.raises(MailError, match="not among the allowed"):
            await it.action.check(it.event, "receipt")
        with pytest.raises(NotFoundError, match="no mail template 'welcome'") as caught:
            await it.action.preview(it.event, "welcome")
        assert caught.value.hint == "there is: notice, often, receipt"
        assert await it.messages() == ()
    assert sink.mails == []


async def test_a_template_sends_only_so_many_mails_an_hour(tmp_path, sink):
    few = replace(NOTICE, per_hour=3)
    async with desk(tmp_path, **sink.smtp) as it:
        for _ in range(3):
            assert isinstance((await it.mail(few)).outcome, AttemptSucceeded)
            it.clock.seconds += 10
        full = (await it.mail(few)).outcome
        assert full == AttemptRetry(
            "the hourly limit of notice is reached; the next may go at 2026-03-01 13:00:00 UTC",
            after=3570.0,
            tried=False,
        )
        assert (await it.restarted().mail(few)).outcome == full
        assert isinstance((await it.mail(replace(OFTEN, per_hour=1))).outcome, AttemptSucceeded)
        it.clock.seconds = 3601
        assert isinstance((await it.mail(few)).outcome, AttemptSucceeded)
    assert len(sink.mails) == 5


async def test_the_outbox_takes_any_number(tmp_path):
    async with desk(tmp_path) as it:
        for _ in range(5):
            assert isinstance((await it.mail(replace(NOTICE, per_hour=1))).outcome, AttemptSucceeded)


async def test_an_event_is_mailed_once_by_a_template(tmp_path, sink):
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        assert (await it.run()).outcome == AttemptSucceeded("250 queued")
        second = await it.owe()
        result = await it.run(delivery=second)
        assert result.outcome == AttemptSucceeded(
            "not sent again: #1 was mailed with receipt already: 2026-03-01 12:00:00 UTC to ada@example.com"
        )
        assert result.request is None
        assert isinstance((await it.run(NOTICE, second)).outcome, AttemptSucceeded)
        with pytest.raises(SentAlreadyError, match="#1 was mailed with receipt already") as caught:
            await it.action.check(it.event, "receipt", ("eve@example.com",))
        assert caught.value.hint == "relay email 1 receipt --force sends it anyway"
        assert len(await it.messages()) == 2
    assert [mail[1] for mail in sink.mails] == [["ada@example.com"], ["ops@example.com"]]


async def test_force_sends_once_more_and_no_more_than_that(tmp_path, sink):
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        await it.run()
        await it.action.check(it.event, "receipt", force=True)
        forced = await it.owe(force=True, template="receipt")
        assert (await it.run(delivery=forced)).outcome == AttemptSucceeded("250 queued")
        again = (await it.run(delivery=forced)).outcome
        assert again.detail.startswith("not sent again: #1 was mailed with receipt already")
        with pytest.raises(SentAlreadyError):
            await it.action.check_not_sent(it.event.id, RECEIPT, forced)
    assert len(sink.mails) == 2


async def test_a_template_that_is_not_sent_once_is_sent_whenever_it_is_owed(tmp_path, sink):
    async with desk(tmp_path, **sink.smtp) as it:
        for _ in range(3):
            assert (await it.run(OFTEN, await it.owe())).outcome == AttemptSucceeded("250 queued")
    assert len(sink.mails) == 3


@pytest.mark.parametrize("answer", ["451 later", "550 5.7.1 no"])
async def test_what_the_server_refused_may_be_sent_by_whoever_tries_next(tmp_path, sink, answer):
    sink.answers = [answer]
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        assert not isinstance((await it.run()).outcome, AttemptSucceeded)
        assert (await it.run(delivery=await it.owe())).outcome == AttemptSucceeded("250 queued")
        assert (await it.run()).outcome.detail.startswith("not sent again: ")
    assert len(sink.mails) == 1


async def test_of_many_at_the_same_moment_one_is_sent(tmp_path, sink):
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        owed = [await it.owe() for _ in range(8)]
        results = await asyncio.gather(*(it.run(delivery=one) for one in owed))
        outcomes = [result.outcome for result in results]
        assert outcomes.count(AttemptSucceeded("250 queued")) == 1
        for other in outcomes:
            assert (
                other == AttemptSucceeded("250 queued")
                or (isinstance(other, AttemptRetry) and not other.tried and "right now" in other.detail)
                or other.detail.startswith("not sent again: ")
            )
        assert len(await it.messages()) == 1
    assert len(sink.mails) == 1


async def test_a_mail_that_a_dead_relay_was_handing_over_counts_as_sent(tmp_path, sink):
    words = (
        "#1 may have been mailed with receipt already: 2026-03-01 12:00:00 UTC to ada@example.com, but the server "
        "did not confirm it; relay email 1 receipt --force sends it anyway"
    )
    sink.hang = asyncio.Event()
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        async with asyncio.TaskGroup() as group:
            killed = group.create_task(it.run())
            await sink.hang.wait()
            killed.cancel()
        after = it.restarted()
        assert (await after.run()).outcome == AttemptFailed(words)
        assert [(message.status, message.detail) for message in await it.messages()] == [(MessageStatus.FAILED, words)]
        assert (await after.run(delivery=await it.owe())).outcome == AttemptFailed(words)
        with pytest.raises(SentAlreadyError, match="may have been mailed"):
            await after.action.check(it.event, "receipt")
        sink.hang = None
        forced = await it.owe(force=True)
        assert (await after.run(delivery=forced)).outcome == AttemptSucceeded("250 queued")


async def test_a_server_that_was_not_heard_is_not_given_the_mail_again(tmp_path, sink):
    sink.answers = ["hang up", "250 queued"]
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        where = f"127.0.0.1:{sink.smtp['port']}"
        result = await it.run()
        assert result.outcome == AttemptFailed(f"{where} was given the mail and hung up; it may have arrived")
        (message,) = await it.messages()
        assert (message.status, message.detail) == (MessageStatus.FAILED, result.outcome.detail)
        assert "may have been mailed" in (await it.run()).outcome.detail
    assert sink.mails == []


async def test_a_template_that_is_not_sent_once_is_tried_again_when_nobody_was_heard(tmp_path, sink):
    sink.answers = ["hang up", "250 queued"]
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        assert isinstance((await it.run(OFTEN)).outcome, AttemptRetry)
        assert (await it.run(OFTEN)).outcome == AttemptSucceeded("250 queued")


async def test_what_was_kept_in_the_outbox_may_be_sent_for_real_and_not_the_other_way_round(tmp_path, sink):
    async with desk(tmp_path) as it:
        assert (await it.run()).outcome == AttemptSucceeded("kept in the outbox")
        again = (await it.run(delivery=await it.owe())).outcome
        assert again.detail.startswith("not sent again: #1 was kept in the outbox with receipt already")
        with_server = it.post | {"smtp": SmtpOptions(**sink.smtp, allow_recipients=("*",))}
        real = replace(it, post=with_server).restarted()
        assert (await real.run(delivery=await it.owe())).outcome == AttemptSucceeded("250 queued")
        assert (await it.run(delivery=await it.owe())).outcome.detail.startswith("not sent again: ")
    assert len(sink.mails) == 1


async def test_a_mail_whose_outbox_was_not_written_is_kept_when_it_can_be(tmp_path):
    async with desk(tmp_path) as it:
        (tmp_path / "data" / "outbox").write_text("in the way")
        assert isinstance((await it.run()).outcome, AttemptRetry)
        (tmp_path / "data" / "outbox").unlink()
        assert (await it.run()).outcome == AttemptSucceeded("kept in the outbox")


async def test_everybody_gets_it_and_the_blind_copy_stays_blind(tmp_path, sink):
    options = replace(NOTICE, cc=("boss@example.com",), bcc=("archive@example.com",), reply_to=("me@example.com",))
    async with desk(tmp_path, **sink.smtp) as it:
        assert (await it.run(options)).outcome == AttemptSucceeded("250 queued")
    ((_, recipients, source),) = sink.mails
    assert recipients == ["ops@example.com", "boss@example.com", "archive@example.com"]
    assert b"Cc: boss@example.com\r\n" in source
    assert b"archive" not in source


@pytest.mark.parametrize("key", ["cc", "bcc"])
async def test_a_copy_is_refused_as_any_recipient_is(tmp_path, sink, key):
    changes: dict[str, Any] = {key: ("{{ payload.email }}",)}
    options = replace(NOTICE, **changes)
    async with desk(tmp_path, **sink.smtp) as it:
        assert (await it.run(options)).outcome == AttemptFailed("ada@example.com is not among the allowed recipients")
    assert sink.mails == []


async def test_an_invalid_recipient_in_an_event_is_a_clear_failure(tmp_path, sink):
    payload = {"email": "ada@", "number": "1"}
    async with desk(tmp_path, payload=payload, allow_recipients=("*",), **sink.smtp) as it:
        assert (await it.run()).outcome == AttemptFailed(
            "emails.receipt.to: 'ada@' is not one mail address: there must be something after the @-sign; "
            "it came from {{ payload.email }}"
        )


@pytest.mark.parametrize(
    ("number", "subject"),
    [
        ("a\r\nBcc: evil@example.com\x00\x1b[31m", "Paid: a Bcc: evil@example.com [31m"),
        ("=?utf-8?q?a=0D=0ABcc:_x?=", "Paid: = ?utf-8?q?a=0D=0ABcc:_x?="),
        ("x" * 100_000, "Paid: " + "x" * 194),
    ],
)
async def test_a_hostile_subject_is_cleaned_cut_and_sent(tmp_path, sink, number, subject):
    options = replace(RECEIPT, text="Thanks.")
    payload = {"email": "ada@example.com", "number": number}
    async with desk(tmp_path, payload=payload, allow_recipients=("*",), **sink.smtp) as it:
        assert (await it.run(options)).outcome == AttemptSucceeded("250 queued")
    ((_, recipients, source),) = sink.mails
    mail = message_from_bytes(source, policy=default)
    assert (recipients, mail["Subject"], mail["Bcc"]) == (["ada@example.com"], subject, None)


async def test_a_template_that_never_ends_holds_nothing_else_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "TIME_LIMIT", 0.3)
    slow = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    async with desk(tmp_path) as it:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(it.run(replace(NOTICE, text=slow)))
            turns = 0
            while not running.done():
                await asyncio.sleep(0.01)
                turns += 1
        assert running.result().outcome == AttemptFailed("emails.notice.text, line 1: it takes longer than 0.3 s")
    assert turns > 1


async def test_a_mail_has_no_far_end_to_knock_at(tmp_path):
    async with desk(tmp_path) as it:
        assert await it.action.reachable(RECEIPT)
