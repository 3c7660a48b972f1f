"""What a request of nobody we know most likely is: names that most senders use."""

from relay.providers import cloudevents
from relay.providers.lists import alongside
from relay.providers.picks import body, first, header

guess_type = first(
    cloudevents.event_type,
    header("X-Event-Type"),
    header("X-Event-Name"),
    header("X-Webhook-Event"),
    header("X-Webhook-Topic"),
    body("type"),
    body("event_type"),
    body("eventType"),
    body("event", "type"),
    body("event", "name"),
    body("event"),
    body("topic"),
    body("action"),
)
"""The event type of a source that has no provider."""

guess_key = first(
    cloudevents.event_key,
    header("Idempotency-Key"),
    # With its companions alone it is the message's id (Standard Webhooks); elsewhere it may be the webhook's own.
    alongside(header("webhook-id"), header("webhook-timestamp")),
    alongside(header("svix-id"), header("svix-timestamp")),
)
"""The idempotency key of a source that has no provider: only what is meant as one."""
