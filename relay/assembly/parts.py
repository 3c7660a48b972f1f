"""The parts of one relay that do the work, each handed what it needs of the ground they stand on."""

from functools import partial
from typing import Any

from relay.actions.base import Action
from relay.actions.email import Email, Post
from relay.actions.forward import Forward
from relay.assembly.custody import Custody, urls, waits
from relay.assembly.ground import Ground
from relay.delivery.bulk import Bulk
from relay.delivery.engine import Engine, Habits
from relay.delivery.replay import Replays
from relay.delivery.resign import Resign
from relay.ingest import Ingest
from relay.recheck import Recheck
from relay.routing import lead
from relay.tunnel.supervisor import Supervisor
from relay.web.receive import Door


def forward(ground: Ground) -> Forward:
    """Return the action that sends requests on."""
    return Forward(
        rules=ground.rules,
        resign=Resign(ground.table.named, ground.clock, ground.keyed),
        source_path=ground.path_of,
        public_url=ground.public_url_of,
        clock=ground.clock,
    )


def email(ground: Ground) -> Email:
    """Return the action that sends mails."""
    return Email(
        templates=ground.config.emails,
        post=Post(outbox=ground.config.server.data_dir / "outbox", smtp=ground.config.smtp),
        messages=ground.store.messages,
        publish=ground.bus.publish,
        clock=ground.clock,
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
        urls=partial(urls, ground),
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


def door(ground: Ground) -> Door:
    """Return what the ingress hands requests to."""
    ingest = Ingest(ground.store, ground.bus, ground.clock, ground.config.routes, ground.config.targets)
    return Door(
        ingest=ingest,
        table=ground.table,
        bus=ground.bus,
        clock=ground.clock,
        live=ground.live,
        max_body=ground.config.server.max_body,
        nonce=ground.nonce,
    )
