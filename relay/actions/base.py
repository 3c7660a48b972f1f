"""What an action is: one thing that can be done with an event, once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from relay.model.delivery import ActionResult, Delivery, ReceivedResponse
from relay.model.event import CapturedEvent

Options_contra = TypeVar("Options_contra", contravariant=True)


class Action(Protocol[Options_contra]):
    """Touches the outside world once per call; the engine decides when to call again.

    Derive from it: an action with no far end inherits `reachable`.
    """

    name: str

    async def run(self, event: CapturedEvent, delivery: Delivery, options: Options_contra) -> ActionResult:
        """Act, and return the outcome. An exception counts as a Retry."""
        ...

    async def reachable(self, options: Options_contra) -> bool:  # noqa: ARG002 - for those that have a far end
        """Return whether the far end takes connections, without doing anything there."""
        return True


KEPT_BODY = 64 * 1024  # bytes of an answer that an attempt keeps
LARGEST_RESPONSE = 5_000_000  # bytes of an answer that is passed on whole


class AwaitedResponses:
    """The deliveries whose answer a sender waits for at this moment, and the large ones that came."""

    def __init__(self) -> None:
        self._waiting: Counter[int] = Counter()
        self._whole: dict[int, ReceivedResponse] = {}

    @contextmanager
    def awaiting(self, delivery: int) -> Iterator[None]:
        """Keep the whole answer to a delivery while the block runs."""
        self._waiting[delivery] += 1
        try:
            yield
        finally:
            self._waiting[delivery] -= 1
            if not self._waiting[delivery]:
                del self._waiting[delivery]
                self._whole.pop(delivery, None)

    def limit(self, delivery: int) -> int:
        """Return how many bytes of the answer to a delivery are of use."""
        return LARGEST_RESPONSE if delivery in self._waiting else KEPT_BODY

    def shorten(self, delivery: int, response: ReceivedResponse) -> ReceivedResponse:
        """Return as much of an answer as an attempt keeps; the whole is kept for a sender that waits for it."""
        if len(response.body) <= KEPT_BODY:
            return response
        if delivery in self._waiting:
            self._whole[delivery] = response
        return replace(response, body=response.body[:KEPT_BODY], cut=True)

    def find(self, delivery: int) -> ReceivedResponse | None:
        """Return the large answer that came to a delivery, if one did."""
        return self._whole.get(delivery)
