from collections.abc import AsyncIterator

import pytest

from relay.store import Store, open_store


@pytest.fixture
async def store(tmp_path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "data") as opened:
        yield opened
