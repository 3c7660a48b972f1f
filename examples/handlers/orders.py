"""A neighbour of handlers.py: a change to it counts as one to the handlers."""


def find(invoice: str) -> str:
    """Return the order that an invoice is for."""
    return f"order-{invoice[-6:]}"
