"""The services of one relay that nothing captured waits for, each handed what it needs of the relay."""

import secrets

from relay.actions.email import EmailAction
from relay.actions.mail.compose import EmailOptions
from relay.catchup.recovery import CatchUpJobs, RecoveryContext
from relay.delivery.bulk import BulkReplays
from relay.delivery.email_dry_run import EmailDryRun
from relay.delivery.engine import Engine
from relay.delivery.lab.plan import Planner
from relay.delivery.lab.runner import LabRunner
from relay.delivery.replay import ReplayService
from relay.delivery.retention import Retention, RetentionNotice
from relay.delivery.signing import SignatureForger
from relay.pipeline.diagnosis import SignatureDoctor
from relay.pipeline.reverify import Reverifier
from relay.pipeline.routing import find_target_names
from relay.services.relay import RunningRelay
from relay.services.vault_session import VaultSession
from relay.tunnel.supervisor import Supervisor


def connect_services(
    relay: RunningRelay,
    email: EmailAction,
    engine: Engine,
    tunnel: Supervisor | None,
    *,
    newest_batch: int,
    quiet: bool,
) -> None:
    """Give a relay its services; batches up to the id `newest_batch` are left alone, and so is all when `quiet`."""
    relay.tunnel = tunnel
    relay.replays = ReplayService(
        store=relay.store,
        bus=relay.bus,
        clock=relay.clock,
        targets=relay.targets,
        rules=relay.egress_rules,
        email=email,
    )
    relay.bulk_replays = _build_bulk_replays(relay, engine, above=newest_batch)
    relay.catch_ups = _build_catch_ups(relay)
    relay.lab = _build_lab(relay, engine)
    relay.email_dry_run = _build_email_dry_run(relay, email)
    relay.signature_doctor = SignatureDoctor(
        store=relay.store,
        table=relay.sources,
        public_url=lambda: relay.state.public_url,
        ingress_url=relay.ingress_url,
        clock=relay.clock,
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
    routes = relay.config.routes
    return BulkReplays(
        store=relay.store,
        bus=relay.bus,
        clock=relay.clock,
        targets=relay.targets,
        routes=routes,
        led=lambda event: find_target_names(event, routes),
        rules=relay.egress_rules,
        in_order=engine.in_order,
        above=above,
    )


def _build_catch_ups(relay: RunningRelay) -> CatchUpJobs:
    context = RecoveryContext(
        store=relay.store, bus=relay.bus, clock=relay.clock, routing=relay.routing, urls=relay.list_sender_urls
    )
    # A vault that was opened has changed the configuration by then.
    listing = lambda source: relay.config.catch_up(source)  # noqa: E731, PLW0108 (the attribute is replaced)
    return CatchUpJobs(context, source=relay.find_source, listing=listing)


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
        templates=relay.config.emails,
        routes=relay.config.routes,
        targets={name: one for name, one in options.items() if isinstance(one, EmailOptions)},
    )


def build_retention(relay: RunningRelay) -> Retention:
    """Return what forgets old events."""

    def report(notice: RetentionNotice | None) -> None:
        relay.state.retention = notice

    return Retention(relay.store, relay.bus, relay.clock, relay.config.keep, report)
