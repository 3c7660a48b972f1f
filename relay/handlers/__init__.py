"""A user's own functions, called with events: what they are written with, and how they are run.

`on`, `use`, `secret`, `Event`, `Retry` and `Failed` are what a handlers file imports, from `relay`. `load` runs
such a file and gives its `Handlers`, whose `run(event)` needs no relay around it. The rest runs a file
in a process of its own, which may hang or die: `Crew` on relay's side, `child` on the other.
"""

from relay.handlers.answers import Failed, Retry
from relay.handlers.event import Event, Headers
from relay.handlers.load import load
from relay.handlers.registry import on, use
from relay.handlers.run import Handlers, Ran
from relay.handlers.secrets import secret

__all__ = ["Event", "Failed", "Handlers", "Headers", "Ran", "Retry", "load", "on", "secret", "use"]
