"""The Doctor page's list: everything this relay needs, looked at now."""

import asyncio

from relay.assembly.ground import Ground
from relay.assembly.parts import Works
from relay.checkup import looks
from relay.metrics.stats import WINDOWS, first_minute
from relay.model.finding import Finding, bad, doubtful, good
from relay.model.text import size
from relay.vault import lacking

_CLOCK_REASONS = ("timestamp_stale", "timestamp_future")


async def checkup(ground: Ground, works: Works) -> tuple[Finding, ...]:
    """Look at ports, tunnel, data, disk, vault, clock, sources, targets and mail, in that order."""
    config = ground.config
    away = await asyncio.gather(*(looks.target(config, name) for name in config.targets), looks.mail(config))
    return (
        good("ports", f"webhooks at {ground.ingress_url}, this dashboard at {ground.dashboard_url}"),
        _tunnel(ground),
        await _data(ground),
        _retention(ground),
        looks.data_folder(config.server.data_dir),
        looks.disk(config.server.data_dir),
        *_vault(works),
        await _clock(ground),
        *(looks.source(source) for source in ground.table.by_name.values()),
        *away,
    )


def _tunnel(ground: Ground) -> Finding:
    change = ground.live.tunnel
    if change.state == "up":
        return good("tunnel", f"up, at {change.public_url}")
    if change.state in ("none", "off"):
        return good("tunnel", "none: providers cannot reach this computer, everything on it can")
    return bad(
        "tunnel", f"{change.state}: {change.detail or 'no word yet'}", "relay goes on trying by itself"
    )


async def _data(ground: Ground) -> Finding:
    outage = await ground.store.writer.probe()
    if outage is not None:
        return bad("data", f"no event can be kept: {outage.sentence}", outage.hint)
    counts = await ground.store.events.counts()
    used = (await ground.store.pruning.usage()).used
    return good("data", f"{counts.events:,} events, {size(used)}, in {ground.store.path}")


def _retention(ground: Ground) -> Finding:
    notice, keep = ground.live.retention, ground.config.keep
    if notice is not None:
        fix = "raise a limit under [retention], or unpin and delete"
        return doubtful("retention", f"{notice.title} {notice.text}".strip(), fix)
    return good("retention", f"kept are {', '.join(keep.says(rule) for rule in ('age', 'events', 'size'))}")


def _vault(works: Works) -> tuple[Finding, ...]:
    now = works.custody.standing
    if now.problem:
        return (bad("vault", now.problem, "put a copy of the file back"),)
    if now.state == "locked":
        return (doubtful("vault", f"locked. {' '.join(now.effects)}".strip(), "relay vault unlock"),)
    if now.state == "none" and not now.needs:
        return (good("vault", "none, and nothing needs one"),)
    told = (sentence.partition("; ") for sentence in lacking(now.needs, now.names))
    missing = tuple(bad("vault", what, fix) for what, _, fix in told)
    return missing or (good("vault", f"open, with {len(now.names)} secrets"),)


async def _clock(ground: Ground) -> Finding:
    """Judge this computer's clock by what others signed: nothing is asked of the network."""
    window = WINDOWS["24h"]
    tallies = await ground.store.tallies.since(first_minute(window, ground.clock.now()), window.step)
    events = [tally for tally in tallies if tally.label.kind == "event"]
    odd = {
        reason: sum(one.number for one in events if one.label.reason == reason) for reason in _CLOCK_REASONS
    }
    fit = sum(tally.number for tally in events if tally.label.name == "verified")
    if odd["timestamp_future"]:
        said = f"{odd['timestamp_future']:,} signatures of the last 24 hours came from the future"
        return doubtful("clock", said, "set this computer's clock by the network's")
    if odd["timestamp_stale"] and not fit:
        said = f"{odd['timestamp_stale']:,} signatures of the last 24 hours were too old, and none was not"
        return doubtful("clock", said, "set this computer's clock by the network's, or replay less")
    return good(
        "clock",
        f"fits the {fit:,} signatures that verified in the last 24 hours"
        if fit
        else "nothing speaks against it",
    )
