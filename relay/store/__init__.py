"""The room store/: the only room that speaks SQL."""

from relay.store.claim import Claimed, Limits
from relay.store.deliveries import Deliveries
from relay.store.events import Counts, Events, Page
from relay.store.incoming import Stored
from relay.store.labs import Launch
from relay.store.mails import SentMails
from relay.store.messages import Messages
from relay.store.store import Store, held, open_store, prepare

__all__ = [
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
    "held",
    "open_store",
    "prepare",
]
