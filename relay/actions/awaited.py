"""Answers of targets that a sender waits for: kept whole in memory until it has them, beyond what an attempt keeps."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from relay.model.delivery import ReceivedResponse

LARGEST = 5_000_000  # bytes of an answer that is passed on whole


class AwaitedAnswers:
    """The deliveries whose answer a sender waits for at this moment, and the large ones that came."""

    def __init__(self) -> None:
        self._waiting: Counter[int] = Counter()
        self._whole: dict[int, ReceivedResponse] = {}

    @contextmanager
    def awaiting(self, delivery: int) -> Iterator[None]:
        """Have the answer to a delivery kept whole for as long as the block lasts."""
        self._waiting[delivery] += 1
        try:
            yield
        finally:
            self._waiting[delivery] -= 1
            if not self._waiting[delivery]:
                del self._waiting[delivery]
                self._whole.pop(delivery, None)

    def __contains__(self, delivery: int) -> bool:
        return delivery in self._waiting

    def keep(self, delivery: int, response: ReceivedResponse) -> None:
        """Keep an answer that is larger than what its attempt keeps."""
        if delivery in self._waiting:
            self._whole[delivery] = response

    def find(self, delivery: int) -> ReceivedResponse | None:
        """Return the large answer that came to a delivery, if one did."""
        return self._whole.get(delivery)
