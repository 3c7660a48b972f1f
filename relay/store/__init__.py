"""The database: the only package that speaks SQL.

One writer with group commit, several readers, the delivery queue, search and migrations. It decides nothing about an
event; what it returns as stored is on disk.
"""

from relay.store.database import Store, build_busy_error, open_store, prepare_data_dir
from relay.store.deliveries import Deliveries
from relay.store.delivery_queue import NOTHING_BLOCKED, BlockedWork, ClaimedDelivery, ClaimLimits
from relay.store.events import EventCounts, EventPage, Events
from relay.store.messages import Messages, SentMails
from relay.store.new_events import StoredEvent

__all__ = [
    "NOTHING_BLOCKED",
    "BlockedWork",
    "ClaimLimits",
    "ClaimedDelivery",
    "Deliveries",
    "EventCounts",
    "EventPage",
    "Events",
    "Messages",
    "SentMails",
    "Store",
    "StoredEvent",
    "build_busy_error",
    "open_store",
    "prepare_data_dir",
]
