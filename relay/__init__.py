"""The public door of relay: what a user's own code may import."""

import importlib
from typing import TYPE_CHECKING

from relay.model.delivery import Failed, Retry, Succeeded
from relay.model.event import Event

if TYPE_CHECKING:
    from relay.sending import send, send_async

__version__ = "0.1.0"

__all__ = ["Event", "Failed", "Retry", "Succeeded", "__version__", "send", "send_async"]

# Imported at the first use: a program that sends one webhook should not wait for what it does not need.
_WHERE = {
    "send": "relay.sending",
    "send_async": "relay.sending",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'relay' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
