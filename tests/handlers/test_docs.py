"""What the docs show is what works: every handlers file in them loads."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from relay import Event
from relay.model.delivery import AttemptFailed, AttemptRetry, AttemptSucceeded

ROOT = Path(__file__).parents[2]
BLOCKS = [
    (name, block)
    for name in ("docs/handlers.md", "docs/migrate.md")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    if "@on(" in block
]
PAID = Event(source="stripe", type="invoice.paid", payload={"data": {"object": {"id": "in_1"}}})


SHIPPING = [block for block in BLOCKS if "def ship" in block[1]]


def test_every_block_is_a_handlers_file(loaded):
    for _, block in BLOCKS:
        assert loaded(block).rules


async def test_the_reply_of_the_docs_is_a_reply(loaded):
    (block,) = [block for _, block in BLOCKS if "-> dict" in block]
    ran = await loaded(block).run(Event(source="slack", type="/deploy"))
    assert json.loads(ran.reply) == {"response_type": "ephemeral", "text": "deploying"}


@pytest.mark.parametrize(("name", "block"), SHIPPING, ids=[name for name, _ in SHIPPING])
async def test_every_block_is_a_handlers_file_that_ships_what_is_paid(loaded, capfd, name, block):
    handlers = loaded(block)
    assert (await handlers.run(PAID)).outcome == AttemptSucceeded("ship ran")
    assert "shipping in_1\n" in capfd.readouterr().out


async def test_the_example_of_the_docs_answers_as_they_say(loaded):
    handlers = loaded(BLOCKS[0][1])
    push: dict[str, Any] = {"source": "github", "type": "push"}
    assert (await handlers.run(Event(**push, payload={"ref": "refs/heads/x"}))).outcome == AttemptFailed(
        "only main is deployed"
    )
    assert (await handlers.run(Event(**push, payload={"ref": "refs/heads/main"}))).outcome == AttemptRetry(
        "the queue is full", after=60, firm=True
    )
