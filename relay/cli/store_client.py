"""Answer in place of the API what a store alone can answer, for commands that read while no relay runs."""

from datetime import UTC, datetime
from typing import Any

from relay.cli.client import ApiClient, ApiError, add_query
from relay.model.event_json import serialize_event_row
from relay.model.search import parse_query_strictly
from relay.store import Store
from relay.store.deliveries import count_states

_SEARCH_SECONDS = 1.0  # that a search may take for a page, as in the API


class StoreClient(ApiClient):
    """Takes the calls of `GET /api/events` and of `GET /api/events/{id}/body`; no others."""

    def __init__(self, store: Store) -> None:
        super().__init__("", "", is_persistent=False)
        self._store = store

    async def get(self, path: str, **query: Any) -> Any:
        """Return a page of events. Raises UsageError for a search that cannot be read, else as the API does."""
        assert path == "/api/events"
        add_query(path, query)  # for what it raises
        search = parse_query_strictly(query.get("q") or "", datetime.now(UTC))
        try:
            page = await self._store.events.page(
                search,
                limit=query["limit"],
                before=query.get("before"),
                after=query.get("after"),
                patience=_SEARCH_SECONDS,
            )
            deliveries = await self._store.deliveries.of_events(row.id for row in page.rows)
        except TimeoutError as error:
            raise ApiError("the answer took too long to find", hint="narrow the search") from error
        rows = [serialize_event_row(row, count_states(deliveries[row.id])) for row in page.rows]
        return {"events": rows, "next_before": page.next_before}

    async def get_bytes(self, path: str) -> bytes:
        """Return the body of an event. Raises NotFoundError."""
        id_ = path.removeprefix("/api/events/").removesuffix("/body")
        return (await self._store.events.get(int(id_))).capture.body
