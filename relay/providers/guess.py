"""What a request of nobody we know most likely is: names that most senders use."""

from relay.model.items import ItemPaths
from relay.providers import cloudevents
from relay.providers.lists import alongside
from relay.providers.picks import body, first, header

_NAMES = (
    ("type",),
    ("event_type",),
    ("eventType",),
    ("event", "type"),
    ("event", "name"),
    ("event",),
    ("topic",),
    ("action",),
)

guess_type = first(
    cloudevents.event_type,
    header("X-Event-Type"),
    header("X-Event-Name"),
    header("X-Webhook-Event"),
    header("X-Webhook-Topic"),
    *(body(*where, *name) for where in ((), (0,), ("events", 0)) for name in _NAMES),
)
"""The event type of a source that has no provider."""

guess_items = ItemPaths(((None,), ("events", None)), unless=tuple({str(name[0]) for name in _NAMES}))
"""Where a request of a source without provider holds several events: CloudEvents and Event Grid send lists."""

guess_key = first(
    cloudevents.event_key,
    header("Idempotency-Key"),
    # With its companions alone it is the message's id (Standard Webhooks); elsewhere it may be the webhook's own.
    alongside(header("webhook-id"), header("webhook-timestamp")),
    alongside(header("svix-id"), header("svix-timestamp")),
)
"""The idempotency key of a source that has no provider: only what is meant as one."""
