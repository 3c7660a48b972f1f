"""How providers retry: the waits they publish, how long they wait for an answer, and what makes them stop."""

from dataclasses import dataclass

from relay.model.event import Headers

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
_SUCCESS = frozenset(range(200, 300))
ONLY_200 = frozenset({200})
# 429 asks for a later attempt, so it does not end the retries of providers that give up on other 4xx.
CLIENT_ERRORS = frozenset(range(400, 500)) - {429}


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How one provider retries an event that was not accepted.

    `waits` are the seconds before each retry; `published` is False where only their number or their span
    is, and relay spreads them. `limit` is how many seconds an answer may take, None where it is not documented.
    `success_statuses` count as delivered, `stop_statuses` end the retries, and so does `stop_header` in an
    answer. `retry_headers` are added to each retry, with `{n}` for its number and `{reason}` for why. `then`
    says what follows the last failure, `source` is the page that documents all this.
    """

    waits: tuple[float, ...]
    source: str
    limit: float | None = None
    published: bool = True
    success_statuses: frozenset[int] = _SUCCESS
    stop_statuses: frozenset[int] = frozenset()
    stop_header: tuple[str, str] | None = None
    retry_headers: Headers = ()
    then: str = ""

    @property
    def span(self) -> float:
        """Return the seconds from the first attempt to the last."""
        return sum(self.waits)


def spread_schedule(
    count: int,
    span: float,
    growth: float = 2.0,
    *,
    source: str,
    limit: float | None = None,
    success_statuses: frozenset[int] = _SUCCESS,
    stop_statuses: frozenset[int] = frozenset(),
    retry_headers: Headers = (),
    then: str = "",
) -> Schedule:
    """Return so many retries, each wait `growth` times the one before, that last as long as `span` together."""
    shares = [growth**number for number in range(count)]
    return Schedule(
        waits=tuple(span * share / sum(shares) for share in shares),
        published=False,
        source=source,
        limit=limit,
        success_statuses=success_statuses,
        stop_statuses=stop_statuses,
        retry_headers=retry_headers,
        then=then,
    )


# The defaults of Svix's server, which Resend and Clerk run on; the first attempt comes at once and is not listed.
SVIX_WAITS = (5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 10 * HOUR)
SVIX_SCHEDULE = Schedule(
    waits=SVIX_WAITS,
    limit=15.0,
    stop_header=("webhook-delivery", "abort-message"),
    then="the endpoint is disabled after 5 days of failures",
    source="https://docs.svix.com/retries",
)

# The table of the specification, which is advice: who signs this way may do otherwise.
# 410 means that the endpoint is gone, so the sender disables it.
STANDARD_SCHEDULE = Schedule(
    waits=(5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR),
    limit=15.0,
    stop_statuses=frozenset({410}),
    source="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
)
