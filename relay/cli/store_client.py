"""Answers from the store instead of the API, for reading commands without a running relay."""

from datetime import UTC, datetime
from typing import Any

from relay.cli.client import ApiClient, ApiError, add_query
from relay.cli.output import Json
from relay.model.event import CapturedEvent
from relay.services import answers
from relay.store import Store


class StoreClient(ApiClient):
    """Takes `GET` of events, deliveries and messages, as lists and one by one, of a body, and of the status.

    An event has no hints, null where a relay would diagnose its verdict; the status has no
    values that are known only while a relay runs.
    """

    def __init__(self, store: Store) -> None:
        super().__init__("", "", is_persistent=False)
        self._store = store

    async def get(self, path: str, **query: Any) -> Any:
        """Return the response to GET. Raises as the API's functions do, and ApiError for a timeout."""
        add_query(path, query)  # for its errors
        sent = {name: str(value) for name, value in query.items() if value is not None}
        try:
            return await self._read(path.removeprefix("/api/"), sent)
        except TimeoutError as error:
            raise ApiError("the search took too long", hint="narrow the search") from error

    async def _read(self, path: str, query: answers.Query) -> Any:
        store, now = self._store, datetime.now(UTC)
        match path.split("/"):
            case ["events"]:
                return await answers.list_events(store, query, now)
            case ["events", id_]:
                return await answers.load_event(store, int(id_), _find_hints)
            case ["deliveries"]:
                return await answers.list_deliveries(store, query)
            case ["deliveries", id_]:
                return await answers.load_delivery(store, int(id_))
            case ["messages"]:
                return await answers.list_messages(store, query, [query.get("status", "")], now)
            case ["messages", "rates"]:
                return await answers.load_message_rates(store, query, now)
            case ["messages", id_]:
                return await answers.load_message(store, int(id_))
            case ["status"]:
                return await answers.load_store_status(store)
        raise AssertionError(path)

    async def get_bytes(self, path: str) -> bytes:
        """Return the body of an event. Raises NotFoundError."""
        id_ = path.removeprefix("/api/events/").removesuffix("/body")
        return (await self._store.events.get(int(id_))).capture.body


async def _find_hints(event: CapturedEvent) -> list[Json] | None:
    return None if answers.needs_diagnosis(event) else []
