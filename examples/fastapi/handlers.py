"""What happens when an invoice is paid: the app calls this, and so does the relay server."""

from relay import Event, on


@on("stripe", "invoice.paid")
def ship(event: Event) -> None:
    invoice = event.payload["data"]["object"]
    print(f"paid: {invoice['id']}, {invoice['amount_paid'] / 100:.2f} {invoice['currency'].upper()}", flush=True)
