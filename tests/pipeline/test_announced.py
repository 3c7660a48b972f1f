"""What is announced of an event and its deliveries is what the store has of them."""

import asyncio

from relay.model.signals import DeliveryChanged, EventStored

CONFIG = """
[sources.idle]
secret = "env:GITHUB_WEBHOOK_SECRET"
provider = "github"
[sources.once]
idempotency_key = "body:/id"
[targets.gone]
forward = "http://127.0.0.1:9/"
[targets.gone.retry]
attempts = 1
[[routes]]
source = "once"
to = ["gone"]
"""


async def test_an_event_is_announced_as_it_was_stored(start):
    at = await start(CONFIG)
    heard = []
    at.relay.bus.on(heard.append)
    await at.send("/webhooks/once", b'{"id": "a", "type": "t.one"}')
    await at.send("/webhooks/once", b'{"id": "a", "type": "t.one"}')
    await at.send("/webhooks/idle", b'{"action": "opened"}')
    await at.send("/webhooks/any?x=%ff", b"\xff", headers={"Content-Type": "text/plain"})
    stored = [one for one in heard if isinstance(one, EventStored)]
    assert [one.event_id for one in stored] == [1, 2, 3, 4]
    assert [len(one.deliveries) for one in stored] == [1, 0, 0, 0]
    for one in stored:
        assert one.build_row() == await at.relay.store.events.row(one.event_id)


async def test_a_delivery_is_announced_as_it_stands_after_each_attempt(start):
    at = await start(CONFIG)
    heard = []
    at.relay.bus.on(heard.append)
    await at.send("/webhooks/once", b'{"id": "a"}')
    async with asyncio.timeout(60):
        while not (told := [one for one in heard if isinstance(one, DeliveryChanged) and one.delivery]):  # noqa: ASYNC110 - heard is filled by the bus
            await asyncio.sleep(0.01)
        assert told[-1].delivery == await at.relay.store.deliveries.get(1)
