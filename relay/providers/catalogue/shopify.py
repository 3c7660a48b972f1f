"""Shopify: base64 HMAC of the body, under its old and its new header names."""

from relay.providers.provider import Provider, body, first, header, joined, money
from relay.providers.schemes import body_hmac

SHOPIFY = Provider(
    name="shopify",
    title="Shopify",
    monogram="Sh",
    docs="https://shopify.dev/docs/apps/build/webhooks",
    steps=(
        "Subscribe to topics in shopify.app.toml, or under Settings, Notifications, Webhooks of the shop.",
        "Paste {url} as the URL and choose JSON.",
        "Set SHOPIFY_API_SECRET to the app's client secret, or to the key shown below the shop's webhooks.",
    ),
    answer="2xx within 5 s, no redirect; retried 8 times over 4 h",
    secret_env=("SHOPIFY_API_SECRET", "SHOPIFY_WEBHOOK_SECRET"),
    recognise=("X-Shopify-Topic", "X-Shopify-Hmac-Sha256", "shopify-hmac-sha256"),
    schemes=(body_hmac("X-Shopify-Hmac-Sha256", "shopify-hmac-sha256", encoding="base64"),),
    event_type=first(header("X-Shopify-Topic"), header("shopify-topic")),
    idempotency_key=first(
        header("X-Shopify-Webhook-Id"), header("shopify-webhook-id"), header("shopify-event-id")
    ),
    summary=joined(
        " · ",
        first(body("name"), body("title"), body("email"), body("shop_domain")),
        money(body("total_price"), body("currency"), minor=False),
    ),
    # shopify-api-js 13.1.0 calls a request invalid when topic, domain, version or id is missing.
    companions=(
        ("User-Agent", "Shopify-Captain-Hook"),
        ("X-Shopify-Topic", "${type}"),
        ("X-Shopify-Shop-Domain", "linen-and-oak.myshopify.com"),
        ("X-Shopify-API-Version", "2026-10"),
        ("X-Shopify-Webhook-Id", "${uuid}"),
        ("X-Shopify-Event-Id", "${uuid}"),
        ("X-Shopify-Triggered-At", "${iso_ms}"),
        ("X-Shopify-Name", "relay"),
    ),
)
