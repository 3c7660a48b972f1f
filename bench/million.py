"""A million stored events: how long paging and searching take. `python bench/million.py [COUNT]`."""

import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relay.model.event import Capture, EventOutcome, NewEvent, Verdict, Verification
from relay.model.search import parse_query
from relay.store import open_store

TYPES = ("invoice.paid", "payment_intent.succeeded", "push", "issues.opened", "message.delivered")


def event(n: int, began: datetime) -> NewEvent:
    forged = n % 500 == 0
    body = json.dumps({"id": f"evt_{n}", "amount": n % 9000, "customer": f"customer{n % 1000}"}).encode()
    return NewEvent(
        capture=Capture(
            source=("stripe", "github")[n % 2],
            method="POST",
            path="/webhooks/stripe",
            query="",
            headers=(("Content-Type", "application/json"), ("X-N", str(n % 77))),
            body=body,
            remote="127.0.0.1",
            received_at=began + timedelta(seconds=n),
        ),
        provider="stripe",
        type=TYPES[n % len(TYPES)],
        idempotency_key=f"evt_{n}",
        claims_key=True,
        deliver_duplicates=False,
        outcome=EventOutcome.REJECTED if forged else EventOutcome.ACCEPTED,
        verification=Verification(verdict=Verdict.INVALID if forged else Verdict.VERIFIED),
        reason="signature_mismatch" if forged else "",
        status=401 if forged else 200,
    )


async def main(count: int) -> None:
    began = datetime.now(UTC) - timedelta(seconds=count)
    with tempfile.TemporaryDirectory() as folder:
        async with open_store(Path(folder)) as store:
            started = time.perf_counter()
            for at in range(0, count, 500):
                await asyncio.gather(*(store.events.add(event(n, began)) for n in range(at, min(at + 500, count))))
            print(f"stored {count} in {time.perf_counter() - started:.0f} s")
            started = time.perf_counter()
            await store.indexer.catch_up()
            print(f"indexed in {time.perf_counter() - started:.0f} s")
            print(f"file {sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6:.0f} MB")
            await ask(store, "first page", "")
            await ask(store, "page in the middle", "", before=count // 2)
            for text in (
                "customer7",
                "evt_12345",
                "customer7 type:push",
                "outcome:rejected",
                "source:github type:invoice.*",
                "has:failed",
                "is:pinned",
                "status:4xx",
                "header.x-n:76",
                "payload.amount:>8998",
                "payload.nothing:1",
                "after:1h",
            ):
                await ask(store, text, text)
            started = time.perf_counter()
            await store.events.counts()
            print(f"{'counts':32} {(time.perf_counter() - started) * 1000:8.2f} ms")


async def ask(store, name: str, text: str, **more) -> None:
    query = parse_query(text, datetime.now(UTC))
    took = []
    for _ in range(5):
        started = time.perf_counter()
        page = await store.events.page(query, **more)
        took.append((time.perf_counter() - started) * 1000)
    cut = f", searched back to {page.searched_to:%H:%M}" if page.searched_to else ""
    print(f"{name:32} {min(took):8.2f} ms  {len(page.rows)} rows{cut}")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
