"""Builds the services of a relay that the capture of requests does not wait for."""

import secrets
from functools import partial
from typing import Any

from relay.actions.base import Action
from relay.actions.email import EmailAction
from relay.actions.forward import ForwardAction
from relay.actions.handler import HandlerAction
from relay.actions.mail import EmailOptions
from relay.catchup.recovery import CatchUpJobs, RecoveryContext
from relay.delivery.bulk import BulkReplays
from relay.delivery.email_dry_run import EmailDryRun
from relay.delivery.engine import Engine, EngineOptions
from relay.delivery.lab.plan import Planner
from relay.delivery.lab.runner import LabRunner
from relay.delivery.replay import ReplayService
from relay.delivery.retention import Retention, RetentionNotice
from relay.delivery.signing import RequestSigner, SignatureForger
from relay.pipeline.diagnosis import SignatureDoctor
from relay.pipeline.reverify import Reverifier
from relay.services.relay import RunningRelay
from relay.services.vault_session import VaultSession, find_blocked_targets
from relay.tunnel.supervisor import Supervisor


def build_forward_action(relay: RunningRelay) -> ForwardAction:
    """Return the action that forwards requests."""
    return ForwardAction(
        rules=relay.egress_rules,
        signer=RequestSigner(relay.sources.named, relay.clock, relay.with_key_pair),
        find_source=relay.sources.named,
        clock=relay.clock,
        forger=SignatureForger(relay.sources.named, relay.clock, relay.with_key_pair),
        awaited=relay.awaited,
    )


def build_email_action(relay: RunningRelay) -> EmailAction:
    """Return the action that sends mails."""
    return EmailAction(
        templates=relay.config.emails,
        outbox=relay.config.server.data_dir / "outbox",
        smtp=relay.config.smtp,
        messages=relay.store.messages,
        sent=relay.store.mails,
        publish=relay.bus.publish,
        clock=relay.clock,
        is_last=relay.targets.is_last,
    )


def build_handler_action(relay: RunningRelay) -> HandlerAction:
    """Return the action that calls the user's own functions."""
    return HandlerAction(broken=relay.state.broken, publish=relay.bus.publish, clock=relay.clock, awaited=relay.awaited)


def build_engine(relay: RunningRelay, actions: tuple[Action[Any], ...], email: EmailAction, above: int) -> Engine:
    """Return the delivery engine; it leaves deliveries with ids up to `above` alone."""
    engine = Engine(
        store=relay.store,
        bus=relay.bus,
        clock=relay.clock,
        targets=relay.targets,
        actions={action.name: action for action in actions},
        options=EngineOptions(above=above),
        waits=partial(find_blocked_targets, relay, email),
    )
    relay.state.down, relay.state.gone = engine.circuit_breaker.down, engine.circuit_breaker.gone
    relay.state.next_try = lambda name: engine.circuit_breaker.next_try(name, relay.clock.monotonic())
    return engine


def connect_services(
    relay: RunningRelay,
    email: EmailAction,
    engine: Engine,
    tunnel: Supervisor | None,
    *,
    newest_batch: int,
    quiet: bool,
) -> None:
    """Set the services of a relay; batches with ids up to `newest_batch` are left alone, all of them if `quiet`."""
    relay.tunnel = tunnel
    relay.replays = ReplayService(
        store=relay.store,
        bus=relay.bus,
        clock=relay.clock,
        targets=relay.targets,
        rules=relay.egress_rules,
        email=email,
        give_up=engine.give_up,
    )
    relay.bulk_replays = _build_bulk_replays(relay, engine, above=newest_batch)
    context = RecoveryContext(
        store=relay.store, bus=relay.bus, clock=relay.clock, routing=relay.routing, urls=relay.list_sender_urls
    )
    # An unlocked vault has changed the configuration by then.
    listing = lambda source: relay.config.catch_up(source)  # noqa: E731, PLW0108 (the attribute is replaced)
    relay.catch_ups = CatchUpJobs(context, source=relay.find_source, listing=listing)
    relay.lab = _build_lab(relay, engine)
    relay.email_dry_run = _build_email_dry_run(relay, email)
    relay.signature_doctor = SignatureDoctor(
        store=relay.store,
        table=relay.sources,
        public_url=lambda: relay.state.public_url,
        ingress_url=relay.ingress_url,
        urls=relay.list_sender_urls,
        spare=lambda: relay.config.spare,
    )
    reverifier = Reverifier(
        store=relay.store,
        bus=relay.bus,
        clock=relay.clock,
        routing=relay.routing,
        urls=relay.list_sender_urls,
        in_order=engine.in_order,
    )
    relay.vault = VaultSession(relay, reverifier, email=email, engine=engine, tunnel=tunnel, checks=not quiet)


def _build_bulk_replays(relay: RunningRelay, engine: Engine, above: int) -> BulkReplays:
    return BulkReplays(
        store=relay.store,
        bus=relay.bus,
        clock=relay.clock,
        targets=relay.targets,
        routes=relay.config.routes,
        rules=relay.egress_rules,
        in_order=engine.in_order,
        give_up=engine.give_up,
        above=above,
    )


def _build_lab(relay: RunningRelay, engine: Engine) -> LabRunner:
    planner = Planner(
        store=relay.store,
        clock=relay.clock,
        targets=relay.targets,
        forger=SignatureForger(relay.sources.named, relay.clock, relay.with_key_pair),
        rules=relay.egress_rules,
        seed=lambda: secrets.randbelow(1_000_000),
    )
    return LabRunner(store=relay.store, bus=relay.bus, clock=relay.clock, planner=planner, attempt=engine.attempt)


def _build_email_dry_run(relay: RunningRelay, email: EmailAction) -> EmailDryRun:
    options = {name: target.options for name, target in relay.config.targets.items()}
    return EmailDryRun(
        store=relay.store,
        clock=relay.clock,
        email=email,
        routes=relay.config.routes,
        targets={name: one for name, one in options.items() if isinstance(one, EmailOptions)},
    )


def build_retention(relay: RunningRelay) -> Retention:
    """Return the service that removes old events."""

    def report(notice: RetentionNotice | None) -> None:
        relay.state.retention = notice

    return Retention(relay.store, relay.bus, relay.clock, relay.config.keep, report)
