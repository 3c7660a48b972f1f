"""Mails through the engine: sent once whoever asks, held back without losing their place, tried as often as said."""

import asyncio
from dataclasses import replace

import pytest

from builders import build_delivery
from relay.delivery.targets import Targets
from relay.errors import SentAlreadyError
from relay.model.delivery import ActionResult, AttemptRetry, AttemptSucceeded, DeliveryChanges, RetryPolicy, Target


class Holding:
    """An action that has to wait as often as it is told, without trying anything."""

    name = "forward"

    def __init__(self, times, after=0.05):
        self.times = times
        self.after = after
        self.asked = []

    async def run(self, event, delivery, options):
        self.asked.append(event.id)
        if self.times:
            self.times -= 1
            return ActionResult(outcome=AttemptRetry("the hour is full", after=self.after, tried=False))
        return ActionResult(outcome=AttemptSucceeded("sent"))

    async def reachable(self, options):
        return True


async def test_what_only_has_to_wait_spends_no_attempt(world):
    holding = Holding(5)
    async with world(forward=holding) as it, it.running():
        stored = await it.event("app")
        delivery = await it.settled(stored.deliveries[0])
        attempts = await it.store.deliveries.attempts(delivery.id)
    assert (delivery.state, delivery.attempts) == ("succeeded", 1)
    assert [attempt.outcome for attempt in attempts] == ["succeeded"]
    assert len(holding.asked) == 6


async def test_while_it_waits_it_says_why(world):
    async with world(forward=Holding(1, after=3600)) as it, it.running():
        stored = await it.event("app")
        delivery = await it.until(stored.deliveries[0], lambda one: one.detail != "")
        now = it.clock.now()
    assert (delivery.state, delivery.detail, delivery.attempts) == ("pending", "the hour is full", 0)
    # As far ahead as nothing of this engine ever waits, and no further: beyond that counts as due.
    assert 50 <= (delivery.due_at - now).total_seconds() <= 3600


async def test_in_order_the_next_waits_with_it(world):
    holding = Holding(3)
    async with world({"app": {"fifo": True}}, forward=holding) as it, it.running():
        first, second = await it.event("app"), await it.event("app")
        await it.settled(second.deliveries[0])
    assert holding.asked == [first.id] * 4 + [second.id]


@pytest.mark.slow
async def test_a_route_a_click_and_a_replay_send_one_mail(world, receipt):
    targets = {"mail": {"action": "email", "options": receipt}}
    async with world(targets, emails={"receipt": receipt}) as it, it.running():
        stored = await it.event()
        routed = await it.owe(stored.id, "mail", "email")
        assert (await it.settled(routed)).detail == "kept in the outbox"
        event = await it.store.events.get(stored.id)
        for asked in (
            it.replays.email_event(event, "receipt", ()),
            it.replays.replay_event(stored.id, "mail", DeliveryChanges()),
            it.replays.retry_delivery(routed),
        ):
            with pytest.raises(SentAlreadyError, match=f"#{stored.id} was kept in the outbox with receipt"):
                await asked
        again = await it.settled(await it.owe(stored.id, "mail", "email"))
        assert (again.state, again.detail[:15]) == ("succeeded", "not sent again:")
        forced = await it.replays.email_event(event, "receipt", (), True)
        assert (await it.settled(forced)).detail == "kept in the outbox"
        assert len(await it.store.messages.page()) == 2


async def test_the_guard_holds_over_a_restart(world, receipt):
    targets = {"mail": {"action": "email", "options": receipt}}
    async with world(targets, emails={"receipt": receipt}) as it, it.running():
        stored = await it.event()
        await it.settled(await it.owe(stored.id, "mail", "email"))
    async with world(targets, emails={"receipt": receipt}) as it, it.running():
        again = await it.settled(await it.owe(stored.id, "mail", "email"))
        assert again.detail.startswith("not sent again:")
        assert len(await it.store.messages.page()) == 1


async def test_many_that_ask_at_once_are_sent_one(world, receipt):
    async with world(emails={"receipt": receipt}) as it, it.running():
        stored = await it.event()
        event = await it.store.events.get(stored.id)
        asked = [it.replays.email_event(event, "receipt", ()) for _ in range(12)]
        made = await asyncio.gather(*asked, return_exceptions=True)
        ids = [one for one in made if isinstance(one, int)]
        assert all(isinstance(one, SentAlreadyError) for one in made if not isinstance(one, int))
        for id_ in ids:
            assert (await it.settled(id_)).state == "succeeded"
        assert len(await it.store.messages.page()) == 1


async def test_a_mail_that_failed_may_be_retried(world, receipt, tmp_path):
    outbox = tmp_path / "data" / "outbox"
    targets = {"mail": {"action": "email", "options": receipt}}
    async with world(targets, emails={"receipt": receipt}) as it, it.running():
        outbox.write_text("in the way")
        stored = await it.event()
        id_ = await it.owe(stored.id, "mail", "email")
        assert (await it.settled(id_)).state == "failed"
        (failed,) = await it.store.messages.page()
        outbox.unlink()
        await it.replays.retry_delivery(id_)
        done = await it.until(id_, lambda one: one.state == "succeeded")
        (kept,) = await it.store.messages.page()
    assert done.detail == "kept in the outbox"
    assert (kept.id, failed.status, kept.status) == (failed.id, "failed", "outbox")


async def test_a_mail_by_hand_is_tried_as_often_as_smtp_says(world, receipt):
    policy = RetryPolicy(attempts=2)
    target = Target(name="mail", action="email", options=receipt, retry=RetryPolicy(attempts=9))
    known = Targets({"mail": target}, {"receipt": receipt}, policy)
    async with world() as it:
        stored = await it.event()
        by_hand = await it.owe(stored.id, "receipt", "email", changes=DeliveryChanges(template="receipt"))
        routed = await it.owe(stored.id, "mail", "email")
        assert known.of(await it.store.deliveries.get(by_hand)).retry == policy
        assert known.of(await it.store.deliveries.get(routed)).retry == target.retry
    assert policy in known.policies


async def test_a_mail_whose_attempts_are_used_up_is_a_failed_message(world, receipt, tmp_path):
    targets = {"mail": {"action": "email", "options": receipt}}
    async with world(targets, emails={"receipt": receipt}) as it, it.running():
        (tmp_path / "data" / "outbox").write_bytes(b"a file where the folder should be")
        routed = await it.settled(await it.owe((await it.event()).id, "mail", "email"))
        (message,) = await it.store.messages.page()
    assert routed.attempts > 1
    assert (message.delivery_id, message.status, message.detail) == (routed.id, "failed", routed.detail)


def test_only_an_attempt_that_spends_the_last_of_the_budget_is_the_last(receipt):
    mail = Target(name="mail", action="email", options=receipt, retry=RetryPolicy(attempts=3))
    targets = Targets({"mail": mail}, {"receipt": receipt}, RetryPolicy(attempts=1))
    third = build_delivery(target="mail", action="email", attempts=5, spared=3)
    assert targets.is_last(third, AttemptRetry("451 later"))
    assert not targets.is_last(replace(third, attempts=4), AttemptRetry("451 later"))
    assert not targets.is_last(third, AttemptRetry("no connection", unreachable=True))
    assert not targets.is_last(third, AttemptRetry("the hour is full", tried=False))
    asked = build_delivery(target="receipt", action="email", changes=DeliveryChanges(template="receipt"))
    assert targets.is_last(asked, AttemptRetry("no connection", unreachable=True))
