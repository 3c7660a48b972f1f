"""An engine at work over a real store, with a real target that answers as it is told."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from aiohttp import web

from builders import build_capture, build_new_event
from relay.actions.egress import EgressRules
from relay.actions.email import EmailAction
from relay.actions.forward import ForwardAction, ForwardOptions
from relay.actions.mail import EmailOptions
from relay.delivery.engine import Engine, EngineOptions
from relay.delivery.replay import ReplayService
from relay.delivery.signing import RequestSigner
from relay.delivery.targets import Targets
from relay.model.delivery import NO_CHANGES, DeliveryReason, NewDelivery, RetryPolicy, Target
from relay.model.event import EventOutcome, Verdict, Verification
from relay.model.signals import DeliveryChanged
from relay.pipeline.bus import Bus
from relay.pipeline.process import publish_stored
from relay.platform import SystemClock
from relay.store import Store, open_store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUICK = RetryPolicy(attempts=4, first=0.02, factor=1.0, max=0.02, jitter=0.0)
_STEP = 0.005
OVER = ("succeeded", "failed", "cancelled")


class App:
    """Somebody's app: keeps what it gets, answers 200 or what stands in `answers`, waits for `gate`.

    An answer of 0 is none: it hangs up. The gate closes by itself behind so many requests as `room` says.
    """

    def __init__(self):
        self.got = []
        self.answers = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most_at_once = 0
        self.room = None
        self.port = 0
        self._runner = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hooks"

    async def _handle(self, request):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.read()
            await self.gate.wait()
            self.got.append((request.method, request.path_qs, dict(request.headers), body))
            if self.room == len(self.got):
                self.gate.clear()
            answer = self.answers.pop(0) if self.answers else 200
            if not answer:
                request.transport.abort()
            headers = {"Retry-After": "0"} if answer == 429 else {}
            return web.Response(status=answer or 200, headers=headers)
        finally:
            self.at_once -= 1

    async def start(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        if self._runner:
            self.gate.set()
            await self._runner.cleanup()
            self._runner = None

    @property
    def bodies(self):
        return [body for *_, body in self.got]


@pytest.fixture
async def app():
    app = App()
    await app.start()
    yield app
    await app.stop()


@dataclass
class World:
    """Everything around an engine."""

    store: Store
    bus: Bus
    clock: SystemClock
    targets: Targets
    actions: dict
    replays: ReplayService
    signals: list = field(default_factory=list)
    latest: Engine | None = None

    def engine(self, **habits):
        self.latest = Engine(
            store=self.store,
            bus=self.bus,
            clock=self.clock,
            targets=self.targets,
            actions=self.actions,
            options=replace(EngineOptions(grace=2.0, spread=lambda: 0.5), **habits),
        )
        return self.latest

    @asynccontextmanager
    async def running(self, **habits):
        engine = self.engine(**habits)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(engine.run())
            try:
                yield engine
            finally:
                task.cancel()

    async def event(
        self,
        *targets,
        body=b"{}",
        source="stripe",
        headers=(),
        media="application/json",
        verdict=Verdict.VERIFIED,
        outcome=EventOutcome.ACCEPTED,
    ):
        """Keep an event that is owed to these targets and say so, as ingest does."""
        capture = build_capture(
            source,
            headers=(("Content-Type", media), *headers),
            body=body,
            received_at=self.clock.now(),
            url=f"https://hooks.example/webhooks/{source}",
        )
        new = build_new_event(capture, provider=source, outcome=outcome, verification=Verification(verdict=verdict))
        stored = await self.store.events.add(new, tuple(NewDelivery(target=name, action="forward") for name in targets))
        publish_stored(self.bus, stored)
        return stored

    async def owe(self, event_id, target, action="forward", reason=DeliveryReason.ROUTED, changes=NO_CHANGES):
        new = NewDelivery(target=target, action=action, reason=reason, changes=changes)
        (id_,) = await self.store.deliveries.add(event_id, [new], self.clock.now())
        self.bus.publish(DeliveryChanged(id_, event_id, "pending"))
        return id_

    async def settled(self, id_, within=60):
        return await self.until(id_, lambda delivery: delivery.state in OVER, within)

    async def until(self, id_, holds, within=60):
        delivery = None

        async def look():
            nonlocal delivery
            delivery = await self.store.deliveries.get(id_)
            return holds(delivery)

        await _eventually(look, within)
        return delivery


async def _eventually(holds, within=60):
    for _ in range(int(within / _STEP)):
        held = holds()
        if await held if asyncio.iscoroutine(held) else held:
            return
        await asyncio.sleep(_STEP)
    raise AssertionError("it never came to that")


@pytest.fixture
def eventually():
    return _eventually


@pytest.fixture
def world(tmp_path, app):
    """Open a world; closing it and opening it again finds the same database."""
    return make_world(tmp_path, app)


def make_world(folder, app):
    @asynccontextmanager
    async def opened(targets=None, source=None, emails=None, clock=None, rules=EgressRules, **actions):
        clock, bus = clock or SystemClock(), Bus()
        targets = {"app": {}} if targets is None else targets
        made = {name: _target(name, app.url, fields) for name, fields in targets.items()}
        emails = emails or {}

        def rules_of(typed):
            return rules(typed=typed)

        async def give_up(is_wanted):
            return await (it.latest or it.engine()).give_up(is_wanted)

        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(open_store(folder / "data"))
            forward = await stack.enter_async_context(
                ForwardAction(
                    rules=rules_of,
                    signer=RequestSigner(lambda name: source, clock),
                    find_source=lambda _: None,
                    clock=clock,
                )
            )
            known = Targets(made, emails)
            email = EmailAction(
                templates=emails,
                outbox=folder / "data" / "outbox",
                messages=store.messages,
                sent=store.mails,
                publish=bus.publish,
                clock=clock,
                is_last=known.is_last,
            )
            replays = ReplayService(
                store=store, bus=bus, clock=clock, targets=known, rules=rules_of, email=email, give_up=give_up
            )
            it = World(store, bus, clock, known, {"forward": forward, "email": email, **actions}, replays)
            bus.on(it.signals.append)
            yield it

    return opened


def _target(name, url, fields):
    fields = {"retry": QUICK, "action": "forward"} | fields
    options = fields.pop("options", None) or ForwardOptions(
        url=fields.pop("url", url), timeout=fields.pop("timeout", 60.0)
    )
    return Target(name=name, options=options, **fields)


@pytest.fixture
def receipt():
    return EmailOptions(name="receipt", to=("ada@example.com",), subject="Paid", text="#{{ event.id }}")
