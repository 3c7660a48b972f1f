"""The parts of one relay that do the work, each handed what it needs of the ground they stand on."""

import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.actions.base import Action
from relay.actions.email import EmailAction, MailTransport
from relay.actions.forward import ForwardAction
from relay.actions.handler import HandlerAction
from relay.actions.mail.compose import EmailOptions
from relay.catchup.base import Listing
from relay.catchup.jobs import CatchUpJobs
from relay.catchup.recovery import RecoveryContext
from relay.delivery.bulk import BulkReplays
from relay.delivery.email_dry_run import EmailDryRun
from relay.delivery.engine import Engine, EngineOptions
from relay.delivery.forge import SignatureForger
from relay.delivery.lab.plan import Planner
from relay.delivery.lab.runner import LabRunner
from relay.delivery.replay import ReplayService
from relay.delivery.retention import Retention, RetentionNotice
from relay.delivery.signing import RequestSigner
from relay.model.event import Source
from relay.pipeline.reverify import Reverifier
from relay.pipeline.routing import find_target_names
from relay.services.context import RelayContext
from relay.services.vault_session import VaultSession, find_blocked_targets
from relay.tunnel.supervisor import Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What people set to work."""

    replays: ReplayService
    bulk: BulkReplays
    catch_ups: CatchUpJobs
    lab: LabRunner
    custody: VaultSession
    tunnel: Supervisor | None


def build_forward_action(ground: RelayContext) -> ForwardAction:
    """Return the action that sends requests on."""
    return ForwardAction(
        rules=ground.rules,
        resign=RequestSigner(ground.table.named, ground.clock, ground.with_key_pair),
        source_path=ground.path_of,
        public_url=ground.public_url_of,
        clock=ground.clock,
        spoil=SignatureForger(ground.table.named, ground.clock, ground.with_key_pair),
        awaited=ground.awaited,
    )


def build_email_action(ground: RelayContext) -> EmailAction:
    """Return the action that sends mails."""
    return EmailAction(
        templates=ground.config.emails,
        post=MailTransport(outbox=ground.config.server.data_dir / "outbox", smtp=ground.config.smtp),
        messages=ground.store.messages,
        sent=ground.store.mails,
        publish=ground.bus.publish,
        clock=ground.clock,
    )


def build_handler_action(ground: RelayContext) -> HandlerAction:
    """Return the action that calls the user's own functions."""
    return HandlerAction(
        broken=ground.live.broken, publish=ground.bus.publish, clock=ground.clock, awaited=ground.awaited
    )


def build_engine(ground: RelayContext, actions: tuple[Action[Any], ...], email: EmailAction, above: int) -> Engine:
    """Return what delivers; it leaves deliveries up to the id `above` alone."""
    made = Engine(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        targets=ground.targets,
        actions={action.name: action for action in actions},
        habits=EngineOptions(above=above),
        waits=partial(find_blocked_targets, ground, email),
    )
    ground.live.down, ground.live.gone = made.ward.down, made.ward.gone
    ground.live.next_try = lambda name: made.ward.next_try(name, ground.clock.monotonic())
    return made


def build_vault_session(
    ground: RelayContext, email: EmailAction, engine: Engine, tunnel: Supervisor | None, *, checks: bool
) -> VaultSession:
    """Return what opens and locks the vault, and has checked what came while it was locked."""
    recheck = Reverifier(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        routing=ground.routing,
        urls=ground.sender_urls,
        in_order=engine.in_order,
    )
    return VaultSession(ground, recheck, email=email, engine=engine, tunnel=tunnel, checks=checks)


def build_replays(ground: RelayContext, email: EmailAction) -> ReplayService:
    """Return what a person may ask of deliveries."""
    return ReplayService(
        store=ground.store, bus=ground.bus, clock=ground.clock, targets=ground.targets, rules=ground.rules, email=email
    )


def build_bulk_replays(ground: RelayContext, engine: Engine, above: int) -> BulkReplays:
    """Return what replays many events; it leaves batches up to the id `above` alone."""
    routes = ground.config.routes
    return BulkReplays(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        targets=ground.targets,
        routes=routes,
        led=lambda event: find_target_names(event, routes),
        rules=ground.rules,
        in_order=engine.in_order,
        above=above,
    )


def build_catch_ups(ground: RelayContext) -> CatchUpJobs:
    """Return what fetches from providers what was missed."""
    means = RecoveryContext(
        store=ground.store, bus=ground.bus, clock=ground.clock, routing=ground.routing, urls=ground.sender_urls
    )

    def listing(source: Source) -> Listing:
        # Asked of the configuration as it is by then: a vault that was opened has changed it.
        return ground.config.catch_up(source)

    return CatchUpJobs(means, source=ground.source, listing=listing)


def build_lab(ground: RelayContext, engine: Engine) -> LabRunner:
    """Return what makes experiments on targets."""
    planner = Planner(
        store=ground.store,
        clock=ground.clock,
        targets=ground.targets,
        spoil=SignatureForger(ground.table.named, ground.clock, ground.with_key_pair),
        rules=ground.rules,
        seed=lambda: secrets.randbelow(1_000_000),
    )
    return LabRunner(store=ground.store, bus=ground.bus, clock=ground.clock, planner=planner, attempt=engine.attempt)


def build_retention(ground: RelayContext) -> Retention:
    """Return what forgets old events."""

    def report(notice: RetentionNotice | None) -> None:
        ground.live.retention = notice

    return Retention(ground.store, ground.bus, ground.clock, ground.config.keep, report)


def build_email_dry_run(ground: RelayContext, email: EmailAction) -> EmailDryRun:
    """Return what says which mails would have gone out."""
    config = ground.config
    options = {name: target.options for name, target in config.targets.items()}
    return EmailDryRun(
        store=ground.store,
        clock=ground.clock,
        email=email,
        templates=config.emails,
        routes=config.routes,
        targets={name: one for name, one in options.items() if isinstance(one, EmailOptions)},
    )
