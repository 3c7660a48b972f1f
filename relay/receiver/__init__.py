"""Webhooks inside an app of the user's own: verify, identify, admit and handle, with no relay around it.

`Receiver` is made from values and answers one request at a time; `relay.frameworks` makes one from
relay.toml and gives it to Flask, Django, FastAPI or Starlette.
"""

from relay.model.claim import Claim
from relay.receiver.incoming import Incoming
from relay.receiver.keys import KeyStore
from relay.receiver.receiver import Receiver, Rules, Runner

__all__ = ["Claim", "Incoming", "KeyStore", "Receiver", "Rules", "Runner"]
