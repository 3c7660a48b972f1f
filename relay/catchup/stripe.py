"""Stripe: the events of an account, kept for 30 days; by default those that no endpoint took."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from relay.catchup.base import ListedEvent, Listing, ListingApi, RebuiltRequest
from relay.model.clock import parse_time
from relay.model.event import Headers
from relay.model.parsing import encode_json
from relay.model.values import dataclass

BASE_URL = "https://api.stripe.com"
_PAGE = 100
_MOST_TYPES = 20  # names allowed in a call


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeEvents(Listing):
    """An account's events. `undelivered`: only those that are not delivered to every endpoint.

    `types` are the event types wanted, `*` allowed, none meaning all; `account` is a connected
    account of the key's own platform. `headers_sent` are the headers Stripe sends besides its
    signature, `indent` is the layout of its JSON.
    """

    headers_sent: Headers
    indent: int | None
    undelivered: bool = True
    types: tuple[str, ...] = ()
    account: str | None = None

    def headers(self, now: datetime) -> dict[str, str]:
        """Return the headers of every call."""
        return Listing.headers(self, now) | ({"Stripe-Account": self.account} if self.account else {})

    async def pages(self, api: ListingApi, since: datetime) -> AsyncIterator[tuple[ListedEvent, ...]]:
        """Yield events, newest first, each with its request. Raises CatchUpError."""
        # Stripe's times are whole seconds.
        since -= timedelta(microseconds=since.microsecond)
        params = {"limit": str(_PAGE), "created[gte]": str(int(since.timestamp()))} | self._types()
        if self.undelivered:
            params["delivery_success"] = "false"
        after = ""
        while True:
            answer = await api.get("/v1/events", params | ({"starting_after": after} if after else {}))
            listed = answer.value if isinstance(answer.value, dict) else {}
            items = listed.get("data")
            if not isinstance(items, list):
                raise api.shape_error("a list of events")
            found = tuple([self._parse(api, item) for item in items])
            yield tuple([one for one in found if one.sent_at >= since])
            if not found or listed.get("has_more") is not True or found[-1].key == after:
                return
            after = found[-1].key

    def _types(self) -> dict[str, str]:
        # `type` accepts a wildcard and `types` several names; other events are filtered later.
        if len(self.types) == 1:
            return {"type": self.types[0]}
        if not self.types or len(self.types) > _MOST_TYPES or any("*" in name for name in self.types):
            return {}
        return {f"types[{number}]": name for number, name in enumerate(self.types)}

    def _parse(self, api: ListingApi, item: object) -> ListedEvent:
        match item:
            case {"id": str(id_), "type": str(type_), "created": int(created)}:
                sent_at = parse_time(created)
                if sent_at is not None and id_:
                    request = RebuiltRequest(headers=self.headers_sent, bodies=(encode_json(item, self.indent),))
                    return ListedEvent(key=id_, sent_at=sent_at, type=type_, request=request)
        raise api.shape_error("an event with id, type and time")
