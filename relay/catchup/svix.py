"""Svix: the messages of an application, or of one of its endpoints, their content kept for up to 90 days."""

from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import quote

from relay.catchup.base import ListedEvent, Listing, ListingApi, RebuiltRequest
from relay.model.clock import parse_time
from relay.model.event import Headers
from relay.model.parsing import encode_json
from relay.model.values import dataclass

_PAGE = 100
_EXPIRED = {"expired": True}  # replaces deleted content
_REGIONS = frozenset({"us", "eu", "in", "ca", "au"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SvixMessages(Listing):
    """Messages of the application `app`; of the endpoint `endpoint` where it is given.

    `headers_sent` are those Svix sends besides id, time and signature, `id_header` is that of the message's id.
    """

    app: str
    endpoint: str | None
    headers_sent: Headers
    id_header: str

    async def pages(self, api: ListingApi, since: datetime) -> AsyncIterator[tuple[ListedEvent, ...]]:
        """Yield messages, each with its request if its content still exists. Raises CatchUpError."""
        endpoint = f"/endpoint/{quote(self.endpoint, safe='')}" if self.endpoint else ""
        path = f"/api/v1/app/{quote(self.app, safe='')}{endpoint}/msg"
        params = {"limit": str(_PAGE), "with_content": "true", "after": since.isoformat()}
        seen = ""
        while True:
            answer = await api.get(path, params | ({"iterator": seen} if seen else {}))
            listed = answer.value if isinstance(answer.value, dict) else {}
            items, further = listed.get("data"), listed.get("iterator")
            if not isinstance(items, list):
                raise api.shape_error("a list of messages")
            found = tuple([self._parse(api, item) for item in items])
            fresh = tuple([one for one in found if one.sent_at >= since])
            yield fresh
            # Older servers ignore `after` if an iterator is given: a page without new messages is the end.
            if listed.get("done") is not False or not fresh or not isinstance(further, str) or further == seen:
                return
            seen = further

    def _parse(self, api: ListingApi, item: object) -> ListedEvent:
        match item:
            case {"id": str(id_), "eventType": str(type_), "timestamp": str(at), "payload": payload}:
                sent_at = parse_time(at)
                if sent_at is not None and id_:
                    headers = (*self.headers_sent, (self.id_header, id_))
                    request = RebuiltRequest(headers=headers, bodies=(encode_json(payload),))
                    return ListedEvent(
                        key=id_, sent_at=sent_at, type=type_, request=None if payload == _EXPIRED else request
                    )
        raise api.shape_error("a message with id, type, time and payload")


def base_url(token: str) -> str:
    """Return the API address of a token: its last part names the region, as in Svix's SDKs."""
    region = token.rpartition(".")[2]
    return f"https://api.{region}.svix.com" if region in _REGIONS else "https://api.svix.com"
