"""A click on Replay loads the event once, however many targets it goes to, and passes few packages."""

import pytest

from conformance.replay_walk import MOST_PACKAGES, NAMED_TARGET, TYPED_ADDRESS, walk_replay


@pytest.fixture
def loads(at, monkeypatch):
    """The ids of the events that were loaded whole."""
    found, events = [], type(at.relay.store.events)
    get = events.get

    async def counting(self, id_):
        found.append(id_)
        return await get(self, id_)

    monkeypatch.setattr(events, "get", counting)
    return found


@pytest.mark.parametrize("path", ["/events/1/replay", "/api/events/1/replay"])
async def test_a_replay_loads_the_event_once(at, loads, unused_tcp_port, path):
    await at.send()
    urls = [f"http://localhost:{unused_tcp_port}/{name}" for name in "ab"]
    if path.startswith("/api"):
        status, _ = await at.api(path, "POST", json={"url": urls[0]})
    else:
        form = [*(("target", url) for url in urls), ("url", "")]
        status, _ = await at.api(path, "POST", data=form, allow_redirects=False)
    assert (status, loads) == (202 if path.startswith("/api") else 303, [1])
    assert len(await at.relay.store.deliveries.page()) == (1 if path.startswith("/api") else 2)


@pytest.mark.parametrize("form", [NAMED_TARGET, TYPED_ADDRESS], ids=["target", "address"])
def test_a_replay_enters_few_packages(form):
    walk = walk_replay(form)
    assert walk.loads == 1
    assert {"dashboard", "delivery", "store"} <= set(walk.packages)
    assert len(walk.packages) <= MOST_PACKAGES, walk.packages
