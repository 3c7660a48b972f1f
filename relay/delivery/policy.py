"""What becomes of a delivery after an attempt: pure, from outcome and policy to state and due time."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from relay.model.delivery import (
    ActionResult,
    Attempt,
    Delivery,
    DeliveryState,
    Failed,
    Outcome,
    Retry,
    RetryPolicy,
    Succeeded,
)

LEAST_CEILING = 60.0  # seconds that a Retry-After may always ask for


def settle(
    outcome: Outcome,
    policy: RetryPolicy,
    number: int,
    now: datetime,
    spread: Callable[[], float],
) -> tuple[DeliveryState, datetime]:
    """Return where a delivery stands after attempt `number` (from 1), and when it is due next.

    `number` counts the attempts that the policy's budget is charged for. A Retry waits as the policy
    says, and longer where `after` asks for that: up to twice the policy's wait, or a minute; where it
    is firm, up to twice the policy's longest wait.
    `spread` gives numbers from 0 to 1.
    """
    match outcome:
        case Succeeded():
            return DeliveryState.SUCCEEDED, now
        case Failed():
            return DeliveryState.FAILED, now
        case Retry(after=after, firm=firm):
            wait = policy.wait_after(number, spread)
            if wait is None:
                return DeliveryState.FAILED, now
            longest = max(2 * (policy.max if firm else wait), LEAST_CEILING)
            return DeliveryState.PENDING, now + timedelta(seconds=min(max(wait, after or 0.0), longest))


def make_attempt(delivery: Delivery, started_at: datetime, took: float, result: ActionResult) -> Attempt:
    """Return the next attempt of a delivery, as it is written down; `took` is in seconds."""
    return Attempt(
        delivery_id=delivery.id,
        number=delivery.attempts + 1,
        started_at=started_at,
        took=took,
        outcome=result.outcome.name,
        detail=result.outcome.detail,
        request=result.request,
        response=result.response,
        output=result.output,
    )


def longest_wait(policies: Iterable[RetryPolicy]) -> float:
    """Return the seconds beyond which nothing is ever made to wait by any of these policies."""
    waits = [2 * policy.max for policy in policies]
    return max([LEAST_CEILING, *waits])
