"""The parts of one relay that do the work, each handed what it needs of the ground they stand on."""

import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.actions.base import Action
from relay.actions.email import Email, Post
from relay.actions.forward import Forward
from relay.actions.handler import Handler
from relay.admission.gate import Gate
from relay.assembly.custody import Custody, waits
from relay.assembly.ground import Ground
from relay.catchup.catch_ups import CatchUps
from relay.catchup.listing import Listing
from relay.catchup.recovery import Means
from relay.config.admission import names_callers
from relay.delivery.bulk import Bulk
from relay.delivery.engine import Engine, Habits
from relay.delivery.lab.plan import Planner
from relay.delivery.lab.runner import Lab
from relay.delivery.replay import Replays
from relay.delivery.resign import Resign
from relay.delivery.spoil import Spoil
from relay.ingest import Ingest
from relay.model.event import Source
from relay.recheck import Recheck
from relay.replies import Replies
from relay.retention import Notice, Retention
from relay.routing import lead
from relay.tunnel.supervisor import Supervisor
from relay.web.receive import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class Works:
    """What people set to work."""

    replays: Replays
    bulk: Bulk
    catch_ups: CatchUps
    lab: Lab
    custody: Custody
    tunnel: Supervisor | None


def forward(ground: Ground) -> Forward:
    """Return the action that sends requests on."""
    return Forward(
        rules=ground.rules,
        resign=Resign(ground.table.named, ground.clock, ground.keyed),
        source_path=ground.path_of,
        public_url=ground.public_url_of,
        clock=ground.clock,
        spoil=Spoil(ground.table.named, ground.clock, ground.keyed),
        awaited=ground.awaited,
    )


def email(ground: Ground) -> Email:
    """Return the action that sends mails."""
    return Email(
        templates=ground.config.emails,
        post=Post(outbox=ground.config.server.data_dir / "outbox", smtp=ground.config.smtp),
        messages=ground.store.messages,
        sent=ground.store.mails,
        publish=ground.bus.publish,
        clock=ground.clock,
    )


def handler(ground: Ground) -> Handler:
    """Return the action that calls the user's own functions."""
    return Handler(
        broken=ground.live.broken,
        publish=ground.bus.publish,
        clock=ground.clock,
        awaited=ground.awaited,
    )


def engine(ground: Ground, actions: tuple[Action[Any], ...], email: Email, above: int) -> Engine:
    """Return what delivers; it leaves deliveries up to the id `above` alone."""
    made = Engine(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        targets=ground.targets,
        actions={action.name: action for action in actions},
        habits=Habits(above=above),
        waits=partial(waits, ground, email),
    )
    ground.live.down, ground.live.gone = made.ward.down, made.ward.gone
    ground.live.next_try = lambda name: made.ward.next_try(name, ground.clock.monotonic())
    return made


def custody(
    ground: Ground, email: Email, engine: Engine, tunnel: Supervisor | None, *, checks: bool
) -> Custody:
    """Return what opens and locks the vault, and has checked what came while it was locked."""
    recheck = Recheck(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        routes=ground.config.routes,
        targets=ground.config.targets,
        urls=ground.sender_urls,
        in_order=engine.in_order,
    )
    return Custody(ground, recheck, email=email, engine=engine, tunnel=tunnel, checks=checks)


def replays(ground: Ground, email: Email) -> Replays:
    """Return what a person may ask of deliveries."""
    return Replays(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        targets=ground.targets,
        rules=ground.rules,
        email=email,
    )


def bulk(ground: Ground, engine: Engine, above: int) -> Bulk:
    """Return what replays many events; it leaves batches up to the id `above` alone."""
    routes = ground.config.routes
    return Bulk(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        targets=ground.targets,
        routes=routes,
        led=lambda event: lead(event, routes),
        rules=ground.rules,
        in_order=engine.in_order,
        above=above,
    )


def catch_ups(ground: Ground) -> CatchUps:
    """Return what fetches from providers what was missed."""
    config = ground.config
    means = Means(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        routes=config.routes,
        targets=config.targets,
        urls=ground.sender_urls,
    )

    def listing(source: Source) -> Listing:
        # Asked of the configuration as it is by then: a vault that was opened has changed it.
        return ground.config.catch_up(source)

    return CatchUps(means, source=ground.source, listing=listing)


def lab(ground: Ground, engine: Engine) -> Lab:
    """Return what makes experiments on targets."""
    planner = Planner(
        store=ground.store,
        clock=ground.clock,
        targets=ground.targets,
        spoil=Spoil(ground.table.named, ground.clock, ground.keyed),
        rules=ground.rules,
        seed=lambda: secrets.randbelow(1_000_000),
    )
    return Lab(
        store=ground.store, bus=ground.bus, clock=ground.clock, planner=planner, attempt=engine.attempt
    )


def retention(ground: Ground) -> Retention:
    """Return what forgets old events."""

    def report(notice: Notice | None) -> None:
        ground.live.retention = notice

    return Retention(ground.store, ground.bus, ground.clock, ground.config.keep, report)


def door(ground: Ground) -> Door:
    """Return what the ingress hands requests to."""
    replies = Replies(ground.store, ground.bus, ground.awaited)
    ingest = Ingest(ground.store, ground.bus, ground.config.routes, ground.config.targets, replies)
    return Door(
        ingest=ingest,
        gate=Gate(ground.clock),
        table=ground.table,
        bus=ground.bus,
        clock=ground.clock,
        live=ground.live,
        meter=ground.meter,
        max_body=ground.config.server.max_body,
        nonce=ground.nonce,
        own=ground.own_addresses,
        believing=names_callers(ground.config.file.tunnel),
    )
