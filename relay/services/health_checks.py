"""The Doctor page's list: everything this relay needs, looked at now."""

import asyncio
from typing import TYPE_CHECKING

from relay.model.text import format_size
from relay.services import health
from relay.services.health import HealthFinding, report_failure, report_ok, report_warning
from relay.services.stats import WINDOWS, find_first_minute
from relay.vault import describe_missing_secrets

if TYPE_CHECKING:  # RunningRelay calls this
    from relay.services.relay import RunningRelay

_CLOCK_REASONS = ("timestamp_stale", "timestamp_future")


async def run_health_checks(relay: "RunningRelay") -> tuple[HealthFinding, ...]:
    """Look at ports, tunnel, data, disk, vault, clock, sources, targets and mail, in that order."""
    config = relay.config
    away = await asyncio.gather(
        *(health.check_target_health(config, name) for name in config.targets), health.check_mail(config)
    )
    return (
        report_ok("ports", f"webhooks at {relay.ingress_url}, this dashboard at {relay.dashboard_url}"),
        _check_tunnel(relay),
        await _check_data(relay),
        _check_retention(relay),
        health.check_data_folder(config.server.data_dir),
        health.check_disk(config.server.data_dir),
        *_check_vault(relay),
        await _check_clock(relay),
        *(health.check_source(source) for source in relay.sources.by_name.values()),
        *away,
    )


def _check_tunnel(relay: "RunningRelay") -> HealthFinding:
    change = relay.state.tunnel
    if change.state == "up":
        return report_ok("tunnel", f"up, at {change.public_url}")
    if change.state in ("none", "off"):
        return report_ok("tunnel", "none: providers cannot reach this computer, everything on it can")
    return report_failure(
        "tunnel", f"{change.state}: {change.detail or 'no word yet'}", "relay goes on trying by itself"
    )


async def _check_data(relay: "RunningRelay") -> HealthFinding:
    outage = await relay.store.writer.probe()
    if outage is not None:
        return report_failure("data", f"no event can be kept: {outage.message}", outage.hint)
    counts = await relay.store.events.counts()
    used = (await relay.store.pruning.usage()).used
    return report_ok("data", f"{counts.events:,} events, {format_size(used)}, in {relay.store.path}")


def _check_retention(relay: "RunningRelay") -> HealthFinding:
    notice, keep = relay.state.retention, relay.config.keep
    if notice is not None:
        fix = "raise a limit under [retention], or unpin and delete"
        return report_warning("retention", f"{notice.title} {notice.text}".strip(), fix)
    return report_ok(
        "retention", f"kept are {', '.join(keep.describe_rule(rule) for rule in ('age', 'events', 'size'))}"
    )


def _check_vault(relay: "RunningRelay") -> tuple[HealthFinding, ...]:
    now = relay.vault.status
    if now.problem:
        return (report_failure("vault", now.problem, "put a copy of the file back"),)
    if now.state == "locked":
        return (report_warning("vault", f"locked. {' '.join(now.effects)}".strip(), "relay vault unlock"),)
    if now.state == "none" and not now.needs:
        return (report_ok("vault", "none, and nothing needs one"),)
    sentences = (sentence.partition("; ") for sentence in describe_missing_secrets(now.needs, now.names))
    missing = tuple(report_failure("vault", what, fix) for what, _, fix in sentences)
    return missing or (report_ok("vault", f"open, with {len(now.names)} secrets"),)


async def _check_clock(relay: "RunningRelay") -> HealthFinding:
    """Judge this computer's clock by what others signed: nothing is asked of the network."""
    window = WINDOWS["24h"]
    tallies = await relay.store.counters.since(find_first_minute(window, relay.clock.now()), window.step)
    events = [tally for tally in tallies if tally.label.kind == "event"]
    odd = {reason: sum(one.number for one in events if one.label.reason == reason) for reason in _CLOCK_REASONS}
    fit = sum(tally.number for tally in events if tally.label.name == "verified")
    if odd["timestamp_future"]:
        detail = f"{odd['timestamp_future']:,} signatures of the last 24 hours came from the future"
        return report_warning("clock", detail, "set this computer's clock by the network's")
    if odd["timestamp_stale"] and not fit:
        detail = f"{odd['timestamp_stale']:,} signatures of the last 24 hours were too old, and none was not"
        return report_warning("clock", detail, "set this computer's clock by the network's, or replay less")
    return report_ok(
        "clock",
        f"fits the {fit:,} signatures that verified in the last 24 hours" if fit else "nothing speaks against it",
    )
