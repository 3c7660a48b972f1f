"""The public door of relay: what a user's own code may import."""

from relay.model.delivery import Failed, Retry, Succeeded
from relay.model.event import Event

__version__ = "0.1.0"

__all__ = ["Event", "Failed", "Retry", "Succeeded", "__version__"]
