"""The room store/: the only room that speaks SQL."""

from relay.store.claim import NOTHING_WAITS, Claimed, Limits, Waits
from relay.store.deliveries import Deliveries
from relay.store.events import Counts, Events, Page
from relay.store.incoming import Stored
from relay.store.labs import Launch
from relay.store.mails import SentMails
from relay.store.messages import Messages
from relay.store.store import Store, busy_error, held, open_store, prepare

__all__ = [
    "NOTHING_WAITS",
    "Claimed",
    "Counts",
    "Deliveries",
    "Events",
    "Launch",
    "Limits",
    "Messages",
    "Page",
    "SentMails",
    "Store",
    "Stored",
    "Waits",
    "busy_error",
    "held",
    "open_store",
    "prepare",
]
