"""When providers try again, as data: the waits they publish, how long they wait, and what makes them stop."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from relay.model.event import Headers

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_SUCCESS = frozenset(range(200, 300))
_OK = frozenset({200})


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How one provider retries an event that was not taken.

    `waits` are the seconds before each retry; `published` is False where only their number or their span
    is, and relay spreads them. `limit` is how many seconds an answer may take, None where nobody says.
    `taken` are the statuses that count as delivered, `stops` those that end the retries, `stop_header` a
    header of the answer that does. `marks` are headers of each retry, with `{n}` for its number and
    `{reason}` for why. `source` is where this stands.
    """

    waits: tuple[float, ...]
    source: str
    limit: float | None = None
    published: bool = True
    taken: frozenset[int] = _SUCCESS
    stops: frozenset[int] = frozenset()
    stop_header: tuple[str, str] | None = None
    marks: Headers = ()
    then: str = ""

    @property
    def span(self) -> float:
        """Return the seconds from the first attempt to the last."""
        return sum(self.waits)


def _spread_waits(count: int, span: float, growth: float = 2.0) -> tuple[float, ...]:
    """Return so many waits, each `growth` times the one before, that last as long as `span` together."""
    shares = [growth**number for number in range(count)]
    return tuple(span * share / sum(shares) for share in shares)


_SVIX_WAITS = (5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 10 * _HOUR)
_SVIX = Schedule(
    waits=_SVIX_WAITS,
    limit=15.0,
    stop_header=("webhook-delivery", "abort-message"),
    then="the endpoint is disabled after 5 days of failures",
    source="https://docs.svix.com/retries",
)

# The table of the specification, which is advice: who signs this way may do otherwise.
STANDARD_SCHEDULE = Schedule(
    waits=(5.0, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR),
    limit=15.0,
    stops=frozenset({410}),
    source="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
)

SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "stripe": Schedule(
            waits=_spread_waits(12, 3 * _DAY),
            published=False,
            source="https://docs.stripe.com/webhooks#automatic-retries",
        ),
        "github": Schedule(
            waits=(),
            limit=10.0,
            then="it is redelivered by hand or through the API, for 3 days",
            source="https://docs.github.com/en/webhooks/using-webhooks/handling-failed-webhook-deliveries",
        ),
        "gitlab": Schedule(
            waits=(),
            limit=10.0,
            then="four failures in a row pause the webhook, forty disable it",
            source="https://docs.gitlab.com/user/project/integrations/webhooks/",
        ),
        "bitbucket": Schedule(
            waits=_spread_waits(2, _MINUTE),
            limit=10.0,
            published=False,
            source="https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
        ),
        "slack": Schedule(
            waits=(0.0, _MINUTE, 5 * _MINUTE),
            limit=3.0,
            stop_header=("X-Slack-No-Retry", "1"),
            marks=(("X-Slack-Retry-Num", "{n}"), ("X-Slack-Retry-Reason", "{reason}")),
            source="https://docs.slack.dev/apis/events-api/#retries",
        ),
        "twilio": Schedule(
            waits=(),
            limit=15.0,
            then="the fallback URL is called where there is one",
            source="https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides",
        ),
        "standard-webhooks": STANDARD_SCHEDULE,
        "svix": _SVIX,
        "resend": Schedule(
            waits=_SVIX_WAITS, limit=15.0, source="https://resend.com/docs/webhooks/retries-and-replays"
        ),
        "clerk": _SVIX,
        "openai": Schedule(
            waits=_spread_waits(12, 72 * _HOUR),
            published=False,
            source="https://platform.openai.com/docs/guides/webhooks",
        ),
        "shopify": Schedule(
            waits=_spread_waits(8, 4 * _HOUR),
            limit=5.0,
            published=False,
            then="after 8 failures in a row a subscription made through the API is deleted",
            source="https://shopify.dev/changelog/updates-to-webhook-retry-mechanism",
        ),
        "paddle": Schedule(
            waits=_spread_waits(60, 3 * _DAY, 1.12),
            limit=5.0,
            published=False,
            taken=_OK,
            source="https://developer.paddle.com/webhooks/about/respond-to-webhooks",
        ),
        "lemonsqueezy": Schedule(
            waits=(5.0, 25.0, 125.0), taken=_OK, source="https://docs.lemonsqueezy.com/help/webhooks/webhook-requests"
        ),
        "square": Schedule(
            waits=_spread_waits(11, _DAY),
            limit=10.0,
            published=False,
            marks=(("square-retry-number", "{n}"), ("square-retry-reason", "{reason}")),
            source="https://developer.squareup.com/docs/webhooks/overview",
        ),
        "paystack": Schedule(
            waits=(*[3 * _MINUTE] * 4, *[_HOUR] * 72), taken=_OK, source="https://paystack.com/docs/payments/webhooks/"
        ),
        "paypal": Schedule(
            waits=_spread_waits(25, 3 * _DAY, 1.3),
            published=False,
            source="https://developer.paypal.com/api/rest/webhooks/",
        ),
        "mollie": Schedule(
            waits=_spread_waits(10, 26 * _HOUR),
            limit=15.0,
            published=False,
            taken=_OK,
            source="https://docs.mollie.com/reference/webhooks",
        ),
        "zoom": Schedule(
            waits=(5 * _MINUTE, 20 * _MINUTE, 60 * _MINUTE),
            limit=3.0,
            source="https://developers.zoom.us/blog/webhook-delays",
        ),
        "intercom": Schedule(waits=(_MINUTE,), limit=5.0, source="https://developers.intercom.com/docs/webhooks"),
        "mailgun": Schedule(
            waits=(5 * _MINUTE, 10 * _MINUTE, 15 * _MINUTE, _HOUR, 2 * _HOUR, 4 * _HOUR),
            limit=10.0,
            taken=_OK,
            stops=frozenset({406}),
            source="https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries",
        ),
        "postmark": Schedule(
            waits=(_MINUTE, 5 * _MINUTE, *[10 * _MINUTE] * 3, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 6 * _HOUR),
            taken=_OK,
            stops=frozenset({403}),
            source="https://postmarkapp.com/support/article/understanding-inbound-webhook-retries-in-postmark",
        ),
        "brevo": Schedule(
            waits=(10 * _MINUTE, _HOUR, 2 * _HOUR, 8 * _HOUR),
            stops=frozenset(range(400, 500)) - {429},
            source="https://developers.brevo.com/docs/retry-mechanism",
        ),
        "sendgrid": Schedule(
            waits=_spread_waits(10, _DAY),
            published=False,
            source="https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event",
        ),
        "linear": Schedule(
            waits=(_MINUTE, _HOUR, 6 * _HOUR),
            limit=5.0,
            taken=_OK,
            then="the webhook may be disabled",
            source="https://linear.app/developers/webhooks",
        ),
        "figma": Schedule(
            waits=(5 * _MINUTE, 30 * _MINUTE, 3 * _HOUR),
            taken=_OK,
            source="https://developers.figma.com/docs/rest-api/webhooks/",
        ),
        "hubspot": Schedule(
            waits=_spread_waits(10, _DAY),
            limit=5.0,
            published=False,
            source="https://developers.hubspot.com/docs/api/webhooks",
        ),
        "pagerduty": Schedule(
            waits=_spread_waits(4, 20 * _MINUTE),
            limit=5.0,
            published=False,
            stops=frozenset(range(400, 500)) - {429},
            source="https://developer.pagerduty.com/docs/webhooks-overview",
        ),
        "sentry": Schedule(
            waits=(),
            limit=1.0,
            then="a thousand timeouts in a day end the subscription",
            source="https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
        ),
        "woocommerce": Schedule(
            waits=(),
            limit=60.0,
            taken=frozenset(range(200, 400)),
            then="five failures in a row disable the webhook",
            source="https://woocommerce.com/document/webhooks/",
        ),
    }
)


def find_schedule(provider: str) -> Schedule | None:
    """Return how a provider retries, None where nobody says."""
    return SCHEDULES.get(provider)
