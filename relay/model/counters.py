"""Counters: how often something happened in a minute, and how long it took."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# Upper bounds of the buckets in seconds; the last bucket has none. They are so close that a quantile is
# accurate to about 25 %.
BUCKET_BOUNDS = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75,
    1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0,
)  # fmt: skip
TYPED_ADDRESS = "(an address)"  # the label of all typed addresses, whose number is unlimited


class CounterLabel(NamedTuple):
    """The labels of a counter: see the migration for the meaning of each kind's columns."""

    minute: int
    kind: str
    source: str
    name: str = ""
    result: str = ""
    reason: str = ""
    bucket: int = 0


class CounterValue(NamedTuple):
    """A count, and the total seconds."""

    label: CounterLabel
    number: int
    took: float = 0.0


def find_bucket(seconds: float) -> int:
    """Return the bucket index of a duration."""
    return bisect_left(BUCKET_BOUNDS, seconds)


def compute_quantile(buckets: Mapping[int, int], share: float) -> float | None:
    """Return the duration in seconds of the quantile `share`; None if nothing was counted.

    Durations are assumed to be uniform within a bucket, and at the last bound beyond it.
    """
    total = sum(buckets.values())
    if not total:
        return None
    rank, passed = share * total, 0
    for place in sorted(buckets):
        count = buckets[place]
        if count and passed + count >= rank:
            low = BUCKET_BOUNDS[place - 1] if place else 0.0
            high = BUCKET_BOUNDS[place] if place < len(BUCKET_BOUNDS) else BUCKET_BOUNDS[-1]
            return low + (high - low) * (rank - passed) / count
        passed += count
    return BUCKET_BOUNDS[-1]


def count_buckets(tallies: Iterable[CounterValue]) -> dict[int, int]:
    """Return the count of each bucket."""
    found = Counter[int]()
    for tally in tallies:
        found[tally.label.bucket] += tally.number
    return found
