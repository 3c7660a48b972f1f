"""What happens with events of Stripe and GitHub: this file is read again whenever it is saved."""

import logging
from datetime import timedelta

import orders

from relay import Event, Failed, Retry, on, use

log = logging.getLogger("shop")


@use
def only_genuine(event: Event) -> Failed | None:
    """Run before the handlers of each event; a dict, Retry or Failed of it ends the run."""
    if event.verdict not in ("verified", "unsigned", "unchecked"):
        return Failed("not from who it says")
    return None


@on("stripe", "invoice.paid")
async def ship(event: Event) -> None:
    """Ship what was paid. An exception is tried again, its traceback stands in the dashboard."""
    invoice = event.payload["data"]["object"]
    order = orders.find(invoice["id"])
    log.info("shipping %s, %.2f %s", order, invoice["amount_paid"] / 100, invoice["currency"].upper())


@on("stripe", "charge.refunded", "payment_intent.payment_failed")
def look_into(event: Event) -> None:
    """Print something: it is kept with the attempt."""
    print(event.type, event.payload["data"]["object"]["id"], "at", event.timestamp.isoformat())


@on("stripe", "customer.subscription.*")
def not_yet(event: Event) -> Retry:
    """Ask for another try: the warehouse is closed."""
    return Retry(f"the warehouse is closed to {event.source}", after=timedelta(minutes=10))


@on("github", "push")
def deploy(event: Event) -> None:
    """Give up for good on what no further try would mend."""
    branch = event.payload["ref"].removeprefix("refs/heads/")
    if branch != "main":
        raise Failed(f"{branch} is not deployed")
    print("deploying", event.payload["after"][:7], "as asked in delivery", event.headers["X-GitHub-Delivery"])
