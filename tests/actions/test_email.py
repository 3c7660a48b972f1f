import asyncio
import json
import stat
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd import smtp as sinks

from relay.actions.email import MAILS_AN_HOUR, Email, EmailOptions, Post
from relay.clock import SystemClock
from relay.errors import MailError, NotFoundError
from relay.mail.smtp import SmtpOptions
from relay.model.delivery import (
    Changes,
    DeliveryReason,
    Failed,
    NewDelivery,
    Retry,
    SentRequest,
    Succeeded,
)
from relay.model.event import Capture, EventOutcome, NewEvent, Verdict, Verification
from relay.model.message import MessageStatus
from relay.model.signals import MessageChanged
from relay.store import open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECEIPT = EmailOptions(
    name="receipt",
    to=("{{ payload.email }}",),
    subject="Paid: {{ payload.number }}",
    text="Thanks for {{ payload.number }}.",
)
NOTICE = EmailOptions(
    name="notice", to=("ops@example.com",), subject="{{ event.type }}", text="#{{ event.id }}"
)


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

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        answer = self.answers.pop(0) if self.answers else "250 queued"
        if answer.startswith("250"):
            self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content))
        return answer


@dataclass
class Desk:
    """An Email action with a real store behind it, and an event it may send."""

    action: object
    store: object
    event: object
    delivery: object
    signals: list
    clock: StillClock

    async def run(self, options=RECEIPT):
        return await self.action.run(self.event, self.delivery, options)

    async def messages(self):
        return await self.store.messages.page()


@asynccontextmanager
async def desk(tmp_path, *, changes=None, payload=None, **smtp):
    payload = payload or {"email": "ada@example.com", "number": "Ä-1"}
    capture = Capture(
        source="stripe",
        method="POST",
        path="/webhooks/stripe",
        query="",
        headers=(("Content-Type", "application/json"),),
        body=json.dumps(payload).encode(),
        remote="203.0.113.7",
        received_at=NOW,
    )
    new = NewEvent(
        capture=capture,
        provider="stripe",
        type="invoice.paid",
        idempotency_key=None,
        claims_key=False,
        deliver_duplicates=False,
        outcome=EventOutcome.ACCEPTED,
        verification=Verification(verdict=Verdict.VERIFIED),
        reason="",
        status=200,
    )
    signals, clock = [], StillClock()
    async with open_store(tmp_path / "data") as store:
        owed = NewDelivery(
            target="receipt",
            action="email",
            reason=DeliveryReason.MANUAL if changes else DeliveryReason.ROUTED,
            changes=changes or Changes(),
        )
        stored = await store.events.add(new, (owed,))
        action = Email(
            templates={"receipt": RECEIPT, "notice": NOTICE},
            post=Post(outbox=tmp_path / "data" / "outbox", smtp=SmtpOptions(**smtp) if smtp else None),
            messages=store.messages,
            publish=signals.append,
            clock=clock,
        )
        event = await store.events.get(stored.id)
        delivery = await store.deliveries.get(stored.deliveries[0])
        yield Desk(action, store, event, delivery, signals, clock)


@pytest.fixture
async def sink():

    kept = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: sinks.SMTP(kept), "127.0.0.1", 0)
    kept.smtp = {
        "host": "127.0.0.1",
        "port": server.sockets[0].getsockname()[1],
        "sender": "Relay <relay@example.com>",
        "timeout": 10.0,
    }
    yield kept
    server.close()


async def test_without_a_server_a_mail_is_kept_in_the_outbox(tmp_path):
    async with desk(tmp_path) as it:
        result = await it.run()
        (message,) = await it.messages()
        source = await it.store.messages.source(message.id)
    assert result.outcome == Succeeded("kept in the outbox")
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


async def test_an_outbox_that_cannot_be_written_is_a_failure_that_says_so(tmp_path):
    async with desk(tmp_path) as it:
        (tmp_path / "data" / "outbox").write_text("in the way")
        result = await it.run()
    assert isinstance(result.outcome, Failed)
    assert result.outcome.detail.startswith(f"cannot keep a mail in {tmp_path}")


async def test_with_a_server_a_mail_is_sent_and_written_down(tmp_path, sink):
    async with desk(tmp_path, allow_recipients=("*@example.com",), **sink.smtp) as it:
        result = await it.run()
        (message,) = await it.messages()
    assert result.outcome == Succeeded("250 queued")
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
    assert (first.outcome, second.outcome) == (Retry("451 later"), Succeeded("250 queued"))
    assert first.request.headers == second.request.headers


async def test_a_mail_the_server_refuses_for_good_is_written_down_as_failed(tmp_path, sink):
    sink.answers = ["550 5.7.1 no spam"]
    async with desk(tmp_path, allow_recipients=("*",), **sink.smtp) as it:
        assert (await it.run()).outcome == Failed("550 5.7.1 no spam")
        (message,) = await it.messages()
    assert (message.status, message.detail) == (MessageStatus.FAILED, "550 5.7.1 no spam")


@pytest.mark.parametrize("allowed", [(), ("*@other.org",)])
async def test_an_address_out_of_a_payload_is_refused_visibly(tmp_path, sink, allowed):
    async with desk(tmp_path, allow_recipients=allowed, **sink.smtp) as it:
        result = await it.run()
        (message,) = await it.messages()
    assert result.outcome == Failed("ada@example.com is not among the allowed recipients")
    assert (message.status, message.recipient) == (MessageStatus.FAILED, "ada@example.com")
    assert sink.mails == []


async def test_an_address_of_the_configuration_needs_no_allow_list(tmp_path, sink):
    async with desk(tmp_path, **sink.smtp) as it:
        assert (await it.run(NOTICE)).outcome == Succeeded("250 queued")
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
    assert isinstance(result.outcome, Failed)
    assert "is not one mail address" in result.outcome.detail
    assert sink.mails == []


async def test_a_missing_field_fails_the_mail_with_its_name(tmp_path):
    async with desk(tmp_path, payload={"email": "a@b.c"}) as it:
        result = await it.run()
    assert isinstance(result.outcome, Failed)
    assert "emails.receipt: the template, line 1" in result.outcome.detail
    assert "has no attribute 'number'" in result.outcome.detail


async def test_somebody_may_ask_for_another_template_and_recipient(tmp_path, sink):
    changes = Changes(template="notice", to=("eve@example.com",))
    async with desk(tmp_path, changes=changes, allow_recipients=("*@example.com",), **sink.smtp) as it:
        assert isinstance((await it.run()).outcome, Succeeded)
    assert sink.mails[0][1] == ["eve@example.com"]
    assert b"Subject: invoice.paid" in sink.mails[0][2]


async def test_a_template_that_is_gone_from_the_configuration_fails(tmp_path):
    async with desk(tmp_path, changes=Changes(template="gone", to=("a@b.c",))) as it:
        assert (await it.run()).outcome == Failed("no mail template 'gone'")


async def test_a_preview_renders_and_sends_nothing(tmp_path, sink):
    async with desk(tmp_path, **sink.smtp) as it:
        mail = it.action.preview(it.event, "receipt")
        assert (mail.to, mail.subject, mail.text) == (("ada@example.com",), "Paid: Ä-1", "Thanks for Ä-1.")
        with pytest.raises(MailError, match="not among the allowed"):
            it.action.check(it.event, "receipt")
        with pytest.raises(NotFoundError, match="no mail template 'welcome'") as caught:
            it.action.preview(it.event, "welcome")
        assert caught.value.hint == "there is: notice, receipt"
        assert await it.messages() == ()
    assert sink.mails == []


async def test_a_template_sends_only_so_many_mails_an_hour(tmp_path, sink):
    async with desk(tmp_path, **sink.smtp) as it:
        for _ in range(MAILS_AN_HOUR):
            assert isinstance((await it.run(NOTICE)).outcome, Succeeded)
            it.clock.seconds += 10
        result = await it.run(NOTICE)
        assert result.outcome == Retry("30 mails an hour is the limit for notice", after=3300.0)
        it.clock.seconds = 3601
        assert isinstance((await it.run(NOTICE)).outcome, Succeeded)
    assert len(sink.mails) == 31


async def test_a_mail_has_no_far_end_to_knock_at(tmp_path):
    async with desk(tmp_path) as it:
        assert await it.action.reachable(RECEIPT)
