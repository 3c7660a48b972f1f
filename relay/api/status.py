"""How relay is: addresses, tunnel, store, sources, targets and queue; what its health check finds."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AliasPath, BeforeValidator, Field

from relay.api.resource import Answer, ApiRoute, Resource, Timestamp, extend, make_shape
from relay.api.vault import VaultSummary
from relay.model.delivery import Target
from relay.model.event import VerifyMode
from relay.pipeline.limits import RefusalKind
from relay.services import answers
from relay.services.health import HealthFinding
from relay.services.relay import RunningRelay

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class TunnelInfo(Resource):
    """The tunnel; `public_url` is null while it is not up."""

    state: str
    public_url: str | None
    detail: str


class StoreStatus(Resource):
    """Whether events can be kept; `not_kept` counts the requests that were answered 503 because they could not."""

    state: str
    detail: str
    hint: str
    not_kept: int


class SourceStatus(Resource):
    """A source: its addresses and where its secrets come from, never what they are."""

    name: str
    provider: str
    path: str
    url: str
    public_url: str | None
    verify: VerifyMode
    secrets: list[Annotated[str, BeforeValidator(lambda secret: secret.reference)]]
    missing_secrets: list[str]
    locked_secrets: list[str]
    local_public_key: Annotated[str | None, BeforeValidator(lambda local: local.public or None if local else None)] = (
        Field(validation_alias="local")
    )


class TargetStatus(Resource):
    """A target and how it is."""

    name: str
    action: str
    address: str
    state: str
    detail: str
    waiting: int
    concurrency: int
    order: Annotated[str, BeforeValidator(lambda fifo: "fifo" if fifo else "any")] = Field(validation_alias="fifo")


class EventTotals(Resource):
    """How many events the store holds; `failing` are those with a failed delivery."""

    total: int
    rejected: int
    failing: int


class RecentRefusal(Resource):
    """A request that was refused."""

    detail: str
    remote: str


class RefusalsByStatus(Resource):
    """The requests that were refused with one status."""

    count: int
    latest: str = Field(validation_alias=AliasPath("latest", "detail"))
    remote: str = Field(validation_alias=AliasPath("latest", "remote"))
    at: Timestamp | None = Field(validation_alias=AliasPath("latest", "at"))
    recent: list[RecentRefusal]


class SourceRefusals(Resource):
    """The requests to one source that were refused, never stored as events."""

    count: int
    latest: str
    by_status: dict[str, RefusalsByStatus]


class StoreUse(Resource):
    """What is used of what retention allows."""

    events: int
    size: int


class RetentionStatus(Resource):
    """What retention goes by (seconds, events, bytes), what is used of it, and what to know of that."""

    max_age: float
    max_events: int
    max_size: int
    used: StoreUse
    notice: str | None


class RelayStatus(Resource):
    """A running relay."""

    version: str
    boot: str
    ingress_url: str
    dashboard_url: str
    public_url: str | None
    tunnel: TunnelInfo
    store: StoreStatus
    sources: list[SourceStatus]
    targets: list[TargetStatus]
    queue: dict[str, int]
    events: EventTotals
    refused: dict[str, SourceRefusals]
    retention: RetentionStatus
    vault: VaultSummary
    data_dir: str
    config: str | None


ReconnectedTunnel = make_shape("ReconnectedTunnel", "How the tunnel is.", tunnel=str)
Liveness = make_shape("Liveness", "relay is alive.", status=str)
HealthCheck = make_shape("HealthCheck", "Everything relay needs.", findings=list[HealthFinding])


@ApiRoute("GET", "/api/status", {200: RelayStatus})
async def get_status(relay: RunningRelay) -> Answer:
    """Show version, addresses, tunnel, store, sources, targets and queue."""
    retention = relay.state.retention  # before what is used, which it must not be ahead of
    stored = await answers.load_store_status(relay.store)
    public = relay.state.public_url
    waiting = await relay.store.deliveries.waiting()
    return RelayStatus.serialize(
        relay,
        boot=relay.boot_id,
        public_url=public,
        tunnel=extend(relay.state.tunnel, public_url=public),
        store=stored["store"] | {"not_kept": relay.state.unkept},
        sources=[
            extend(item, url=relay.ingress_url + item.path, public_url=public and public + item.path)
            for item in relay.sources.by_name.values()
        ],
        targets=[_extend_target(relay, target, waiting) for target in relay.config.targets.values()],
        queue=await relay.store.deliveries.counts(),
        events=stored["events"],
        refused={name: _group_refusals(relay.state.refused.of(name)) for name in relay.state.refused},
        retention=extend(
            relay.config.keep,
            used=stored["retention"]["used"],
            notice=f"{retention.title} {retention.text}" if retention else None,
        ),
        vault={"state": relay.vault.status.state, "unchecked": await relay.store.unchecked.count()},
        data_dir=str(relay.config.server.data_dir),
        config=str(relay.config.path) if relay.config.path else None,
    )


def _extend_target(relay: RunningRelay, target: Target, waiting: dict[str, int]) -> object:
    state, detail = relay.state.state_of(target.name)
    address = relay.target_addresses[target.name]
    return extend(target, address=address, state=state, detail=detail, waiting=waiting.get(target.name, 0))


def _group_refusals(kinds: tuple[RefusalKind, ...]) -> dict[str, Any]:
    newest = max(kinds, key=lambda kind: kind.latest.at or _EARLIEST)
    return {
        "count": sum(kind.count for kind in kinds),
        "latest": newest.latest.detail,
        "by_status": {str(kind.latest.status): kind for kind in kinds},
    }


@ApiRoute("POST", "/api/tunnel/reconnect", {202: ReconnectedTunnel})
async def reconnect_tunnel(relay: RunningRelay) -> Answer:
    """Build the tunnel again now."""
    relay.reconnect_tunnel()
    return {"tunnel": relay.state.tunnel.state}


@ApiRoute("GET", "/healthz", {200: Liveness})
async def get_health() -> Answer:
    """Answer that relay is alive; it takes no token and says nothing else."""
    return {"status": "ok"}


@ApiRoute("GET", "/api/doctor", {200: HealthCheck})
async def list_findings(relay: RunningRelay) -> Answer:
    """Check everything relay needs, now."""
    return HealthCheck.serialize(findings=await relay.check_health())
