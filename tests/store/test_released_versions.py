"""What a released version wrote can be opened by this one, and the migrations it knew have not changed since."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from relay.store import open_store
from relay.store.migrate import load_migrations

DATA = Path(__file__).parents[1] / "data"
DATABASES = sorted(DATA.glob("relay-*.db.gz"))


@pytest.mark.parametrize("is_read", [False, True])
@pytest.mark.parametrize("packed", DATABASES, ids=lambda path: path.name)
async def test_the_database_of_a_released_version_opens_with_all_that_is_in_it(tmp_path, packed, is_read):
    (tmp_path / "relay.db").write_bytes(gzip.decompress(packed.read_bytes()))
    async with open_store(tmp_path, is_read=is_read) as store:
        rows = (await store.events.page()).rows
        by_id = {row.id: row for row in rows}
        assert [(by_id[id_].source, by_id[id_].type, by_id[id_].verdict.value) for id_ in (1, 2, 3)] == [
            ("stripe", "invoice.paid", "verified"),
            ("stripe", "payment_intent.succeeded", "verified"),
            ("twilio", "message.delivered", "verified"),
        ]
        assert [row.outcome.value for row in rows][::-1] == [*["accepted"] * 3, "rejected", "accepted", "accepted"]
        whole = await store.events.get(1)
        assert json.loads(whole.capture.body)["type"] == "invoice.paid"
        assert whole.capture.header("Stripe-Signature").startswith("t=")
        deliveries = await store.deliveries.page()
        attempts = [attempt for one in deliveries for attempt in await store.deliveries.attempts(one.id)]
        assert len(attempts) == sum(one.attempts for one in deliveries) > 0
        assert any(attempt.request and attempt.response for attempt in attempts)
        messages = await store.messages.page()
        assert all([await store.messages.history(message.id) for message in messages])
        (run,) = await store.labs.page()
        assert len(await store.labs.sends(run.id)) == run.made > 0
        assert [batch.id for batch in await store.batches.page()] == [1]


def test_no_migration_of_a_released_version_has_changed():
    frozen = json.loads((DATA / "migrations.json").read_text(encoding="utf-8"))
    now = {one.name: hashlib.sha256(one.script.encode()).hexdigest() for one in load_migrations()}
    changed = [name for name, digest in frozen.items() if now.get(name) != digest]
    assert changed == [], "a database that has run a migration never runs its new text: add another migration instead"
