"""The interface of an action."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

from relay.model.delivery import ActionResult, Delivery, ReceivedResponse
from relay.model.event import CapturedEvent

Options_contra = TypeVar("Options_contra", contravariant=True)


class Action(Protocol[Options_contra]):
    """Makes one attempt per call; the engine decides when to call again.

    A base class: an action without a remote end inherits `reachable`.
    """

    name: str

    async def run(self, event: CapturedEvent, delivery: Delivery, options: Options_contra) -> ActionResult:
        """Make an attempt and return the outcome. An exception counts as a Retry."""
        ...

    async def reachable(self, options: Options_contra) -> bool:  # noqa: ARG002 - for those that have a far end
        """Return whether the remote end accepts connections, without sending anything."""
        return True


KEPT_BODY = 64 * 1024  # bytes of a response that an attempt keeps
LARGEST_RESPONSE = 5_000_000  # bytes of a response that is passed on completely


class AwaitedResponses:
    """The deliveries whose response a sender waits for, and their large responses."""

    def __init__(self) -> None:
        self._waiting: Counter[int] = Counter()
        self._whole: dict[int, ReceivedResponse] = {}

    @contextmanager
    def awaiting(self, delivery: int) -> Iterator[None]:
        """Keep the whole response to a delivery until the block ends."""
        self._waiting[delivery] += 1
        try:
            yield
        finally:
            self._waiting[delivery] -= 1
            if not self._waiting[delivery]:
                del self._waiting[delivery]
                self._whole.pop(delivery, None)

    def limit(self, delivery: int) -> int:
        """Return how many bytes of the response to a delivery are needed."""
        return LARGEST_RESPONSE if delivery in self._waiting else KEPT_BODY

    def shorten(self, delivery: int, response: ReceivedResponse) -> ReceivedResponse:
        """Return the part of a response that an attempt keeps; all of it is kept for a waiting sender."""
        if len(response.body) <= KEPT_BODY:
            return response
        if delivery in self._waiting:
            self._whole[delivery] = response
        return replace(response, body=response.body[:KEPT_BODY], cut=True)

    def find(self, delivery: int) -> ReceivedResponse | None:
        """Return the large response to a delivery, if there was one."""
        return self._whole.get(delivery)
