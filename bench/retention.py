"""What forgetting costs, and what a sender notices of it: `python bench/retention.py [COUNT]`.

COUNT events of 1 KB are stored and indexed, the older half is removed while one sender keeps writing.
"""

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from million import event

from relay.delivery.retention import Retention, RetentionLimits
from relay.pipeline.bus import Bus
from relay.platform import SystemClock
from relay.store import open_store


async def write(store, took, began, first):
    n = first
    while True:
        started = time.perf_counter()
        await store.events.add(event(n, began))
        took.append((time.perf_counter() - started) * 1000)
        n += 1
        await asyncio.sleep(0.002)


def told(name, took):
    took.sort()
    print(
        f"{name:24} {len(took):6} writes, p50 {took[len(took) // 2]:.2f} ms, p99 {took[int(len(took) * 0.99)]:.2f} ms"
    )


async def main(count: int) -> None:
    began = datetime.now(UTC) - timedelta(seconds=count)
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(Path(folder)) as store:
            for at in range(0, count, 500):
                await asyncio.gather(*(store.events.add(event(n, began)) for n in range(at, at + 500)))
            await store.indexer.catch_up()
            before = await store.pruning.usage()
            print(f"{before.events:,} events, {before.used / 1e6:.0f} MB")
            for name, keep in (
                ("nothing to forget", RetentionLimits()),
                ("forgetting", RetentionLimits(max_events=count // 2)),
            ):
                took: list[float] = []
                retention = Retention(store, Bus(), SystemClock(), keep, lambda _: None)
                writing = asyncio.ensure_future(write(store, took, began, count + 10**7))
                started = time.perf_counter()
                removed = 0
                while done := await retention.sweep():
                    removed += done
                    if done < 100:
                        break
                spent = time.perf_counter() - started
                if not removed:
                    print(f"{'a look in vain':24} {spent * 1000:.1f} ms")
                    await asyncio.sleep(5)
                else:
                    print(f"removed {removed:,} in {spent:.0f} s, {removed / spent:,.0f} a second")
                writing.cancel()
                told(name, took)
            usage = await store.pruning.usage()
            print(
                f"{usage.events:,} events, {usage.used / 1e6:.0f} MB used, {usage.free / 1e6:.0f} MB free in the file"
            )
            await store.events.page(limit=1)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
