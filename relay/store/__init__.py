"""The room store/: the only room that speaks SQL."""

from relay.store.deliveries import Deliveries, Limits
from relay.store.events import Counts, Events, Page, Stored
from relay.store.messages import Messages
from relay.store.store import Store, held, open_store, prepare

__all__ = [
    "Counts",
    "Deliveries",
    "Events",
    "Limits",
    "Messages",
    "Page",
    "Store",
    "Stored",
    "held",
    "open_store",
    "prepare",
]
