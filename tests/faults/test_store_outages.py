"""A store that can keep nothing: senders get 503 at once, everybody sees why, and it heals by itself."""

import asyncio
import logging
import resource
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from relay.cli.client import ApiClient
from relay.cli.deliveries import wait_for_delivery
from relay.cli.error_output import NothingMatched
from relay.platform import SystemClock
from relay.services.state import CHECK_SECONDS, REPEAT_SECONDS


@pytest.fixture
def tmp_path():
    """A folder on the disk: in memory, a file that may not be changed can still be written by who has it open."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


@contextmanager
def moved_away(path):
    away = path.with_name("away.db")
    path.rename(away)
    yield "was deleted or moved away"
    away.rename(path)


@contextmanager
def replaced(path):
    # At one stroke: a relay that looks in between would find that the file is gone.
    away, copy = path.with_name("away.db"), path.with_name("copy.db")
    away.hardlink_to(path)
    shutil.copy(path, copy)
    copy.replace(path)
    yield "was replaced"
    away.replace(path)


@contextmanager
def locked_by_another_program(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield "is in use by another program"


@contextmanager
def file_that_may_not_grow(path):
    size = 65_536  # less than the file has already
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield "relay.db cannot"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def file_that_may_not_be_written(path):
    files = [str(path), f"{path}-wal"]
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "+i", *files], check=False, capture_output=True).returncode:
        pytest.skip("files cannot be made immutable here")
    try:
        yield "cannot be written"
    finally:
        subprocess.run([chattr, "-i", *files], check=True)


CAUSES = (moved_away, replaced, locked_by_another_program, file_that_may_not_grow, file_that_may_not_be_written)


async def is_failing(at):
    _, status = await at.api("/api/status")
    return status["store"]["state"] == "failing"


async def heals(at):
    return not await is_failing(at)


async def until(claim):
    async with asyncio.timeout(60):
        while True:
            if await claim():
                return
            await asyncio.sleep(0.05)


async def metric(at, name):
    _, text = await at.api("/metrics")
    return next(float(line.split()[1]) for line in text.decode().splitlines() if line.startswith(f"{name} "))


async def post(at):
    status, _ = await at.send(data=b"x" * 200_000)
    return status


async def page(at):
    _, html = await at.api("/events")
    return html.decode()


@pytest.mark.slow
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.__name__)
async def test_an_outage_is_seen_everywhere_at_once_and_heals_by_itself(at, caplog, cause):
    caplog.set_level(logging.INFO, "relay")
    await at.send(data=b"x" * 1000)
    with cause(at.relay.store.path) as words:
        statuses = await asyncio.gather(*(post(at) for _ in range(20)))
        assert set(statuses) == {503}
        assert await is_failing(at)
        _, status = await at.api("/api/status")
        assert words in status["store"]["detail"]
        assert status["store"]["hint"]
        assert status["store"]["not_kept"] == 20
        shown = await page(at)
        assert "Events cannot be stored." in shown
        assert words in shown
        assert await metric(at, "relay_store_writable") == 0
        assert await metric(at, "relay_not_kept_total") == 20
        _, found = await at.api("/api/doctor")
        data = next(finding for finding in found["findings"] if finding["name"] == "data")
        assert data["state"] == "failed"
        assert words in data["detail"]
        async with at.session.get(f"{at.ingress}/webhooks/health") as answer:
            assert answer.status == 503
    await until(lambda: heals(at))
    assert await post(at) == 200
    assert await metric(at, "relay_store_writable") == 1
    assert "Events cannot be stored." not in await page(at)
    ours = [record for record in caplog.records if record.name == "relay.services.state"]  # not the engine's
    told = [record.getMessage() for record in ours if record.levelno >= logging.WARNING]
    assert len([line for line in told if line.startswith("no event can be kept: ")]) == 1
    assert len([line for line in told if line.startswith("events are kept again")]) == 1
    assert len(told) == 2


async def test_an_outage_is_seen_before_a_webhook_meets_it_and_told_once_a_minute(start, caplog):
    class Minutes(SystemClock):
        """Time that passes as fast as the test says."""

        ahead = 0.0

        def monotonic(self):
            return super().monotonic() + self.ahead

    clock = Minutes()
    at = await start(clock=clock)

    async def is_shown():
        return at.relay.state.outage is not None

    def told():
        return [record for record in caplog.records if "no event can be kept" in record.getMessage()]

    with moved_away(at.relay.store.path):
        await until(is_shown)
        assert len(told()) == 1
        await asyncio.sleep(2 * CHECK_SECONDS)
        assert len(told()) == 1
        clock.ahead = REPEAT_SECONDS

        async def is_told_again():
            return len(told()) == 2

        await until(is_told_again)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of three megabytes, where one can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_is_named_and_room_that_is_made_is_used(small_disk, start):
    at = await start(data_dir=str(small_disk / "data"))
    assert await post(at) == 200
    # A delivery that waits: nothing listens there.
    _, made = await at.api("/api/events/1/replay", "POST", json={"url": "http://127.0.0.1:9/"})
    with (small_disk / "filling").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"z" * 4096)
    answers = [await post(at) for _ in range(20)]
    assert answers[-1] == 503
    _, status = await at.api("/api/status")
    assert f"the disk that holds {at.relay.store.path} is full" in status["store"]["detail"]
    api = ApiClient(at.dashboard, at.token, is_persistent=True)
    with pytest.raises(NothingMatched, match=f"delivery {made['delivery']} to .* waits: the disk .* is full"):
        await wait_for_delivery(api, made["delivery"], 99)
    (small_disk / "filling").unlink()
    await until(lambda: heals(at))
    assert await post(at) == 200
