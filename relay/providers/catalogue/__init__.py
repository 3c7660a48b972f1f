"""The providers relay knows, one entry each, and which of them a request comes from.

An entry is data: how the provider signs, names and repeats its webhooks, with the source of each fact.
"""

from collections.abc import Mapping
from types import MappingProxyType

from relay.model.event import Capture
from relay.providers.catalogue.business import BUSINESS, INTERCOM, SHOPIFY, ZENDESK
from relay.providers.catalogue.collaboration import BOX, COLLABORATION, CONTENTFUL, SLACK
from relay.providers.catalogue.email_and_sms import EMAIL_SENDERS, TWILIO, TWILIO_SIMPLE
from relay.providers.catalogue.git_hosts import GIT_HOSTS
from relay.providers.catalogue.messaging import MESSAGING
from relay.providers.catalogue.payments import PAYMENTS, STRIPE
from relay.providers.catalogue.platforms import PLATFORMS
from relay.providers.catalogue.standard_webhooks import STANDARD_WEBHOOKS_SENDERS
from relay.providers.provider import Provider

# The order is that of `relay providers`, and decides between providers where a request has headers of several.
_ENTRIES = (
    STRIPE,
    *GIT_HOSTS,
    SLACK,
    TWILIO,
    *STANDARD_WEBHOOKS_SENDERS,
    SHOPIFY,
    *PAYMENTS,
    *MESSAGING,
    INTERCOM,
    ZENDESK,
    *EMAIL_SENDERS,
    *COLLABORATION,
    *BUSINESS,
    *PLATFORMS,
    CONTENTFUL,
    BOX,
    TWILIO_SIMPLE,
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({entry.name: entry for entry in _ENTRIES})

# Gitea and Forgejo send GitHub's headers along, GitLab those of Standard Webhooks, and the simplified form of Resend
# may come with Svix's: the more particular provider comes first.
_FIRST = ("forgejo", "gitea", "gitlab", "resend-simple")
_ORDER = (*_FIRST, *(name for name in PROVIDERS if name not in _FIRST))
_RANKS = {
    header.lower(): rank for rank, name in reversed(tuple(enumerate(_ORDER))) for header in PROVIDERS[name].own_headers
}


def find_provider(name: str) -> Provider | None:
    """Return the provider of that name, None when there is none."""
    return PROVIDERS.get(name)


def recognise_provider(capture: Capture) -> Provider | None:
    """Return the provider whose own headers a request carries, None when it carries none."""
    # One dictionary look-up a header: this runs for every request of a source that is not configured.
    ranks = [_RANKS[lower] for name, _ in capture.headers if (lower := name.lower()) in _RANKS]
    return PROVIDERS[_ORDER[min(ranks)]] if ranks else None
