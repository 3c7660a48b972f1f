"""What people and programs see of one relay: the desk behind dashboard and API, and their door."""

import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from relay import __version__
from relay.actions.outgoing import ForwardOptions
from relay.assembly.checks import checkup
from relay.assembly.ground import Ground
from relay.assembly.mails import rehearsals
from relay.assembly.parts import Works
from relay.bus import Bus
from relay.checkup import looks
from relay.config.effective import effective_facts
from relay.delivery.replay import Replays
from relay.delivery.resign import describe_signing
from relay.errors import NotFoundError
from relay.handlers.options import HandlerOptions
from relay.mail.compose import EmailOptions
from relay.model.delivery import NO_CHANGES, Target
from relay.model.event import EventRow
from relay.providers.catalogue import find
from relay.providers.samples import sample_types
from relay.routing import explain
from relay.store import Store
from relay.trigger import prepare as prepare_sample
from relay.web.diagnosis import Doctor
from relay.web.guard import Guard, load_token, own_hosts
from relay.web.keys import Desk, Live, Setup, TriggerRequest, Verbs
from relay.web.post import post_sample
from relay.web.sites import address_of, join_address


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A relay at work; events up to the id `older` came before it was started."""

    setup: Setup
    live: Live
    bus: Bus
    store: Store
    login_url: str
    notices: tuple[str, ...]
    older: int


def desk(ground: Ground, works: Works) -> Desk:
    """Return what handlers may use."""
    replays, tunnel = works.replays, works.tunnel
    verbs = Verbs(
        replay=replays.replay,
        email=replays.email,
        preview_email=replays.preview_email,
        check_email=replays.check_email,
        rehearse=rehearsals(ground, replays.mails).rehearse,
        retry=replays.retry,
        cancel=replays.cancel,
        retry_all=replays.retry_all,
        cancel_all=replays.cancel_all,
        bulk=works.bulk,
        catch_ups=works.catch_ups,
        lab=works.lab,
        trigger=partial(trigger, ground, replays),
        local_key=ground.local_key,
        samples=partial(samples, ground),
        explain=lambda event: explain(event, ground.config.routes),
        signing=lambda event, mode: describe_signing(event, ground.table.named(event.row.source), mode),
        diagnose=doctor(ground),
        reconnect=tunnel.reconnect if tunnel else lambda: None,
        checkup=partial(checkup, ground, works),
    )
    return Desk(
        store=ground.store,
        bus=ground.bus,
        clock=ground.clock,
        setup=setup(ground),
        live=ground.live,
        meter=ground.meter,
        verbs=verbs,
        custody=works.custody,
    )


def doctor(ground: Ground) -> Doctor:
    """Return what says why a signature failed."""
    return Doctor(
        store=ground.store,
        table=ground.table,
        live=ground.live,
        ingress_url=ground.ingress_url,
        clock=ground.clock,
        urls=ground.sender_urls,
        spare=lambda: ground.config.spare,
    )


def running(ground: Ground, desk: Desk, guard: Guard, older: int) -> Running:
    """Return this relay as the command line sees it."""
    query = f"?token={guard.token}" if guard.token else ""
    return Running(
        setup=desk.setup,
        live=ground.live,
        bus=ground.bus,
        store=ground.store,
        login_url=f"{ground.dashboard_url}/login{query}",
        notices=(*ground.ports.notices, *_folder_notice(desk.setup.data_dir), *ground.config.notices),
        older=older,
    )


def _folder_notice(data_dir: Path) -> tuple[str, ...]:
    found = looks.data_folder(data_dir)
    return () if found.state == "ok" else (f"{found.detail}; {found.fix}",)


def guard(ground: Ground) -> Guard:
    """Return what the dashboard asks of its callers."""
    server = ground.config.server
    host, port = ground.ports.dashboard.getsockname()[:2]
    return Guard(
        token=load_token(server.data_dir) if server.auth else None,
        port=port,
        hosts=own_hosts(port, server.allowed_hosts, host),
    )


def setup(ground: Ground) -> Setup:
    """Return what the dashboard shows of the configuration."""
    config = ground.config
    return Setup(
        version=__version__,
        boot=secrets.token_hex(8),
        ingress_url=ground.ingress_url,
        usual_ingress_url=(
            f"http://{join_address(*config.server.ingress)}" if ground.ports.quiet else ground.ingress_url
        ),
        dashboard_url=ground.dashboard_url,
        data_dir=config.server.data_dir,
        config_path=config.path,
        sources=ground.table.by_name,
        targets=config.targets,
        routes=config.routes,
        emails={name: ", ".join(email.to) for name, email in config.emails.items()},
        smtp=f"{config.smtp.host}:{config.smtp.port}" if config.smtp else "",
        addresses={name: _address(target) for name, target in config.targets.items()},
        allow_recipients=config.smtp.allow_recipients if config.smtp else (),
        max_body=config.server.max_body,
        facts=effective_facts(
            config,
            {
                "ingress": address_of(ground.ports.ingress),
                "dashboard": address_of(ground.ports.dashboard),
            },
        ),
        keep=config.keep,
    )


async def trigger(ground: Ground, replays: Replays, wanted: TriggerRequest) -> EventRow:
    """Post a signed sample through the real ingress and return the event it became.

    With `to` it is sent there as well, to a target or an address typed in.
    """
    source = ground.keyed(ground.source(wanted.source))
    capture = prepare_sample(
        source,
        find(source.provider),
        wanted.type,
        ground.clock.now(),
        random=Random(secrets.randbits(64)),  # noqa: S311 - fills made-up ids into a sample
        set=wanted.set,
        body=wanted.body,
        url=source.public_url or ground.ingress_url + source.path,
    )
    capture = ground.sign_sample(source, capture)
    id_ = await post_sample(capture, ground.ingress_url, ground.nonce)
    row = await ground.store.events.row(id_)
    if row is None:
        raise NotFoundError(f"event {id_} is gone already", hint="trigger it again")
    if wanted.to:
        await replays.replay(id_, wanted.to, NO_CHANGES)
    return row


def samples(ground: Ground, name: str) -> tuple[str, ...]:
    """Return the event types that can be triggered for a source."""
    provider = find(ground.source(name).provider)
    return sample_types(provider) if provider else ()


def _address(target: Target) -> str:
    match target.options:
        case ForwardOptions(url=url):
            return url
        case EmailOptions(name=name):
            return f"mail {name}"
        case HandlerOptions(name=name):
            return name
    return target.action
